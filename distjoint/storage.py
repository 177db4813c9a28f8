"""URLs to filesystems. Every path of distjoint is a URL that fsspec knows; a plain path is local.

`locate` turns one into a `Location`: a native pyarrow filesystem where there is one (local files, S3,
GCS: faster than fsspec on Parquet), a wrapped fsspec filesystem otherwise. Retries, timeouts and the
names of credentials live here and nowhere else.
"""

from __future__ import annotations

import errno
import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs
import xxhash

from distjoint.errors import DistjointError, UsageError

CONNECT_TIMEOUT = 10.0
REQUEST_TIMEOUT = 60.0
MAX_ATTEMPTS = 10
_CHUNK = 8 << 20

Options = Mapping[str, Any]

_own: dict[str, Any] = {}


@dataclass(frozen=True)
class Location:
    """One place on some filesystem: a file or a folder, present or not."""

    fs: pafs.FileSystem
    path: str
    url: str
    options: Options = field(default_factory=dict, repr=False)

    def __truediv__(self, name: str) -> Location:
        """The place `name` below this one; `name` may hold several parts."""
        path, url = posixpath.join(self.path, name), posixpath.join(self.url, name)
        return Location(self.fs, path, url, self.options)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return posixpath.basename(self.path.rstrip("/"))

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, pafs.LocalFileSystem)

    @property
    def absolute(self) -> str:
        """A URL that means this place in every process: a relative path is one of the process that was given it."""
        return self.path if self.is_local else self.url

    def exists(self) -> bool:
        return bool(self.fs.get_file_info(self.path).type != pafs.FileType.NotFound)

    def is_dir(self) -> bool:
        return bool(self.fs.get_file_info(self.path).type == pafs.FileType.Directory)

    def size(self) -> int:
        """Bytes of the file. Raises DistjointError where there is none."""
        info = self.fs.get_file_info(self.path)
        if info.type != pafs.FileType.File:
            raise DistjointError(f"{self.url}: no such file")
        return int(info.size)

    def list(self) -> list[Location]:
        """What lies directly in this folder, by name; nothing where the folder is absent."""
        selector = pafs.FileSelector(self.path, allow_not_found=True)
        names = sorted(posixpath.basename(info.path) for info in self.fs.get_file_info(selector))
        return [self / name for name in names]

    def make_dir(self) -> None:
        with _named(self.url):
            self.fs.create_dir(self.path, recursive=True)

    def delete(self) -> None:
        """Delete the file, or the folder and all that is in it; nothing where neither is there."""
        kind = self.fs.get_file_info(self.path).type
        if kind == pafs.FileType.Directory:
            self.fs.delete_dir(self.path)
        elif kind == pafs.FileType.File:
            self.fs.delete_file(self.path)

    def open_input(self) -> pa.NativeFile:
        """The file, open for random access reading."""
        with _named(self.url):
            return self.fs.open_input_file(self.path)

    @contextmanager
    def open_output(self) -> Iterator[pa.NativeFile]:
        """The file, open for writing. Folders above it must exist on a local filesystem."""
        with _named(self.url), self.fs.open_output_stream(self.path) as stream:
            yield stream

    def read_bytes(self) -> bytes:
        with self.open_input() as stream, _named(self.url):
            return bytes(stream.read())

    def write_bytes(self, content: bytes) -> None:
        """Write the whole file, so that a reader sees the old content, the new, or none.

        An object store does this by itself; a local file is written beside its place and moved.
        """
        target = self.path + ".part" if self.is_local else self.path
        with _named(self.url):
            try:
                with self.fs.open_output_stream(target) as stream:
                    stream.write(content)
                if target != self.path:
                    self.fs.move(target, self.path)
            except OSError:
                if target != self.path:
                    with suppress(OSError):
                        self.fs.delete_file(target)
                raise

    def checksum(self) -> str:
        """`xxh3:` and the 64-bit xxHash of the file's bytes in hexadecimal."""
        digest = xxhash.xxh3_64()
        with self.open_input() as stream, _named(self.url):
            while block := stream.read(_CHUNK):
                digest.update(block)
        return f"xxh3:{digest.hexdigest()}"


def use_options(options: Options) -> None:
    """From now on in this process, options of every URL that is not local, besides those it is located with."""
    _own.clear()
    _own.update(options)


def parse_options(texts: Iterable[str]) -> dict[str, Any]:
    """Options as a command line gives them: `key=value`, or a JSON object. raises UsageError, which repeats no value"""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if text.startswith("{"):
            try:
                found |= json.loads(text)
            except ValueError as error:
                raise UsageError("--storage-options: what starts with { must be a JSON object") from error
        elif equals and name:
            found[name] = value
        else:
            raise UsageError("--storage-options: write it as key=value, like endpoint_url=http://127.0.0.1:8333")
    return found


