"""Softmax cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.losses import base


class Softmax(base.TripleLoss):
    """Cross-entropy of the target among the target and its negatives (Lacroix et al. 2018, eq. 3)."""

    name = "softmax"
    over_all = True
    shares_target = True

    def sampled(
        self,
        scores: Tensor,
        target: Tensor | None,
        weight: Tensor,
        mask: Tensor | None,
        cross_entropy: base.CrossEntropy,
    ) -> tuple[float | Tensor, Tensor, Tensor | None]:
        place = torch.arange(scores.shape[-2], device=scores.device) if target is None else None
        return cross_entropy(scores, weight, target, place, mask), scores, target

    def over_candidates(self, scores: Tensor, weight: Tensor, cross_entropy: base.CrossEntropy) -> float | Tensor:
        return cross_entropy(scores, weight, None, None, None)
