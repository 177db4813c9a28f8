"""From storage to the lanes: partitions read ahead, decoded once, and kept while they fit.

Decoding Parquet costs a third of what training a cell does, so a decoded partition stays in memory up to a
budget; beyond it the one used longest ago goes, and comes back from storage in the next epoch.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from distjoint.config import Loss
from distjoint.data.dataset import Dataset
from distjoint.kernels.glove import TileCells, weigh
from distjoint.machine import memory

Partition = tuple[int, int]
Offsets = NDArray[np.int32]

_SHARE_OF_MEMORY = 0.4


@dataclass(frozen=True)
class TilePair:
    """Where the cells between two tiles lie within their decoded partition."""

    start: int
    stop: int


@dataclass(frozen=True)
class DecodedCells:
    """A partition of counts, ready for the kernel.

    row, column          uint16[n]: index within the tile
    log_count, weight    float32[n]
    tiles                (local row tile, local column tile) to its cells
    """

    row: NDArray[np.uint16]
    column: NDArray[np.uint16]
    log_count: NDArray[np.float32]
    weight: NDArray[np.float32]
    tiles: dict[Partition, TilePair]

    def tile(self, a: int, b: int, row_base: int, column_base: int) -> TileCells | None:
        """The cells between two tiles, or None where there are none."""
        pair = self.tiles.get((a, b))
        if pair is None:
            return None
        cut = slice(pair.start, pair.stop)
        return TileCells(self.row[cut], self.column[cut], self.log_count[cut], self.weight[cut], row_base, column_base)

    @property
    def nbytes(self) -> int:
        return self.row.nbytes + self.column.nbytes + self.log_count.nbytes + self.weight.nbytes


@dataclass(frozen=True)
class DecodedTriples:
    """A partition of training triples: offsets within the shards, and relation ids; int32[n] each."""

    head: Offsets
    relation: Offsets
    tail: Offsets

    @property
    def nbytes(self) -> int:
        return self.head.nbytes + self.relation.nbytes + self.tail.nbytes


_Decoded = TypeVar("_Decoded", DecodedCells, DecodedTriples)


class Stream:
    """Decoded partitions of a dataset.

    loss      GloVe's x_max and power, which decide a cell's weight
    budget    bytes of decoded partitions to keep; by default two fifths of the machine's memory / `workers`
    threads   threads that read and decode
    """

    def __init__(
        self, dataset: Dataset, loss: Loss, threads: int = 2, budget: int | None = None, workers: int = 1
    ) -> None:
        self.dataset, self._loss = dataset, loss
        self._budget = budget if budget is not None else int(_SHARE_OF_MEMORY * memory() / workers)
        self._kept: OrderedDict[tuple[str, Partition], DecodedCells | DecodedTriples] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._pending: dict[Partition, Future[DecodedCells]] = {}
        self._pool = ThreadPoolExecutor(threads, "read")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read_ahead(self, partitions: Iterable[Partition]) -> None:
        """Start to read partitions of counts that will soon be asked for."""
        for partition in partitions:
            if ("cells", partition) not in self._kept and partition not in self._pending:
                self._pending[partition] = self._pool.submit(self._decode_cells, *partition)

    def cells(self, partition: Partition) -> DecodedCells:
        pending = self._pending.pop(partition, None)
        if pending is not None:
            return self._keep(("cells", partition), pending.result())
        return self._get(("cells", partition), lambda: self._decode_cells(*partition))

    def triples(self, partition: Partition) -> DecodedTriples:
        return self._get(("triples", partition), lambda: self._decode_triples(*partition))

    def _get(self, key: tuple[str, Partition], decode: Callable[[], _Decoded]) -> _Decoded:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found  # type: ignore[return-value]
        return self._keep(key, decode())

    def _keep(self, key: tuple[str, Partition], value: _Decoded) -> _Decoded:
        with self._lock:
            if value.nbytes <= self._budget and key not in self._kept:
                self._kept[key] = value
                self._bytes += value.nbytes
            while self._bytes > self._budget:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return value

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
        stops = np.append(first[1:], len(key))
        tiles = {
            divmod(int(key[start]), layout.tiles_per_shard): TilePair(int(start), int(stop))
            for start, stop in zip(first, stops, strict=True)
        }
        return DecodedCells(row, column, log_count, weight, tiles)

    def _decode_triples(self, i: int, j: int) -> DecodedTriples:
        triples = self.dataset.triples(i, j)
        return DecodedTriples(*(x.astype(np.int32) for x in (triples.head, triples.relation, triples.tail)))


def _split(offsets: Offsets, tile_offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """Offsets within a shard as (local tile, index within the tile)."""
    tile = np.searchsorted(tile_offsets, offsets, side="right") - 1
    return tile, (offsets - tile_offsets[tile]).astype(np.uint16)
