"""Rows of a batch: which are distinct, the sum of the gradients that meet in each, and the AdaGrad step.

A batch names the same row many times. Sums come first and one step per row after, in a fixed order, so that the
result is that of plain AdaGrad on the batch's gradient whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distjoint.kernels.compiled import compiled

Ints = NDArray[np.int64]
EPSILON = 1e-10
_WORTH_SHARING = 256


_Piece = TypeVar("_Piece")
_Done = TypeVar("_Done")


@dataclass(frozen=True)
class Distinct:
    """The distinct rows of a batch.

    rows      int64[distinct]: in order of first appearance
    inverse   int64[n]: the place in `rows` of each of the batch's rows
    starts    int64[distinct + 1] and order int64[n]: occurrences of rows[k] are order[starts[k]:starts[k + 1]]
    """

    rows: Ints
    inverse: Ints
    starts: Ints
    order: Ints


class RowKernels:
    """Gather, sum and step over rows with some threads; holds the scratch memory that makes `distinct` linear.

    rows      number of rows that ids may name
    threads   threads of the sums
    """

    def __init__(self, rows: int, threads: int) -> None:
        self._slot = np.full(rows, -1, np.int32)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()

    def map(self, function: Callable[[_Piece], _Done], pieces: Sequence[_Piece]) -> Iterable[_Done]:
        """The function's results for some pieces of work, in their order, computed by the threads."""
        return self._pool.map(function, pieces) if self._pool and len(pieces) > 1 else map(function, pieces)

    def distinct(self, ids: Ints) -> Distinct:
        """ids   int64[n], each in [0, rows)"""
        return Distinct(*_distinct(ids, self._slot))

    def sum_rows(self, gradient: Tensor, distinct: Distinct) -> Tensor:
        """Sum of the gradients of each distinct row.

        gradient   float32[n, dim], one row per occurrence
        returns    float32[distinct, dim]
        """
        if gradient.device.type != "cpu":
            out = gradient.new_zeros(len(distinct.rows), gradient.shape[1])
            return out.index_add_(0, torch.from_numpy(distinct.inverse).to(gradient.device), gradient)
        summed = torch.empty(len(distinct.rows), gradient.shape[1])
        self._share(len(distinct.rows), _sum, gradient.numpy(), distinct.starts, distinct.order, summed.numpy())
        return summed

    def step(self, part: Tensor, state: Tensor, rows: Ints, gradient: Tensor, rate: float) -> None:
        """Row-wise AdaGrad in place (Gupta et al. 2014's diagonal variant, one accumulator per row).

        part       float32[rows, dim], changed at `rows`
        state      float32[rows], sums of the mean squared gradient
        rows       int64[n], distinct
        gradient   float32[n, dim]
        """
        if part.device.type != "cpu":
            index = torch.from_numpy(rows).to(part.device)
            state[index] += gradient.square().mean(1)
            part[index] -= rate * gradient / (state[index] + EPSILON).sqrt()[:, None]
            return
        self._share(len(rows), _step, part.numpy(), state.numpy(), rows, gradient.numpy(), np.float32(rate))

    def step_pair(
        self, first: Tensor, second: Tensor, state: Tensor, rows: Ints, gradient: Tensor, rate: float
    ) -> None:
        """The same step for a vector that is the sum of two parts: half of it to each."""
        if first.device.type != "cpu":
            index = torch.from_numpy(rows).to(first.device)
            state[index] += gradient.square().mean(1)
            step = 0.5 * rate * gradient / (state[index] + EPSILON).sqrt()[:, None]
            first[index] -= step
            second[index] -= step
            return
        arguments = (first.numpy(), second.numpy(), state.numpy(), rows, gradient.numpy(), np.float32(rate))
        self._share(len(rows), _step_pair, *arguments)

    def _share(self, count: int, kernel: Callable[..., None], *arguments: object) -> None:
        """Run kernel(first, last, ...) over [0, count), a run of it per thread."""
        if self._pool is None or count < _WORTH_SHARING:
            return kernel(0, count, *arguments)
        bounds = np.linspace(0, count, self._threads + 1).astype(int)
        for run in [self._pool.submit(kernel, a, b, *arguments) for a, b in pairwise(bounds)]:
            run.result()


@compiled
def _distinct(ids, slot):  # type: ignore[no-untyped-def]
    n = len(ids)
    inverse = np.empty(n, np.int64)
    rows = np.empty(n, np.int64)
    counts = np.zeros(n + 1, np.int64)
    found = 0
    for k in range(n):
        place = slot[ids[k]]
        if place < 0:
            place = found
            slot[ids[k]] = place
            rows[place] = ids[k]
            found += 1
        inverse[k] = place
        counts[place + 1] += 1
    for k in range(found):
        slot[rows[k]] = -1
        counts[k + 1] += counts[k]
    order = np.empty(n, np.int64)
    fill = counts[:found].copy()
    for k in range(n):
        order[fill[inverse[k]]] = k
        fill[inverse[k]] += 1
    return rows[:found].copy(), inverse, counts[: found + 1].copy(), order


@compiled
def _sum(first, last, gradient, starts, order, out):  # type: ignore[no-untyped-def]
    dim = gradient.shape[1]
    for row in range(first, last):
        target = out[row]
        source = gradient[order[starts[row]]]
        for q in range(dim):
            target[q] = source[q]
        for k in range(starts[row] + 1, starts[row + 1]):
            source = gradient[order[k]]
            for q in range(dim):
                target[q] += source[q]


@compiled
def _step(first, last, part, state, rows, gradient, rate):  # type: ignore[no-untyped-def]
    dim = part.shape[1]
    for k in range(first, last):
        row, g = part[rows[k]], gradient[k]
        square = np.float32(0)
        for q in range(dim):
            square += g[q] * g[q]
        state[rows[k]] += square / np.float32(dim)
        factor = rate / np.sqrt(state[rows[k]] + np.float32(EPSILON))
        for q in range(dim):
            row[q] -= factor * g[q]


@compiled
def _step_pair(start, stop, first, second, state, rows, gradient, rate):  # type: ignore[no-untyped-def]
    dim = first.shape[1]
    for k in range(start, stop):
        a, b, g = first[rows[k]], second[rows[k]], gradient[k]
        square = np.float32(0)
        for q in range(dim):
            square += g[q] * g[q]
        state[rows[k]] += square / np.float32(dim)
        factor = np.float32(0.5) * rate / np.sqrt(state[rows[k]] + np.float32(EPSILON))
        for q in range(dim):
            a[q] -= factor * g[q]
            b[q] -= factor * g[q]
