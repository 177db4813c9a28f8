"""Softmax cross-entropy."""

from __future__ import annotations

from torch import Tensor

from distjoint.model.losses import base


class Softmax(base.TripleLoss):
    """Cross-entropy of the target among the target and its negatives (Lacroix et al. 2018, eq. 3)."""

    name = "softmax"
    over_all = True
    shares_target = True

    def sampled(
        self, scores: Tensor, target: Tensor | None, weight: Tensor, mask: Tensor | None, softmax: base.Softmax
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        right = base.split_target(scores, target)
        total = softmax(scores, weight, target, mask)
        (scores.diagonal(dim1=-2, dim2=-1) if target is None else target).sub_(weight)
        return ((total - right) * weight).sum(), scores, target

    def over_candidates(self, scores: Tensor, weight: Tensor, softmax: base.Softmax) -> Tensor:
        return (softmax(scores, weight, None, None) * weight).sum()
