"""No coupling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from distjoint.config import Config
from distjoint.couplings.base import Coupling, GraphTerm

if TYPE_CHECKING:
    from torch import Tensor

    from distjoint.backends.base import Backend
    from distjoint.table.arena import Arena


class Separate(Coupling):
    """`none`: an entity's vector is its own X, a word's is W + C; neither side knows of the other. The baseline."""

    name = "none"
    formula = "X"
    reads_words = False
    kinds_meet = False
    of_arrays = True

    def terms(self, config: Config, arena: Arena, backend: Backend, dense: Mapping[str, Tensor]) -> list[GraphTerm]:
        from distjoint.couplings.views import Own
        from distjoint.optim import optimizer_of

        optimizer = optimizer_of(config.graph.optimizer, config.graph.optimizer_options)
        return [GraphTerm("graph", Own(arena, backend, optimizer))]

    def entity_vectors(self, own: Tensor, word: Tensor, worded: Tensor, dense: Mapping[str, Tensor]) -> Tensor:
        return own
