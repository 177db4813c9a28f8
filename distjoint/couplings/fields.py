"""An entity is its own vector, what its names say and what its descriptions say, and each relation weighs the three."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from distjoint.config import Config
from distjoint.couplings.base import OWN, TEXT, GraphTerm, zeros_like
from distjoint.couplings.described import Described, OwnAndText
from distjoint.table.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor

    from distjoint.backends.base import Backend
    from distjoint.table.arena import Arena


class Fields(Described):
    """`fields`: an entity's vector is X, T of its names and T of its descriptions, side by side.

    All else is as of `described`, but that each relation learns how much it reads of each of the three, in the entity
    that it is asked of and in the answer (`model/weighed.py`). So `hypernym` looks for an entity whose name is
    in the description of the given one, and a relation of derivation for names that are alike.
    """

    name = "fields"
    formula = (
        "X, T of its names and T of its descriptions side by side, each T a sum of words: weighted, centred, of length "
        "one, times M"
    )
    parts = 3
    fields = 2

    def terms(self, config: Config, arena: Arena, backend: Backend, dense: Mapping[str, Tensor]) -> list[GraphTerm]:
        from distjoint.optim import optimizer_of

        optimizer = optimizer_of(config.graph.optimizer, config.graph.optimizer_options)
        view = SideBySide(arena, backend, optimizer, config.graph.own_l2)
        return [GraphTerm("graph", view, texts=view, parts=self.parts)]

    def own_vectors(self, parts: Mapping[str, Tensor]) -> Tensor:
        return _side_by_side(parts["X"], parts["T"])

    def entity_block(
        self, parts: Mapping[str, Tensor], layout: Layout, shard: int, dense: Mapping[str, Tensor]
    ) -> Tensor:
        return self.own_vectors(parts)

    def entity_parts(
        self, parts: Mapping[str, Tensor], layout: Layout, shard: int, dense: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        own, text = parts["X"], parts["T"]
        return {OWN: _side_by_side(own, zeros_like(text)), TEXT: _side_by_side(zeros_like(own), text)}

    def words_among_entities(self, words: Tensor, dense: Mapping[str, Tensor], every: Tensor) -> Tensor:
        """A word is in a name and in a description alike, and has nothing of its own."""
        read = super().words_among_entities(words, dense, every)
        return _side_by_side(zeros_like(read), read, read)

    def said(self, words: Any, named: Any) -> Any:
        own, in_names, in_texts = np.split(words, self.parts, axis=1)
        return np.concatenate([own, in_names * named[:, None], in_texts * (1 - named[:, None])], axis=1)


class SideBySide(OwnAndText):
    """View: X, and the fields of T after it."""

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        own, text = self.gather_own(rows), super().gather_text(rows)
        found = text.new_empty(len(text), self.width + text.shape[1]) if out is None else out
        found[:, : self.width], found[:, self.width :] = own, text
        return found

    def gather_text(self, rows: Tensor) -> Tensor:
        text = super().gather_text(rows)
        return _side_by_side(text.new_zeros(len(text), self.width), text)

    def apply_text(self, rows: Tensor, gradient: Tensor, allowed: Tensor | None = None) -> None:
        super().apply_text(rows, gradient[:, self.width :], allowed)

    def apply_own(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> None:
        super().apply_own(rows, gradient[:, : self.width].contiguous(), rate, allowed)


def _side_by_side(*parts: Any) -> Any:
    """Arrays or tensors, float[n, ..] each, one beside the other."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts, axis=1)
    import torch

    return torch.cat(parts, 1)
