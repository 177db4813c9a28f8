"""A lane at work on a visit: a few whole waves of tiles, then the triples that are due, and so on.

All randomness comes from (seed, epoch, the visit's groups): who runs the lane, and beside whom, changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distjoint.arrays import Ints
from distjoint.backends.cpu.glove import TileCells, WaveTrainer, WordParts
from distjoint.config import Config
from distjoint.data.dataset import COOCCURRENCE
from distjoint.data.manifest import Manifest
from distjoint.data.types import Domains
from distjoint.errors import DivergedError
from distjoint.table.arena import NONE, Arena
from distjoint.table.parts import Scheme
from distjoint.train.batches import Batch, shuffled, subsampled
from distjoint.train.graph import GraphLoss
from distjoint.train.negatives import Known, Pool, Typed
from distjoint.train.rates import Rates
from distjoint.train.schedule import Partition, Visit
from distjoint.train.stream import Stream
from distjoint.train.tally import Agreement, Tally

BLOCK = 20_000_000
"""Triples shuffled together at most: larger visits are shuffled block by block, and their known answers not masked."""
_AGREEMENT_ROWS = 512
_AGREEMENT_EVERY = 16


@dataclass(frozen=True)
class Equipment:
    """What all lanes of a worker share.

    losses    the graph losses in force: on entities, and for `dual` on words
    degree    int64[rows], by row id: training triples of an entity; with none it serves as no negative
    domains   where entities may stand, where negatives are limited to that
    """

    config: Config
    scheme: Scheme
    manifest: Manifest
    arena: Arena
    stream: Stream
    waves: WaveTrainer
    losses: tuple[GraphLoss, ...]
    degree: Ints
    domains: Domains | None
    known_of_all: list[Known] = field(default_factory=list, init=False)
    """Of a visit that has all shards: the same from epoch to epoch."""

    @cached_property
    def held(self) -> dict[str, Tensor]:
        """In the place of the accumulators of what is frozen, infinite ones: a step divided by their root is zero."""
        parts = [part for part, name in (("W", "words"), ("C", "contexts")) if name in self.scheme.frozen]
        if not parts or not self.scheme.text:
            return {}
        endless = torch.full_like(self.arena.arrays["W.state"], math.inf)
        return {f"{part}{kind}": endless for part in parts for kind in (".state", ".bias.state")}


@dataclass(frozen=True)
class Planned:
    """What a graph loss will do with a batch.

    triples   that it takes; those of which one end is asked for count half
    train     does it, given the step size of rows, and returns the loss
    """

    triples: float
    train: Callable[[float], float]


def batches_of(visit: Visit, manifest: Manifest, config: Config) -> int:
    """Batches of triples of a visit, in one pass over them; known without reading any."""
    count = sum(math.ceil(_triples(block, manifest) / config.graph.batch) for block in _blocks(visit, manifest))
    return count if config.graph.candidates == "sampled" else 2 * count  # one end is asked for at a time


class Lane:
    """One visit, advanced in equal steps so that lanes of a round can meet at sync points.

    passes      over the visit's triples
    following   the lane's next visit and its epoch: what it begins with is read ahead
    """

    def __init__(
        self,
        equipment: Equipment,
        visit: Visit,
        epoch: int,
        tally: Tally,
        passes: int = 1,
        following: tuple[int, Visit] | None = None,
    ) -> None:
        self._on, self._visit, self._tally = equipment, visit, tally
        self._passes, self._following = passes, following
        self._text_rng, self._graph_rng = _rngs(equipment.config, epoch, visit)
        scheme, layout = equipment.scheme, equipment.manifest.layout
        self._waves_total = len(visit.shards) * layout.tiles_per_shard if scheme.text else 0
        self._batches_total = passes * batches_of(visit, equipment.manifest, equipment.config) if scheme.graph else 0
        self._waves, self._batches = self._all_waves(), self._planned()
        self._waves_done = self._batches_done = 0
        # Words start near zero, where the gradient of a cosine is huge: met then, it would fill the graph's
        # accumulators and stall it for good (SimLex of `dual` .36 instead of .5). So text goes first, once.
        self._text_first = epoch == 0 and visit.turn == 0 and scheme.coupling != "none"
        self._pools: tuple[Pool, ...] = self._negatives() if scheme.graph else ()
        self._agreement = self._shared_rows() if scheme.coupling != "none" else None

    def advance(self, step: int, steps: int, rates: Rates) -> None:
        """Do step `step` of `steps`: the waves that are due, then the batches that are due."""
        text_part, graph_part = step + 1, step + 1
        if self._text_first:
            text_part, graph_part = min(steps, 2 * text_part), max(0, 2 * graph_part - steps)
        waves = self._waves_total * text_part // steps - self._waves_done
        batches = self._batches_total * graph_part // steps - self._batches_done
        self._waves_done, self._batches_done = self._waves_done + waves, self._batches_done + batches
        watch = self._agreement if waves and batches and step % _AGREEMENT_EVERY == 0 else None
        if watch:
            watch.mark()
        self._train_text(waves, rates.text)
        if watch:
            watch.mark()
        self._train_graph(batches, rates.graph * self._on.config.graph.learning_rate)
        if watch:
            watch.mark()
            watch.add_to(self._tally)
        if step + 1 == steps:
            self._on.stream.release("cells", self._visit.partitions)
            self._on.stream.release("triples", self._visit.partitions)

    def _train_text(self, count: int, factor: float) -> None:
        start = time.perf_counter()
        for _ in range(count):
            tiles = next(self._waves)
            cost = self._on.waves.wave(self._parts, tiles, factor)
            if not math.isfinite(cost):
                raise DivergedError(self._diverged("text", self._waves_done, "text.learning_rate"))
            self._tally.text_loss += cost
            self._tally.cells += sum(len(tile.row) for tile in tiles)
        self._tally.text_seconds += time.perf_counter() - start

    def _train_graph(self, count: int, rate: float) -> None:
        start = time.perf_counter()
        for _ in range(count):
            planned = next(self._batches)
            loss, *_ = losses = [one.train(rate) for one in planned]
            if not all(map(math.isfinite, losses)):
                raise DivergedError(self._diverged("graph", self._batches_done, "graph.learning_rate"))
            self._tally.graph_loss += loss
            self._tally.triples += planned[0].triples
            self._tally.word_loss += sum(losses[1:])
            self._tally.word_triples += sum(one.triples for one in planned[1:])
        self._tally.graph_seconds += time.perf_counter() - start

    def _planned(self) -> Iterator[list[Planned]]:
        """Of each batch what the graph losses will do, made ready while the batch before it is trained.

        A plan begins when the one before is made, so what is drawn does not depend on when that is.
        """
        batches, begin = self._all_batches(), self._on.losses[0].kernels.begin

        def following() -> Callable[[], list[Planned]] | None:
            batch = next(batches, None)
            return None if batch is None else begin(self._plan, batch)

        plan = following()
        while plan is not None:
            planned, plan = plan(), following()
            yield planned

    def _plan(self, batch: Batch) -> list[Planned]:
        return [self._plan_one(which, batch) for which in range(len(self._on.losses))]

    def _plan_one(self, which: int, batch: Batch) -> Planned:
        """The second loss, on words, takes only triples whose two ends both have one."""
        if which == 1:
            words = self._on.arena.word_index
            batch = batch.select((words[batch.head] != NONE) & (words[batch.tail] != NONE))
        if not len(batch):
            return Planned(0.0, lambda _: 0.0)
        train = self._on.losses[which].plan(batch, self._pools[which], self._graph_rng)
        return Planned(len(batch) * batch.sides / 2, train)

    def _all_waves(self) -> Iterator[list[TileCells]]:
        """Waves of tiles: no two tiles of a wave share rows, nor columns.

        Diagonal by diagonal of partitions, each diagonal by diagonal of its tiles, in random order. So only
        one partition per shard must be in memory, and the next diagonal is read ahead.
        """
        layout, rng, arena, stream = self._on.manifest.layout, self._text_rng, self._on.arena, self._on.stream
        tiles, turns = layout.tiles_per_shard, _diagonals(self._visit, rng)
        for turn, following in zip(turns, [*turns[1:], self._first_cells()], strict=True):
            stream.read_ahead("cells", turn)
            stream.read_ahead("cells", following)
            decoded = [(i, j, stream.cells((i, j))) for i, j in turn if self._has_cells(i, j)]
            tile_rows, tile_columns = rng.permutation(tiles), rng.permutation(tiles)
            for shift in rng.permutation(tiles):
                pairs = list(zip(tile_rows.tolist(), np.roll(tile_columns, shift).tolist(), strict=True))
                wave = [
                    cells.tile(a, b, arena.word_base(i * tiles + a), arena.word_base(j * tiles + b))
                    for i, j, cells in decoded
                    for a, b in pairs
                ]
                yield [tile for tile in wave if tile is not None]
            stream.release("cells", turn)

    def _all_batches(self) -> Iterator[Batch]:
        """Triples of all the visit's partitions, shuffled together, pass after pass."""
        rng, size, stream = self._graph_rng, self._on.config.graph.batch, self._on.stream
        blocks = _blocks(self._visit, self._on.manifest) * self._passes
        for block, following in zip(blocks, [*blocks[1:], self._first_triples()], strict=True):
            stream.read_ahead("triples", block)
            triples = subsampled(self._read_triples(block), self._on.config.graph.subsampling)
            stream.release("triples", block)
            stream.read_ahead("triples", following)
            grouped = self._on.config.graph.candidates != "sampled"
            yield from shuffled(triples, size, grouped, rng)

    def _first_cells(self) -> list[Partition]:
        """What the next visit begins with."""
        if not self._following:
            return []
        epoch, visit = self._following
        return _diagonals(visit, _rngs(self._on.config, epoch, visit)[0])[0]

    def _first_triples(self) -> list[Partition]:
        blocks = _blocks(self._following[1], self._on.manifest) if self._following else []
        return blocks[0] if blocks else []

    def _negatives(self) -> tuple[Pool, Pool]:
        """What may serve as negatives: entities with a training triple; of those, the ones with a word."""
        arena, degree, own = self._on.arena, self._on.degree, self._on.config.graph
        ids = np.concatenate([arena.layout.rows_of(shard) for shard in self._visit.shards])
        rows = np.concatenate(
            [arena.base(shard) + np.arange(arena.layout.shard_rows(shard)) for shard in self._visit.shards]
        )
        known, type_of = self._known(), np.full(arena.rows, -1, np.int32)
        if self._on.domains:
            type_of[rows] = self._on.domains.type_of[ids]
        rows, weight = rows[degree[ids] > 0], degree[ids][degree[ids] > 0] ** own.power
        worded = arena.word_index[rows] != NONE

        def pool(which: NDArray[np.bool_] | slice) -> Pool:
            typed = Typed(self._on.domains, rows[which], weight[which], type_of) if self._on.domains else None
            return Pool(rows[which], np.cumsum(weight[which]) if own.power else None, typed, known)

        return pool(slice(None)), pool(worded)

    def _known(self) -> Known | None:
        """The right answers among the visit's shards, by other visits' triples too; None where nothing asks for them.

        Negatives are not masked where they would be too many to hold; what is drawn is then seldom one of them. Of
        kvsall they are the labels, where a batch does not have them all by itself.
        """
        graph, shards, kept = self._on.config.graph, self._visit.shards, self._on.known_of_all
        if kept:
            return kept[0]
        partitions = [p for p in product(shards, shards) if self._on.manifest.samples("triples/train", *p)]
        masked = graph.candidates == "sampled" and graph.mask_known
        masked = masked and _triples(partitions, self._on.manifest) <= BLOCK
        labels = graph.candidates == "kvsall" and _blocks(self._visit, self._on.manifest) != [partitions]
        if not partitions or not (masked or labels):
            return None
        self._on.stream.read_ahead("triples", partitions)
        known = Known(self._read_triples(partitions), self._on.arena.rows)
        self._on.stream.release("triples", partitions)
        if len(shards) == self._on.manifest.layout.shards:
            kept.append(known)
        return known

    def _read_triples(self, partitions: list[Partition]) -> Batch:
        arena, parts = self._on.arena, [(i, j, self._on.stream.triples((i, j))) for i, j in partitions]
        return Batch(
            np.concatenate([part.head + arena.base(i) for i, _, part in parts]),
            np.concatenate([part.relation for *_, part in parts]),
            np.concatenate([part.tail + arena.base(j) for _, j, part in parts]),
        )

    def _shared_rows(self) -> Agreement | None:
        arena, words = self._on.arena, self._pools[1].rows
        if not len(words):
            return None
        chosen = np.random.default_rng(0).choice(words, min(len(words), _AGREEMENT_ROWS), replace=False)
        places = torch.from_numpy(arena.word_index[chosen]).to(arena.device)
        return Agreement(arena.arrays["W"], arena.arrays["C"], places)

    @property
    def _parts(self) -> WordParts:
        arrays = self._on.arena.arrays
        names = ("W", "C", "W.bias", "C.bias", "W.state", "C.state", "W.bias.state", "C.bias.state")
        return WordParts(*(self._on.held.get(name, arrays[name]) for name in names))

    def _has_cells(self, i: int, j: int) -> bool:
        return self._on.manifest.samples(COOCCURRENCE, i, j) > 0

    def _diverged(self, stream: str, step: int, key: str) -> str:
        return (
            f"the {stream} loss is not a finite number (groups {self._visit.groups}, {self._where()}, step {step}); "
            f"the last checkpoint is kept; start a new run with a lower {key}"
        )

    def _where(self) -> str:
        """The first shard whose vectors are not finite, as the partition it was trained in."""
        for shard in self._visit.shards:
            for name, part in self._on.arena.views(shard).items():
                if not bool(part.isfinite().all()):
                    return f"partitions ({shard}, *), {name}"
        return "relations"


