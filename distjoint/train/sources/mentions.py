"""Mentions: entities read their text, and the graph's gradient goes back to the words.

A refresh sums up the words of each entity's mentions, as they are by now; between two, the gradient of text vectors is
summed where the entities lie (`OwnAndText`). The next refresh hands it on to the words and to the map, one step each.

With all rows resident a refresh is done at once. Where shards rotate it takes the visits of all pairs of groups: each
adds what the words of one shard say of the entities of another to `T.next`, and hands on to those words their share of
`T.before`, the gradient of the round of visits before. What was read becomes T when a shard's next round begins.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.base import Bags
from distjoint.base.arrays import Floats, Ints
from distjoint.base.errors import UsageError
from distjoint.base.progress import short
from distjoint.config import Config
from distjoint.couplings.base import MAP
from distjoint.couplings.described import READ
from distjoint.couplings.scheme import RESIDUAL, Scheme, spread_of
from distjoint.couplings.views import Word
from distjoint.data.dataset import Dataset
from distjoint.data.manifest import Manifest
from distjoint.data.streams import MENTIONS
from distjoint.table.arena import places_among
from distjoint.table.parts import Part, Shard
from distjoint.train.rates import Rates
from distjoint.train.reading import MentionTables, UnitWords, give_back, read_text
from distjoint.train.schedule import Partition, Visit
from distjoint.train.sources.base import LaneVisit, Resources, Source, VisitWork
from distjoint.train.sources.pulls import DecodedPulls, PullDecoder
from distjoint.train.tally import Tally

ROUND = "T.round"
"""Part that says which round of visits a shard is in."""
_MENTION_BYTES = 60
"""Of a mention in tables by entity and by word, while these are made."""
_MOST_REPEATS = 1 << 12
"""Rounds of visits between all groups that an epoch may have, so that each of the run has a number of its own."""


class MentionSource(Source):
    """The source of what is said of entities."""

    name = "mentions"
    title = "mentions"
    unit = "mentions"

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        self._kept: MentionTables | None = None

    @classmethod
    def check(cls, scheme: Scheme, dataset: Dataset) -> None:
        if MENTIONS not in dataset.manifest.streams:
            raise UsageError(
                f"{dataset.folder}: nothing is said of entities in it, which coupling {scheme.coupling.name} reads; "
                "prepare it with --descriptions or --labels"
            )
        if scheme.coupling.fields > 1 and not dataset.tells_names:
            raise UsageError(
                f"{dataset.folder}: its mentions do not tell names from descriptions, as coupling "
                f"{scheme.coupling.name} reads them; prepare it anew, or set model.coupling to described"
            )

    @classmethod
    def parts(cls, scheme: Scheme) -> list[Part]:
        names = ("T", "T.gradient", *(("T.next", "T.before") if scheme.rotates else ()))
        of_words = [Part(READ, "word", scheme.dim), *scheme.state(f"{READ}.", "word")]
        of_entities = [Part(name, "entity", scheme.dim * scheme.coupling.fields, made=True) for name in names]
        return [*of_words, *of_entities, *([Part(ROUND, "entity", 0, made=True)] * scheme.rotates)]

    @classmethod
    def decoder(cls, dataset: Dataset, config: Config) -> PullDecoder:
        return PullDecoder(dataset, MENTIONS, ("entity", "word", "weight"), "named" if dataset.tells_names else None)

    @classmethod
    def visit_samples(cls, scheme: Scheme, dataset: Dataset, visit: Visit, passes: int) -> int:
        refreshes = 1 if scheme.rotates else 1 + passes * scheme.config.graph.refreshes
        return refreshes * sum(dataset.manifest.samples(MENTIONS, *partition) for partition in visit.partitions)

    @classmethod
    def working_bytes(cls, scheme: Scheme, manifest: Manifest, visit: Visit) -> int:
        """Mentions by entity and by word, the gradient of texts, words as they are read and theirs."""
        layout = manifest.layout
        mentions = sum(manifest.samples(MENTIONS, *partition) for partition in visit.partitions)
        entities = sum(layout.shard_entities(shard) for shard in visit.shards)
        words = sum(layout.shard_words(shard) for shard in visit.shards)
        return _MENTION_BYTES * mentions + 4 * scheme.dim * (2 * entities + 4 * words)

    @property
    def sums(self) -> tuple[str, ...]:
        return ("refreshes", "mentions_squares", "mentions", "mentions_seconds")

    def visit(self, assigned: LaneVisit) -> MentionWork:
        return (RotatingReading if self.resources.scheme.rotates else Reading)(self, assigned)

    def metrics(self, sums: Mapping[str, float], workers: int) -> dict[str, float]:
        count = sums["refreshes"]
        if not count:
            return {}
        return {
            "refreshes": count,
            "mentions": sums["mentions"],
            "mentions_per_second": sums["mentions"] * workers / max(sums["mentions_seconds"], 1e-9),
            "mentions_gradient_norm": math.sqrt(sums["mentions_squares"] / count),
        }

    @classmethod
    def epoch_words(cls, metrics: Mapping[str, Any]) -> list[str]:
        if "refreshes" not in metrics:
            return []
        return [f"text read {metrics['refreshes']:.0f} times ({short(metrics['mentions_per_second'])} mentions/s)"]

    @cached_property
    def maps_nothing(self) -> bool:
        """Whether the map is the identity; it is looked at once, for those that do not learn it."""
        map_ = self.resources.dense.values[MAP]
        return torch.equal(map_, torch.eye(len(map_), device=map_.device))

    def read(self, visit: Visit) -> MentionTables:
        """The mentions that a visit has."""
        on = self.resources
        if self._kept is not None:
            return self._kept
        partitions = sorted(p for p in visit.partitions if on.manifest.samples(MENTIONS, *p))
        on.stream.read_ahead(self.name, partitions)
        found = self._tables(sorted(visit.shards), [(p, on.stream.get(self.name, p)) for p in partitions])
        on.stream.release(self.name, partitions)
        if not on.scheme.rotates:
            self._kept = found
        return found

    def _tables(self, shards: list[int], decoded: list[tuple[Partition, DecodedPulls]]) -> MentionTables:
        arena, backend, layout = self.resources.arena, self.resources.backend, self.resources.manifest.layout
        entities, words, grams = (
            np.concatenate([arena.base(shard) + np.flatnonzero(has(shard)) for shard in shards])
            for has in (layout.has_entity, layout.has_word, layout.has_gram)
        )
        number_of_entity, number_of_word = (places_among(rows, arena.rows) for rows in (entities, words))
        fields = self.resources.scheme.coupling.fields
        none, nothing = np.empty(0, np.int64), np.empty(0, np.float32)
        entity = np.concatenate([none, *(number_of_entity[part.first + arena.base(i)] for (i, _), part in decoded)])
        word = np.concatenate([none, *(number_of_word[part.second + arena.base(j)] for (_, j), part in decoded)])
        weight = np.concatenate([nothing, *(part.weight for _, part in decoded)])
        described = np.bincount(entity, minlength=len(entities)) > 0
        text = entity
        if fields > 1:
            named = np.concatenate([nothing, *(part.also for _, part in decoded if part.also is not None)])
            text, word, weight = _by_field(entity, word, weight, named)

        def bags(of: Ints, index: Ints, count: int) -> Bags:
            order = np.argsort(of, kind="stable")
            index = index.astype(np.int32 if len(index) < 1 << 31 else np.int64)
            starts = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=count))])
            return Bags(*(backend.tensor(array) for array in (starts, index[order], weight[order])))

        rows_of_entities, rows_of_words = backend.tensor(entities), backend.tensor(words)
        places = arena.entity_index[rows_of_entities]
        return MentionTables(
            bags(text, word, fields * len(entities)),
            bags(word, text, len(words)),
            places,
            (places[:, None] * fields + torch.arange(fields, device=places.device)).flatten(),
            rows_of_words,
            arena.word_index[rows_of_words],
            backend.tensor(np.flatnonzero(~np.isin(words, grams))),
            backend.tensor(described & ~arena.has_word[entities]),
        )


class MentionWork(VisitWork, ABC):
    """The refreshes of a visit, or its part in one."""

    name = MentionSource.name
    key = "graph.learning_rate"
    unit = "refresh"
    learns_map: ClassVar[bool] = True

    def __init__(self, units: int, source: MentionSource, assigned: LaneVisit) -> None:
        super().__init__(units, assigned)
        self._left = iter(range(units))
        self._source, self._on, self._tables = source, source.resources, source.read(assigned.visit)
        self._word = Word(self._on.arena, self._on.backend, self._on.scheme.optimizer)
        arrays, state = self._on.arena.arrays, self._on.scheme.optimizer.state(self._on.scheme.dim)
        self._read_part, self._read_state = arrays[READ], {name: arrays[f"{READ}.{name}"] for name in state}
        self._begins = assigned.epoch == assigned.visit.repeat == 0

    def due(self, share: int, steps: int) -> int:
        """The first refresh goes before all triples."""
        return (1 + (self.units - 1) * share // steps if share else 0) - self.done

    def do(self, count: int, rates: Rates, tally: Tally) -> None:
        start = time.perf_counter()
        for _ in range(count):
            next(self._left)
            tally.add("mentions_squares", self._refresh(self._source.step_size(rates)))
            self.done += 1
            tally.add("refreshes", 1)
            tally.add("mentions", self._tables.mentions)
        tally.add("mentions_seconds", time.perf_counter() - start)

    @abstractmethod
    def _refresh(self, rate: float) -> float | Tensor:
        """One refresh; returns the squares of the gradient that it handed on."""

    def release(self) -> None:
        return None

    def _shrink(self, own: Tensor, described: Tensor) -> None:
        """X of entities that have text begins near zero; beside a word it does already."""
        if not self._on.config.train.init and not self._on.scheme.carries:
            own.mul_(torch.where(described, RESIDUAL / spread_of(self._on.config), 1.0)[:, None])

    def _words(self) -> UnitWords:
        return UnitWords(self._on.arena.arrays, self._tables)

    def _read(self, target: str, add: bool) -> None:
        """What the words as they are say of entities, by the map; it replaces a part or is added to it."""
        on = self._on
        read_text(on.backend, self._words(), self._map(), self._tables, self._texts(target), add)

    def _texts(self, part: str) -> Tensor:
        """A part of entities, text by text: float32[places * fields, dim]."""
        return self._on.arena.arrays[part].view(-1, self._on.scheme.dim)

    def _map(self) -> Tensor | None:
        """The map from words to entities; None where it is the identity, and stays that."""
        return None if not self.learns_map and self._source.maps_nothing else self._on.dense.values[MAP]

    def _give_back(self, source: str, rate: float) -> Tensor:
        """Hand a gradient of T on to the map and the words, which take a step; returns its squares."""
        on, tables = self._on, self._tables
        gradient = self._texts(source).index_select(0, tables.texts)
        squares = gradient.square().sum()
        allowed = self.look(on.backend, f"{self.unit} {self.done + 1} of {self.units}", squares)
        of_map = on.dense.gradients[MAP] if self.learns_map else None
        self._step(give_back(on.backend, gradient, self._words(), self._map(), tables, of_map), rate, allowed)
        return squares

    def _free(self, allowed: Tensor | None) -> Tensor | None:
        """Words whose R may step. allowed: bool[]; None for all"""
        frozen = self._on.arena.frozen.get(READ)
        if frozen is None:
            return allowed
        free = ~frozen[self._tables.places]
        return free if allowed is None else free & allowed

    def _step(self, of_words: Tensor, rate: float, allowed: Tensor | None) -> None:
        """Step words, and what entities read in them besides, against the gradient of their sum."""
        graph, backend, optimizer, tables = (
            self._on.config.graph,
            self._on.backend,
            self._on.scheme.optimizer,
            self._tables,
        )
        if into := rate * graph.into_reading:
            gradient = of_words.clone() if graph.into_words else of_words
            for own_rate, which in self._on.arena.paces("word", tables.places, into, self._free(allowed)):
                backend.step(optimizer, [self._read_part], self._read_state, tables.places, gradient, own_rate, which)
        if into := rate * graph.into_words:
            self._word.apply(tables.words, of_words, into, allowed)


class Reading(MentionWork):
    """All rows are resident: a refresh before the first triples, then as many a pass as `graph.refreshes` says."""

    def __init__(self, source: MentionSource, assigned: LaneVisit) -> None:
        super().__init__(1 + assigned.passes * source.resources.config.graph.refreshes, source, assigned)

    def _refresh(self, rate: float) -> float | Tensor:
        arrays, tables = self._on.arena.arrays, self._tables
        squares: float | Tensor = 0.0
        if self._begins and not self.done:
            own = arrays["X"].index_select(0, tables.entities)
            self._shrink(own, tables.fresh)
            arrays["X"].index_copy_(0, tables.entities, own)
        else:
            squares = self._give_back("T.gradient", rate)
            arrays["T.gradient"].zero_()
        self._read("T", add=False)
        return squares


class RotatingReading(MentionWork):
    """Some shards are resident: a visit's part in the refresh that takes a round of visits between all groups.

    The map stays the identity. A step for each visit, of the little that one sees, would turn it at random: WN18RR with
    8 groups, 16 passes, valid MRR .035; without, .514 after 8 passes already.
    """

    learns_map = False

    def __init__(self, source: MentionSource, assigned: LaneVisit) -> None:
        super().__init__(1, source, assigned)
        number = 1.0 + assigned.epoch * _MOST_REPEATS + assigned.visit.repeat
        for shard in assigned.visit.shards:
            parts = self._on.arena.views(shard)
            if len(parts[ROUND]) and (before := float(parts[ROUND][0])) != number:
                self._turn_over(shard, parts, before)
                parts[ROUND].fill_(number)

    def _turn_over(self, shard: int, parts: Shard, before: float) -> None:
        """A shard's first visit of a round: what was read in the last one is its text now."""
        parts["T"].copy_(parts["T.next"])
        parts["T.before"].copy_(parts["T.gradient"])
        parts["T.next"].zero_()
        parts["T.gradient"].zero_()
        if before == 1.0:
            layout = self._on.manifest.layout
            alone = self._on.backend.tensor(~layout.has_word(shard)[layout.has_entity(shard)])
            self._shrink(parts["X"], parts["T"].any(1) & alone)

    def _refresh(self, rate: float) -> float | Tensor:
        squares = 0.0 if self._begins else self._give_back("T.before", rate)
        self._read("T.next", add=True)
        return squares


def _by_field(entity: Ints, word: Ints, weight: Floats, named: Floats) -> tuple[Ints, Ints, Floats]:
    """Mentions by text: those of an entity's names, then those of its descriptions, which have numbers of their own.

    named     float32[n]: the part of each weight that names give
    returns   int64[m] each, text and word, and float32[m]: their weight
    """
    of_names, of_texts = named > 0, named < 1
    text = np.concatenate([2 * entity[of_names], 2 * entity[of_texts] + 1])
    shares = np.concatenate([(weight * named)[of_names], (weight * (1 - named))[of_texts]])
    return text, np.concatenate([word[of_names], word[of_texts]]), shares
