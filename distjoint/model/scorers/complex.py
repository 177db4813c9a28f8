"""ComplEx: DistMult with complex coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.scorers.base import NO_DENSE, Dense, Scorer


class ComplEx(Scorer):
    """Trouillon et al. 2016, eq. 11: Re(<head, relation, conj(tail)>)."""

    name = "complex"
    paper = "Trouillon et al. 2016"
    paper_loss = "logistic"
    formula = "q = (a c - b d, b c + a d), with h = (a, b) and r = (c, d), halves of the vectors"
    inverse_formula = "(c, -d)"
    compare = "dot"
    multiple = 2
    product = "complex"
    linear_in_relation = True

    def query(self, entity: Tensor, relation: Tensor, dense: Dense = NO_DENSE) -> Tensor:
        return _times(entity, relation)

    def inverse(self, relation: Tensor) -> Tensor:
        real, imaginary = relation.chunk(2, -1)
        return torch.cat([real, -imaginary], -1)

    def query_gradient(
        self, entity: Tensor, relation: Tensor, gradient: Tensor, dense: Dense = NO_DENSE
    ) -> tuple[Tensor, Tensor]:
        return _times(gradient, relation, conjugate=True), _times(gradient, entity, conjugate=True)


def _times(one: Tensor, other: Tensor, conjugate: bool = False) -> Tensor:
    """The complex product with `other`, or with its conjugate; in as few passes as torch allows."""
    (a, b), (c, d) = one.chunk(2, -1), other.chunk(2, -1)
    sign = -1 if conjugate else 1
    return torch.cat([torch.addcmul(a * c, b, d, value=-sign), torch.addcmul(b * c, a, d, value=sign)], -1)
