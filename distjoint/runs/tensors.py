"""A checkpoint's file without torch: all its tensors as arrays, or some rows of one, read when they are wanted.

A file of safetensors is eight bytes that say how long its header is, the header in JSON, and the numbers. So a row is
read by a seek, and a table larger than memory by blocks: memory holds what was asked for and no more, which a memory
map cannot promise. A file on a store is fetched to this machine's cache first, once.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from distjoint.base.arrays import Floats, Ints
from distjoint.base.errors import DistjointError
from distjoint.storage import Location

CACHE = "DISTJOINT_CACHE"
"""Environment variable: the folder where files of stores are kept; by default `distjoint` in the user's cache."""
_LENGTH = 8
_GREATEST_HEADER = 100_000_000
"""Bytes above which readers of safetensors refuse a header."""
_GAP = 64 << 10
"""Bytes between two rows that are read with them: a call costs as much."""
_BLOCK = 8 << 20


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor lies in its file.

    start   byte of the file at which it begins
    """

    shape: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class TensorFile:
    """A file of tensors on this machine, float32; it stays open until the object is gone.

    name      as messages call it
    tensors   where each lies
    """

    name: str
    descriptor: int
    tensors: Mapping[str, TensorPlace]

    @classmethod
    def open(cls, path: str, name: str) -> TensorFile:
        """raises DistjointError for a file that is missing, or whose header does not fit it"""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise DistjointError(f"{name}: cannot be opened ({error.strerror})") from error
        try:
            head = os.pread(descriptor, _LENGTH, 0)
            length = int.from_bytes(head, "little")
            if len(head) < _LENGTH or length > _GREATEST_HEADER:
                raise DistjointError(f"{name}: not a safetensors file; it is damaged")
            content = os.pread(descriptor, length, _LENGTH)
            return cls(name, descriptor, places_of(content, _LENGTH + length, os.fstat(descriptor).st_size, name))
        except BaseException:
            os.close(descriptor)
            raise

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.descriptor)

    def rows(self, name: str, places: Ints) -> Floats:
        """Some rows of a tensor, in the order asked for: float32[n, width], or [n] where a row is one number.

        Neighbours are read together, whatever the order.
        """
        tensor = self.tensors[name]
        width = int(np.prod(tensor.shape[1:], dtype=np.int64))
        order = np.argsort(places, kind="stable") if (np.diff(places) < 0).any() else None
        wanted = places if order is None else places[order]
        found = np.empty((len(wanted), width), np.float32)
        for first, last in _runs(wanted, max(1, _GAP // (4 * max(1, width)))):
            start, stop = int(wanted[first]), int(wanted[last - 1]) + 1
            if (np.diff(wanted[first:last]) == 1).all():  # their count alone is no proof: [3, 3, 5]
                self._read(found[first:last], tensor.start + 4 * width * start)
                continue
            block = np.empty((stop - start, width), np.float32)
            self._read(block, tensor.start + 4 * width * start)
            found[first:last] = block[wanted[first:last] - start]
        if order is not None:
            unsorted = np.empty_like(found)
            unsorted[order] = found
            found = unsorted
        return found.reshape(len(wanted), *tensor.shape[1:])

    def _read(self, out: Floats, start: int) -> None:
        view, done = out.view(np.uint8).reshape(-1).data, 0
        while done < len(view):
            count = os.preadv(self.descriptor, [view[done:]], start + done)
            if not count:
                raise DistjointError(f"{self.name}: ends too soon; it is damaged")
            done += count


def mapped_bytes(path: str) -> bytes:
    """A file of this machine's as bytes that are read when they are looked at. raises OSError where it is not there"""
    with Path(path).open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return b""
        content: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return content  # slices of it, its length and its checksum are those of bytes


def arrays_of(content: bytes, name: str) -> dict[str, Floats]:
    """All tensors of a file's bytes, without a copy. raises DistjointError where they are no file of float32 tensors"""
    length = int.from_bytes(content[:_LENGTH], "little")
    places = places_of(content[_LENGTH : _LENGTH + length], _LENGTH + length, len(content), name)
    return {
        key: np.frombuffer(content, "<f4", int(np.prod(at.shape, dtype=np.int64)), at.start).reshape(at.shape)
        for key, at in places.items()
    }


