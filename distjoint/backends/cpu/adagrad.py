"""Row-wise AdaGrad, compiled: the update of optim/adagrad.py, for rows of a table and inside the GloVe loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from distjoint.backends.cpu.compiled import compiled
from distjoint.optim.base import EPSILON


def step(
    parts: Sequence[Tensor], state: Tensor, index: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None
) -> None:
    """Step rows in place; arguments as of `optim.step_rows`, for one part or two."""
    first, second = parts[0].numpy(), parts[-1].numpy()
    keep = np.empty(0, np.bool_) if allowed is None else allowed.expand(index.shape).contiguous().numpy()
    arrays = first, second, len(parts) > 1, state.numpy(), index.numpy(), gradient.numpy(), keep
    _step(*arrays, np.float32(rate))


@compiled
def grown_root(state, row, square, epsilon):  # type: ignore[no-untyped-def]
    """Root of a row's accumulator, after a mean squared gradient is added to it."""
    state[row] += square
    return np.sqrt(state[row] + epsilon)


@compiled
def _step(first, second, is_sum, state, index, gradient, allowed, rate):  # type: ignore[no-untyped-def]
    dim = first.shape[1]
    for k in range(len(index)):
        row = index[k]
        if row < 0 or (len(allowed) and not allowed[k]):
            continue
        g, a = gradient[k], first[row]
        square = np.float32(0)
        for q in range(dim):
            square += g[q] * g[q]
        factor = rate / grown_root(state, row, square / np.float32(dim), np.float32(EPSILON))
        for q in range(dim):
            a[q] -= factor * g[q]
        if is_sum:
            b = second[row]
            for q in range(dim):
                b[q] -= factor * g[q]
