"""An entity is its own vector and what its text says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from distjoint.config import Config
from distjoint.couplings.base import (
    MAP,
    NO_MAPS,
    OWN,
    TEXT,
    Coupling,
    DenseParameter,
    GraphTerm,
    map_parameter,
    relation_parameters,
)
from distjoint.table.layout import Layout

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from distjoint.backends.base import Backend
    from distjoint.model.scorers import Scorer
    from distjoint.optim import Optimizer
    from distjoint.table.arena import Arena
    from distjoint.table.parts import Shard

_SMALLEST = 1e-12
"""Length that a shorter word is taken to have."""
READ = "R"
"""Part of a word that only entities read: where the graph wants it, beside where the text has it."""


class Described(Coupling):
    """`described`: an entity's vector is X + T, with T its text: the sum of its mentions' words by a learned map.

    What is read of a word is W + C + R, centred and of length one. R begins at zero, and only the graph moves it: far,
    while it moves W and C little, so that they stay what the text makes of them.

    T is as of the last refresh (train/sources/mentions.py), which also hands the gradient of T on to the words. X
    begins near zero where there is text, so an entity begins as what is said of it; one without any training triple
    stays that.
    """

    name = "described"
    formula = "X + T, with T the sum of its words: weighted, centred, of length one, times M"
    sources = ("mentions",)
    groups = (MAP,)
    of_arrays = True
    reads_text = True
    read_parts: ClassVar[tuple[str, ...]] = ("W", "C", READ)
    own_parts: ClassVar[tuple[str, ...]] = ("X", "T")

    def dense(
        self, config: Config, scorer: Scorer, relations: int, generator: torch.Generator
    ) -> dict[str, DenseParameter]:
        return {**relation_parameters(config, scorer, relations, generator), MAP: map_parameter(config)}

    def terms(self, config: Config, arena: Arena, backend: Backend, dense: Mapping[str, Tensor]) -> list[GraphTerm]:
        from distjoint.optim import optimizer_of

        optimizer = optimizer_of(config.graph.optimizer, config.graph.optimizer_options)
        view = OwnAndText(arena, backend, optimizer, config.graph.own_l2)
        return [GraphTerm("graph", view, texts=view)]

    def entity_vectors(self, own: Tensor, word: Tensor, worded: Tensor, dense: Mapping[str, Tensor]) -> Tensor:
        return own

    def entity_parts(
        self, parts: Mapping[str, Tensor], layout: Layout, shard: int, dense: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        return {OWN: parts["X"], TEXT: parts["T"]}

    def says_something(self, parts: Mapping[str, Tensor], layout: Layout, shard: int) -> Tensor:
        return parts["T"].any(1)

    def words_among_entities(self, words: Tensor, dense: Mapping[str, Tensor], every: Tensor) -> Tensor:
        if isinstance(words, np.ndarray):
            centred = words - every.mean(0)
            return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), _SMALLEST) @ dense[MAP]
        return unit_words(words, every.mean(0))[0] @ dense[MAP]

    def begin_entities(
        self, parts: Shard, word_of: Tensor, vectors: Tensor, taken: Tensor, dense: Mapping[str, Tensor] = NO_MAPS
    ) -> tuple[Tensor, Tensor]:
        """X is the vector that is given: T comes on top."""
        import torch

        return torch.ones(len(vectors), dtype=torch.bool), vectors


def unit_words(words: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Words as entities read them, centred and of length one, and the lengths they had: float[n, dim], float[n, 1]."""
    centred = words - mean
    norms = centred.norm(dim=1, keepdim=True).clamp_min_(_SMALLEST)
    return centred.div_(norms), norms


class OwnAndText:
    """View: X + T. The gradient goes to X, and is summed up in `T.gradient` until the next refresh.

    own_l2   weight of |X|^2 / 2, added to the loss for each step of a row
    width    of X
    """

    dense: str | None = None

    def __init__(self, arena: Arena, backend: Backend, optimizer: Optimizer, own_l2: float) -> None:
        from distjoint.couplings.views import Own

        self._own, self._backend, self._own_l2 = Own(arena, backend, optimizer), backend, own_l2
        self._index, self._text, self._gradient = arena.entity_index, arena.arrays["T"], arena.arrays["T.gradient"]
        self.width = arena.arrays["X"].shape[1]

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        return self.gather_own(rows, out).add_(self.gather_text(rows))

    def gather_own(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """As `gather`, without the text: float32[n, width]."""
        return self._own.gather(rows, out)

    def gather_text(self, rows: Tensor) -> Tensor:
        return self._backend.gather(self._text, self._index[rows])

    def apply(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> None:
        self.apply_text(rows, gradient, allowed)
        self.apply_own(rows, gradient, rate, allowed)

    def apply_text(self, rows: Tensor, gradient: Tensor, allowed: Tensor | None = None) -> None:
        import torch

        index = self._index[rows]
        known = index >= 0 if allowed is None else (index >= 0) & allowed
        self._gradient.index_add_(0, index.clamp_min(0), torch.where(known[:, None], gradient, 0.0))

    def apply_own(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> None:
        if self._own_l2:
            gradient.add_(self._own.gather(rows), alpha=self._own_l2)
        self._own.apply(rows, gradient, rate, allowed)
