"""Decoded partitions in plain files on local disk: what memory has no room for, of a dataset that lies elsewhere."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Hashable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class _Entry:
    """A file: arrays of a dataclass's fields, one after the other."""

    place: Path
    kind: type
    arrays: tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]


class DiskCache:
    """Values that are dataclasses of arrays, by key, in a temporary folder. Threads may use it at once.

    limit    bytes it may take; 0 for none
    folder   made when something is first put into it

    What came first stays: partitions come in a new order each epoch, so none is likelier to be needed than another,
    and each is written once at most. A disk that fails, or is full, ends the cache and nothing else.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0
        self.folder: Path | None = None
        self._entries: dict[Hashable, _Entry | None] = {}
        self._lock = threading.Lock()

    def put(self, key: Hashable, value: Any) -> None:
        """Write a value, unless it is there already or there is no room for it."""
        arrays = [np.ascontiguousarray(getattr(value, field.name)) for field in fields(value)]
        size = sum(array.nbytes for array in arrays)
        with self._lock:
            if key in self._entries or self._bytes + size > self._limit:
                return
            self._bytes += size
            self._entries[key] = None  # not to be read yet, nor to be written again
            number = len(self._entries)
        try:
            place = self._place(number)
            with place.open("wb") as file:
                for array in arrays:
                    file.write(array.data)
        except OSError:
            self._limit = 0
            if self.folder is not None:  # what is half-written may be all that was free
                (self.folder / f"{number}.bin").unlink(missing_ok=True)
            return
        entry = _Entry(place, type(value), tuple((array.dtype, array.shape) for array in arrays))
        with self._lock:
            self._entries[key] = entry

    def get(self, key: Hashable) -> Any:
        """The value, or None where it is not here."""
        with self._lock:
            entry = self._entries.get(key)
        if entry is None:
            return None
        arrays = [np.empty(shape, dtype) for dtype, shape in entry.arrays]
        try:
            with entry.place.open("rb") as file:
                whole = all(file.readinto(array.data) == array.nbytes for array in arrays if array.nbytes)
        except OSError:
            whole = False
        return entry.kind(*arrays) if whole else None

    def close(self) -> None:
        """Delete all of it."""
        with self._lock:
            self._limit = 0
            self._entries.clear()
            if self.folder is not None:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _place(self, number: int) -> Path:
        with self._lock:
            if self.folder is None:
                self.folder = Path(tempfile.mkdtemp(prefix="distjoint-cache-"))
            return self.folder / f"{number}.bin"
