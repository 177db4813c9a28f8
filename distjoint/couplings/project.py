"""Either side keeps a vector of its own, and the entity's is pulled to where a learned map puts the word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from distjoint.config import Config
from distjoint.couplings.base import MAP, DenseParameter, map_parameter
from distjoint.couplings.soft import Soft

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from distjoint.backends.base import Backend
    from distjoint.couplings.views import View, Word
    from distjoint.model.scorers import Scorer
    from distjoint.optim import Optimizer
    from distjoint.table.arena import Arena


class Project(Soft):
    """`project`: as `soft`, with a pull between X and (W + C) M. M is a learned map that starts at the identity."""

    name = "project"
    groups = (MAP,)

    def dense(
        self, config: Config, scorer: Scorer, relations: int, generator: torch.Generator
    ) -> dict[str, DenseParameter]:
        return {**super().dense(config, scorer, relations, generator), MAP: map_parameter(config)}

    def pulled_words(self, arena: Arena, backend: Backend, optimizer: Optimizer, dense: Mapping[str, Tensor]) -> View:
        from distjoint.couplings.views import Word

        return MappedWord(Word(arena, backend, optimizer, "pairs.word."), dense[MAP])

    def words_among_entities(self, words: Tensor, dense: Mapping[str, Tensor], every: Tensor) -> Tensor:
        return words @ dense[MAP]


class MappedWord:
    """View: (W + C) M. The gradient goes to the word and to M.

    map_   float32[dim, dim], stepped by whoever owns it
    """

    dense: str | None = MAP

    def __init__(self, word: Word, map_: Tensor) -> None:
        self._word, self._map = word, map_

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        import torch

        return torch.mm(self._word.gather(rows), self._map, out=out)

    def apply(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> Tensor:
        d_map = self._word.gather(rows).T @ gradient
        self._word.apply(rows, gradient @ self._map.T, rate, allowed)
        return d_map
