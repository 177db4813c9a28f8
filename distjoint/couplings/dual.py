"""Either side keeps a vector of its own, and gives the other all it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from distjoint.config import Config
from distjoint.couplings.base import (
    MAP,
    NO_MAPS,
    NO_ROW,
    Coupling,
    DenseParameter,
    GraphTerm,
    map_parameter,
    relation_parameters,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from distjoint.backends.base import Backend
    from distjoint.model.scorers import Scorer
    from distjoint.optim import Optimizer
    from distjoint.table.arena import Arena
    from distjoint.table.parts import Shard


class Dual(Coupling):
    """`dual`: an entity's vector is X + (W + C) M, with M a learned map that starts at the identity.

    The graph loss is taken twice: on entities, with its gradient to X, M and the relations; and on the words W + C,
    with relations of its own and its gradient to the words.

    For a complex scorer M's left half of columns makes the real parts and its right half the imaginary ones: the two
    maps of OWE (Shah et al. 2019) side by side.
    """

    name = "dual"
    formula = "X + (W + C) M"
    groups = (MAP,)
    of_arrays = True

    def dense(
        self, config: Config, scorer: Scorer, relations: int, generator: torch.Generator
    ) -> dict[str, DenseParameter]:
        of_entities = relation_parameters(config, scorer, relations, generator)
        of_words = relation_parameters(config, scorer, relations, generator, "word_")
        return {**of_entities, **of_words, MAP: map_parameter(config)}

    def terms(self, config: Config, arena: Arena, backend: Backend, dense: Mapping[str, Tensor]) -> list[GraphTerm]:
        from distjoint.couplings.views import Word
        from distjoint.optim import optimizer_of

        optimizer = optimizer_of(config.graph.optimizer, config.graph.optimizer_options)
        entities = Mapped(arena, backend, optimizer, dense[MAP], config.graph.own_l2)
        words = Word(arena, backend, optimizer)
        return [GraphTerm("graph", entities), GraphTerm("word", words, "word_", worded=True)]

    def entity_vectors(self, own: Tensor, word: Tensor, worded: Tensor, dense: Mapping[str, Tensor]) -> Tensor:
        return own + word @ dense[MAP]

    def begin_entities(
        self, parts: Shard, word_of: Tensor, vectors: Tensor, taken: Tensor, dense: Mapping[str, Tensor] = NO_MAPS
    ) -> tuple[Tensor, Tensor]:
        """As usual, M being the identity; else beside the word as the M that is given has it."""
        if MAP not in dense:
            return super().begin_entities(parts, word_of, vectors, taken)
        word = (parts["W"][word_of] + parts["C"][word_of]) @ dense[MAP]
        return (word != vectors).any(1), vectors - word

    def words_among_entities(self, words: Tensor, dense: Mapping[str, Tensor], every: Tensor) -> Tensor:
        return words @ dense[MAP]


class Mapped:
    """View: X + (W + C) M. The gradient goes to X and M, not into the words.

    map_     float32[dim, dim], stepped by whoever owns it
    own_l2   weight of |X|^2 / 2, added to the loss for each step of a row with a word
    """

    dense: str | None = MAP

    def __init__(self, arena: Arena, backend: Backend, optimizer: Optimizer, map_: Tensor, own_l2: float) -> None:
        from distjoint.couplings.views import Own, Word

        self._backend, self._map, self._own_l2 = backend, map_, own_l2
        self._own, self._word = Own(arena, backend, optimizer), Word(arena, backend, optimizer)

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        vectors, places = self._own.gather(rows, out), self._backend.compact(self._word.has(rows))
        if places is None:
            return vectors.addmm_(self._word.gather(rows), self._map)
        return vectors.index_add_(0, places, self._word.gather(rows[places]) @ self._map)

    def apply(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> Tensor:
        worded = self._word.has(rows)
        places = self._backend.compact(worded)
        chosen, of_words = (rows, gradient) if places is None else (rows[places], gradient[places])
        d_map = self._word.gather(chosen).T @ of_words
        gradient.add_(self._own.gather(rows.masked_fill(~worded, NO_ROW)), alpha=self._own_l2)
        self._own.apply(rows, gradient, rate, allowed)
        return d_map
