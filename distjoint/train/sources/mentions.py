"""Mentions: entities read their text, and the graph's gradient goes back to the words.

A refresh sums up the words of each entity's mentions, as they are by now; between two, the gradient of text vectors is
summed where the entities lie (`OwnAndText`). The next refresh hands it on to the words and to the map, one step each.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.base import Bags
from distjoint.base.arrays import Ints
from distjoint.base.errors import UsageError
from distjoint.base.progress import short
from distjoint.config import Config
from distjoint.couplings.described import MAP, unit_words
from distjoint.couplings.scheme import RESIDUAL, Scheme, spread_of
from distjoint.couplings.views import Word
from distjoint.data.dataset import Dataset
from distjoint.data.streams import MENTIONS
from distjoint.table.parts import Part
from distjoint.train.rates import Rates
from distjoint.train.schedule import Partition
from distjoint.train.sources.base import LaneVisit, Resources, Source, VisitWork
from distjoint.train.sources.pulls import DecodedPulls, PullDecoder
from distjoint.train.tally import Tally

_ROWS = 2048
"""Entities or words in a slice of work on a CPU."""


@dataclass(frozen=True)
class MentionTables:
    """The mentions among all rows. Entities and words go by shard and offset, so that bits do not depend on slots.

    by_entity   the words of each entity
    by_word     the entities of each word
    entities    int64[n]: their places in X
    words       int64[n]: arena rows of words
    places      int64[n]: their places in W
    fresh       bool[entities]: those that have text, and share no row with a word
    """

    by_entity: Bags
    by_word: Bags
    entities: Tensor
    words: Tensor
    places: Tensor
    fresh: Tensor

    @property
    def mentions(self) -> int:
        return len(self.by_entity.index)


class MentionSource(Source):
    """The source of what is said of entities."""

    name = "mentions"
    title = "mentions"
    unit = "mentions"

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        if MENTIONS not in resources.manifest.streams:
            raise UsageError(
                f"{resources.dataset.folder}: nothing is said of entities in it, which coupling "
                f"{resources.scheme.coupling.name} reads; prepare it with --descriptions or --labels"
            )
        self.tables: MentionTables | None = None

    @classmethod
    def parts(cls, scheme: Scheme) -> list[Part]:
        return [Part("T", "entity", scheme.dim), Part("T.gradient", "entity", scheme.dim)]

    @classmethod
    def decoder(cls, dataset: Dataset, config: Config) -> PullDecoder:
        return PullDecoder(dataset, MENTIONS, ("entity", "word", "weight"))

    @property
    def sums(self) -> tuple[str, ...]:
        return ("refreshes", "mentions_squares", "mentions", "mentions_seconds")

    def visit(self, assigned: LaneVisit) -> MentionWork:
        return MentionWork(self, assigned)

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

    def step_size(self, rates: Rates) -> float:
        return self.resources.config.graph.into_words * super().step_size(rates)

    @classmethod
    def epoch_words(cls, metrics: Mapping[str, Any]) -> list[str]:
        if "refreshes" not in metrics:
            return []
        return [f"text read {metrics['refreshes']:.0f} times ({short(metrics['mentions_per_second'])} mentions/s)"]

    def read(self, assigned: LaneVisit) -> MentionTables:
        """The mentions among all rows. raises UsageError where some are not resident"""
        on, layout = self.resources, self.resources.manifest.layout
        if len(assigned.visit.shards) != layout.shards:
            raise UsageError(
                f"coupling {on.scheme.coupling.name} reads the text of all entities at once, so the whole table must "
                "be there: set train.groups to 2 and train.lanes to 1, and train.memory to more or to nothing"
            )
        if self.tables is None:
            partitions = [p for p in assigned.visit.counted if on.manifest.samples(MENTIONS, *p)]
            on.stream.read_ahead(self.name, partitions)
            decoded = [(p, on.stream.get(self.name, p)) for p in sorted(partitions)]
            self.tables = self._tables(decoded)
            on.stream.release(self.name, partitions)
        return self.tables

    def _tables(self, decoded: list[tuple[Partition, DecodedPulls]]) -> MentionTables:
        arena, backend, layout = self.resources.arena, self.resources.backend, self.resources.manifest.layout
        shards = range(layout.shards)
        entities, words = (
            np.concatenate([arena.base(shard) + np.flatnonzero(has(shard)) for shard in shards])
            for has in (layout.has_entity, layout.has_word)
        )
        number_of_entity, number_of_word = (numbers(rows, arena.rows) for rows in (entities, words))
        entity = np.concatenate([number_of_entity[part.first + arena.base(i)] for (i, _), part in decoded])
        word = np.concatenate([number_of_word[part.second + arena.base(j)] for (_, j), part in decoded])
        weight = np.concatenate([part.weight for _, part in decoded])

        def bags(of: Ints, index: Ints, count: int) -> Bags:
            order = np.argsort(of, kind="stable")
            starts = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=count))])
            return Bags(*(backend.tensor(array) for array in (starts, index[order], weight[order])))

        described = np.bincount(entity, minlength=len(entities)) > 0
        rows_of_entities, rows_of_words = backend.tensor(entities), backend.tensor(words)
        return MentionTables(
            bags(entity, word, len(entities)),
            bags(word, entity, len(words)),
            arena.entity_index[rows_of_entities],
            rows_of_words,
            arena.word_index[rows_of_words],
            backend.tensor(described & ~arena.has_word[entities]),
        )


def numbers(rows: Ints, count: int) -> Ints:
    """int64[count]: the place of each arena row among some, -1 for others."""
    found = np.full(count, -1, np.int64)
    found[rows] = np.arange(len(rows))
    return found


class MentionWork(VisitWork):
    """The refreshes of a visit: one before the first triples, then as many a pass as `graph.refreshes` says."""

    name = MentionSource.name
    key = "graph.learning_rate"
    unit = "refresh"

    def __init__(self, source: MentionSource, assigned: LaneVisit) -> None:
        config = source.resources.config.graph
        super().__init__(1 + assigned.passes * config.refreshes, assigned)
        self._left = iter(range(self.units))
        self._source, self._on, self._tables = source, source.resources, source.read(assigned)
        self._word = Word(self._on.arena, self._on.backend, self._on.scheme.optimizer)

    def due(self, share: int, steps: int) -> int:
        """The first refresh goes before all triples."""
        return (1 + (self.units - 1) * share // steps if share else 0) - self.done

    def do(self, count: int, rates: Rates, tally: Tally) -> None:
        start = time.perf_counter()
        for _ in range(count):
            next(self._left)
            if self.done or self.assigned.epoch or self.assigned.visit.repeat:
                tally.add("mentions_squares", self._give_back(self._source.step_size(rates)))
            else:
                self._begin()
            self._refresh()
            self.done += 1
            tally.add("refreshes", 1)
            tally.add("mentions", self._tables.mentions)
        tally.add("mentions_seconds", time.perf_counter() - start)

    def release(self) -> None:
        return None

    def _begin(self) -> None:
        """X of entities that have text begins near zero; beside a word it does already."""
        if not self._on.config.train.init:
            scale = torch.where(self._tables.fresh, RESIDUAL / spread_of(self._on.config), 1.0)
            own, places = self._on.arena.arrays["X"], self._tables.entities
            own.index_copy_(0, places, own.index_select(0, places).mul_(scale[:, None]))

    def _words(self) -> tuple[Tensor, Tensor]:
        """Words as entities read them, and the lengths they had: float32[words, dim], float32[words, 1]."""
        arrays, places = self._on.arena.arrays, self._tables.places
        words = arrays["W"].index_select(0, places).add_(arrays["C"].index_select(0, places))
        return unit_words(words, words.mean(0))

    def _refresh(self) -> None:
        """T of all entities, of the words as they are."""
        backend, tables, map_ = self._on.backend, self._tables, self._on.dense.values[MAP]
        units, text = self._words()[0], self._on.arena.arrays["T"]

        def read(part: slice) -> None:
            text.index_copy_(0, tables.entities[part], backend.weighted_sums(units, tables.by_entity, part) @ map_)

        for _ in backend.map(read, backend.slices(len(tables.entities), _ROWS)):
            pass

    def _give_back(self, rate: float) -> Tensor:
        """Hand the gradient of T on to the map and the words, which take a step; returns its squares."""
        backend, tables, dense = self._on.backend, self._tables, self._on.dense
        summed = self._on.arena.arrays["T.gradient"]
        gradient, map_ = summed.index_select(0, tables.entities), dense.values[MAP]
        squares = gradient.square().sum()
        allowed = self.look(backend, f"{self.unit} {self.done + 1} of {self.units}", squares)
        units, norms = self._words()
        before = torch.empty_like(gradient)  # gradient of the text before the map

        def of_map(part: slice) -> Tensor:
            torch.mm(gradient[part], map_.T, out=before[part])
            return backend.weighted_sums(units, tables.by_entity, part).T @ gradient[part]

        for found in backend.map(of_map, backend.slices(len(gradient), _ROWS)):
            dense.gradients[MAP] += found
        if rate:
            d_words = torch.empty_like(units)

            def of_words(part: slice) -> None:
                d_unit, unit = backend.weighted_sums(before, tables.by_word, part), units[part]
                along = (unit * d_unit).sum(1, keepdim=True)
                d_words[part] = d_unit.sub_(unit * along).div_(norms[part])

            for _ in backend.map(of_words, backend.slices(len(units), _ROWS)):
                pass
            self._word.apply(tables.words, d_words, rate, allowed)
        summed.zero_()
        return squares
