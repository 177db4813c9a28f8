"""Logistic loss: binary cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from distjoint.model.losses import base


class Logistic(base.TripleLoss):
    """-log s(target) - mean log s(-negative) (Trouillon et al. 2016, eq. 10, with the negatives averaged)."""

    name = "logistic"
    over_all = True

    def sampled(
        self,
        scores: Tensor,
        target: Tensor | None,
        weight: Tensor,
        mask: Tensor | None,
        cross_entropy: base.CrossEntropy,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        share = base.even_shares(base.negatives(scores, target is None, mask), scores.dtype)
        return binary(scores, target, share, weight)

    def over_candidates(self, scores: Tensor, weight: Tensor, cross_entropy: base.CrossEntropy) -> Tensor:
        loss = (weight * softplus(scores).sum(1)).sum()
        scores.sigmoid_().mul_(weight[:, None])
        return loss


def binary(
    scores: Tensor, target: Tensor | None, share: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Binary cross-entropy of the target, and of the negatives by their shares, with the gradients."""
    right = base.split_target(scores, target)
    loss = softplus(-right) + (softplus(scores) * share).sum(-1)
    gradient = scores.sigmoid().mul_(share)
    return (loss * weight).sum(), *base.weighted(gradient, -torch.sigmoid(-right), weight, target)
