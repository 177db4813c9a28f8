"""The graph's loss and its gradient as matrix products, by hand: autograd's share of the time was the largest.

Same result as tests/reference/losses.py. Plain torch operations, so the same code runs on a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from distjoint.backends.cpu.comparison import Objective, pairwise, scores, toward
from distjoint.backends.cpu.queries import Products, Queries
from distjoint.backends.cpu.softmax import softmax


def gradient(
    objective: Objective,
    queries: Queries | Products,
    candidates: Tensor,
    weight: Tensor,
    refused: Tensor | None,
    d_candidates: Tensor,
) -> tuple[Tensor | float, Tensor, Tensor]:
    """Loss of a batch and its gradient, without regularisers. Tails are asked for in [0], heads in [1].

    candidates     float[2, chunks, candidates, dim], as from `as_candidates`: with in-batch negatives, first the
                   right answers; then what was drawn
    weight         float[chunks, triples]: 0 for padding
    refused        bool[2, chunks, triples, candidates]: what serves as no negative; never a right answer's own place
    d_candidates   the shape of candidates: where their gradient goes
    returns        the loss, summed over queries, some relations, and their gradients; the queries know where to put
                   those of their ends
    """
    q = queries.vectors
    found, distance = scores(objective, q, candidates)
    loss, g, d_own = _loss(objective, found, queries.own, weight, refused)
    g = pairwise(objective, g, distance)
    d_q = toward(objective, g, q, candidates)
    for side in range(2):  # one at a time, since where it goes may be a part of a larger batch's, not in one piece
        toward(objective, g[side].transpose(1, 2), candidates[side], q[side], d_candidates[side])
    return loss, *queries.back(d_q, d_own)


def relation_gradient(
    objective: Objective, head: Tensor, tail: Tensor, relations: Tensor, target: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss of the right relation among all, and gradients of heads, tails and relations.

    For scorers whose score is linear in the relation: the gradient of the score for the relation is then a vector of
    the two ends alone, and its product with all relations their scores.

    head, tail     float[triples, dim]
    relations      float[R, relation_dim]
    target         int64[triples]
    weight         float[triples]
    """
    scorer, triples = objective.scorer, torch.arange(len(head), device=head.device)
    _, between = scorer.query_gradient(head, relations[target], tail)
    scores = between @ relations.T
    scores.sub_(scores.amax(1, keepdim=True))
    right = scores[triples, target].clone()
    total = scores.exp_().sum(1)
    loss = (weight * (total.log() - right)).sum()
    scores.mul_((weight / total)[:, None])
    scores[triples, target] -= weight
    d_between = scores @ relations
    d_head, _ = scorer.query_gradient(head, d_between, tail)
    return loss, d_head, scorer.query(head, d_between), scores.T @ between


def _loss(
    objective: Objective, scores: Tensor, own: Tensor | None, weight: Tensor, refused: Tensor | None
) -> tuple[Tensor | float, Tensor, Tensor | None]:
    """The loss, and the gradients of the scores and of the right answers' own; may take the memory of both."""
    if objective.loss == "softmax" and scores.device.type == "cpu" and scores.dtype == torch.float32:
        return softmax(scores, own, weight, refused), scores, own
    found = scores if own is None else torch.cat([own[..., None], scores], -1)
    loss, g = _LOSSES[objective.loss](objective, found, weight.expand(2, -1, -1), refused)
    return loss, _others(objective, g), None if own is None else g[..., 0]


def _softmax(objective: Objective, scores: Tensor, weight: Tensor, refused: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the right answer."""
    if refused is not None:
        _others(objective, scores).masked_fill_(refused, -torch.inf)
    top = scores.amax(-1, keepdim=True)
    scores.sub_(top)
    target = _right(objective, scores).clone()
    scores.exp_()
    total = scores.sum(-1)
    loss = ((total.log() - target) * weight).sum()
    scores.mul_((weight / total)[..., None])
    _right(objective, scores).sub_(weight)
    return loss, scores


def _logistic(objective: Objective, scores: Tensor, weight: Tensor, refused: Tensor | None) -> tuple[Tensor, Tensor]:
    return _binary(objective, scores, _shares(objective, scores, refused), weight)


def _margin(objective: Objective, scores: Tensor, weight: Tensor, refused: Tensor | None) -> tuple[Tensor, Tensor]:
    short = scores - _right(objective, scores)[..., None] + objective.margin
    share = _shares(objective, scores, refused) * (short > 0)
    return ((short * share).sum(-1) * weight).sum(), _place(objective, share, -share.sum(-1), weight)


def _adversarial(objective: Objective, scores: Tensor, weight: Tensor, refused: Tensor | None) -> tuple[Tensor, Tensor]:
    share = _shares(objective, scores, refused)
    share = (scores * objective.temperature).masked_fill(share == 0, -torch.inf).softmax(-1).nan_to_num_()
    return _binary(objective, scores + objective.margin, share, weight)


def _binary(objective: Objective, scores: Tensor, share: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of the right answer, and of the negatives by their shares."""
    right = _right(objective, scores).clone()
    loss = softplus(-right) + (softplus(scores) * share).sum(-1)
    return (loss * weight).sum(), _place(objective, scores.sigmoid().mul_(share), -torch.sigmoid(-right), weight)


_LOSSES = {"softmax": _softmax, "logistic": _logistic, "margin": _margin, "adversarial": _adversarial}
"""Of scores float[2, chunks, triples, candidates], where `_right` finds the right answers', and whose memory they may
take: the weighted loss, and its gradient."""


def _right(objective: Objective, scores: Tensor) -> Tensor:
    """What belongs to the right answers, a view: on the diagonal where they are candidates of all, else before the
    negatives.
    """
    return scores.diagonal(dim1=-2, dim2=-1) if objective.in_batch else scores[..., 0]


def _others(objective: Objective, scores: Tensor) -> Tensor:
    """What may belong to a negative, a view."""
    return scores if objective.in_batch else scores[..., 1:]


def _shares(objective: Objective, scores: Tensor, refused: Tensor | None) -> Tensor:
    """float[2, chunks, triples, candidates]: one by the number of negatives for each, 0 for the right answer."""
    negative = torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
    if refused is not None:
        _others(objective, negative).logical_and_(~refused)
    _right(objective, negative).fill_(False)
    return negative / negative.sum(-1, keepdim=True).clamp_min(1).to(scores.dtype)


def _place(objective: Objective, gradient: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    """The gradient with the right answers', weighted."""
    _right(objective, gradient).copy_(right)
    return gradient.mul_(weight[..., None])
