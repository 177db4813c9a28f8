"""Co-occurrence counts: waves of tiles, trained by the GloVe loss."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distjoint.backends.base import TileCells, WordParts
from distjoint.base.arrays import Floats, Ints, Offsets
from distjoint.base.errors import DivergedError
from distjoint.config import Config
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.data.streams import COOCCURRENCE
from distjoint.model.text import initial_states, weigh
from distjoint.table.parts import Part
from distjoint.train.rates import Rates
from distjoint.train.schedule import Partition, Visit
from distjoint.train.sources.base import LaneVisit, Resources, Source, VisitWork
from distjoint.train.tally import Tally

_CELL_BYTES = 12


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
    log_count: Floats
    weight: Floats
    tiles: Ints

    def tile(self, a: int, b: int, row_base: int, column_base: int, partition: Partition) -> TileCells | None:
        """The cells between two tiles, or None where there are none."""
        start, stop = self.tiles[a, b].tolist()
        if start == stop:
            return None
        cells = slice(start, stop)
        columns = self.row[cells], self.column[cells], self.log_count[cells], self.weight[cells]
        return TileCells(*columns, row_base, column_base, partition)


class CellsDecoder:
    """Reads partitions of counts. config: x_max and power decide a cell's weight"""

    def __init__(self, dataset: Dataset, config: Config) -> None:
        self._dataset, self._loss = dataset, config.loss

    def bytes(self, partition: Partition) -> int:
        samples = self._dataset.manifest.samples(COOCCURRENCE, *partition)
        return samples and samples * _CELL_BYTES + 2 * 8 * self._dataset.layout.tiles_per_shard**2

    def decode(self, partition: Partition) -> DecodedCells:
        """Cells tile by tile, as `prepare` writes them; sorted into tiles where another program did not."""
        (i, j), layout = partition, self._dataset.layout
        cells = self._dataset.cells(i, j)
        a, row = _split(cells.row, layout.tile_offsets[i])
        b, column = _split(cells.column, layout.tile_offsets[j])
        key = a * layout.tiles_per_shard + b
        first = np.flatnonzero(np.diff(key, prepend=-1))
        log_count, weight = weigh(cells.count, self._loss.x_max, self._loss.power)
        if len(np.unique(key[first])) != len(first):
            order = np.argsort(key, kind="stable")
            row, column, log_count, weight, key = row[order], column[order], log_count[order], weight[order], key[order]
            first = np.flatnonzero(np.diff(key, prepend=-1))
        tiles = np.zeros((layout.tiles_per_shard**2, 2), np.int64)
        tiles[key[first]] = np.stack([first, np.append(first[1:], len(key))], axis=1)
        shape = (layout.tiles_per_shard, layout.tiles_per_shard, 2)
        return DecodedCells(row, column, log_count, weight, tiles.reshape(shape))


class CellSource(Source):
    """The text's source: GloVe on the words' vectors W and C."""

    name = "cells"
    title = "text"
    unit = "cells"
    digits = 5
    first = True
    compared = True
    spawn_key = 0

    @classmethod
    def trains(cls, scheme: Scheme) -> bool:
        return scheme.text

    @classmethod
    def parts(cls, scheme: Scheme) -> list[Part]:
        of_vector, of_bias = initial_states(scheme.config.text.learning_rate)
        biases = [Part("W.bias", "word", 0), Part("C.bias", "word", 0)]
        states = [Part(f"{name}.state", "word", 0, of_vector) for name in "WC"]
        states += [Part(f"{name}.bias.state", "word", 0, of_bias) for name in "WC"]
        return [Part("W", "word", scheme.dim), Part("C", "word", scheme.dim), *biases, *states]

    @classmethod
    def decoder(cls, dataset: Dataset, config: Config) -> CellsDecoder:
        return CellsDecoder(dataset, config)

    @classmethod
    def visit_samples(cls, scheme: Scheme, dataset: Dataset, visit: Visit, passes: int) -> int:
        return sum(dataset.manifest.samples(COOCCURRENCE, *partition) for partition in visit.counted)

    def visit(self, assigned: LaneVisit) -> CellsWork:
        return CellsWork(self.resources, assigned)

    def step_size(self, rates: Rates) -> float:
        return rates.text * self.resources.config.text.learning_rate


