"""The graph's loss and its gradient as matrix products, by hand: autograd's share of the time was the largest.

Same result as model/losses.py. Plain torch operations, so the same code runs on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from distjoint.model.losses import Kind
from distjoint.model.scorers import Compare, Scorer

_NORM = 1e-12
_SQUARE = 1e-9


@dataclass(frozen=True)
class Objective:
    """How triples are scored and compared: the part of a step that stays the same all run.

    n3, l2        weights of the nuclear 3-norm and of the squared norm
    loss          as in model/losses.py, with its margin, and temperature; smoothing where all are candidates
    in_batch      whether the triples of a chunk are each other's negatives
    """

    scorer: Scorer
    compare: Compare
    scale: float
    n3: float = 0.0
    l2: float = 0.0
    loss: Kind = "softmax"
    margin: float = 1.0
    temperature: float = 1.0
    smoothing: float = 0.0
    in_batch: bool = True


@dataclass(frozen=True)
class Gradient:
    """What `gradient` returns: the loss, summed over queries and with the regulariser, and its gradients.

    Each has the shape of the argument it is named after.
    """

    loss: Tensor
    candidates: Tensor
    head: Tensor
    tail: Tensor
    relation: Tensor
    inverse: Tensor


def as_candidates(objective: Objective, vectors: Tensor) -> tuple[Tensor, Tensor | None]:
    """Vectors as they are compared with queries: unit vectors for a cosine. Done once per distinct row.

    vectors   float[rows, dim]
    returns   float[rows, dim], and their norms float[rows, 1] where they were divided by them
    """
    if objective.compare != "cosine":
        return vectors, None
    norms = vectors.norm(dim=-1, keepdim=True).clamp_min_(_NORM)
    return vectors / norms, norms


def through_candidates(gradient: Tensor, candidates: Tensor, norms: Tensor | None) -> Tensor:
    """The gradient for the vectors behind `as_candidates`, given that for the candidates; may change it in place."""
    if norms is None:
        return gradient
    along = (gradient * candidates).sum(-1, keepdim=True)
    return gradient.addcmul_(candidates, along, value=-1).div_(norms)


def gradient(
    objective: Objective,
    candidates: Tensor,
    head: Tensor,
    tail: Tensor,
    relation: Tensor,
    inverse: Tensor,
    weight: Tensor,
) -> Gradient:
    """Loss of a batch and its gradient.

    candidates   float[2, chunks, triples + negatives, dim], as from `as_candidates`: for the tail ([0]: the
                 chunk's tails, then its negatives) and for the head ([1])
    head, tail   float[chunks, triples, dim]
    relation     float[chunks, triples, relation_dim], read from head to tail; inverse: read from tail to head
    weight       float[chunks, triples]: 1, or 0 for padding
    """
    scorer = objective.scorer
    queries = torch.stack([scorer.query(head, relation), scorer.query(tail, inverse)])
    loss, d_queries, d_candidates = _compare(objective, queries, candidates, weight)
    d_head, d_relation = scorer.query_gradient(head, relation, d_queries[0])
    d_tail, d_inverse = scorer.query_gradient(tail, inverse, d_queries[1])
    ways = ((head, d_head), (tail, d_tail), (relation, d_relation), (inverse, d_inverse))
    pulls = [regularise(objective, vectors, weight, slot) for vectors, slot in ways]
    total = loss + sum(pull for pull, _ in pulls)
    return Gradient(total, d_candidates, *(slot for _, slot in pulls))


def regularise(objective: Objective, vectors: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The regularisers n3 |x|^3 + l2 x^2 / 2 of each coordinate: their loss, and the gradient with theirs added.

    vectors, gradient   float[..., width]
    weight              float[...]
    """
    loss = weight.new_zeros(())
    if objective.n3:
        pull = weight[..., None] * _modulus(vectors, objective.scorer.complex) * vectors
        loss = loss + objective.n3 * (pull * vectors).sum()
        gradient = gradient.add(pull, alpha=3 * objective.n3)
    if objective.l2:
        pull = weight[..., None] * vectors
        loss = loss + objective.l2 / 2 * (pull * vectors).sum()
        gradient = gradient.add(pull, alpha=objective.l2)
    return loss, gradient


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
    objective: Objective, queries: Tensor, candidates: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss; gradients for queries [2, chunks, triples, dim] and candidates."""
    dim, scale = queries.shape[-1], objective.scale
    raw, k = queries.flatten(0, 1), candidates.flatten(0, 1)
    q, norms = as_candidates(objective, raw)
    scores = torch.bmm(q, k.transpose(1, 2))
    if objective.compare == "distance":
        distance = distances(q, k, scores)
        scores = distance * -scale
    elif scale != 1.0:
        scores *= scale
    loss, g = _LOSSES[objective.loss](objective, scores, weight.repeat(2, 1))
    if objective.compare == "distance":
        g = g.mul_(-scale).div_(distance)
        d_q = (q * g.sum(-1)[..., None]).sub_(torch.bmm(g, k))
        d_k = (k * g.sum(-2)[..., None]).sub_(torch.bmm(g.transpose(1, 2), q))
    else:
        g = g.mul_(scale) if scale != 1.0 else g
        d_q, d_k = torch.bmm(g, k), torch.bmm(g.transpose(1, 2), q)
    d_q = through_candidates(d_q, q, norms)
    return loss, d_q.view(*queries.shape[:3], dim), d_k.view(candidates.shape)


def distances(q: Tensor, k: Tensor, products: Tensor) -> Tensor:
    """||q - k|| of float[..., n, dim] and float[..., m, dim], in the memory of their products: float[..., n, m]."""
    products.mul_(-2).add_((q * q).sum(-1)[..., :, None]).add_((k * k).sum(-1)[..., None, :])
    return products.clamp_min_(_SQUARE).sqrt_()


def _softmax(objective: Objective, scores: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of candidate i for query i, and its gradient, in the memory of `scores`."""
    if not objective.in_batch:
        scores.masked_fill_(_beside(scores), -torch.inf)
    top = scores.amax(-1, keepdim=True)
    scores.sub_(top)
    target = scores.diagonal(dim1=1, dim2=2).clone()
    scores.exp_()
    total = scores.sum(-1)
    loss = ((total.log() - target) * weight).sum()
    scores.mul_((weight / total)[..., None])
    scores.diagonal(dim1=1, dim2=2).sub_(weight)
    return loss, scores


def _logistic(objective: Objective, scores: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return _binary(scores, _shares(objective, scores), weight)


def _margin(objective: Objective, scores: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    short = scores - scores.diagonal(dim1=1, dim2=2)[..., None] + objective.margin
    share = _shares(objective, scores) * (short > 0)
    return ((short * share).sum(-1) * weight).sum(), _place(share, -share.sum(-1), weight)


def _adversarial(objective: Objective, scores: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    share = _shares(objective, scores)
    share = (scores * objective.temperature).masked_fill(share == 0, -torch.inf).softmax(-1).nan_to_num_()
    return _binary(scores + objective.margin, share, weight)


def _binary(scores: Tensor, share: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of the right answer, and of the negatives by their shares."""
    right = scores.diagonal(dim1=1, dim2=2).clone()
    loss = softplus(-right) + (softplus(scores) * share).sum(-1)
    return (loss * weight).sum(), _place(scores.sigmoid().mul_(share), -torch.sigmoid(-right), weight)


_LOSSES = {"softmax": _softmax, "logistic": _logistic, "margin": _margin, "adversarial": _adversarial}


def _beside(scores: Tensor) -> Tensor:
    """bool[triples, candidates]: ends of the other triples of the chunk."""
    triples, width = scores.shape[1:]
    beside = torch.zeros(triples, width, dtype=torch.bool, device=scores.device)
    beside[:, :triples] = ~torch.eye(triples, dtype=torch.bool, device=scores.device)
    return beside


def _shares(objective: Objective, scores: Tensor) -> Tensor:
    """float[triples, candidates]: one by the number of negatives for each of them, 0 for the right answer."""
    negative = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).fill_diagonal_(False)
    if not objective.in_batch:
        negative &= ~_beside(scores)
    return negative / negative.sum(-1, keepdim=True).clamp_min(1).to(scores.dtype)


def _place(gradient: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    """The gradient with the right answers' on its diagonal, weighted."""
    gradient.diagonal(dim1=1, dim2=2).copy_(right)
    return gradient.mul_(weight[..., None])


def _modulus(vectors: Tensor, complex_: bool) -> Tensor:
    if complex_ and vectors.shape[-1] % 2 == 0:
        real, imaginary = vectors.chunk(2, -1)
        return (real * real + imaginary * imaginary).sqrt().repeat(*([1] * (vectors.dim() - 1)), 2)
    return vectors.abs()
