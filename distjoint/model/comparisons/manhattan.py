"""Sum of absolute differences of query and candidate."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.comparisons.base import Comparison


class Manhattan(Comparison):
    """-scale * ||q - c||_1. It is no matrix product, and costs eight times as much as one."""

    name = "manhattan"
    formula = "-scale * the sum of |q - c|"

    def scores(self, q: Tensor, c: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return torch.mul(torch.cdist(q, c, p=1), -self.scale, out=out), None

    def pairs(self, q: Tensor, c: Tensor) -> tuple[Tensor, Tensor | None]:
        return (q - c).abs_().sum(-1).mul_(-self.scale), None

    def score_backward(self, gradient: Tensor, distance: Tensor | None) -> Tensor:
        return gradient.mul_(-self.scale)

    def vector_backward(
        self, gradient: Tensor, one: Tensor, other: Tensor, out: Tensor | None = None, distance: Tensor | None = None
    ) -> Tensor:
        # The distances, its last argument, are not read for this norm.
        gradient = gradient.contiguous()
        found = torch.ops.aten._cdist_backward(gradient, one.contiguous(), other.contiguous(), 1.0, gradient)
        return found if out is None else out.copy_(found)

    def pair_backward(self, gradient: Tensor, q: Tensor, c: Tensor, d_q: Tensor, d_c: Tensor) -> None:
        signs = (q - c).sign_().mul_(gradient[..., None])
        d_q.add_(signs)
        torch.neg(signs, out=d_c)

    def rank_key(self, q: Tensor, c: Tensor, out: Tensor) -> Tensor:
        return torch.neg(torch.cdist(q, c, p=1), out=out)

    def rank_key_pairs(self, q: Tensor, c: Tensor) -> Tensor:
        return -(q - c).abs().sum(-1)

    def rank_rounding(self, q: Tensor, c: Tensor) -> Tensor:
        return q.abs().sum(1) + c.abs().sum(1)