class CellsWork(VisitWork):
    """The waves of a visit."""

    name = CellSource.name
    key = "text.learning_rate"
    unit = "wave"

    def __init__(self, resources: Resources, assigned: LaneVisit) -> None:
        super().__init__(len(assigned.visit.shards) * resources.manifest.layout.tiles_per_shard, assigned)
        self._on = resources
        self._rng = CellSource.generator(resources.config, assigned.epoch, assigned.visit)
        self._waves = self._all_waves()
        arrays, frozen, none = resources.arena.arrays, resources.arena.frozen, torch.empty(0, dtype=torch.bool)
        names = ("W", "C", "W.bias", "C.bias", "W.state", "C.state", "W.bias.state", "C.bias.state")
        paces = [resources.arena.pace.get("word")] * 2
        self._parts = WordParts(*(arrays[name] for name in names), *(frozen.get(name, none) for name in "WC"), *paces)

    def do(self, count: int, rates: Rates, tally: Tally) -> None:
        start = time.perf_counter()
        for _ in range(count):
            tiles = next(self._waves)
            self.done += 1
            found = self._on.backend.wave(self._parts, tiles, rates.text)
            if found.failed is not None:
                raise DivergedError(self.message(self._culprit(tiles, *found.failed)), self.key)
            if isinstance(found.cost, Tensor):
                self.note(found.cost.isfinite())
            tally.add("text_loss", found.cost)
            tally.add("text_squares", found.squares)
            tally.add("cells", sum(len(tile.row) for tile in tiles))
        tally.add("text_seconds", time.perf_counter() - start)

    def release(self) -> None:
        self._on.stream.release(CellSource.name, self.assigned.visit.partitions)

    def _all_waves(self) -> Iterator[list[TileCells]]:
        """Waves of tiles: no two tiles of a wave share rows, nor columns.

        Diagonal by diagonal of partitions, each diagonal by diagonal of its tiles, in random order. So only
        one partition per shard must be in memory, and the next diagonal is read ahead.
        """
        rng, arena, stream = self._rng, self._on.arena, self._on.stream
        tiles, diagonals = arena.layout.tiles_per_shard, _diagonals(self.assigned.visit, rng)
        for diagonal, following in zip(diagonals, [*diagonals[1:], self._coming()], strict=True):
            stream.read_ahead(CellSource.name, diagonal)
            stream.read_ahead(CellSource.name, following)
            decoded: list[tuple[int, int, DecodedCells]] = [
                (i, j, stream.get(CellSource.name, (i, j)))
                for i, j in diagonal
                if self._on.manifest.samples(COOCCURRENCE, i, j)
            ]
            tile_rows, tile_columns = rng.permutation(tiles), rng.permutation(tiles)
            for shift in rng.permutation(tiles):
                pairs = list(zip(tile_rows.tolist(), np.roll(tile_columns, shift).tolist(), strict=True))
                wave = [
                    cells.tile(a, b, arena.word_base(i * tiles + a), arena.word_base(j * tiles + b), (i, j))
                    for i, j, cells in decoded
                    for a, b in pairs
                ]
                yield [tile for tile in wave if tile is not None]
            stream.release(CellSource.name, diagonal)

    def _coming(self) -> list[Partition]:
        """What the lane's next visit begins with."""
        if not self.assigned.following:
            return []
        epoch, visit = self.assigned.following
        return _diagonals(visit, CellSource.generator(self._on.config, epoch, visit))[0]

    def _culprit(self, tiles: list[TileCells], tile: int, cell: int) -> str:
        """The cell that failed, and what of it is not finite."""
        found = tiles[tile]
        i, j = found.row_base + int(found.row[cell]), found.column_base + int(found.column[cell])
        parts = self._parts
        values = (("W", parts.W[i]), ("W.bias", parts.W_bias[i]), ("C", parts.C[j]), ("C.bias", parts.C_bias[j]))
        bad = [name for name, value in values if not bool(value.isfinite().all())]
        words = self._on.dataset.rows(["word"]).column("word")
        names = [words[self._row_id(place)].as_py() for place in (i, j)]
        reason = f"{' and '.join(bad)} of it are not finite" if bad else "the vectors are finite, their product is not"
        where = f"partition {found.partition}, wave {self.done} of {self.units}"
        return f"{where}, cell '{names[0]}' with '{names[1]}': {reason}"

    def _row_id(self, place: int) -> int:
        """Row id of a place in W and C."""
        arena = self._on.arena
        row = int((arena.word_index[:-1] == place).nonzero()[0])
        return arena.row_id(row)


def _diagonals(visit: Visit, rng: np.random.Generator) -> list[list[Partition]]:
    """The visit's partitions of counts in diagonals, in which no shard comes twice as row, nor as column."""
    shards, due = np.array(visit.shards), set(visit.counted)
    rows, columns = rng.permutation(shards), rng.permutation(shards)
    return [
        [p for p in zip(rows.tolist(), np.roll(columns, shift).tolist(), strict=True) if p in due]
        for shift in rng.permutation(len(shards))
    ]


def _split(offsets: Offsets, tile_offsets: Ints) -> tuple[Offsets, NDArray[np.uint16]]:
    """Offsets within a shard as (local tile, index within the tile). By tables: searching takes five times as long."""
    starts = tile_offsets.astype(np.int32)
    tile = np.repeat(np.arange(len(starts) - 1, dtype=np.int32), np.diff(starts)).take(offsets, mode="clip")
    return tile, (offsets - starts.take(tile, mode="clip")).astype(np.uint16)
