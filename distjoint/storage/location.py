"""URLs to filesystems. Every path of distjoint is a URL that fsspec knows; a plain path is local.

`locate` turns one into a `Location`: a native pyarrow filesystem where there is one (local files, S3, GCS: faster
than fsspec on Parquet), a wrapped fsspec filesystem otherwise; `filesystems.py` makes those of stores. Retries live
here and in `remote.py`: what a `Location` does on a store is done again while the store does not answer, and fails in
one sentence when that lasts.
"""

from __future__ import annotations

import io
import json
import os
import posixpath
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs
import xxhash
from fsspec.registry import known_implementations
from fsspec.utils import glob_translate

from distjoint.errors import DistjointError, UsageError
from distjoint.storage.filesystems import gcs, s3
from distjoint.storage.remote import READ_AHEAD, Reader, first_line, named, patiently

_PART = 5 << 20
_CHUNK = 8 << 20
_SEAL = "checksum"
_PACKAGES = {"abfss": "adlfs"}  # where fsspec does not know it

Options = Mapping[str, Any]

_own: dict[str, Any] = {}
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Location:
    """One place on some filesystem: a file or a folder, present or not.

    fs       the filesystem; S3's retries by itself, which large files written in parts need
    quick    the same without retries of its own, so that what is tried again here is tried soon and not for long
    """

    fs: pafs.FileSystem
    path: str
    url: str
    options: Options = field(default_factory=dict, repr=False)
    quick: pafs.FileSystem | None = field(default=None, repr=False)

    def __truediv__(self, name: str) -> Location:
        """The place `name` below this one; `name` may hold several parts."""
        return replace(self, path=posixpath.join(self.path, name), url=posixpath.join(self.url, name))

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
        return bool(self._info().type != pafs.FileType.NotFound)

    def is_dir(self) -> bool:
        return bool(self._info().type == pafs.FileType.Directory)

    def size(self) -> int:
        """Bytes of the file. Raises DistjointError where there is none."""
        info = self._info()
        if info.type != pafs.FileType.File:
            raise DistjointError(f"{self.url}: no such file")
        return int(info.size)

    def list(self) -> list[Location]:
        """What lies directly in this folder, by name; nothing where the folder is absent."""
        return [self / posixpath.basename(info.path) for info in self._below()]

    def make_dir(self) -> None:
        """Make the folder and those above it; an object store has none, and needs none."""
        if not isinstance(self.fs, pafs.S3FileSystem | pafs.GcsFileSystem):
            self._do(lambda fs: fs.create_dir(self.path, recursive=True))

    def delete(self) -> None:
        """Delete the file, or the folder and all that is in it; nothing where neither is there."""

        def act(fs: pafs.FileSystem) -> None:
            kind = fs.get_file_info(self.path).type
            with suppress(FileNotFoundError):  # gone in an attempt whose answer was lost
                # By the client with retries of its own: it takes several requests, and all would be made again.
                if kind == pafs.FileType.Directory:
                    self.fs.delete_dir(self.path)
                elif kind == pafs.FileType.File:
                    self.fs.delete_file(self.path)

        self._do(act)

    def open_input(self, ranges: bool = False) -> pa.NativeFile:
        """The file, open for random access reading.

        ranges   whoever reads knows which bytes are needed; otherwise a store is asked for READ_AHEAD at a time
        """
        if self.is_local:
            with self._named():
                return self.fs.open_input_file(self.path)
        reader = self._reader()
        return pa.PythonFile(reader if ranges else io.BufferedReader(reader, READ_AHEAD), "r")

    @contextmanager
    def open_output(self) -> Iterator[pa.NativeFile]:
        """The file, open for writing. Folders above it must exist on a local filesystem.

        What goes to a store is kept on the local disk until it is whole, so that it can be sent again, and nothing
        is sent when writing it fails.
        """
        if self.is_local:
            with self._named(), self.fs.open_output_stream(self.path) as stream:
                yield stream
            return
        with tempfile.NamedTemporaryFile(prefix="distjoint-upload-") as scratch:
            with named(f"{scratch.name} (on its way to {self.url})"), pa.OSFile(scratch.name, "wb") as stream:
                yield stream
            large = os.path.getsize(scratch.name) > _PART
            self._do(lambda fs: _send(fs, self.path, scratch.name), large)

    def read_bytes(self) -> bytes:
        if self.is_local:
            with self.open_input() as stream, self._named():
                return bytes(stream.read())
        with self._reader() as reader:
            return reader.readall()

    def write_bytes(self, content: bytes) -> None:
        """Write the whole file, so that a reader sees the old content, the new, or none.

        An object store does this by itself; a local file is written beside its place and moved.
        """
        if not self.is_local:
            self._do(lambda fs: _put(fs, self.path, content), large=len(content) > _PART)
            return
        target = self.path + ".part"
        with self._named():
            try:
                _put(self.fs, target, content)
                self.fs.move(target, self.path)
            except OSError:
                with suppress(OSError):
                    self.fs.delete_file(target)
                raise

    def read_json(self) -> Any:
        """What `write_json` wrote.

        raises   DistjointError when its checksum is missing or says that it is damaged; ValueError when it is not a
                 JSON object
        """
        content = json.loads(self.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        if content.pop(_SEAL, None) != _seal(content):
            raise DistjointError(f"{self.url}: does not match the checksum in it; it is damaged")
        return content

    def write_json(self, content: Mapping[str, Any]) -> None:
        """Write an object as JSON together with its checksum, so that a changed digit is noticed."""
        self.write_bytes(json.dumps({**content, _SEAL: _seal(content)}, indent=1).encode())

    def checksum(self) -> str:
        """`xxh3:` and the 64-bit xxHash of the file's bytes in hexadecimal."""
        digest = xxhash.xxh3_64()
        with self.open_input() as stream, self._named():
            while block := stream.read(_CHUNK):
                digest.update(block)
        return f"xxh3:{digest.hexdigest()}"

    def _info(self) -> pafs.FileInfo:
        return self._do(lambda fs: fs.get_file_info(self.path))

    def _below(self, recursive: bool = False) -> Sequence[pafs.FileInfo]:
        """What is in this folder, by path."""
        selector = pafs.FileSelector(self.path, allow_not_found=True, recursive=recursive)
        return sorted(self._do(lambda fs: fs.get_file_info(selector)), key=lambda info: info.path)

    def _reader(self) -> Reader:
        return Reader(self.url, lambda: (self.quick or self.fs).open_input_file(self.path), self._named)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn what the filesystem raises into one sentence; plug-ins have errors of their own."""
        try:
            with named(self.url):
                yield
        except DistjointError:
            raise
        except Exception as error:
            if isinstance(self.fs, pafs.PyFileSystem):
                raise DistjointError(f"{self.url}: {first_line(error)}") from error
            raise

    def _do(self, act: Callable[[pafs.FileSystem], _Result], large: bool = False) -> _Result:
        """What `act` does with the filesystem; on a store again and again, while that may help."""
        with self._named():
            if self.is_local:
                return act(self.fs)
            return patiently(self.url, lambda: act(self.fs if large else self.quick or self.fs), 10 if large else 1)


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
              `anon`, and `region_name` in `client_kwargs`; for gs: `project`, `endpoint_url`, `anon`
    raises    DistjointError when the protocol is unknown or its package is not installed
    """
    if isinstance(url, Location):
        return url
    text, options = os.fspath(url), {**_own, **(options or {})}
    protocol = _protocol(text)
    if protocol == "file":
        path = os.path.abspath(os.path.expanduser(text.removeprefix("file://").removeprefix("local://")))
        return Location(pafs.LocalFileSystem(), path, text.rstrip("/") or "/", options)
    clean = text.rstrip("/")
    if protocol == "s3":
        fs, quick = s3(options)
        return Location(fs, clean.removeprefix("s3://"), clean, options, quick)
    if protocol in ("gs", "gcs"):
        return Location(gcs(options), clean.removeprefix(f"{protocol}://"), clean, options)
    try:
        wrapped, path = fsspec.core.url_to_fs(text, **options)
    except Exception as error:  # of a plug-in, which may be any
        known = str((known_implementations.get(protocol) or {}).get("class", ""))
        package = _PACKAGES.get(protocol, known.split(".")[0])
        missing = isinstance(error, ImportError) or "Protocol not known" in str(error)
        if missing and package not in ("", "fsspec"):
            raise DistjointError(f"{text}: needs the package {package}; pip install {package}") from error
        raise DistjointError(f"{text}: {first_line(error)}") from error
    return Location(pafs.PyFileSystem(pafs.FSSpecHandler(wrapped)), path, clean, options)


def expand(pattern: str, options: Options | None = None) -> list[str]:
    """The files a URL, a glob or a folder stands for, as URLs in order of name.

    Of a folder, all files in it and below, but for those whose name begins with a dot.

    raises DistjointError when there are none
    """
    place = locate(pattern, options)
    fixed = re.split(r"[*?[]", place.path)[0]
    if fixed != place.path:
        folder, matches = posixpath.dirname(fixed), re.compile(glob_translate(place.path)).fullmatch
        deep = "/" in place.path[len(folder) + 1 :] or "**" in place.path
        found = [info for info in replace(place, path=folder)._below(deep) if matches(info.path)]
    elif place.is_dir():
        found = [info for info in place._below(recursive=True) if not posixpath.basename(info.path).startswith(".")]
    else:
        found = [place._info()]
    prefix = "" if place.is_local else _protocol(pattern) + "://"
    names = [prefix + info.path for info in found if info.type == pafs.FileType.File]
    if not names:
        raise DistjointError(f"{pattern}: no such file")
    return names


def _protocol(url: str) -> str:
    protocol = url.split("://", 1)[0] if "://" in url else "file"
    return "file" if protocol == "local" else protocol


def _put(fs: pafs.FileSystem, path: str, content: bytes) -> None:
    with fs.open_output_stream(path) as stream:
        stream.write(content)


def _send(fs: pafs.FileSystem, path: str, file: str) -> None:
    """Write a local file's content. Not by `copy_files`, which does not tell when what it sends at last is refused."""
    with pa.OSFile(file) as source, fs.open_output_stream(path) as stream:
        while block := source.read(_CHUNK):
            stream.write(block)


def _seal(content: Any) -> str:
    """The checksum of what JSON says, however it is laid out."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"xxh3:{xxhash.xxh3_64(text.encode()).hexdigest()}"
