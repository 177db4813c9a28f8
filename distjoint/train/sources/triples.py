"""Training triples: batches of them, trained by the graph losses of the coupling."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from distjoint.backends.base import NotFiniteError
from distjoint.base.arrays import Bools, Floats, Ints, Offsets
from distjoint.base.errors import DivergedError
from distjoint.config import Config
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.data.manifest import Manifest
from distjoint.data.types import Domains
from distjoint.table.parts import Part
from distjoint.train.batches import Batch, shuffled, subsampled
from distjoint.train.candidates import CandidateStrategy, Step, candidates_of
from distjoint.train.failure import offending_triple
from distjoint.train.known import KnownPositives
from distjoint.train.negatives import Pool, sampler_of
from distjoint.train.rates import Rates
from distjoint.train.schedule import Partition, Visit
from distjoint.train.sources.base import LaneVisit, Resources, Source, VisitWork
from distjoint.train.tally import Tally
from distjoint.train.terms import TermTrainer

STREAM = "triples/train"
BLOCK = 20_000_000
"""Triples shuffled together at most: larger visits are shuffled block by block, without masks of known positives."""
_TRIPLE_BYTES = 12
_WEIGHT_BYTES = 4
_ROW_BYTES, _POOL_BYTES, _KNOWN_BYTES, _ORDER_BYTES = 32, 48, 100, 32
"""Scratch for each row of a visit, each entity among them, each known positive, and each triple shuffled together."""


@dataclass(frozen=True)
class DecodedTriples:
    """A partition of training triples: offsets within the shards, and relation ids; int32[n] each.

    weight   float32[n]; empty where each weighs 1
    """

    head: Offsets
    relation: Offsets
    tail: Offsets
    weight: Floats


class TriplesDecoder:
    """Reads partitions of training triples."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def bytes(self, partition: Partition) -> int:
        size = _TRIPLE_BYTES + _WEIGHT_BYTES * self._dataset.is_weighted
        return self._dataset.manifest.samples(STREAM, *partition) * size

    def decode(self, partition: Partition) -> DecodedTriples:
        triples = self._dataset.triples(*partition)
        weight = np.empty(0, np.float32) if triples.weight is None else triples.weight.copy()
        head, relation, tail = (x.astype(np.int32) for x in (triples.head, triples.relation, triples.tail))
        return DecodedTriples(head, relation, tail, weight)


class TripleSource(Source):
    """The graph's source."""

    name = "triples"
    title = "graph"
    unit = "triples"
    compared = True
    spawn_key = 1

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        config, arena, dense = resources.config, resources.arena, resources.dense
        terms = resources.scheme.coupling.terms(config, arena, resources.backend, dense.values)
        kind = candidates_of(config.graph.candidates)
        self.losses: tuple[CandidateStrategy, ...] = tuple(
            kind(TermTrainer(config, term, resources.backend, dense, arena.rows)) for term in terms
        )
        self.domains: Domains | None = resources.dataset.domains() if config.graph.typed else None
        self.known_of_all: list[KnownPositives] = []
        """Of a visit that has all shards: the same from epoch to epoch."""

    @classmethod
    def trains(cls, scheme: Scheme) -> bool:
        return scheme.graph

    @classmethod
    def parts(cls, scheme: Scheme) -> list[Part]:
        of_words = scheme.state("word.graph_", "word") if scheme.coupling.reads_words else []
        return [*of_words, Part("X", "entity", scheme.dim), *scheme.state("X.", "entity")]

    @classmethod
    def decoder(cls, dataset: Dataset, config: Config) -> TriplesDecoder:
        return TriplesDecoder(dataset)

    @classmethod
    def visit_samples(cls, scheme: Scheme, dataset: Dataset, visit: Visit, passes: int) -> int:
        return passes * _triples(list(visit.partitions), dataset.manifest)

    @classmethod
    def working_bytes(cls, scheme: Scheme, manifest: Manifest, visit: Visit) -> int:
        """Pools of candidates, known positives, the order of a block of triples, and steps."""
        config, layout = scheme.config, manifest.layout
        kind, blocks = candidates_of(config.graph.candidates), blocks_of(visit, manifest)
        rows = sum(layout.shard_rows(shard) for shard in visit.shards)
        entities = sum(layout.shard_entities(shard) for shard in visit.shards)
        block = max((_triples(block, manifest) for block in blocks), default=0)
        known = sum(manifest.samples(STREAM, *p) for p in product(visit.shards, visit.shards))
        if not kind.needs_known(config.graph.mask_known, known <= BLOCK, False):
            known = 0
        return (
            _ROW_BYTES * rows
            + _POOL_BYTES * entities
            + _KNOWN_BYTES * known
            + _ORDER_BYTES * block
            + kind.step_bytes(config, entities)
        )

    @property
    def sums(self) -> tuple[str, ...]:
        names = [one.trainer.term.name for one in self.losses]
        by_term = [f"{name}_{what}" for name in names for what in ("loss", "squares", "batches")]
        return (*by_term, "triples", *(f"{name}_triples" for name in names[1:]), "graph_seconds")

    def visit(self, assigned: LaneVisit) -> TriplesWork:
        return TriplesWork(self, assigned)

    @classmethod
    def batches_of(cls, scheme: Scheme, manifest: Manifest, visit: Visit) -> int:
        """Batches of triples of a visit, in one pass over them."""
        graph = scheme.config.graph
        count = sum(math.ceil(_triples(block, manifest) / graph.batch) for block in blocks_of(visit, manifest))
        return 2 * count if candidates_of(graph.candidates).one_end else count

    def metrics(self, sums: Mapping[str, float], workers: int) -> dict[str, float]:
        count = sums["triples"]
        if not count:
            return {}
        found = {"graph_loss": sums["graph_loss"] / count, "triples": count}
        found["triples_per_second"] = count * workers / max(sums["graph_seconds"], 1e-9)
        for name in (one.trainer.term.name for one in self.losses[1:]):
            if sums[f"{name}_triples"]:
                found[f"{name}_graph_loss"] = sums[f"{name}_loss"] / sums[f"{name}_triples"]
        for name in (one.trainer.term.name for one in self.losses):
            if sums[f"{name}_batches"]:
                norm = math.sqrt(sums[f"{name}_squares"] / sums[f"{name}_batches"])
                found["graph_gradient_norm" if name == "graph" else f"{name}_graph_gradient_norm"] = norm
        return found

    @classmethod
    def epoch_words(cls, metrics: Mapping[str, Any]) -> list[str]:
        others = [key for key in metrics if key.endswith("_graph_loss")]
        of_others = [f"on {key.removesuffix('_graph_loss')}s {metrics[key]:.3f}" for key in others]
        return [*super().epoch_words(metrics), *of_others]


