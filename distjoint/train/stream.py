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
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from distjoint.arrays import Offsets
from distjoint.backends.cpu.glove import TileCells, weigh
from distjoint.config import Loss
from distjoint.data.dataset import COOCCURRENCE, Dataset
from distjoint.machine import memory
from distjoint.train.disk_cache import DiskCache

Partition = tuple[int, int]
Kind = Literal["cells", "triples"]
Key = tuple[Kind, Partition]

_SHARE_OF_MEMORY = 0.4
_SHARE_OF_DISK = 0.5
_SAMPLE_BYTES = 12
"""Of a decoded cell or triple."""
_CONNECTIONS = 4
"""Partitions at least that are asked of a store at the same time: most of the time they are waited for."""


@dataclass(frozen=True)
class DecodedCells:
    """A partition of counts, ready for the kernel.

    row, column          uint16[n]: index within the tile
    log_count, weight    float32[n]
    tiles                int64[tiles per shard, tiles per shard, 2]: first cell between two local tiles, and the one
                         after the last
    """

    row: NDArray[np.uint16]
    column: NDArray[np.uint16]
    log_count: NDArray[np.float32]
    weight: NDArray[np.float32]
    tiles: NDArray[np.int64]

    def tile(self, a: int, b: int, row_base: int, column_base: int) -> TileCells | None:
        """The cells between two tiles, or None where there are none."""
        start, stop = self.tiles[a, b].tolist()
        if start == stop:
            return None
        cut = slice(start, stop)
        return TileCells(self.row[cut], self.column[cut], self.log_count[cut], self.weight[cut], row_base, column_base)


@dataclass(frozen=True)
class DecodedTriples:
    """A partition of training triples: offsets within the shards, and relation ids; int32[n] each."""

    head: Offsets
    relation: Offsets
    tail: Offsets


Decoded = DecodedCells | DecodedTriples


