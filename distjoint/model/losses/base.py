"""What a loss on triples is: from the scores of a query's target and negatives to a number and its gradient.

A query is a triple with one end left out, the target that end. Losses of this package have their gradients written
out; one that defines `of_queries` alone gets its gradient from autograd.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

CrossEntropy = Callable[[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None], float | Tensor]
"""A backend's softmax cross-entropy: (scores, weight, target, place, mask) to the weighted loss, gradients in place.
See `Backend.cross_entropy`."""


class TripleLoss(ABC):
    """Loss function.

    margin        of losses that have one
    temperature   of self-adversarial weights
    """

    name: ClassVar[str]
    over_all: ClassVar[bool] = False
    """Whether it is defined over all candidates (1vsall, kvsall): then `over_candidates` is."""
    shares_target: ClassVar[bool] = False
    """Over all candidates: whether several answers of a query share one target, or are each a label of its own."""

    def __init__(self, margin: float = 1.0, temperature: float = 1.0) -> None:
        self.margin, self.temperature = margin, temperature

    def of_queries(self, target: Tensor, scores: Tensor, negative: Tensor) -> Tensor:
        """Loss of each query, in differentiable torch operations.

        target     float[...]: score of the right answer
        scores     float[..., candidates]
        negative   bool[..., candidates]: which candidates are negatives
        returns    float[...]
        """
        raise NotImplementedError(f"loss '{self.name}' defines neither of_queries nor sampled")

    def sampled(
        self, scores: Tensor, target: Tensor | None, weight: Tensor, mask: Tensor | None, cross_entropy: CrossEntropy
    ) -> tuple[float | Tensor, Tensor, Tensor | None]:
        """Weighted loss of a batch, summed, and the gradients of the scores; may take the memory of both.

        scores    float[2, chunks, triples, candidates]; without `target`, candidate k is the target of triple k
        target    float[2, chunks, triples]: the targets' scores, where they are not among the candidates
        weight    float[chunks, triples]: 0 for padding
        mask      bool, the shape of scores: filter mask, True where a candidate is no negative; never at a target
        returns   float[]; gradients of scores and target
        """
        with torch.enable_grad():
            leaf = scores.detach().requires_grad_()
            apart = None if target is None else target.detach().requires_grad_()
            right = leaf.diagonal(dim1=-2, dim2=-1) if apart is None else apart
            loss = (self.of_queries(right, leaf, negatives(scores, apart is None, mask)) * weight).sum()
            gradients = torch.autograd.grad(loss, [leaf] if apart is None else [leaf, apart])
        return loss.detach(), gradients[0], None if apart is None else gradients[1]

    def over_candidates(self, scores: Tensor, weight: Tensor, cross_entropy: CrossEntropy) -> float | Tensor:
        """The part of the loss over all candidates that does not know the answers; its gradient replaces the scores.

        The loss is this less the scores that the target weighs.

        scores    float[queries, candidates]
        weight    float[queries]
        returns   float[], summed over queries
        """
        raise NotImplementedError(f"loss '{self.name}' is for sampled negatives")


def negatives(scores: Tensor, in_batch: bool, mask: Tensor | None) -> Tensor:
    """bool, the shape of scores: which candidates are negatives."""
    negative = torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
    if mask is not None:
        negative.logical_and_(~mask)
    if in_batch:
        negative.diagonal(dim1=-2, dim2=-1).fill_(False)
    return negative


def even_shares(negative: Tensor, dtype: torch.dtype) -> Tensor:
    """One over the number of a query's negatives for each of them, 0 for other candidates."""
    return negative / negative.sum(-1, keepdim=True).clamp_min(1).to(dtype)


def split_target(scores: Tensor, target: Tensor | None) -> Tensor:
    """float[2, chunks, triples]: a copy of the targets' scores, wherever they are."""
    return scores.diagonal(dim1=-2, dim2=-1).clone() if target is None else target.clone()


def weighted(
    gradient: Tensor, of_target: Tensor, weight: Tensor, target: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Gradients of scores and of targets, times the weights; without `target` the latter lie on the diagonal."""
    if target is None:
        gradient.diagonal(dim1=-2, dim2=-1).copy_(of_target)
        return gradient.mul_(weight[..., None]), None
    return gradient.mul_(weight[..., None]), of_target * weight
