"""The graph's loss and its gradient as matrix products, by hand: autograd's share of the time was the largest.

Same result as model/losses.py. Plain torch operations, so the same code runs on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from distjoint.model.scorers import Compare, Scorer

_NORM = 1e-12
_SQUARE = 1e-9


@dataclass(frozen=True)
class Objective:
    """How triples are scored and compared: the part of a step that stays the same all run.

    n3   weight of the nuclear 3-norm
    """

    scorer: Scorer
    compare: Compare
    scale: float
    n3: float = 0.0


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
    found = Gradient(loss, d_candidates, d_head, d_tail, d_relation, d_inverse)
    return _add_n3(objective, found, head, tail, relation, inverse, weight) if objective.n3 else found


def _compare(
    objective: Objective, queries: Tensor, candidates: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax over candidates; gradients for queries [2, chunks, triples, dim] and candidates."""
    dim, scale = queries.shape[-1], objective.scale
    raw, k = queries.flatten(0, 1), candidates.flatten(0, 1)
    q, norms = as_candidates(objective, raw)
    scores = torch.bmm(q, k.transpose(1, 2))
    if objective.compare == "distance":
        squares = (q * q).sum(-1)[:, :, None] + (k * k).sum(-1)[:, None, :]
        distance = squares.sub_(scores, alpha=2).clamp_min_(_SQUARE).sqrt_()
        scores = distance * -scale
    elif scale != 1.0:
        scores *= scale
    loss, g = _softmax(scores, weight)
    if objective.compare == "distance":
        g = g.mul_(-scale).div_(distance)
        d_q = (q * g.sum(-1)[..., None]).sub_(torch.bmm(g, k))
        d_k = (k * g.sum(-2)[..., None]).sub_(torch.bmm(g.transpose(1, 2), q))
    else:
        g = g.mul_(scale) if scale != 1.0 else g
        d_q, d_k = torch.bmm(g, k), torch.bmm(g.transpose(1, 2), q)
    d_q = through_candidates(d_q, q, norms)
    return loss, d_q.view(*queries.shape[:3], dim), d_k.view(candidates.shape)


def _add_n3(
    objective: Objective, found: Gradient, head: Tensor, tail: Tensor, relation: Tensor, inverse: Tensor, weight: Tensor
) -> Gradient:
    """The regulariser's part: n3 |x|^3 to the loss, n3 3 |x| x to the gradient, for each vector of each triple."""
    pairs, loss = objective.scorer.complex, found.loss

    def added(slot: Tensor, vectors: Tensor) -> Tensor:
        nonlocal loss
        pull = weight[..., None] * _modulus(vectors, pairs) * vectors
        loss = loss + objective.n3 * (pull * vectors).sum()
        return slot + (3 * objective.n3) * pull

    gradients = {
        "head": added(found.head, head),
        "tail": added(found.tail, tail),
        "relation": added(found.relation, relation),
        "inverse": added(found.inverse, inverse),
    }
    return replace(found, loss=loss, **gradients)


def _softmax(scores: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of candidate i for query i, and its gradient, in the memory of `scores`."""
    weight = weight.repeat(2, 1)
    top = scores.amax(-1, keepdim=True)
    scores.sub_(top)
    target = scores.diagonal(dim1=1, dim2=2).clone()
    scores.exp_()
    total = scores.sum(-1)
    loss = ((total.log() - target) * weight).sum()
    scores.mul_((weight / total)[..., None])
    scores.diagonal(dim1=1, dim2=2).sub_(weight)
    return loss, scores


def _modulus(vectors: Tensor, complex_: bool) -> Tensor:
    if complex_ and vectors.shape[-1] % 2 == 0:
        real, imaginary = vectors.chunk(2, -1)
        return (real * real + imaginary * imaginary).sqrt().repeat(*([1] * (vectors.dim() - 1)), 2)
    return vectors.abs()