def locate(url: str | os.PathLike[str] | Location, options: Options | None = None) -> Location:
    """The filesystem and path of a URL.

    options   what fsspec takes for the URL's protocol; for s3: `key`, `secret`, `token`, `profile`, `endpoint_url`,
              `anon`, and `region_name` in `client_kwargs`
    raises    DistjointError when the protocol is unknown or its package is not installed
    """
    if isinstance(url, Location):
        return url
    text, options = os.fspath(url), {**_own, **(options or {})}
    protocol = text.split("://", 1)[0] if "://" in text else "file"
    if protocol in ("file", "local"):
        path = os.path.abspath(os.path.expanduser(text.removeprefix(f"{protocol}://")))
        return Location(pafs.LocalFileSystem(), path, text.rstrip("/") or "/", options)
    if protocol == "s3":
        return Location(_s3(options), text.removeprefix("s3://").rstrip("/"), text.rstrip("/"), options)
    try:
        wrapped, path = fsspec.core.url_to_fs(text, **options)
    except (ValueError, ImportError) as error:
        raise DistjointError(f"{text}: {error}") from error
    return Location(pafs.PyFileSystem(pafs.FSSpecHandler(wrapped)), path, text.rstrip("/"), options)


def expand(pattern: str, options: Options | None = None) -> list[str]:
    """The files a URL, a glob or a folder stands for, as URLs in order of name.

    raises DistjointError when there are none
    """
    protocol = pattern.split("://", 1)[0] if "://" in pattern else "file"
    try:
        fs, path = fsspec.core.url_to_fs(pattern, **({} if protocol == "file" else {**_own, **(options or {})}))
    except (ValueError, ImportError) as error:
        raise DistjointError(f"{pattern}: {error}") from error
    if fs.isdir(path):
        found = [name for name in sorted(fs.find(path)) if not posixpath.basename(name).startswith(".")]
    else:
        found = sorted(fs.glob(path)) if fsspec.core.has_magic(path) else [path] * fs.isfile(path)
    if not found:
        raise DistjointError(f"{pattern}: no such file")
    return [name if protocol == "file" else str(fs.unstrip_protocol(name)) for name in found]


def _s3(options: Options) -> pafs.S3FileSystem:
    client, profile = dict(options.get("client_kwargs") or {}), _profile(options.get("profile"))
    endpoint = (
        options.get("endpoint_url")
        or client.get("endpoint_url")
        or profile.get("endpoint_url")
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
    )
    scheme, _, host = (endpoint or "").rpartition("://")
    return pafs.S3FileSystem(
        access_key=options.get("key", profile.get("key")),
        secret_key=options.get("secret", profile.get("secret")),
        session_token=options.get("token", profile.get("token")),
        anonymous=str(options.get("anon", False)).lower() == "true",
        region=client.get("region_name") or profile.get("region") or os.environ.get("AWS_REGION") or None,
        endpoint_override=host or None,
        scheme=scheme or "https",
        connect_timeout=CONNECT_TIMEOUT,
        request_timeout=REQUEST_TIMEOUT,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=MAX_ATTEMPTS),
    )


def _profile(name: str | None) -> dict[str, Any]:
    """What a profile of the AWS configuration files says, as it stands now: a token in it is not renewed.

    raises DistjointError when there is no such profile, or it holds no credentials
    """
    if name is None:
        return {}
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session = Session(profile=name)
    try:
        credentials, settings = session.get_credentials(), session.get_scoped_config()
    except BotoCoreError as error:
        raise DistjointError(f"profile={name}: {error}") from error
    if credentials is None:
        raise DistjointError(f"profile={name}: holds no credentials")
    now = credentials.get_frozen_credentials()
    found = {"key": now.access_key, "secret": now.secret_key, "token": now.token}
    return found | {"region": settings.get("region"), "endpoint_url": settings.get("endpoint_url")}


@contextmanager
def _named(url: str) -> Iterator[None]:
    """Turn what a filesystem raises into one sentence that names the file and the fix."""
    try:
        yield
    except FileNotFoundError as error:
        raise DistjointError(f"{url}: no such file") from error
    except PermissionError as error:
        raise DistjointError(f"{url}: permission denied") from error
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            raise DistjointError(f"{url}: no space left on the disk; free some, or write elsewhere") from error
        if error.errno == errno.ENOTDIR:
            raise DistjointError(f"{url}: a part of this path is a file, not a folder") from error
        raise DistjointError(f"{url}: {error}") from error
