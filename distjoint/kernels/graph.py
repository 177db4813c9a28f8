"""The graph's loss and its gradient as matrix products, by hand: autograd's share of the time was the largest.

Same result as model/losses.py. Plain torch operations, so the same code runs on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from distjoint.kernels.comparison import Objective, as_candidates, pairwise, scores, through_candidates, toward


@dataclass(frozen=True)
class Gradient:
    """What `gradient` returns: the loss, summed over queries, and its gradients.

    Each has the shape of the argument it is named after.
    """

    loss: Tensor
    candidates: Tensor
    head: Tensor
    tail: Tensor
    relation: Tensor
    inverse: Tensor


def gradient(
    objective: Objective,
    candidates: Tensor,
    head: Tensor,
    tail: Tensor,
    relation: Tensor,
    inverse: Tensor,
    weight: Tensor,
    refused: Tensor | None = None,
    out: Tensor | None = None,
) -> Gradient:
    """Loss of a batch and its gradient, without regularisers.

    candidates   float[2, chunks, triples + negatives, dim], as from `as_candidates`: for the tail ([0]: the
                 chunk's tails, then its negatives) and for the head ([1])
    head, tail   float[chunks, triples, dim]
    relation     float[chunks, triples, relation_dim], read from head to tail; inverse: read from tail to head
    weight       float[chunks, triples]: 0 for padding
    refused      bool[2, chunks, triples, triples + negatives]: what serves as no negative; never a right answer's
                 own place
    out          where the candidates' gradient goes
    """
    scorer = objective.scorer
    queries = torch.stack([scorer.query(head, relation), scorer.query(tail, inverse)])
    loss, d_queries, d_candidates = _compare(objective, queries, candidates, weight, refused, out)
    d_head, d_relation = scorer.query_gradient(head, relation, d_queries[0])
    d_tail, d_inverse = scorer.query_gradient(tail, inverse, d_queries[1])
    return Gradient(loss, d_candidates, d_head, d_tail, d_relation, d_inverse)


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


def _compare(
    objective: Objective,
    queries: Tensor,
    candidates: Tensor,
    weight: Tensor,
    refused: Tensor | None,
    out: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss; gradients for queries [2, chunks, triples, dim] and candidates."""
    q, norms = as_candidates(objective, queries.flatten(0, 1))
    found, distance = scores(objective, q, candidates.flatten(0, 1))
    refused = _refused(objective, found, None if refused is None else refused.flatten(0, 1))
    loss, g = _LOSSES[objective.loss](objective, found, weight.repeat(2, 1), refused)
    g = pairwise(objective, g, distance)
    d_q = through_candidates(toward(objective, g, q, candidates.flatten(0, 1)), q, norms)
    d_k = torch.empty_like(candidates) if out is None else out
    for side, (g_side, q_side) in enumerate(zip(g.chunk(2), q.chunk(2), strict=True)):
        toward(objective, g_side.transpose(1, 2), candidates[side], q_side, d_k[side])
    return loss, d_q.view(queries.shape), d_k


def _softmax(objective: Objective, scores: Tensor, weight: Tensor, refused: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cross-entropy of candidate i for query i, and its gradient, in the memory of `scores`."""
    if refused is not None:
        scores.masked_fill_(refused, -torch.inf)
    top = scores.amax(-1, keepdim=True)
    scores.sub_(top)
    target = scores.diagonal(dim1=1, dim2=2).clone()
    scores.exp_()
    total = scores.sum(-1)
    loss = ((total.log() - target) * weight).sum()
    scores.mul_((weight / total)[..., None])
    scores.diagonal(dim1=1, dim2=2).sub_(weight)
    return loss, scores


def _logistic(objective: Objective, scores: Tensor, weight: Tensor, refused: Tensor | None) -> tuple[Tensor, Tensor]:
    return _binary(scores, _shares(scores, refused), weight)


def _margin(objective: Objective, scores: Tensor, weight: Tensor, refused: Tensor | None) -> tuple[Tensor, Tensor]:
    short = scores - scores.diagonal(dim1=1, dim2=2)[..., None] + objective.margin
    share = _shares(scores, refused) * (short > 0)
    return ((short * share).sum(-1) * weight).sum(), _place(share, -share.sum(-1), weight)


def _adversarial(objective: Objective, scores: Tensor, weight: Tensor, refused: Tensor | None) -> tuple[Tensor, Tensor]:
    share = _shares(scores, refused)
    share = (scores * objective.temperature).masked_fill(share == 0, -torch.inf).softmax(-1).nan_to_num_()
    return _binary(scores + objective.margin, share, weight)


def _binary(scores: Tensor, share: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of the right answer, and of the negatives by their shares."""
    right = scores.diagonal(dim1=1, dim2=2).clone()
    loss = softplus(-right) + (softplus(scores) * share).sum(-1)
    return (loss * weight).sum(), _place(scores.sigmoid().mul_(share), -torch.sigmoid(-right), weight)


_LOSSES = {"softmax": _softmax, "logistic": _logistic, "margin": _margin, "adversarial": _adversarial}


def _refused(objective: Objective, scores: Tensor, refused: Tensor | None) -> Tensor | None:
    """With the ends of the other triples of the chunk, where these serve as no negatives."""
    if objective.in_batch:
        return refused
    triples, width = scores.shape[1:]
    beside = torch.zeros(triples, width, dtype=torch.bool, device=scores.device)
    beside[:, :triples] = ~torch.eye(triples, dtype=torch.bool, device=scores.device)
    return beside if refused is None else refused | beside


def _shares(scores: Tensor, refused: Tensor | None) -> Tensor:
    """float[.., triples, candidates]: one by the number of negatives for each of them, 0 for the right answer."""
    negative = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).fill_diagonal_(False)
    if refused is not None:
        negative = negative & ~refused
    return negative / negative.sum(-1, keepdim=True).clamp_min(1).to(scores.dtype)


def _place(gradient: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    """The gradient with the right answers' on its diagonal, weighted."""
    gradient.diagonal(dim1=1, dim2=2).copy_(right)
    return gradient.mul_(weight[..., None])
