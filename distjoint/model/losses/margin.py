"""Margin ranking loss."""

from __future__ import annotations

from torch import Tensor

from distjoint.model.losses import base


class Margin(base.TripleLoss):
    """Mean over the negatives of max(0, margin + negative - target) (Bordes et al. 2013, eq. 1)."""

    name = "margin"

    def sampled(
        self,
        scores: Tensor,
        target: Tensor | None,
        weight: Tensor,
        mask: Tensor | None,
        cross_entropy: base.CrossEntropy,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        right = base.split_target(scores, target)
        short = scores - right[..., None] + self.margin
        negative = base.negatives(scores, target is None, mask)
        share = base.even_shares(negative, scores.dtype) * (short > 0)
        loss = ((short * share).sum(-1) * weight).sum()
        return loss, *base.weighted(share, -share.sum(-1), weight, target)
