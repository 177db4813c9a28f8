"""Dot product of query and candidate."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.comparisons.base import Comparison


class Dot(Comparison):
    """scale * (q . c): the score of bilinear models."""

    name = "dot"
    formula = "scale * (q . c)"
    is_product = True

    def scores(self, q: Tensor, c: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        found = torch.matmul(q, c.transpose(-1, -2), out=out)
        return self._scaled(found), None

    def pairs(self, q: Tensor, c: Tensor) -> tuple[Tensor, Tensor | None]:
        return (q * c).sum(-1).mul_(self.scale), None

    def score_backward(self, gradient: Tensor, distance: Tensor | None) -> Tensor:
        return self._scaled(gradient)

    def vector_backward(
        self, gradient: Tensor, one: Tensor, other: Tensor, out: Tensor | None = None, distance: Tensor | None = None
    ) -> Tensor:
        return torch.matmul(gradient, other, out=out)

    def pair_backward(self, gradient: Tensor, q: Tensor, c: Tensor, d_q: Tensor, d_c: Tensor) -> None:
        d_q.addcmul_(c, gradient[..., None])
        torch.mul(q, gradient[..., None], out=d_c)

    def rank_key(self, q: Tensor, c: Tensor, out: Tensor) -> Tensor:
        return torch.mm(q, c.T, out=out)

    def rank_key_pairs(self, q: Tensor, c: Tensor) -> Tensor:
        return (q * c).sum(-1)

    def rank_rounding(self, q: Tensor, c: Tensor) -> Tensor:
        return q.norm(dim=1) * c.norm(dim=1)

    def _scaled(self, values: Tensor) -> Tensor:
        return values.mul_(self.scale) if self.scale != 1.0 else values
