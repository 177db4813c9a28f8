"""The GloVe loss, compiled: one fused loop over the cells of a tile, and waves of tiles over threads.

Tiles of a wave share no rows, so threads never meet and the result has the same bits for any number of them. The
step is row-wise AdaGrad, cell by cell: nothing of a batch is gathered or summed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import cache
from typing import Any

import numpy as np
from numba import types

from distjoint.backends.base import TileCells, WaveLoss, WordParts
from distjoint.backends.cpu.adagrad import grown_root
from distjoint.backends.cpu.compiled import compiled
from distjoint.backends.cpu.simd import exchange, prefetch, products

# Cells ahead whose rows are asked for; the rows of a tile lie in the second-level cache, in no order the processor
# could guess. 1 to 4 are within 5 % of each other; without, it is 4 to 11 % slower (64 to 300 dimensions).
AHEAD = 2
_NONE = np.zeros(0, np.float32)


def wave(
    parts: WordParts, tiles: Sequence[TileCells], rate: float, threads: int, executor: Executor | None
) -> WaveLoss:
    """As `Backend.wave`. The caller's thread works too, so the executor lends one less than there are threads."""
    for tile in tiles:
        tile.check(len(parts.W))
    warm_up()
    arrays = [_NONE if part is None else part.numpy() for part in vars(parts).values()]
    found: list[tuple[float, float, int]] = [(0.0, 0.0, -1)] * len(tiles)
    # Longest first, and whoever is free takes the next: who trains a tile changes nothing in it.
    waiting = deque(sorted(range(len(tiles)), key=lambda k: -len(tiles[k].row)))

    def work() -> None:
        while True:
            try:
                k = waiting.popleft()
            except IndexError:
                return
            found[k] = train_tile(*arrays, *_fields(tiles[k]), np.float32(rate))

    others = [executor.submit(work) for _ in range(min(threads, len(tiles)) - 1)] if executor else []
    work()
    for other in others:
        other.result()
    failed = next(((tile, cell) for tile, (_, _, cell) in enumerate(found) if cell >= 0), None)
    return WaveLoss(float(sum(cost for cost, _, _ in found)), math.fsum(squares for _, squares, _ in found), failed)


@cache
def warm_up() -> None:
    """Compile the kernel, or load it from the cache: once, for every dim, before the first wave if not called earlier.

    Cells are declared read-only, which arrays that can be written convert to: one signature serves memory-mapped
    cells and others.
    """
    kernel: Any = train_tile
    vectors, scalars = types.Array(types.float32, 2, "C"), types.Array(types.float32, 1, "C")
    flags = types.Array(types.boolean, 1, "C")
    index, value = (types.Array(kind, 1, "C", readonly=True) for kind in (types.uint16, types.float32))
    cells = (index, index, value, value, types.int64, types.int64)
    kernel.compile((*[vectors] * 2, *[scalars] * 6, *[flags] * 2, *[scalars] * 2, *cells, types.float32))
    kernel.disable_compile()


def _fields(tile: TileCells) -> list[Any]:
    cells = (tile.row, tile.column, tile.log_count, tile.weight)
    return [*map(np.ascontiguousarray, cells), tile.row_base, tile.column_base]


@compiled
def train_tile(  # type: ignore[no-untyped-def]
    W, C, W_bias, C_bias, W_state, C_state, W_bias_state, C_bias_state, W_frozen, C_frozen,
    W_pace, C_pace, row, column, log_count, weight, row_base, column_base, rate,
) -> Any:  # fmt: skip
    """Arguments: the fields of WordParts and of TileCells in their order, and the step size.

    returns   cost; sum of squared gradients; the cell whose gradient is not finite, -1 for none: it steps nothing, nor
              do those after it
    """
    cells = len(row)
    share, none = np.float32(1) / np.float32(W.shape[1]), np.float32(0)
    some_W, some_C = len(W_frozen) > 0, len(C_frozen) > 0
    paced_W, paced_C = len(W_pace) > 0, len(C_pace) > 0
    cost, squares = 0.0, 0.0
    for k in range(cells):
        if k + AHEAD < cells:
            prefetch(W, row_base + row[k + AHEAD])
            prefetch(C, column_base + column[k + AHEAD])
        i, j = row_base + row[k], column_base + column[k]
        dot, ww, cc = products(W, i, C, j)
        difference = dot + W_bias[i] + C_bias[j] - log_count[k]
        gradient = weight[k] * difference
        square = gradient * gradient
        if not square < np.float32(np.inf):
            return 0.5 * cost, squares, k
        step = -rate * gradient
        move_W, move_C = not (some_W and W_frozen[i]), not (some_C and C_frozen[j])
        of_W, of_C = step, step
        if paced_W:
            of_W = step * W_pace[i]
        if paced_C:
            of_C = step * C_pace[j]
        w_step, c_step = none, none
        if move_W:
            w_step = of_W / grown_root(W_state, i, square * cc * share, none)
        if move_C:
            c_step = of_C / grown_root(C_state, j, square * ww * share, none)
        exchange(W, i, C, j, w_step, c_step)
        if move_W:
            W_bias[i] += of_W / grown_root(W_bias_state, i, square, none)
        if move_C:
            C_bias[j] += of_C / grown_root(C_bias_state, j, square, none)
        cost += np.float64(gradient * difference)
        squares += np.float64(square * (cc + ww))
    return 0.5 * cost, squares, -1