def _rngs(config: Config, epoch: int, visit: Visit) -> tuple[np.random.Generator, np.random.Generator]:
    """Of a visit's text and of its triples."""
    text, graph = np.random.SeedSequence([config.train.seed, epoch, visit.turn, *visit.groups]).spawn(2)
    return np.random.default_rng(text), np.random.default_rng(graph)


def _diagonals(visit: Visit, rng: np.random.Generator) -> list[list[Partition]]:
    """The visit's partitions of counts in turns, in which no shard comes twice as row, nor as column."""
    shards, due = np.array(visit.shards), set(visit.counted)
    rows, columns = rng.permutation(shards), rng.permutation(shards)
    return [
        [p for p in zip(rows.tolist(), np.roll(columns, turn).tolist(), strict=True) if p in due]
        for turn in rng.permutation(len(shards))
    ]


def _blocks(visit: Visit, manifest: Manifest) -> list[list[Partition]]:
    """The visit's partitions that hold triples, in runs of at most BLOCK triples."""
    blocks: list[list[Partition]] = []
    size = BLOCK
    for partition in visit.partitions:
        count = manifest.samples("triples/train", *partition)
        if not count:
            continue
        if size + count > BLOCK:
            blocks.append([])
            size = 0
        blocks[-1].append(partition)
        size += count
    return blocks


def _triples(block: list[Partition], manifest: Manifest) -> int:
    return sum(manifest.samples("triples/train", i, j) for i, j in block)
