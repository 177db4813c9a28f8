"""QuatE: a relation is a rotation of each quaternion coordinate."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.scorers.base import NO_DENSE, Dense, Scorer

_NORM = 1e-12


class QuatE(Scorer):
    """Zhang et al. 2019: (head ⊗ relation / |relation|) . tail, with Hamilton's product.

    Entities and relations are dim / 4 quaternions a + b i + c j + d k, held as quarters of the last axis. Of a
    relation's quaternions only the direction counts.
    """

    name = "quate"
    paper = "Zhang et al. 2019"
    paper_loss = "logistic"
    formula = "q = h r / |r|, Hamilton's product of quaternions whose parts are quarters of the vectors"
    inverse_formula = "the conjugate of r"
    compare = "dot"
    multiple = 4

    def query(self, entity: Tensor, relation: Tensor, dense: Dense = NO_DENSE) -> Tensor:
        return _product(entity, _unit(relation)[0])

    def inverse(self, relation: Tensor) -> Tensor:
        return _conjugate(relation)

    def query_gradient(
        self, entity: Tensor, relation: Tensor, gradient: Tensor, dense: Dense = NO_DENSE
    ) -> tuple[Tensor, Tensor]:
        unit, norm = _unit(relation)
        d_unit = _product(_conjugate(entity), gradient)
        # Only what is at a right angle to the unit quaternion turns it.
        along = (_quarters(d_unit) * _quarters(unit)).sum(-2, keepdim=True)
        d_relation = (_quarters(d_unit) - along * _quarters(unit)) / norm
        return _product(gradient, _conjugate(unit)), d_relation.flatten(-2)

    def initial_relations(self, count: int, dim: int, generator: torch.Generator) -> Tensor:
        """Unit quaternions, of any direction alike."""
        return _unit(torch.randn(count, dim, generator=generator))[0]


def _quarters(vectors: Tensor) -> Tensor:
    """float[..., 4 n] as float[..., 4, n]"""
    return torch.unflatten(vectors, -1, (4, -1))


def _unit(relation: Tensor) -> tuple[Tensor, Tensor]:
    """Quaternions of length one, float[..., 4 n], and the lengths they had, float[..., 1, n]."""
    quarters = _quarters(relation)
    norm = quarters.norm(dim=-2, keepdim=True).clamp_min(_NORM)
    return (quarters / norm).flatten(-2), norm


def _conjugate(vectors: Tensor) -> Tensor:
    real, *imaginary = vectors.chunk(4, -1)
    return torch.cat([real, *(-part for part in imaginary)], -1)


def _product(one: Tensor, other: Tensor) -> Tensor:
    """Hamilton's product of quaternions, coordinate by coordinate; it does not commute."""
    (a, b, c, d), (p, q, u, v) = one.chunk(4, -1), other.chunk(4, -1)
    return torch.cat(
        [
            a * p - b * q - c * u - d * v,
            a * q + b * p + c * v - d * u,
            a * u - b * v + c * p + d * q,
            a * v + b * u - c * q + d * p,
        ],
        -1,
    )
