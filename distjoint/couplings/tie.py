"""The graph scores words themselves."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from distjoint.backends.base import NONE, Backend
from distjoint.config import Config
from distjoint.couplings.base import Coupling, GraphTerm
from distjoint.couplings.views import Own, Word
from distjoint.model.scorers import NO_DENSE
from distjoint.optim import Optimizer, optimizer_of
from distjoint.table.arena import Arena
from distjoint.table.parts import Shard


class Tie(Coupling):
    """`tie`: an entity with a word is the word's vector W + C; one without is its own X."""

    name = "tie"
    formula = "W + C where the entity has a word, else X"

    def terms(self, config: Config, arena: Arena, backend: Backend, dense: Mapping[str, Tensor]) -> list[GraphTerm]:
        optimizer = optimizer_of(config.graph.optimizer, config.graph.optimizer_options)
        return [GraphTerm("graph", Tied(arena, backend, optimizer))]

    def entity_vectors(self, own: Tensor, word: Tensor, worded: Tensor, dense: Mapping[str, Tensor]) -> Tensor:
        return word.where(worded[:, None], own)

    def begin_entities(
        self, parts: Shard, word_of: Tensor, vectors: Tensor, taken: Tensor, dense: Mapping[str, Tensor] = NO_DENSE
    ) -> tuple[Tensor, Tensor]:
        """A word that has no vector of its own begins as its entity; X is not used beside a word."""
        parts["W"][word_of[~taken]] = parts["C"][word_of[~taken]] = vectors[~taken] / 2
        return torch.zeros(len(vectors), dtype=torch.bool), vectors


class Tied:
    """View: W + C where the row has a word, X where it has none."""

    dense: str | None = None

    def __init__(self, arena: Arena, backend: Backend, optimizer: Optimizer) -> None:
        self._own, self._word = Own(arena, backend, optimizer), Word(arena, backend, optimizer)

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        unworded = rows.masked_fill(self._word.has(rows), NONE)
        return self._word.gather(rows, out).add_(self._own.gather(unworded))

    def apply(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> None:
        self._word.apply(rows, gradient, rate, allowed)
        self._own.apply(rows.masked_fill(self._word.has(rows), NONE), gradient, rate, allowed)
