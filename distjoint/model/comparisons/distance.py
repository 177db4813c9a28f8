"""Euclidean distance of query and candidate."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.comparisons.base import Comparison

_SMALLEST = 1e-9
"""Square of a distance that a smaller one is taken for, so that its root has a gradient."""


class Distance(Comparison):
    """-scale * ||q - c||, by way of one matrix product: ||q||^2 - 2 q.c + ||c||^2."""

    name = "distance"
    formula = "-scale * |q - c|, the Euclidean norm"

    def scores(self, q: Tensor, c: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        products = (q @ c.transpose(-1, -2)).mul_(-2)
        products.add_((q * q).sum(-1)[..., :, None]).add_((c * c).sum(-1)[..., None, :])
        distance = products.clamp_min_(_SMALLEST).sqrt_()
        return torch.mul(distance, -self.scale, out=out), distance

    def pairs(self, q: Tensor, c: Tensor) -> tuple[Tensor, Tensor | None]:
        distance = (q - c).square_().sum(-1).clamp_min_(_SMALLEST).sqrt_()
        return distance * -self.scale, distance

    def score_backward(self, gradient: Tensor, distance: Tensor | None) -> Tensor:
        assert distance is not None
        return gradient.mul_(-self.scale).div_(distance)

    def vector_backward(
        self, gradient: Tensor, one: Tensor, other: Tensor, out: Tensor | None = None, distance: Tensor | None = None
    ) -> Tensor:
        product = torch.matmul(gradient, other, out=out)
        return product.neg_().addcmul_(one, gradient.sum(-1)[..., None])

    def pair_backward(self, gradient: Tensor, q: Tensor, c: Tensor, d_q: Tensor, d_c: Tensor) -> None:
        apart = (q - c).mul_(gradient[..., None])
        d_q.add_(apart)
        torch.neg(apart, out=d_c)

    def rank_key(self, q: Tensor, c: Tensor, out: Tensor) -> Tensor:
        """Of -||q - c|| it keeps what differs between the candidates of a query: 2 q.c - c.c."""
        return torch.addmm((c * c).sum(-1), q, c.T, beta=-1, alpha=2, out=out)

    def rank_key_pairs(self, q: Tensor, c: Tensor) -> Tensor:
        return 2 * (q * c).sum(-1) - (c * c).sum(-1)

    def rank_rounding(self, q: Tensor, c: Tensor) -> Tensor:
        norm, other = q.norm(dim=1), c.norm(dim=1)
        return other * (2 * norm + other)
