"""Self-adversarial loss."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.losses import base
from distjoint.model.losses.logistic import binary


class Adversarial(base.TripleLoss):
    """-log s(margin + target) - sum p log s(-margin - negative) (Sun et al. 2019, eq. 5 and 6).

    p is the softmax of the negatives' scores times `temperature`, taken as given: no gradient goes through it.
    """

    name = "adversarial"

    def sampled(
        self,
        scores: Tensor,
        target: Tensor | None,
        weight: Tensor,
        mask: Tensor | None,
        cross_entropy: base.CrossEntropy,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        negative = base.negatives(scores, target is None, mask)
        share = (scores * self.temperature).masked_fill(~negative, -torch.inf).softmax(-1).nan_to_num_()
        moved = None if target is None else target + self.margin
        return binary(scores + self.margin, moved, share, weight)
