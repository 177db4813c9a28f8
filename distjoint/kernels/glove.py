"""The GloVe loss made fast on CPUs: one fused compiled loop over the cells of a tile, and waves of tiles over threads.

Tiles of a wave share no rows, so threads never meet and the result has the same bits for any number of them. The
mathematics is that of `model.glove`; tensors on a GPU go to `kernels.glove_torch`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from distjoint.kernels.compiled import compiled

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class WordParts:
    """What GloVe trains, with its AdaGrad accumulators: float32, contiguous, on one device; changed in place.

    W, C                         [rows, dim]; vectors and context vectors
    W_bias, C_bias               [rows]
    W_state, C_state             [rows]; one accumulator per row
    W_bias_state, C_bias_state   [rows]
    """

    W: Tensor
    C: Tensor
    W_bias: Tensor
    C_bias: Tensor
    W_state: Tensor
    C_state: Tensor
    W_bias_state: Tensor
    C_bias_state: Tensor


@dataclass(frozen=True)
class TileCells:
    """The samples between two tiles, in training order.

    row           uint16[cells]; index within the row tile
    column        uint16[cells]; index within the column tile
    log_count     float32[cells]
    weight        float32[cells]; min(1, (count / x_max) ** power)
    row_base      first row of the row tile in WordParts
    column_base   first row of the column tile in WordParts
    """

    row: NDArray[np.uint16]
    column: NDArray[np.uint16]
    log_count: Floats
    weight: Floats
    row_base: int
    column_base: int


def weigh(count: Floats, x_max: float, power: float) -> tuple[Floats, Floats]:
    """Targets and weights of counts (Pennington et al. 2014, eq. 9). Check them with `first_bad` before.

    count     float32[cells]
    returns   log count, min(1, (count / x_max) ** power); float32[cells] each
    """
    log_count = np.log(count)
    weight = np.power(count * np.float32(1 / x_max), np.float32(power))
    return log_count, np.minimum(weight, np.float32(1), out=weight)


def first_bad(count: Floats) -> int:
    """Index of the first count that is not a finite number above 0; -1 where all are good."""
    if not len(count) or (count.min() > 0 and count.max() < np.inf):
        return -1
    return int(np.argmin((count > 0) & (count < np.inf)))


def initial_states(dim: int) -> tuple[float, float]:
    """Start values of the accumulators: of vectors (W_state, C_state) and of biases.

    Stanford's program starts every component's accumulator at 1. A row's accumulator holds the *mean* squared
    gradient; with vectors that start at length 1/dim, 1/dim gives the early steps the same size (measured).
    """
    return 1 / dim, 1.0


class WaveTrainer:
    """Trains waves of tiles with some threads; for tensors on a GPU in mini-batches.

    threads   CPU threads; they change the speed, never the bits
    """

    def __init__(self, threads: int, *, torch_path: bool = False) -> None:
        self._threads = max(1, threads)
        self._torch_path = torch_path
        self._pool = ThreadPoolExecutor(self._threads - 1, "glove") if threads > 1 else None

    def wave(self, parts: WordParts, tiles: Sequence[TileCells], rate: float) -> float:
        """Train the tiles of one wave, no two of which share a row tile or a column tile.

        rate      AdaGrad's step size
        returns   sum over cells of 0.5 * weight * difference ** 2, as each cell is met; NaN where training diverged
        """
        arrays = tuple(part.numpy() for part in vars(parts).values())
        costs = [0.0] * len(tiles)
        # Longest first, and whoever is free takes the next: who trains a tile changes nothing in it.
        waiting = deque(sorted(range(len(tiles)), key=lambda k: -len(tiles[k].row)))

        def work() -> None:
            while True:
                try:
                    k = waiting.popleft()
                except IndexError:
                    return
                tile = tiles[k]
                costs[k] = _train_tile(
                    *arrays,
                    tile.row,
                    tile.column,
                    tile.log_count,
                    tile.weight,
                    tile.row_base,
                    tile.column_base,
                    np.float32(rate),
                )

        others = [self._pool.submit(work) for _ in range(min(self._threads, len(tiles)) - 1)] if self._pool else []
        work()
        for other in others:
            other.result()
        return float(sum(costs))

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()


@compiled
def _train_tile(
    W,
    C,
    W_bias,
    C_bias,
    W_state,
    C_state,
    W_bias_state,
    C_bias_state,
    row,
    column,
    log_count,
    weight,
    row_base,
    column_base,
    rate,
):  # type: ignore[no-untyped-def]
    dim = W.shape[1]
    cost = 0.0
    for k in range(len(row)):
        i, j = row_base + row[k], column_base + column[k]
        w, c = W[i], C[j]
        dot = ww = cc = np.float32(0)
        for q in range(dim):
            dot += w[q] * c[q]
            ww += w[q] * w[q]
            cc += c[q] * c[q]
        difference = dot + W_bias[i] + C_bias[j] - log_count[k]
        g = weight[k] * difference
        gg = g * g
        W_state[i] += gg * cc / np.float32(dim)
        C_state[j] += gg * ww / np.float32(dim)
        a = rate * g / np.sqrt(W_state[i])
        b = rate * g / np.sqrt(C_state[j])
        for q in range(dim):
            old = w[q]
            w[q] -= a * c[q]
            c[q] -= b * old
        W_bias_state[i] += gg
        C_bias_state[j] += gg
        W_bias[i] -= rate * g / np.sqrt(W_bias_state[i])
        C_bias[j] -= rate * g / np.sqrt(C_bias_state[j])
        cost += 0.5 * g * difference
    return cost
