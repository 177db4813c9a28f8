"""From storage to the lanes: partitions read ahead, decoded once, and kept while they fit.

Decoding Parquet costs a third of what training a cell does, so a decoded partition stays in memory up to a budget.
What is beyond it goes to local disk, where the dataset is not local itself, so that it crosses the network once;
and what is beyond that comes back from storage in the next epoch.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from distjoint.base.machine import memory
from distjoint.data.dataset import Dataset
from distjoint.train.disk_cache import DiskCache

Partition = tuple[int, int]
Key = tuple[str, Partition]
"""A source's name, and one of its partitions."""

SHARE_OF_MEMORY = 0.4
"""Of the machine's memory, for decoded partitions of all its workers."""
_SHARE_OF_DISK = 0.5
_CONNECTIONS = 4
"""Partitions at least that are asked of a store at the same time: most of the time they are waited for."""


class Decoder(Protocol):
    """How a source's partitions are read: the half of a source that knows its files."""

    def bytes(self, partition: Partition) -> int:
        """Bytes of a partition when it is decoded; 0 for an empty one."""

    def decode(self, partition: Partition) -> Any:
        """Read a partition: a dataclass whose fields are arrays."""


class Stream:
    """Decoded partitions of a dataset.

    decoders  of each source by its name
    threads   threads that read and decode
    budget    bytes of decoded partitions in memory, kept and on their way; by default two fifths of the machine's
              memory / `workers`. What Arrow needs to decode one for each thread comes on top
    workers   workers that share this machine
    disk      bytes of decoded partitions on local disk; by default none where the dataset is local, else half of
              what is free / `workers`
    kept      the partitions in memory
    due       those that were read ahead, or are being, and were not released: they stay

    The order of partitions is drawn anew each epoch, and each is used in one visit of it. So when memory is short
    the one used last goes first, which no visit needs before the next epoch: with room for half of them, half are
    found. Were the one used longest ago to go, as is usual, a sixth would be.
    """

    def __init__(
        self,
        dataset: Dataset,
        decoders: Mapping[str, Decoder],
        threads: int = 2,
        budget: int | None = None,
        workers: int = 1,
        disk: int | None = None,
    ) -> None:
        self.dataset, self._decoders = dataset, decoders
        self._budget = budget if budget is not None else int(SHARE_OF_MEMORY * memory() / workers)
        if disk is None:
            free = 0 if dataset.folder.is_local else shutil.disk_usage(tempfile.gettempdir()).free
            disk = int(_SHARE_OF_DISK * free / workers)
        self._disk = DiskCache(disk)
        self.kept: OrderedDict[Key, Any] = OrderedDict()
        self.due: set[Key] = set()
        self._pending: dict[Key, Future[Any]] = {}
        self._bytes = self._due_bytes = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads if dataset.folder.is_local else max(threads, _CONNECTIONS), "read")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._disk.close()

    def read_ahead(self, source: str, partitions: Iterable[Partition]) -> None:
        """Start to read partitions that will soon be needed, as far as the budget goes.

        They stay in memory until they are released.
        """
        with self._lock:
            for partition in partitions:
                key: Key = (source, partition)
                size = self._size(key)
                if not size or key in self.due or self._due_bytes + size > self._budget:
                    continue
                self.due.add(key)
                self._due_bytes += size
                if key not in self.kept and key not in self._pending:
                    self._pending[key] = self._pool.submit(self._load, key, self._make_room(key))

    def release(self, source: str, partitions: Iterable[Partition]) -> None:
        """Partitions that will not be needed again soon."""
        with self._lock:
            for partition in partitions:
                if (source, partition) in self.due:
                    self.due.remove((source, partition))
                    self._due_bytes -= self._size((source, partition))

    def get(self, source: str, partition: Partition) -> Any:
        """A partition as its source's decoder makes it."""
        key = (source, partition)
        with self._lock:
            pending, found = self._pending.get(key), self.kept.get(key)
            if found is not None:
                self.kept.move_to_end(key)
                return found
            leaving = self._make_room(key) if pending is None else []
        return pending.result() if pending is not None else self._load(key, leaving)

    def _make_room(self, key: Key) -> list[tuple[Key, Any]]:
        """Reserve budget for a partition; returns the ones evicted for it."""
        self._bytes += self._size(key)
        leaving = []
        while self._bytes > self._budget:
            last = next((one for one in reversed(self.kept) if one not in self.due), None)
            if last is None:
                break
            leaving.append((last, self.kept.pop(last)))
            self._bytes -= self._size(last)
        return leaving

    def _load(self, key: Key, leaving: list[tuple[Key, Any]]) -> Any:
        while leaving:  # first, so that memory never holds both
            self._disk.put(*leaving.pop())
        value = self._disk.get(key)
        if value is None:
            source, partition = key
            value = self._decoders[source].decode(partition)
        with self._lock:
            self._pending.pop(key, None)
            fits = self._bytes <= self._budget
            if fits:
                self.kept[key] = value
            else:
                self._bytes -= self._size(key)
        if not fits:
            self._disk.put(key, value)
        return value

    def _size(self, key: Key) -> int:
        source, partition = key
        return self._decoders[source].bytes(partition)
