"""DistMult: a relation scales each coordinate."""

from __future__ import annotations

from torch import Tensor

from distjoint.model.scorers.base import NO_DENSE, Dense, Scorer


class DistMult(Scorer):
    """Yang et al. 2015, eq. 2 with a diagonal matrix: <head, relation, tail>. Symmetric in head and tail."""

    name = "distmult"
    paper = "Yang et al. 2015"
    paper_loss = "margin"
    formula = "q = h * r, coordinate by coordinate"
    inverse_formula = "r"
    compare = "dot"
    product = "real"
    linear_in_relation = True

    def query(self, entity: Tensor, relation: Tensor, dense: Dense = NO_DENSE) -> Tensor:
        return entity * relation

    def inverse(self, relation: Tensor) -> Tensor:
        return relation

    def query_gradient(
        self, entity: Tensor, relation: Tensor, gradient: Tensor, dense: Dense = NO_DENSE
    ) -> tuple[Tensor, Tensor]:
        return gradient * relation, gradient * entity
