"""A source whose samples pull on the vectors of two rows each: all of it but the loss.

A sample of the source's stream names a row of shard i and one of shard j, with a weight, and lies in partition (i, j).
Samples are read and batched here, and their gradients looked at, summed by row and stepped. A source of this kind says
what the loss of a batch is, and its gradient.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import ClassVar

import numpy as np
from torch import Tensor

from distjoint.backends.base import NotFiniteError
from distjoint.base.arrays import Floats, Ints, Offsets
from distjoint.base.errors import DivergedError
from distjoint.config import Config
from distjoint.couplings.scheme import Scheme
from distjoint.couplings.views import View
from distjoint.data.dataset import Dataset
from distjoint.train.failure import offending_sample
from distjoint.train.rates import Rates
from distjoint.train.schedule import Partition, Visit
from distjoint.train.sources.base import LaneVisit, Source, VisitWork
from distjoint.train.tally import Tally

COLUMN_BYTES = 4
"""Of a number of a sample that is decoded."""
PullBatch = tuple[Tensor, Tensor, Tensor]
"""Arena rows int64[n] of either end, which may repeat, and weights float32[n, 1]."""


@dataclass(frozen=True)
class Pull:
    """Gradient of the vectors that a view makes of one end of each sample.

    rows       int64[n]: arena rows, which may repeat
    gradient   float32[n, dim]
    """

    view: View
    rows: Tensor
    gradient: Tensor


class PullSource(Source):
    """A source of samples with two rows and a weight.

    stream    its name in the dataset; a dataset without it has no samples
    columns   the column of offsets within shard i, that of offsets within shard j, that of weights
    """

    stream: ClassVar[str]
    columns: ClassVar[tuple[str, str, str]]
    key: ClassVar[str] = "graph.learning_rate"
    """Configuration key of its step size."""
    each_pass: ClassVar[bool] = False
    """Whether its samples are trained on each pass over the triples, not once an epoch."""

    @abstractmethod
    def pulls(self, first: Tensor, second: Tensor, weight: Tensor) -> tuple[Tensor, list[Pull]]:
        """Loss of a batch, summed over its samples, and its gradients.

        first, second   int64[n]: arena rows of either end, which may repeat
        weight          float32[n, 1]
        """

    @classmethod
    def decoder(cls, dataset: Dataset, config: Config) -> PullDecoder:
        return PullDecoder(dataset, cls.stream, cls.columns)

    @classmethod
    def samples(cls, dataset: Dataset, partition: Partition) -> int:
        """How many samples a partition has."""
        return dataset.manifest.samples(cls.stream, *partition)

    @classmethod
    def visit_samples(cls, scheme: Scheme, dataset: Dataset, visit: Visit, passes: int) -> int:
        due = visit.partitions if cls.each_pass else visit.counted
        return (passes if cls.each_pass else 1) * sum(cls.samples(dataset, partition) for partition in due)

    def visit(self, assigned: LaneVisit) -> PullWork:
        return PullWork(self, assigned)


@dataclass(frozen=True)
class DecodedPulls:
    """A partition of samples: offsets within the shards, int32[n] each; weights float32[n].

    also   float32[n]: one more column; None where it was not asked for
    """

    first: Offsets
    second: Offsets
    weight: Floats
    also: Floats | None = None


class PullDecoder:
    """Reads partitions of samples. also: one more column to read"""

    def __init__(self, dataset: Dataset, stream: str, columns: tuple[str, str, str], also: str | None = None) -> None:
        self.dataset, self._stream, self.columns = dataset, stream, (*columns, *([also] if also else ()))

    def bytes(self, partition: Partition) -> int:
        return self.dataset.manifest.samples(self._stream, *partition) * COLUMN_BYTES * len(self.columns)

    def decode(self, partition: Partition) -> DecodedPulls:
        limits = tuple(self.dataset.layout.shard_rows(shard) for shard in partition)
        columns = dict(zip_longest(self.columns, limits))
        found = self.dataset.samples(self._stream, *partition, columns)
        return DecodedPulls(*(found[name] for name in self.columns))


class PullWork(VisitWork):
    """The batches of a visit. They run on from partition to partition, so that small ones make no small batches."""

    def __init__(self, source: PullSource, assigned: LaneVisit) -> None:
        self.name, self.key = source.name, source.key
        self._source, self._on, self._size = source, source.resources, source.resources.config.graph.batch
        visit = assigned.visit
        samples = {
            p: source.samples(self._on.dataset, p) for p in (visit.partitions if source.each_pass else visit.counted)
        }
        self._passes = assigned.passes if source.each_pass else 1
        super().__init__(self._passes * math.ceil(sum(samples.values()) / self._size), assigned)
        self._due = [partition for partition, count in samples.items() if count]
        self._batches = self._all_batches()

    def do(self, count: int, rates: Rates, tally: Tally) -> None:
        start, source, rate = time.perf_counter(), self._source, self._source.step_size(rates)
        for _ in range(count):
            first, second, weight = next(self._batches)
            self.done += 1
            loss, pulls = source.pulls(first, second, weight)
            squares = sum(pull.gradient.square().sum() for pull in pulls)
            try:
                allowed = self._on.backend.check(loss, squares)
            except NotFiniteError:
                gradients = [pull.gradient for pull in pulls]
                culprit = offending_sample(first, second, gradients, self._on.arena, self._on.dataset)
                raise DivergedError(self.message(f"batch {self.done} of {self.units}, {culprit}"), self.key) from None
            if allowed is not None:
                self.note(allowed)
            for pull in pulls:
                self._step(pull, rate, allowed)
            tally.add(f"{source.title}_loss", loss)
            tally.add(f"{source.title}_squares", squares)
            tally.add(source.unit, len(first))
        tally.add(f"{source.title}_seconds", time.perf_counter() - start)

    def release(self) -> None:
        self._on.stream.release(self.name, self._due)

    def _step(self, pull: Pull, rate: float, allowed: Tensor | None) -> None:
        """Step each row once, against the sum of its gradients."""
        backend, dense = self._on.backend, self._on.dense
        distinct = backend.distinct(pull.rows, self._on.arena.rows)
        rows = len(distinct.rows)
        summed = backend.sum_rows(pull.gradient, backend.occurrences(distinct.inverse, rows), slice(0, rows))
        of_dense = pull.view.apply(distinct.rows, summed, rate, allowed)
        if of_dense is not None and pull.view.dense is not None:
            dense.gradients[pull.view.dense] += of_dense

    def _all_batches(self) -> Iterator[PullBatch]:
        """Pass after pass; the order of partitions is drawn anew for each."""
        rng = self._source.generator(self._on.config, self.assigned.epoch, self.assigned.visit)
        for _ in range(self._passes):
            rng.shuffle(self._due)
            first, second, weight = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
            for place, partition in enumerate(self._due):
                self._on.stream.read_ahead(self.name, self._due[place : place + 2])
                samples: DecodedPulls = self._on.stream.get(self.name, partition)
                first = np.concatenate([first, samples.first + np.int64(self._on.arena.base(partition[0]))])
                second = np.concatenate([second, samples.second + np.int64(self._on.arena.base(partition[1]))])
                weight = np.concatenate([weight, samples.weight])
                self._on.stream.release(self.name, [partition])
                while len(weight) >= self._size:
                    yield self._batch(first, second, weight)
                    first, second, weight = first[self._size :], second[self._size :], weight[self._size :]
            if len(weight):
                yield self._batch(first, second, weight)

    def _batch(self, first: Ints, second: Ints, weight: Floats) -> PullBatch:
        """The first samples of some, as many as a batch has."""
        tensor, some = self._on.backend.tensor, slice(0, self._size)
        return tensor(first[some]), tensor(second[some]), tensor(weight[some])[:, None]
