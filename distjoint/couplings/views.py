"""What the graph sees of a row: the vector it scores, and where the gradient of that vector goes.

One class per coupling. `gather` makes vectors of distinct rows; `apply` takes the gradient of those vectors and
steps the parts behind them. Threads may call both at once, on rows of their own. The mathematics is that of
model/couplings.py.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distjoint.arrays import Ints
from distjoint.backends.cpu.rows import RowKernels
from distjoint.table.arena import NONE, Arena


class View(Protocol):
    """Vectors of arena rows for one graph loss."""

    def gather(self, rows: Ints, out: Tensor | None = None) -> Tensor:
        """rows int64[n], distinct arena rows; returns float32[n, dim], in the memory of `out` if given"""

    def apply(self, rows: Ints, gradient: Tensor, rate: float) -> Tensor | None:
        """Step what lies behind `gather(rows)` against its gradient float32[n, dim].

        returns   the rows' part of the gradient of the view's map, where it has one
        """


class Own:
    """The entity's own vector X: coupling `none`."""

    def __init__(self, arena: Arena, kernels: RowKernels) -> None:
        self.arena, self.kernels = arena, kernels
        self.X, self.state = arena.arrays["X"], arena.arrays["X.state"]

    def gather(self, rows: Ints, out: Tensor | None = None) -> Tensor:
        return torch.index_select(self.X, 0, self._places(rows), out=out)

    def apply(self, rows: Ints, gradient: Tensor, rate: float) -> None:
        if "entities" in self.arena.scheme.frozen:
            return
        self.kernels.step(self.X, self.state, self.arena.entity_index[rows], gradient, rate)

    def _places(self, rows: Ints) -> Tensor:
        return torch.from_numpy(self.arena.entity_index[rows]).to(self.X.device)


class Word:
    """The word's vector W + C: the word side of `dual`. Half of each step goes to either part."""

    def __init__(self, arena: Arena, kernels: RowKernels) -> None:
        self.arena, self.kernels = arena, kernels
        self.W, self.C, self.state = (arena.arrays[name] for name in ("W", "C", "word.graph_state"))

    def gather(self, rows: Ints, out: Tensor | None = None) -> Tensor:
        places = torch.from_numpy(self.arena.word_index[rows]).to(self.W.device)
        return torch.index_select(self.W, 0, places, out=out).add_(self.C.index_select(0, places))

    def apply(self, rows: Ints, gradient: Tensor, rate: float) -> None:
        places, frozen = self.arena.word_index[rows], self.arena.scheme.frozen
        learning = [part for part, name in ((self.W, "words"), (self.C, "contexts")) if name not in frozen]
        if len(learning) == 2:
            self.kernels.step_pair(self.W, self.C, self.state, places, gradient, rate)
        elif learning:
            self.kernels.step(learning[0], self.state, places, gradient, 0.5 * rate)


class Tied:
    """W + C where the row has a word, X where it has none: coupling `tie`."""

    def __init__(self, arena: Arena, kernels: RowKernels) -> None:
        self.arena, self.own, self.word = arena, Own(arena, kernels), Word(arena, kernels)

    def gather(self, rows: Ints, out: Tensor | None = None) -> Tensor:
        worded = self.arena.word_index[rows] != NONE
        if worded.all():
            return self.word.gather(rows, out)
        if out is None:
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

    map_     float32[dim, dim], stepped by whoever owns it
    own_l2   weight of |X|^2 / 2, added to the loss for each step of a row with a word
    """

    def __init__(self, arena: Arena, kernels: RowKernels, map_: Tensor, own_l2: float) -> None:
        self.arena, self.own, self.word = arena, Own(arena, kernels), Word(arena, kernels)
        self.map, self.own_l2 = map_, own_l2

    def gather(self, rows: Ints, out: Tensor | None = None) -> Tensor:
        worded, vectors = self._worded(rows), self.own.gather(rows, out)
        if worded.all():
            return vectors.addmm_(self.word.gather(rows), self.map)
        vectors[torch.from_numpy(worded)] += self.word.gather(rows[worded]) @ self.map
        return vectors

    def apply(self, rows: Ints, gradient: Tensor, rate: float) -> Tensor:
        worded = self._worded(rows)
        if not worded.all():
            self.own.apply(rows[~worded], gradient[torch.from_numpy(~worded)], rate)
            rows, gradient = rows[worded], gradient[torch.from_numpy(worded)]
        self.own.apply(rows, torch.add(gradient, self.own.gather(rows), alpha=self.own_l2), rate)
        return self.word.gather(rows).T @ gradient

    def _worded(self, rows: Ints) -> NDArray[np.bool_]:
        return self.arena.word_index[rows] != NONE