def places_of(header: bytes, start: int, size: int, name: str) -> dict[str, TensorPlace]:
    """Where the tensors of a file lie, by its header.

    start, size   byte at which the numbers begin, and bytes of the file
    raises        DistjointError where the header is none, or names what is not in the file
    """
    found: dict[str, TensorPlace] = {}
    try:
        for key, entry in json.loads(header).items():
            if key != "__metadata__":
                shape, (begin, end) = tuple(map(int, entry["shape"])), map(int, entry["data_offsets"])
                if entry["dtype"] != "F32":
                    raise DistjointError(f"{name}: {key} holds {entry['dtype']}, a checkpoint has F32")
                if min((0, *shape)) < 0 or end - begin != 4 * int(np.prod(shape, dtype=np.int64)):
                    raise ValueError(key)
                if not 0 <= begin <= end <= size - start:
                    raise ValueError(key)
                found[key] = TensorPlace(shape, start + begin)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DistjointError(f"{name}: not a safetensors file ({error}); it is damaged") from error
    return found


def _runs(places: Ints, gap: int) -> list[tuple[int, int]]:
    """First and last (not included) of the stretches of ascending places that lie less than a gap apart."""
    if not len(places):
        return []
    ends = [*(np.flatnonzero(np.diff(places) > gap) + 1).tolist(), len(places)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


@dataclass(frozen=True)
class FileCache:
    """Files of stores on this machine's disk, each under the checksum of its content."""

    folder: Path

    @classmethod
    def of_user(cls) -> FileCache:
        """The folder that DISTJOINT_CACHE names, or the user's."""
        home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        return cls(Path(os.environ.get(CACHE) or Path(home, "distjoint")))

    def path(self, place: Location, size: int, checksum: str, advance: Callable[[float], Any]) -> str:
        """Path of a file's copy, fetched unless it is there; the copy is compared with the checksum as it is made.

        advance   told how many bytes have come since it was last told
        raises    DistjointError where the file is not what its checksum says, or the disk is full
        """
        match = re.fullmatch(r"xxh3:([0-9a-f]{16})", checksum)
        if not match:
            raise DistjointError(f"{place}: its checksum in the manifest is {checksum!r}; the checkpoint is damaged")
        target = self.folder / f"{match[1]}-{size}.safetensors"
        if target.exists() and target.stat().st_size == size:
            advance(size)
            return str(target)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as part:
                try:
                    digest = xxhash.xxh3_64()
                    with place.open_input() as stream:
                        while block := stream.read(_BLOCK):
                            digest.update(block)
                            part.write(block)
                            advance(len(block))
                    if f"xxh3:{digest.hexdigest()}" != checksum:
                        raise DistjointError(f"{place}: does not match its checksum in the manifest; it is damaged")
                    part.flush()
                    Path(part.name).replace(target)
                except BaseException:
                    Path(part.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise DistjointError(
                f"{self.folder}: cannot keep {place} ({error.strerror or error}); set {CACHE} to a folder with room"
            ) from error
        return str(target)


@dataclass(frozen=True)
class LazyFile:
    """A file of a checkpoint that is opened when its first row is read.

    place            where it lies
    size, checksum   as the checkpoint's manifest has them
    """

    place: Location
    size: int
    checksum: str
    advance: Callable[[float], Any] = lambda _: None

    @cached_property
    def file(self) -> TensorFile:
        """The file, on this machine. raises DistjointError where it is missing, cut short or, if fetched, changed"""
        if not self.place.is_local:
            path = FileCache.of_user().path(self.place, self.size, self.checksum, self.advance)
            return TensorFile.open(path, str(self.place))
        if not self.place.exists():
            raise DistjointError(f"{self.place}: missing, though the checkpoint's manifest lists it")
        if (size := self.place.size()) != self.size:
            raise DistjointError(f"{self.place}: {size} bytes, the manifest says {self.size}; it is damaged")
        return TensorFile.open(self.place.path, str(self.place))
