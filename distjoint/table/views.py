"""What the graph sees of a row: the vector it scores, and where the gradient of that vector goes.

One class per coupling. `gather` makes vectors of distinct rows; `apply` takes the gradient of those vectors and
steps the parts behind them. The mathematics is model/couplings.py's.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distjoint.kernels.rows import RowKernels
from distjoint.table.arena import NONE, Arena

Ints = NDArray[np.int64]


class View(Protocol):
    """Vectors of arena rows for one graph loss."""

    def gather(self, rows: Ints) -> Tensor:
        """rows int64[n], distinct arena rows; returns float32[n, dim]"""

    def apply(self, rows: Ints, gradient: Tensor, rate: float) -> None:
        """Step what lies behind `gather(rows)` against its gradient float32[n, dim]."""


class Own:
    """The entity's own vector X: coupling `none`."""

    def __init__(self, arena: Arena, kernels: RowKernels) -> None:
        self.arena, self.kernels = arena, kernels
        self.X, self.state = arena.arrays["X"], arena.arrays["X.state"]

    def gather(self, rows: Ints) -> Tensor:
        return self.X.index_select(0, self._places(rows))

    def apply(self, rows: Ints, gradient: Tensor, rate: float) -> None:
        self.kernels.step(self.X, self.state, self.arena.entity_index[rows], gradient, rate)

    def _places(self, rows: Ints) -> Tensor:
        return torch.from_numpy(self.arena.entity_index[rows]).to(self.X.device)


class Word:
    """The word's vector W + C: the word side of `dual`. Half of each step goes to either part."""

    def __init__(self, arena: Arena, kernels: RowKernels) -> None:
        self.arena, self.kernels = arena, kernels
        self.W, self.C, self.state = (arena.arrays[name] for name in ("W", "C", "word.graph_state"))

    def gather(self, rows: Ints) -> Tensor:
        places = torch.from_numpy(self.arena.word_index[rows]).to(self.W.device)
        return self.W.index_select(0, places) + self.C.index_select(0, places)

    def apply(self, rows: Ints, gradient: Tensor, rate: float) -> None:
        self.kernels.step_pair(self.W, self.C, self.state, self.arena.word_index[rows], gradient, rate)


class Tied:
    """W + C where the row has a word, X where it has none: coupling `tie`."""

    def __init__(self, arena: Arena, kernels: RowKernels) -> None:
        self.arena, self.own, self.word = arena, Own(arena, kernels), Word(arena, kernels)

    def gather(self, rows: Ints) -> Tensor:
        worded = self.arena.word_index[rows] != NONE
        if worded.all():
            return self.word.gather(rows)
        out = torch.empty(len(rows), self.own.X.shape[1], device=self.own.X.device)
        out[torch.from_numpy(worded)] = self.word.gather(rows[worded])
        out[torch.from_numpy(~worded)] = self.own.gather(rows[~worded])
        return out

    def apply(self, rows: Ints, gradient: Tensor, rate: float) -> None:
        worded = self.arena.word_index[rows] != NONE
        if worded.all():
            return self.word.apply(rows, gradient, rate)
        self.word.apply(rows[worded], gradient[torch.from_numpy(worded)], rate)
        self.own.apply(rows[~worded], gradient[torch.from_numpy(~worded)], rate)


class Mapped:
    """X + (W + C) M: the entity side of `dual`. The gradient goes to X and M, not into the words.

    map_, map_gradient   float32[dim, dim]; the gradient is added to, and applied by whoever owns M
    """

    def __init__(self, arena: Arena, kernels: RowKernels, map_: Tensor, map_gradient: Tensor) -> None:
        self.arena, self.own, self.word = arena, Own(arena, kernels), Word(arena, kernels)
        self.map, self.map_gradient = map_, map_gradient
        self._gathered: tuple[Tensor, Tensor] | None = None

    def gather(self, rows: Ints) -> Tensor:
        worded = np.flatnonzero(self.arena.word_index[rows] != NONE)
        vectors, words = self.own.gather(rows), self.word.gather(rows[worded])
        places = torch.from_numpy(worded).to(vectors.device)
        if len(worded) == len(rows):
            vectors.addmm_(words, self.map)
        else:
            vectors.index_add_(0, places, words @ self.map)
        self._gathered = places, words
        return vectors

    def apply(self, rows: Ints, gradient: Tensor, rate: float) -> None:
        assert self._gathered is not None, "apply follows gather of the same rows"
        places, words = self._gathered
        ours = gradient if len(places) == len(rows) else gradient.index_select(0, places)
        self.map_gradient.addmm_(words.T, ours)
        self.own.apply(rows, gradient, rate)
