"""Pairs of an entity and a word that are the same thing: each pulls on the other, as the coupling says.

Those in rows apart are the dataset's stream `pairs`, with its weights. A row that is an entity and a word is a pair of
weight 1 in the partition of its shard with itself; no file has these, since the layout knows them.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from distjoint.base.errors import UsageError
from distjoint.config import Config
from distjoint.couplings.scheme import Scheme
from distjoint.couplings.soft import Soft
from distjoint.couplings.views import Own
from distjoint.data.dataset import Dataset
from distjoint.data.streams import PAIRS
from distjoint.table.layout import Layout
from distjoint.table.parts import Part
from distjoint.train.rates import Rates
from distjoint.train.schedule import Partition
from distjoint.train.sources.base import Resources
from distjoint.train.sources.pulls import COLUMN_BYTES, DecodedPulls, Pull, PullDecoder, PullSource


class PairSource(PullSource):
    """The source of pairs: a |X - word|^2 / 2 for a pair of weight a, with the word as the coupling makes it.

    It trains on each pass over the triples, so that pull and graph keep their proportion however many passes there are.
    """

    name, title, unit = "pairs", "pair", "pairs"
    stream, columns = PAIRS, ("entity", "word", "weight")
    each_pass = True

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        coupling = resources.scheme.coupling
        assert isinstance(coupling, Soft)
        table = resources.arena, resources.backend, resources.scheme.optimizer
        self._pull, self._entities = coupling.pull, Own(*table, "pairs.X.")
        self._words = coupling.pulled_words(*table, resources.dense.values)

    @classmethod
    def check(cls, scheme: Scheme, dataset: Dataset) -> None:
        if not (dataset.layout.aligned or dataset.manifest.counts.get(PAIRS)):
            raise UsageError(
                f"{dataset.folder}: no entity of it is paired with a word, and coupling {scheme.coupling.name} pulls "
                "pairs together; prepare it with --labels or --align, or set model.coupling=none"
            )

    @classmethod
    def parts(cls, scheme: Scheme) -> list[Part]:
        return [*scheme.state("pairs.X.", "entity"), *scheme.state("pairs.word.", "word")]

    @classmethod
    def decoder(cls, dataset: Dataset, config: Config) -> PairDecoder:
        return PairDecoder(dataset, cls.stream, cls.columns)

    @classmethod
    def samples(cls, dataset: Dataset, partition: Partition) -> int:
        return super().samples(dataset, partition) + _shared(dataset.layout, *partition)

    def pulls(self, first: Tensor, second: Tensor, weight: Tensor) -> tuple[Tensor, list[Pull]]:
        apart = self._entities.gather(first) - self._words.gather(second)
        gradient = weight * apart
        pulls = [Pull(self._entities, first, gradient), Pull(self._words, second, -gradient)]
        return (gradient * apart).sum() / 2, pulls

    def step_size(self, rates: Rates) -> float:
        return self._pull * super().step_size(rates)


class PairDecoder(PullDecoder):
    """Reads pairs of rows apart, and adds the shared rows of a shard."""

    def bytes(self, partition: Partition) -> int:
        return super().bytes(partition) + COLUMN_BYTES * len(self.columns) * _shared(self.dataset.layout, *partition)

    def decode(self, partition: Partition) -> DecodedPulls:
        (i, j), layout, apart = partition, self.dataset.layout, self.dataset.pairs(*partition)
        if i != j:
            return DecodedPulls(apart.entity, apart.word, apart.weight)
        shared = np.flatnonzero(layout.has_word(i) & layout.has_entity(i)).astype(np.int32)
        return DecodedPulls(
            np.concatenate([apart.entity, shared]),
            np.concatenate([apart.word, shared]),
            np.concatenate([apart.weight, np.ones(len(shared), np.float32)]),
        )


def _shared(layout: Layout, i: int, j: int) -> int:
    """How many rows of a partition are an entity and a word."""
    return layout.shard_words(i) + layout.shard_entities(i) - layout.shard_rows(i) if i == j else 0
