"""Views: the vectors that a graph loss scores, and where the gradient of these vectors goes.

`gather` makes vectors of distinct rows; `apply` takes the gradient of those vectors and steps the parts behind them.
Threads may call both at once, on rows of their own. What every coupling builds on is here; what one alone has is in its
own file.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from distjoint.backends.base import Backend
from distjoint.optim import Optimizer
from distjoint.table.arena import Arena


class View(Protocol):
    """Vectors of arena rows for one graph loss."""

    dense: str | None
    """The dense parameter whose gradient `apply` returns; None for none."""

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """rows int64[n], distinct arena rows; returns float32[n, dim], in the memory of `out` if given"""

    def apply(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> Tensor | None:
        """Step what lies behind `gather(rows)` against its gradient float32[n, dim], which may be changed.

        allowed   bool[]: whether anything may step; None for yes
        returns   the rows' part of the gradient of `dense`
        """


class TextView(View, Protocol):
    """Vectors that are an own part and a text; either can be stepped alone, and the text stand alone."""

    def gather_text(self, rows: Tensor) -> Tensor:
        """As `gather`, without the own part."""

    def apply_text(self, rows: Tensor, gradient: Tensor, allowed: Tensor | None = None) -> None:
        """The half of `apply` that text takes."""

    def apply_own(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> None:
        """The other half. allowed: bool[] or bool[n]"""


class Own:
    """The entity's own vector X; zero where a row has none.

    state   what the parts begin with that hold the state of its steps; one for each loss that steps it
    """

    dense: str | None = None

    def __init__(self, arena: Arena, backend: Backend, optimizer: Optimizer, state: str = "X.") -> None:
        self._backend, self._optimizer, self._index = backend, optimizer, arena.entity_index
        self._X, self._frozen, self._arena = arena.arrays["X"], arena.frozen.get("X"), arena
        self._state = {name: arena.arrays[state + name] for name in optimizer.state(self._X.shape[1])}

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        return self._backend.gather(self._X, self._index[rows], out)

    def apply(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> None:
        index = self._index[rows]
        if self._frozen is not None:
            free = ~self._frozen[index]
            allowed = free if allowed is None else free & allowed
        for own_rate, which in self._arena.paces("entity", index, rate, allowed):
            self._backend.step(self._optimizer, [self._X], self._state, index, gradient, own_rate, which)


class Word:
    """The word's vector W + C; zero where a row has none. Half of each step goes to either part.

    state   as of `Own`
    """

    dense: str | None = None

    def __init__(self, arena: Arena, backend: Backend, optimizer: Optimizer, state: str = "word.graph_") -> None:
        self._backend, self._optimizer, self.index = backend, optimizer, arena.word_index
        self._W, self._C = arena.arrays["W"], arena.arrays["C"]
        self._frozen, self._arena = arena.frozen, arena
        self._state = {name: arena.arrays[state + name] for name in optimizer.state(self._W.shape[1])}

    def has(self, rows: Tensor) -> Tensor:
        """bool[n]: which rows have a word."""
        return self.index[rows] >= 0

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        index = self.index[rows]
        return self._backend.gather(self._W, index, out).add_(self._backend.gather(self._C, index))

    def apply(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> None:
        index = self.index[rows]
        for parts, free in self._free(index):
            if allowed is not None:
                free = allowed if free is None else free & allowed
            for own_rate, which in self._arena.paces("word", index, 0.5 * rate, free):
                self._backend.step(self._optimizer, parts, self._state, index, gradient, own_rate, which)

    def _free(self, index: Tensor) -> list[tuple[list[Tensor], Tensor | None]]:
        """Parts that step together, and which of the rows do so: bool[n], None for all."""
        if not {"W", "C"} & self._frozen.keys():
            return [([self._W, self._C], None)]
        all_free = torch.ones_like(index, dtype=torch.bool)
        w, c = (~self._frozen[name][index] if name in self._frozen else all_free for name in ("W", "C"))
        return [([self._W, self._C], w & c), ([self._W], w & ~c), ([self._C], c & ~w)]
