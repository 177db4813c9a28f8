"""TuckER as a user would add it: a dense parameter of its own, no inverse, gradients by autograd. Not in distjoint."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.scorers import NO_DENSE, Dense, Scorer


class TuckER(Scorer):
    """Balazevic et al. 2019, eq. 2: core x1 relation x2 head x3 tail, with relations half as wide as entities."""

    name = "tucker"
    compare = "dot"
    invertible = False

    def relation_dim(self, dim: int) -> int:
        return dim // 2

    def dense(self, dim: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"core": torch.randn(dim // 2, dim, dim, generator=generator) / dim}

    def query(self, entity: Tensor, relation: Tensor, dense: Dense = NO_DENSE) -> Tensor:
        return torch.einsum("...r,...i,rij->...j", relation, entity, dense["core"])
