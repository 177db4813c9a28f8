"""Rows of a batch: which are distinct, the sum of the gradients that meet in each, and the AdaGrad step.

A batch names the same row many times. Sums come first and one step per row after, in a fixed order, so that the
result is that of plain AdaGrad on the batch's gradient whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from distjoint.arrays import Ints
from distjoint.backends.cpu.compiled import compiled
from distjoint.model.regulariser import regulariser

EPSILON = 1e-10


_Piece = TypeVar("_Piece")
_Done = TypeVar("_Done")


@dataclass(frozen=True)
class Occurrences:
    """Where each row occurs in a batch: row k at order[starts[k]:starts[k + 1]], first to last.

    starts   int64[rows + 1]
    order    int64[n]
    """

    starts: Ints
    order: Ints


@dataclass(frozen=True)
class Distinct:
    """The distinct rows of a batch.

    rows      int64[distinct]: in order of first appearance
    inverse   int64[n]: the place in `rows` of each of the batch's rows
    """

    rows: Ints
    inverse: Ints

    def occurrences(self, inverse: Ints | None = None) -> Occurrences:
        """Of the distinct rows among the batch's, or among some of them: int64[m], a part of `self.inverse`."""
        return Occurrences(*_occurrences(self.inverse if inverse is None else inverse, len(self.rows)))


@dataclass(frozen=True)
class Penalty:
    """What holds vectors small.

    n3, l2     weights of the nuclear 3-norm and of half the squared norm
    complex_   whether the halves of a vector are real and imaginary parts
    """

    n3: float
    l2: float
    complex_: bool


class RowKernels:
    """Gather, sum and step over rows; holds the scratch memory that makes `distinct` linear, and the threads.

    rows      number of rows that ids may name
    threads   threads of `map`; with more than one there is another that `begin` has
    """

    def __init__(self, rows: int, threads: int) -> None:
        self.rows = rows
        self._slot = np.full(rows, -1, np.int32)
        self._pool, self._ahead = (ThreadPoolExecutor(n) if threads > 1 else None for n in (threads, 1))

    def close(self) -> None:
        for pool in (self._ahead, self._pool):
            if pool:
                pool.shutdown()

    def begin(self, function: Callable[[_Piece], _Done], piece: _Piece) -> Callable[[], _Done]:
        """Start some work that may use `map`, in a thread of its own, one after another; returns what waits for it.

        Without threads it is done when it is waited for.
        """
        return self._ahead.submit(function, piece).result if self._ahead else partial(function, piece)

    def map(self, function: Callable[[_Piece], _Done], pieces: Sequence[_Piece]) -> Iterable[_Done]:
        """The function's results for some pieces of work, in their order, computed by the threads."""
        return self._pool.map(function, pieces) if self._pool and len(pieces) > 1 else map(function, pieces)

    def distinct(self, ids: Ints) -> Distinct:
        """ids   int64[n], each in [0, rows)"""
        return Distinct(*find_distinct(ids, self._slot))

    def sum_rows(self, gradient: Tensor, occurrences: Occurrences, cut: slice) -> Tensor:
        """Sum of the gradients of some distinct rows; zero where a row does not occur.

        gradient   float32[n, dim], one row per occurrence
        cut        which of the distinct rows, without a step
        returns    float32[rows of the cut, dim]
        """
        starts, order = occurrences.starts[cut.start : cut.stop + 1], occurrences.order
        count = cut.stop - cut.start
        if gradient.device.type != "cpu":
            of = torch.from_numpy(np.repeat(np.arange(count), np.diff(starts))).to(gradient.device)
            chosen = torch.from_numpy(order[starts[0] : starts[-1]]).to(gradient.device)
            return gradient.new_zeros(count, gradient.shape[1]).index_add_(0, of, gradient[chosen])
        summed = torch.empty(count, gradient.shape[1])
        _sum(gradient.numpy(), starts, order, summed.numpy())
        return summed

    def regularise(self, penalty: Penalty, vectors: Tensor, weight: Tensor, gradient: Tensor) -> float:
        """The weighted loss of some rows, `regulariser` in model/regulariser.py; adds its gradient.

        vectors, gradient   float32[n, width]
        weight              float32[n]: how many triples ask for it
        """
        if not (penalty.n3 or penalty.l2):
            return 0.0
        if vectors.device.type != "cpu":
            with torch.enable_grad():
                leaf = vectors.detach().requires_grad_()
                loss = regulariser(2 if penalty.complex_ else 1, leaf, weight, penalty.n3, penalty.l2)
                gradient += torch.autograd.grad(loss, leaf)[0]
            return float(loss)
        halves = penalty.complex_ and vectors.shape[1] % 2 == 0
        numbers = np.float32(penalty.n3), np.float32(penalty.l2)
        return float(_regularise(vectors.numpy(), weight.numpy(), gradient.numpy(), *numbers, halves))

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
        _step(part.numpy(), state.numpy(), rows, gradient.numpy(), np.float32(rate))

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
        _step_pair(first.numpy(), second.numpy(), state.numpy(), rows, gradient.numpy(), np.float32(rate))


