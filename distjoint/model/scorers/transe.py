"""TransE: a relation is a translation."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.scorers.base import NO_DENSE, Dense, Scorer


class TransE(Scorer):
    """Bordes et al. 2013, eq. 1: a tail lies near head + relation, by either distance, or by cosine."""

    name = "transe"
    paper = "Bordes et al. 2013"
    paper_loss = "margin"
    formula = "q = h + r"
    inverse_formula = "-r"
    compare = "distance"

    def query(self, entity: Tensor, relation: Tensor, dense: Dense = NO_DENSE) -> Tensor:
        return entity + relation

    def inverse(self, relation: Tensor) -> Tensor:
        return -relation

    def query_gradient(
        self, entity: Tensor, relation: Tensor, gradient: Tensor, dense: Dense = NO_DENSE
    ) -> tuple[Tensor, Tensor]:
        return gradient, gradient

    def initial_relations(self, count: int, dim: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(count, dim)
