"""The backend of CPUs: compiled loops over float32 rows in memory, and threads of its own.

Work is cut into slices whose temporaries stay in the cache; slices go over the threads, and torch runs each on one:
operations this small would spend their time in torch's own barriers. What slices add up is added in their order, so the
number of threads never shows in a bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.base import (
    Backend,
    Bags,
    Distinct,
    FilterMask,
    KnownSide,
    NotFiniteError,
    Queries,
    QueryTables,
    TileCells,
    WaveLoss,
    WordParts,
)
from distjoint.backends.cpu import adagrad, glove, rows
from distjoint.backends.cpu.cross_entropy import cross_entropy
from distjoint.backends.cpu.masks import KnownMask
from distjoint.backends.cpu.queries import ProductQueries
from distjoint.backends.queries import TorchQueries
from distjoint.model.comparisons import Comparison
from distjoint.model.scorers import Scorer
from distjoint.optim import Optimizer

_Slice = TypeVar("_Slice")
_Result = TypeVar("_Result")


class HostRandom:
    """See `base.Random`: numpy's generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self._rng.integers(0, high, shape))

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self._rng.random(shape))

    def dropout(self, shape: tuple[int, int], share: float) -> Tensor:
        generator = torch.Generator().manual_seed(int(self._rng.integers(1 << 62)))
        return (torch.rand(shape, generator=generator) >= share).float().div_(1 - share)


class CpuBackend(Backend):
    """Compiled loops.

    threads   threads of `map` and of waves; with more than one there is another that `begin` has
    """

    name = "cpu"

    def __init__(self, threads: int) -> None:
        self.device, self.threads = torch.device("cpu"), threads
        self._slot = np.full(0, -1, np.int32)
        self._executor = ThreadPoolExecutor(threads, "rows") if threads > 1 else None
        self._ahead = ThreadPoolExecutor(1, "ahead") if threads > 1 else None

    def slices(self, count: int, size: int) -> list[slice]:
        pieces = -(-count // size)
        bounds = [count * k // pieces for k in range(pieces + 1)] if pieces else [0]
        return [slice(*ends) for ends in pairwise(bounds)]

    def map(self, function: Callable[[_Slice], _Result], slices: Sequence[_Slice]) -> Iterable[_Result]:
        return self._executor.map(function, slices) if self._executor and len(slices) > 1 else map(function, slices)

    def begin(self, function: Callable[[_Slice], _Result], argument: _Slice) -> Callable[[], _Result]:
        return self._ahead.submit(function, argument).result if self._ahead else partial(function, argument)

    def warm_up(self) -> None:
        glove.warm_up()

    def close(self) -> None:
        for executor in (self._ahead, self._executor):
            if executor:
                executor.shutdown()

    def random(self, rng: np.random.Generator) -> HostRandom:
        return HostRandom(rng)

    def compact(self, chosen: Tensor) -> Tensor | None:
        return None if bool(chosen.all()) else chosen.nonzero()[:, 0]

    def gather(self, part: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
        out = torch.empty(len(index), part.shape[1]) if out is None else out
        rows.gather(part.numpy(), index.numpy(), out.numpy())
        return out

    def distinct(self, ids: Tensor, rows_: int) -> Distinct:
        if len(self._slot) < rows_:
            self._slot = np.full(rows_, -1, np.int32)
        found, inverse = rows.find_distinct(ids.numpy(), self._slot)
        return Distinct(torch.from_numpy(found), torch.from_numpy(inverse))

    def occurrences(self, inverse: Tensor, distinct: int) -> rows.Occurrences:
        return rows.Occurrences.of(inverse, distinct)

    def sum_rows(self, gradient: Tensor, occurrences: rows.Occurrences, rows_: slice) -> Tensor:
        return rows.sum_rows(gradient, occurrences, rows_)

    def weighted_sums(self, vectors: Tensor, bags: Bags, rows_: slice) -> Tensor:
        return rows.weighted_sums(vectors, bags.starts[rows_.start : rows_.stop + 1], bags.index, bags.weight)

    def step(
        self,
        optimizer: Optimizer,
        parts: Sequence[Tensor],
        state: Mapping[str, Tensor],
        index: Tensor,
        gradient: Tensor,
        rate: float,
        allowed: Tensor | None = None,
    ) -> None:
        if optimizer.name == "adagrad" and len(parts) <= 2:
            adagrad.step(parts, state["state"], index, gradient, rate, allowed)
        else:
            super().step(optimizer, parts, state, index, gradient, rate, allowed)

    def regularise(
        self, multiple: int, n3: float, l2: float, vectors: Tensor, weight: Tensor, gradient: Tensor
    ) -> float:
        return rows.regularise(multiple, n3, l2, vectors, weight, gradient) if n3 or l2 else 0.0

    def check(self, *values: float | Tensor) -> None:
        if not all(math.isfinite(float(value)) for value in values):
            raise NotFiniteError

    def cross_entropy(
        self, scores: Tensor, weight: Tensor, target: Tensor | None, place: Tensor | None, mask: Tensor | None
    ) -> float:
        return cross_entropy(scores, weight, target, place, mask)

    def queries(
        self, scorer: Scorer, comparison: Comparison, in_batch: bool, tables: QueryTables, chunks: slice
    ) -> Queries:
        if scorer.product is not None and comparison.is_product:
            return ProductQueries(scorer.product == "complex", comparison.scale, in_batch, tables, chunks)
        return TorchQueries(scorer, comparison, in_batch, tables, chunks)

    def filter_mask(self, sides: tuple[KnownSide, KnownSide]) -> FilterMask:
        return KnownMask(sides)

    def wave(self, parts: WordParts, tiles: Sequence[TileCells], rate: float) -> WaveLoss:
        return glove.wave(parts, tiles, rate, self.threads, self._executor)
