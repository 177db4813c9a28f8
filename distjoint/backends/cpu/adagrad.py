"""Row-wise AdaGrad, compiled: the update of optim/adagrad.py, for rows of a table and inside the GloVe loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba.extending import register_jitable
from torch import Tensor

from distjoint.backends.cpu.compiled import compiled
from distjoint.optim.base import EPSILON


def step(
    parts: Sequence[Tensor], state: Tensor, index: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None
) -> None:
    """Step rows in place; arguments as of `optim.step_rows`, for one part or two."""
    keep = np.empty(0, np.bool_) if allowed is None else allowed.expand(index.shape).contiguous().numpy()
    arrays = state.numpy(), index.numpy(), gradient.numpy(), keep, np.float32(rate)
    if len(parts) == 1:
        _step(parts[0].numpy(), *arrays)
    else:
        _step_both(parts[0].numpy(), parts[1].numpy(), *arrays)


@register_jitable(inline="always")  # written into the loops that use it: compiled apart, the compiler rounds otherwise
def grown_root(state, row, square, epsilon):  # type: ignore[no-untyped-def]
    """Root of a row's accumulator, after a mean squared gradient is added to it."""
    state[row] += square
    return np.sqrt(state[row] + epsilon)


@register_jitable(inline="always")
def mean_square(g):  # type: ignore[no-untyped-def]
    """Mean of the squares of a row's gradient."""
    dim, square = len(g), np.float32(0)
    for q in range(dim):
        square += g[q] * g[q]
    return square / np.float32(dim)


@compiled
def _step(part, state, index, gradient, allowed, rate):  # type: ignore[no-untyped-def]
    for k in range(len(index)):
        row = index[k]
        if row < 0 or (len(allowed) and not allowed[k]):
            continue
        a, g = part[row], gradient[k]
        factor = rate / grown_root(state, row, mean_square(g), np.float32(EPSILON))
        for q in range(len(g)):
            a[q] -= factor * g[q]


@compiled
def _step_both(first, second, state, index, gradient, allowed, rate):  # type: ignore[no-untyped-def]
    for k in range(len(index)):
        row = index[k]
        if row < 0 or (len(allowed) and not allowed[k]):
            continue
        a, b, g = first[row], second[row], gradient[k]
        factor = rate / grown_root(state, row, mean_square(g), np.float32(EPSILON))
        for q in range(len(g)):
            a[q] -= factor * g[q]
            b[q] -= factor * g[q]
