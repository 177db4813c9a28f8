"""The graph scores words themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from distjoint.config import Config
from distjoint.couplings.base import NO_MAPS, NO_ROW, Coupling, GraphTerm

if TYPE_CHECKING:
    from torch import Tensor

    from distjoint.backends.base import Backend
    from distjoint.optim import Optimizer
    from distjoint.table.arena import Arena
    from distjoint.table.parts import Shard


class Tie(Coupling):
    """`tie`: an entity with a word is the word's vector W + C; one without is its own X."""

    name = "tie"
    formula = "W + C where the entity has a word, else X"
    of_arrays = True

    def terms(self, config: Config, arena: Arena, backend: Backend, dense: Mapping[str, Tensor]) -> list[GraphTerm]:
        from distjoint.optim import optimizer_of

        optimizer = optimizer_of(config.graph.optimizer, config.graph.optimizer_options)
        return [GraphTerm("graph", Tied(arena, backend, optimizer))]

    def entity_vectors(self, own: Tensor, word: Tensor, worded: Tensor, dense: Mapping[str, Tensor]) -> Tensor:
        if isinstance(own, np.ndarray):
            return np.where(worded[:, None], word, own)
        return word.where(worded[:, None], own)

    def begin_entities(
        self, parts: Shard, word_of: Tensor, vectors: Tensor, taken: Tensor, dense: Mapping[str, Tensor] = NO_MAPS
    ) -> tuple[Tensor, Tensor]:
        """A word that has no vector of its own begins as its entity; X is not used beside a word."""
        import torch

        parts["W"][word_of[~taken]] = parts["C"][word_of[~taken]] = vectors[~taken] / 2
        return torch.zeros(len(vectors), dtype=torch.bool), vectors


class Tied:
    """View: W + C where the row has a word, X where it has none."""

    dense: str | None = None

    def __init__(self, arena: Arena, backend: Backend, optimizer: Optimizer) -> None:
        from distjoint.couplings.views import Own, Word

        self._own, self._word = Own(arena, backend, optimizer), Word(arena, backend, optimizer)

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        unworded = rows.masked_fill(self._word.has(rows), NO_ROW)
        return self._word.gather(rows, out).add_(self._own.gather(unworded))

    def apply(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> None:
        self._word.apply(rows, gradient, rate, allowed)
        self._own.apply(rows.masked_fill(self._word.has(rows), NO_ROW), gradient, rate, allowed)