@dataclass(frozen=True)
class PlannedBatch:
    """A batch, and for each graph loss the triples it takes (those queried at one end count half) and their step."""

    batch: Batch
    steps: tuple[tuple[float, Step | None], ...]


class TriplesWork(VisitWork):
    """The batches of a visit."""

    name = TripleSource.name
    key = "graph.learning_rate"

    def __init__(self, source: TripleSource, assigned: LaneVisit) -> None:
        super().__init__(assigned.passes * source.batches(assigned.visit), assigned)
        self._source, self._on = source, source.resources
        self._rng = TripleSource.generator(self._on.config, assigned.epoch, assigned.visit)
        self._random = self._on.backend.random(self._rng)
        self._pools = self._make_pools()
        self._planned = self._plans()

    def do(self, count: int, rates: Rates, tally: Tally) -> None:
        start, rate = time.perf_counter(), self._source.step_size(rates)
        for _ in range(count):
            planned = next(self._planned)
            self.done += 1
            for loss, (triples, step) in zip(self._source.losses, planned.steps, strict=True):
                if step is None:
                    continue
                name = loss.trainer.term.name
                try:
                    found = step(rate)
                except NotFiniteError:
                    culprit = offending_triple(loss.trainer, planned.batch, self._on.arena, self._on.dataset)
                    where = f"batch {self.done} of {self.units}, {culprit}"
                    raise DivergedError(self.message(where), self.key) from None
                if found.allowed is not None:
                    self.note(found.allowed)
                tally.add(f"{name}_loss", found.loss)
                tally.add(f"{name}_squares", found.squares)
                tally.add(f"{name}_batches", 1)
                tally.add("triples" if loss is self._source.losses[0] else f"{name}_triples", triples)
        tally.add("graph_seconds", time.perf_counter() - start)

    def release(self) -> None:
        self._on.stream.release(TripleSource.name, self.assigned.visit.partitions)

    def _plans(self) -> Iterator[PlannedBatch]:
        """Batches made ready, each while the one before it is trained.

        A plan begins when the one before is made, so what is drawn does not depend on when that is.
        """
        batches, begin = self._all_batches(), self._on.backend.begin

        def following() -> Callable[[], PlannedBatch] | None:
            batch = next(batches, None)
            return None if batch is None else begin(self._plan, batch)

        plan = following()
        while plan is not None:
            planned, plan = plan(), following()
            yield planned

    def _plan(self, batch: Batch) -> PlannedBatch:
        steps = []
        for loss, pool in zip(self._source.losses, self._pools, strict=True):
            chosen = batch
            if loss.trainer.term.worded:
                chosen = batch.select(self._worded(batch.head) & self._worded(batch.tail))
            step = loss.plan(chosen, pool, self._random) if len(chosen) else None
            steps.append((len(chosen) * chosen.sides / 2, step))
        return PlannedBatch(batch, tuple(steps))

    def _all_batches(self) -> Iterator[Batch]:
        """Triples of all the visit's partitions, shuffled together, pass after pass."""
        config, stream = self._on.config.graph, self._on.stream
        blocks = blocks_of(self.assigned.visit, self._on.manifest) * self.assigned.passes
        for block, following in zip(blocks, [*blocks[1:], self._coming()], strict=True):
            stream.read_ahead(TripleSource.name, block)
            triples = subsampled(self._read(block), config.subsampling)
            stream.release(TripleSource.name, block)
            stream.read_ahead(TripleSource.name, following)
            yield from shuffled(triples, config.batch, self._source.losses[0].one_end, self._rng)

    def _coming(self) -> list[Partition]:
        """What the lane's next visit begins with."""
        blocks = blocks_of(self.assigned.following[1], self._on.manifest) if self.assigned.following else []
        return blocks[0] if blocks else []

    def _make_pools(self) -> list[Pool]:
        """For each graph loss, what may serve as negatives: entities with a training triple, or those with a word."""
        arena, config, domains = self._on.arena, self._on.config.graph, self._source.domains
        (rows, ids), known = self._on.trained_rows(self.assigned.visit), self._known()
        weight = self._on.degree[ids].astype(np.float64) ** config.power
        type_of = np.full(arena.rows, -1, np.int64)
        if domains:
            for shard in self.assigned.visit.shards:
                here = arena.layout.rows_of(shard)
                type_of[arena.base(shard) + np.arange(len(here))] = domains.type_of[here]

        def pool(chosen: Bools) -> Pool:
            wanted = weight[chosen] if config.power or domains else None
            return Pool(rows[chosen], sampler_of(rows[chosen], wanted, domains, type_of, self._on.backend), known)

        every, worded = np.ones(len(rows), np.bool_), self._worded(rows)
        return [pool(worded if loss.trainer.term.worded else every) for loss in self._source.losses]

    def _known(self) -> KnownPositives | None:
        """The training triples among the visit's shards, by other visits too; None where nothing needs them.

        Negatives are not masked where they would be too many to hold; what is drawn is then seldom one of them.
        """
        shards, kept, manifest = self.assigned.visit.shards, self._source.known_of_all, self._on.manifest
        if kept:
            return kept[0]
        partitions = [p for p in product(shards, shards) if manifest.samples(STREAM, *p)]
        few = _triples(partitions, manifest) <= BLOCK
        complete = blocks_of(self.assigned.visit, manifest) == [partitions]
        if not partitions or not self._source.losses[0].needs_known(self._on.config.graph.mask_known, few, complete):
            return None
        self._on.stream.read_ahead(TripleSource.name, partitions)
        known = KnownPositives(self._read(partitions), self._on.arena.rows, self._on.backend)
        self._on.stream.release(TripleSource.name, partitions)
        if len(shards) == manifest.layout.shards:
            kept.append(known)
        return known

    def _read(self, partitions: list[Partition]) -> Batch:
        arena, stream = self._on.arena, self._on.stream
        parts = [(i, j, stream.get(TripleSource.name, (i, j))) for i, j in partitions]
        return Batch(
            np.concatenate([part.head + arena.base(i) for i, _, part in parts]),
            np.concatenate([part.relation for *_, part in parts]),
            np.concatenate([part.tail + arena.base(j) for _, j, part in parts]),
            weight=np.concatenate([part.weight for *_, part in parts]) if self._on.dataset.is_weighted else None,
        )

    def _worded(self, rows: Ints) -> Bools:
        """bool[n]: which arena rows have a word; by the layout, which the host knows."""
        return self._on.arena.has_word[rows]


def blocks_of(visit: Visit, manifest: Manifest) -> list[list[Partition]]:
    """The visit's partitions that hold triples, in runs of at most BLOCK triples."""
    blocks: list[list[Partition]] = []
    size = BLOCK
    for partition in visit.partitions:
        count = manifest.samples(STREAM, *partition)
        if not count:
            continue
        if size + count > BLOCK:
            blocks.append([])
            size = 0
        blocks[-1].append(partition)
        size += count
    return blocks


def _triples(block: list[Partition], manifest: Manifest) -> int:
    return sum(manifest.samples(STREAM, i, j) for i, j in block)