@compiled
def find_distinct(ids, slot):  # type: ignore[no-untyped-def]
    """The distinct ids in order of first appearance, and the place among them of each.

    slot   int32[more than any id], -1 everywhere, as it is left
    """
    inverse = np.empty(len(ids), np.int64)
    rows = np.empty(len(ids), np.int64)
    found = 0
    for k in range(len(ids)):
        place = slot[ids[k]]
        if place < 0:
            place = found
            slot[ids[k]] = place
            rows[place] = ids[k]
            found += 1
        inverse[k] = place
    for k in range(found):
        slot[rows[k]] = -1
    return rows[:found].copy(), inverse


@compiled
def _occurrences(inverse, rows):  # type: ignore[no-untyped-def]
    starts = np.zeros(rows + 1, np.int64)
    for place in inverse:
        starts[place + 1] += 1
    for k in range(rows):
        starts[k + 1] += starts[k]
    order = np.empty(len(inverse), np.int64)
    fill = starts[:rows].copy()
    for k in range(len(inverse)):
        order[fill[inverse[k]]] = k
        fill[inverse[k]] += 1
    return starts, order


@compiled
def _sum(gradient, starts, order, out):  # type: ignore[no-untyped-def]
    dim = gradient.shape[1]
    for row in range(len(out)):
        target = out[row]
        for q in range(dim):
            target[q] = 0
        for k in range(starts[row], starts[row + 1]):
            source = gradient[order[k]]
            for q in range(dim):
                target[q] += source[q]


@compiled
def _regularise(vectors, weight, gradient, n3, l2, halves):  # type: ignore[no-untyped-def]
    total, dim = 0.0, vectors.shape[1]
    half = dim // 2
    for k in range(len(weight)):
        w = weight[k]
        if w == 0:
            continue
        x, g, cubes, squares = vectors[k], gradient[k], np.float32(0), np.float32(0)
        if n3 > 0 and halves:
            for q in range(half):
                modulus = np.sqrt(x[q] * x[q] + x[half + q] * x[half + q])
                cubes += modulus * modulus * modulus
                g[q] += np.float32(3) * n3 * w * modulus * x[q]
                g[half + q] += np.float32(3) * n3 * w * modulus * x[half + q]
        elif n3 > 0:
            for q in range(dim):
                modulus = abs(x[q])
                cubes += modulus * modulus * modulus
                g[q] += np.float32(3) * n3 * w * modulus * x[q]
        if l2 > 0:
            for q in range(dim):
                squares += x[q] * x[q]
                g[q] += l2 * w * x[q]
        total += w * (n3 * cubes + np.float32(0.5) * l2 * squares)
    return total


@compiled
def _step(part, state, rows, gradient, rate):  # type: ignore[no-untyped-def]
    dim = part.shape[1]
    for k in range(len(rows)):
        row, g = part[rows[k]], gradient[k]
        square = np.float32(0)
        for q in range(dim):
            square += g[q] * g[q]
        state[rows[k]] += square / np.float32(dim)
        factor = rate / np.sqrt(state[rows[k]] + np.float32(EPSILON))
        for q in range(dim):
            row[q] -= factor * g[q]


@compiled
def _step_pair(first, second, state, rows, gradient, rate):  # type: ignore[no-untyped-def]
    dim = first.shape[1]
    for k in range(len(rows)):
        a, b, g = first[rows[k]], second[rows[k]], gradient[k]
        square = np.float32(0)
        for q in range(dim):
            square += g[q] * g[q]
        state[rows[k]] += square / np.float32(dim)
        factor = np.float32(0.5) * rate / np.sqrt(state[rows[k]] + np.float32(EPSILON))
        for q in range(dim):
            a[q] -= factor * g[q]
            b[q] -= factor * g[q]
