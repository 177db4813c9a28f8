"""A place on a filesystem, and what can be done there: list, read, write, delete.

Requests to a store are retried while it does not answer, and fail in one sentence when that lasts; `remote.py` has the
retries, `urls.py` makes a `Location` of a URL.
"""

from __future__ import annotations

import io
import json
import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import xxhash

from distjoint.base.errors import DistjointError
from distjoint.storage import exclusive
from distjoint.storage.options import Options
from distjoint.storage.remote import READ_AHEAD, Reader, first_line, named, patiently

_PART = 5 << 20
"""Bytes above which a file is sent to a store in several parts."""
_BLOCK = 8 << 20
"""Bytes copied or hashed at a time."""
_LARGE = 10
"""Multiplier on the retry deadline of a large file, which nobody waits for in a collective."""
_SEAL = "checksum"

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Location:
    """A place on a filesystem: a file or a folder, present or not.

    fs        the filesystem; S3's retries by itself, which large files written in parts need
    path      the place on it
    url       the place as the user wrote it, for messages
    options   of the URL, see `locate`
    quick     the same filesystem without retries of its own: those made here come sooner and end sooner
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
        """Last part of the path."""
        return posixpath.basename(self.path.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether it is on a filesystem of this machine, mounted ones included."""
        return isinstance(self.fs, pafs.LocalFileSystem)

    @property
    def absolute(self) -> str:
        """A URL of this place for other processes, whose working folder may be another."""
        return self.path if self.is_local else self.url

    def beside(self, way: str) -> Location:
        """The place that a relative path like `../data` leads to from here; its URL is an absolute one."""
        path = posixpath.normpath(posixpath.join(self.path, way))
        scheme = "" if self.is_local else self.url.partition("://")[0] + "://"
        return replace(self, path=path, url=scheme + path)

    def way_to(self, other: Location) -> str | None:
        """The relative path from here to another place; None where that is on another kind of filesystem."""
        schemes = {place.url.partition("://")[0] for place in (self, other) if not place.is_local}
        if self.is_local != other.is_local or len(schemes) > 1:
            return None
        return posixpath.relpath(other.path, self.path)

    def info(self) -> pafs.FileInfo:
        """Kind and size of what is here."""
        return self._do(lambda fs: fs.get_file_info(self.path))

    def exists(self) -> bool:
        return bool(self.info().type != pafs.FileType.NotFound)

    def is_dir(self) -> bool:
        return bool(self.info().type == pafs.FileType.Directory)

    def size(self) -> int:
        """Bytes of the file. Raises DistjointError where there is none."""
        info = self.info()
        if info.type != pafs.FileType.File:
            raise DistjointError(f"{self.url}: no such file")
        return int(info.size)

    def entries(self, recursive: bool = False) -> Sequence[pafs.FileInfo]:
        """Files and folders in this folder, sorted by path; none where the folder is absent.

        recursive   those in folders below it too
        """
        selector = pafs.FileSelector(self.path, allow_not_found=True, recursive=recursive)
        return sorted(self._do(lambda fs: fs.get_file_info(selector)), key=lambda info: info.path)

    def list(self) -> list[Location]:
        """Files and folders directly in this folder, sorted by name; none where the folder is absent."""
        return [self / posixpath.basename(info.path) for info in self.entries()]

    def make_dir(self) -> None:
        """Create the folder and those above it; does nothing on an object store, which has no folders."""
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
        """Open the file for random access reading.

        ranges   request exactly the bytes that are read, for readers that know which they need, as of Parquet;
                 otherwise READ_AHEAD bytes at a time
        """
        if self.is_local:
            with self._named():
                return self.fs.open_input_file(self.path)
        reader = self._reader()
        return pa.PythonFile(reader if ranges else io.BufferedReader(reader, READ_AHEAD), "r")

    @contextmanager
    def open_output(self) -> Iterator[pa.NativeFile]:
        """Open the file for writing. Folders above it must exist on a local filesystem.

        A file for a store is written to the local disk first and sent when it is whole: so it can be sent again, and
        nothing is sent when writing it fails.
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
        """The whole file."""
        if self.is_local:
            with self.open_input() as stream, self._named():
                return bytes(stream.read())
        with self._reader() as reader:
            return reader.readall()

    def write_bytes(self, content: bytes) -> None:
        """Write the whole file atomically: a reader sees the old content or the new, never a part.

        An object store does this by itself; a local file is written as NAME.part and moved.
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

    def create(self, content: bytes) -> bool:
        """Write the file unless there is one already; returns whether it was written.

        Of several processes that try at once one succeeds, where the filesystem can decide that in one request: a local
        one, S3 that knows `If-None-Match`, fsspec's that know mode `create`. Elsewhere, Google's among them, who comes
        a moment later is refused, but of two at the same moment both may succeed: read it again to see whose it is.
        """
        with self._named():
            created = exclusive.create(self.fs, self.path, content, self.options)
        if created is None:
            created = not self.exists()
            if created:
                self.write_bytes(content)
        return created

    def read_json(self) -> Any:
        """Read an object that `write_json` wrote.

        raises   DistjointError when its checksum is missing or wrong; ValueError when it is no JSON object
        """
        content = json.loads(self.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        if content.pop(_SEAL, None) != _seal(content):
            raise DistjointError(f"{self.url}: does not match the checksum in it; it is damaged")
        return content

    def write_json(self, content: Mapping[str, Any]) -> None:
        """Write an object as JSON with a checksum of its content in it."""
        self.write_bytes(json.dumps({**content, _SEAL: _seal(content)}, indent=1).encode())

    def checksum(self) -> str:
        """`xxh3:` and the 64-bit xxHash of the file's bytes in hexadecimal."""
        digest = xxhash.xxh3_64()
        with self.open_input() as stream, self._named():
            while block := stream.read(_BLOCK):
                digest.update(block)
        return f"xxh3:{digest.hexdigest()}"

    def _reader(self) -> Reader:
        return Reader(self.url, lambda: (self.quick or self.fs).open_input_file(self.path), self._named)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn errors of the filesystem into one sentence; fsspec's plug-ins raise any kind."""
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
        """Result of `act` on the filesystem, retried on a store.

        large   it sends a large file, which takes a client with retries of its own, and may take long
        """
        with self._named():
            if self.is_local:
                return act(self.fs)
            return patiently(self.url, lambda: act(self.fs if large else self.quick or self.fs), _LARGE if large else 1)


def _put(fs: pafs.FileSystem, path: str, content: bytes) -> None:
    with fs.open_output_stream(path) as stream:
        stream.write(content)


def _send(fs: pafs.FileSystem, path: str, file: str) -> None:
    """Send a local file. Not by `copy_files`, which does not tell when the last request is refused."""
    with pa.OSFile(file) as source, fs.open_output_stream(path) as stream:
        while block := source.read(_BLOCK):
            stream.write(block)


def _seal(content: Any) -> str:
    """Checksum of a JSON value, whatever its layout."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"xxh3:{xxhash.xxh3_64(text.encode()).hexdigest()}"