class Stream:
    """Decoded partitions of a dataset.

    loss      GloVe's x_max and power, which decide a cell's weight
    threads   threads that read and decode
    budget    bytes of decoded partitions in memory, kept and on their way; by default two fifths of the machine's
              memory / `workers`. What Arrow needs to decode one for each thread comes on top
    workers   workers that share this machine
    disk      bytes of decoded partitions on local disk; by default none where the dataset is local, else half of
              what is free / `workers`

    The order of partitions is drawn anew each epoch, and each is used in one visit of it. So when memory is short
    the one used last goes first, which no visit needs before the next epoch: with room for half of them, half are
    found. Were the one used longest ago to go, as is usual, a sixth would be.
    """

    def __init__(
        self,
        dataset: Dataset,
        loss: Loss,
        threads: int = 2,
        budget: int | None = None,
        workers: int = 1,
        disk: int | None = None,
    ) -> None:
        self.dataset, self._loss = dataset, loss
        self._budget = budget if budget is not None else int(_SHARE_OF_MEMORY * memory() / workers)
        if disk is None:
            free = 0 if dataset.folder.is_local else shutil.disk_usage(tempfile.gettempdir()).free
            disk = int(_SHARE_OF_DISK * free / workers)
        self._disk = DiskCache(disk)
        self._kept: OrderedDict[Key, Decoded] = OrderedDict()
        self._due: set[Key] = set()
        self._pending: dict[Key, Future[Decoded]] = {}
        self._bytes = self._due_bytes = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads if dataset.folder.is_local else max(threads, _CONNECTIONS), "read")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._disk.close()

    def read_ahead(self, kind: Kind, partitions: Iterable[Partition]) -> None:
        """Start to read partitions that will soon be asked for, as far as the budget goes.

        They stay in memory until they are released.
        """
        with self._lock:
            for partition in partitions:
                key: Key = (kind, partition)
                size = self._size(key)
                if not size or key in self._due or self._due_bytes + size > self._budget:
                    continue
                self._due.add(key)
                self._due_bytes += size
                if key not in self._kept and key not in self._pending:
                    self._pending[key] = self._pool.submit(self._load, key, self._make_room(key))

    def release(self, kind: Kind, partitions: Iterable[Partition]) -> None:
        """Partitions that will not be asked for again soon."""
        with self._lock:
            for partition in partitions:
                if (kind, partition) in self._due:
                    self._due.remove((kind, partition))
                    self._due_bytes -= self._size((kind, partition))

    def cells(self, partition: Partition) -> DecodedCells:
        found = self._get(("cells", partition))
        assert isinstance(found, DecodedCells)
        return found

    def triples(self, partition: Partition) -> DecodedTriples:
        found = self._get(("triples", partition))
        assert isinstance(found, DecodedTriples)
        return found

    def _get(self, key: Key) -> Decoded:
        with self._lock:
            pending, found = self._pending.get(key), self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
            leaving = self._make_room(key) if pending is None else []
        return pending.result() if pending is not None else self._load(key, leaving)

    def _make_room(self, key: Key) -> list[tuple[Key, Decoded]]:
        """Count a partition in, and take out what must go for it."""
        self._bytes += self._size(key)
        leaving = []
        while self._bytes > self._budget:
            last = next((one for one in reversed(self._kept) if one not in self._due), None)
            if last is None:
                break
            leaving.append((last, self._kept.pop(last)))
            self._bytes -= self._size(last)
        return leaving

    def _load(self, key: Key, leaving: list[tuple[Key, Decoded]]) -> Decoded:
        while leaving:  # first, so that memory never holds both
            self._disk.put(*leaving.pop())
        value = self._disk.get(key)
        if value is None:
            kind, (i, j) = key
            value = self._decode_cells(i, j) if kind == "cells" else self._decode_triples(i, j)
        with self._lock:
            self._pending.pop(key, None)
            fits = self._bytes <= self._budget
            if fits:
                self._kept[key] = value
            else:
                self._bytes -= self._size(key)
        if not fits:
            self._disk.put(key, value)
        return value

    def _size(self, key: Key) -> int:
        """Bytes of a partition when it is decoded; 0 for an empty one."""
        kind, (i, j) = key
        samples = self.dataset.manifest.samples(COOCCURRENCE if kind == "cells" else "triples/train", i, j)
        tiles = 2 * 8 * self.dataset.layout.tiles_per_shard**2 if kind == "cells" else 0
        return samples and samples * _SAMPLE_BYTES + tiles

    def _decode_cells(self, i: int, j: int) -> DecodedCells:
        cells, layout = self.dataset.cells(i, j), self.dataset.layout
        a, row = _split(cells.row, layout.tile_offsets[i])
        b, column = _split(cells.column, layout.tile_offsets[j])
        key = a * layout.tiles_per_shard + b
        first = np.flatnonzero(np.diff(key, prepend=-1))
        log_count, weight = weigh(cells.count, self._loss.x_max, self._loss.power)
        if len(np.unique(key[first])) != len(first):  # not written tile by tile: gather each tile's cells
            order = np.argsort(key, kind="stable")
            row, column, log_count, weight, key = row[order], column[order], log_count[order], weight[order], key[order]
            first = np.flatnonzero(np.diff(key, prepend=-1))
        tiles = np.zeros((layout.tiles_per_shard**2, 2), np.int64)
        tiles[key[first]] = np.stack([first, np.append(first[1:], len(key))], axis=1)
        shape = (layout.tiles_per_shard, layout.tiles_per_shard, 2)
        return DecodedCells(row, column, log_count, weight, tiles.reshape(shape))

    def _decode_triples(self, i: int, j: int) -> DecodedTriples:
        triples = self.dataset.triples(i, j)
        return DecodedTriples(*(x.astype(np.int32) for x in (triples.head, triples.relation, triples.tail)))


def _split(offsets: Offsets, tile_offsets: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
    """Offsets within a shard as (local tile, index within the tile). By tables: searching takes five times as long."""
    starts = tile_offsets.astype(np.int32)
    tile = np.repeat(np.arange(len(starts) - 1, dtype=np.int32), np.diff(starts)).take(offsets, mode="clip")
    return tile, (offsets - starts.take(tile, mode="clip")).astype(np.uint16)
