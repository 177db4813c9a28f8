"""The GloVe loss made fast: one fused compiled loop over the cells of a tile, and waves of tiles over threads.

Tiles of a wave share no rows, so threads never meet and the result has the same bits for any number of them. The
mathematics is that of tests/reference/glove.py; tensors on a GPU go to `kernels.glove_torch`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray
from torch import Tensor

from distjoint.arrays import Floats
from distjoint.backends.cpu.compiled import compiled
from distjoint.backends.cpu.simd import exchange, prefetch, products

# Cells ahead whose rows are asked for; the rows of a tile lie in the second-level cache, in no order the processor
# could guess. 1 to 4 are within 5 % of each other; without, it is 4 to 11 % slower (64 to 300 dimensions).
AHEAD = 2


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
    """Targets and weights of counts (Pennington et al. 2014, eq. 9). Check the counts with `first_bad` before.

    count     float32[cells]
    returns   log count, min(1, (count / x_max) ** power); float32[cells] each
    """
    weight = np.power(count * np.float32(1 / x_max), np.float32(power))
    return np.log(count), np.minimum(weight, np.float32(1), out=weight)


def first_bad(count: Floats) -> int:
    """Index of the first count that is not a finite number above 0; -1 where all are good."""
    if not len(count) or (count.min() > 0 and count.max() < np.inf):
        return -1
    return int(np.argmin((count > 0) & (count < np.inf)))


def initial_states(learning_rate: float) -> tuple[float, float]:
    """Start values of the accumulators: of vectors (W_state, C_state) and of biases.

    With them and a rate of 1 the steps are those of Stanford's glove.c, which keeps its eta inside the accumulators
    of vectors, and out of the biases: eta g / sqrt(1 + sum (eta g)^2) = g / sqrt(1 / eta^2 + sum g^2). A rare row so
    moves as by plain gradient descent. The same eta in front of the root fits no worse but embeds worse: SimLex .09
    against .15 on 12 M tokens.
    """
    return min(learning_rate**-2, 1e30), 1.0


class WaveTrainer:
    """Trains waves of tiles.

    threads      CPU threads; they change the speed, never the bits
    torch_path   use mini-batches of torch operations for CPU tensors too, as for those on a GPU
    """

    def __init__(self, threads: int, *, torch_path: bool = False) -> None:
        self._threads, self._torch_path = threads, torch_path
        # The caller's thread works too.
        self._pool = ThreadPoolExecutor(threads - 1, "glove") if threads > 1 else None

    def wave(self, parts: WordParts, tiles: Sequence[TileCells], rate: float) -> float:
        """Train the tiles of one wave, no two of which share a row tile or a column tile.

        rate      factor of the steps; see `initial_states`
        returns   sum of 0.5 * weight * difference ** 2 over the cells, each as it is met; NaN where training diverged
        raises    ValueError where a cell names a row the parts lack
        """
        for tile in tiles:
            _check(tile, len(parts.W))
        if self._torch_path or parts.W.device.type != "cpu":
            from distjoint.backends.torch import glove as glove_torch

            return glove_torch.train_wave(parts, tiles, rate)
        warm_up()
        arrays = [part.numpy() for part in vars(parts).values()]
        costs = [0.0] * len(tiles)
        # Longest first, and whoever is free takes the next: who trains a tile changes nothing in it.
        waiting = deque(sorted(range(len(tiles)), key=lambda k: -len(tiles[k].row)))

        def work() -> None:
            while True:
                try:
                    k = waiting.popleft()
                except IndexError:
                    return
                costs[k] = _train_tile(*arrays, *_fields(tiles[k]), np.float32(rate))

        others = [self._pool.submit(work) for _ in range(min(self._threads, len(tiles)) - 1)] if self._pool else []
        work()
        for other in others:
            other.result()
        return float(sum(costs))

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()


@cache
def warm_up() -> None:
    """Compile the kernel, or load it from the cache: once, for every dim, before the first wave if not called earlier.

    Cells are declared read-only, which arrays that can be written convert to: one signature serves memory-mapped
    cells and others.
    """
    kernel: Any = _train_tile
    vectors, scalars = types.Array(types.float32, 2, "C"), types.Array(types.float32, 1, "C")
    index, value = (types.Array(kind, 1, "C", readonly=True) for kind in (types.uint16, types.float32))
    kernel.compile(
        (*[vectors] * 2, *[scalars] * 6, index, index, value, value, types.int64, types.int64, types.float32)
    )
    kernel.disable_compile()


def _fields(tile: TileCells) -> list[Any]:
    cells = (tile.row, tile.column, tile.log_count, tile.weight)
    return [*map(np.ascontiguousarray, cells), tile.row_base, tile.column_base]


def _check(tile: TileCells, rows: int) -> None:
    """The kernel does not look: a wrong index would write anywhere. Costs under 1 % of the training."""
    for name, index, base in (("row", tile.row, tile.row_base), ("column", tile.column, tile.column_base)):
        if len(index) and (base < 0 or base + int(index.max()) >= rows):
            raise ValueError(f"a cell's {name} is {base + int(index.max())}, the table has {rows} rows")


@compiled
def _train_tile(  # type: ignore[no-untyped-def]
    W, C, W_bias, C_bias, W_state, C_state, W_bias_state, C_bias_state,
    row, column, log_count, weight, row_base, column_base, rate,
) -> Any:  # fmt: skip
    """Arguments: the fields of WordParts and of TileCells in their order, and the step size. Returns the cost."""
    cells = len(row)
    share = np.float32(1) / np.float32(W.shape[1])
    cost = 0.0
    for k in range(cells):
        if k + AHEAD < cells:
            prefetch(W, row_base + row[k + AHEAD])
            prefetch(C, column_base + column[k + AHEAD])
        i, j = row_base + row[k], column_base + column[k]
        dot, ww, cc = products(W, i, C, j)
        difference = dot + W_bias[i] + C_bias[j] - log_count[k]
        gradient = weight[k] * difference
        square = gradient * gradient
        step = -rate * gradient
        W_state[i] += square * cc * share
        C_state[j] += square * ww * share
        exchange(W, i, C, j, step / np.sqrt(W_state[i]), step / np.sqrt(C_state[j]))
        W_bias_state[i] += square
        C_bias_state[j] += square
        W_bias[i] += step / np.sqrt(W_bias_state[i])
        C_bias[j] += step / np.sqrt(C_bias_state[j])
        cost += np.float64(gradient * difference)
    return 0.5 * cost
