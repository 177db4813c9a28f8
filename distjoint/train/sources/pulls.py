"""A source whose samples pull on the vectors of two rows each: all of it but the loss.

A sample of the source's stream names a row of shard i and one of shard j, with a weight, and lies in partition (i, j).
Samples are read and batched here, once an epoch, and their gradients looked at, summed by row and stepped. A source of
this kind says what the loss of a batch is, and its gradient.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from distjoint.base.arrays import Floats, Offsets
from distjoint.config import Config
from distjoint.couplings.views import View
from distjoint.data.dataset import Dataset
from distjoint.train.rates import Rates
from distjoint.train.schedule import Partition
from distjoint.train.sources.base import LaneVisit, Source, VisitWork
from distjoint.train.tally import Tally

_SAMPLE_BYTES = 12
PullBatch = tuple[Tensor, Tensor, Tensor]
"""Arena rows int64[n] of either end, which may repeat, and weights float32[n, 1]."""


@dataclass(frozen=True)
class Pull:
    """Gradient of the vectors that a view makes of some arena rows.

    rows       int64[n], which may repeat
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

    @abstractmethod
    def pulls(self, first: Tensor, second: Tensor, weight: Tensor) -> tuple[Tensor, list[Pull]]:
        """Loss of a batch, summed over its samples, and its gradients.

        first, second   int64[n]: arena rows of either end, which may repeat
        weight          float32[n, 1]
        """

    @classmethod
    def decoder(cls, dataset: Dataset, config: Config) -> PullDecoder:
        return PullDecoder(dataset, cls.stream, cls.columns)

    def visit(self, assigned: LaneVisit) -> PullWork:
        return PullWork(self, assigned)


@dataclass(frozen=True)
class DecodedPulls:
    """A partition of samples: offsets within the shards, int32[n] each; weights float32[n]."""

    first: Offsets
    second: Offsets
    weight: Floats


class PullDecoder:
    """Reads partitions of samples."""

    def __init__(self, dataset: Dataset, stream: str, columns: tuple[str, str, str]) -> None:
        self._dataset, self._stream, self._columns = dataset, stream, columns

    def bytes(self, partition: Partition) -> int:
        return self._dataset.manifest.samples(self._stream, *partition) * _SAMPLE_BYTES

    def decode(self, partition: Partition) -> DecodedPulls:
        limits = (*(self._dataset.layout.shard_rows(shard) for shard in partition), None)
        columns = dict(zip(self._columns, limits, strict=True))
        found = self._dataset.samples(self._stream, *partition, columns)
        return DecodedPulls(*(found[name] for name in self._columns))


class PullWork(VisitWork):
    """The batches of a visit."""

    def __init__(self, source: PullSource, assigned: LaneVisit) -> None:
        self.name, self.key = source.name, source.key
        self._source, self._on, self._size = source, source.resources, source.resources.config.graph.batch
        samples = {p: self._on.manifest.samples(source.stream, *p) for p in assigned.visit.counted}
        super().__init__(sum(math.ceil(count / self._size) for count in samples.values()), assigned)
        self._due = [partition for partition, count in samples.items() if count]
        source.generator(self._on.config, assigned.epoch, assigned.visit).shuffle(self._due)
        self._batches = self._all_batches()

    def do(self, count: int, rates: Rates, tally: Tally) -> None:
        start, source, rate = time.perf_counter(), self._source, self._source.step_size(rates)
        for _ in range(count):
            partition, batch = next(self._batches)
            self.done += 1
            loss, pulls = source.pulls(*batch)
            squares = sum(pull.gradient.square().sum() for pull in pulls)
            where = f"batch {self.done} of {self.units}, partition {partition}"
            allowed = self.look(self._on.backend, where, loss, squares)
            for pull in pulls:
                self._step(pull, rate, allowed)
            tally.add(f"{source.title}_loss", loss)
            tally.add(f"{source.title}_squares", squares)
            tally.add(source.unit, len(batch[0]))
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

    def _all_batches(self) -> Iterator[tuple[Partition, PullBatch]]:
        backend, arena, stream = self._on.backend, self._on.arena, self._on.stream
        for place, partition in enumerate(self._due):
            stream.read_ahead(self.name, self._due[place : place + 2])
            samples: DecodedPulls = stream.get(self.name, partition)
            rows = [
                backend.tensor(offset.astype(np.int64) + arena.base(shard))
                for offset, shard in zip((samples.first, samples.second), partition, strict=True)
            ]
            weight = backend.tensor(samples.weight)[:, None]
            for start in range(0, len(weight), self._size):
                part = slice(start, start + self._size)
                yield partition, (rows[0][part], rows[1][part], weight[part])
            stream.release(self.name, [partition])
