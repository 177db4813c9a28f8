"""RESCAL: a relation is a matrix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from distjoint.model.scorers.base import NO_DENSE, Dense, Scorer


class RESCAL(Scorer):
    """Nickel et al. 2011, eq. 2: head^T M tail. A relation is the matrix M, row by row: dim^2 reals."""

    name = "rescal"
    paper = "Nickel et al. 2011"
    formula = "q = h M, with M the dim x dim numbers of r, row by row"
    inverse_formula = "M transposed"
    compare = "dot"
    linear_in_relation = True

    def relation_dim(self, dim: int) -> int:
        return dim * dim

    def query(self, entity: Tensor, relation: Tensor, dense: Dense = NO_DENSE) -> Tensor:
        return (entity[..., None, :] @ _matrix(relation, entity))[..., 0, :]

    def inverse(self, relation: Tensor) -> Tensor:
        dim = math.isqrt(relation.shape[-1])
        return relation.reshape(*relation.shape[:-1], dim, dim).transpose(-1, -2).flatten(-2)

    def query_gradient(
        self, entity: Tensor, relation: Tensor, gradient: Tensor, dense: Dense = NO_DENSE
    ) -> tuple[Tensor, Tensor]:
        outer = (entity[..., :, None] * gradient[..., None, :]).flatten(-2)
        return (_matrix(relation, entity) @ gradient[..., None])[..., 0], outer

    def initial_relations(self, count: int, dim: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, dim * dim, generator=generator) / dim**0.5


def _matrix(relation: Tensor, entity: Tensor) -> Tensor:
    """float[..., dim, dim]"""
    return relation.reshape(*relation.shape[:-1], entity.shape[-1], entity.shape[-1])
