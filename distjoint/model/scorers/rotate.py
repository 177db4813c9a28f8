"""RotatE: a relation is a rotation of each complex coordinate."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.scorers.base import NO_DENSE, Dense, Scorer


class RotatE(Scorer):
    """Sun et al. 2019, eq. 3: the relation turns each complex coordinate of the head by an angle.

    A relation is dim / 2 angles in radians. The distance is Euclidean over all coordinates (a matrix
    product), where the paper sums the moduli of the coordinates.
    """

    name = "rotate"
    paper = "Sun et al. 2019"
    paper_loss = "adversarial"
    formula = "q = (a cos r - b sin r, a sin r + b cos r), with h = (a, b), halves of the vector"
    inverse_formula = "-r"
    compare = "distance"
    multiple = 2

    def relation_dim(self, dim: int) -> int:
        return dim // 2

    def query(self, entity: Tensor, relation: Tensor, dense: Dense = NO_DENSE) -> Tensor:
        (a, b), cos, sin = entity.chunk(2, -1), relation.cos(), relation.sin()
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    def inverse(self, relation: Tensor) -> Tensor:
        return -relation

    def query_gradient(
        self, entity: Tensor, relation: Tensor, gradient: Tensor, dense: Dense = NO_DENSE
    ) -> tuple[Tensor, Tensor]:
        (x, y), (u, v) = self.query(entity, relation).chunk(2, -1), gradient.chunk(2, -1)
        return self.query(gradient, -relation), v * x - u * y

    def initial_relations(self, count: int, dim: int, generator: torch.Generator) -> Tensor:
        return (torch.rand(count, dim // 2, generator=generator) * 2 - 1) * torch.pi
