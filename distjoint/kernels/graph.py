"""The graph's loss and its gradient as matrix products, by hand: autograd's share of the time was the largest.

Same result as model/losses.py. Plain torch operations, so the same code runs on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def gradient(
    objective: Objective, ends: Tensor, relation: Tensor, inverse: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss of a batch and its gradient.

    ends       float[2, chunks, triples + negatives, dim]: candidates for the tail ([0]: the chunk's tails,
               then its negatives) and for the head ([1])
    relation   float[chunks, triples, relation_dim], read from head to tail; inverse: read from tail to head
    weight     float[chunks, triples]: 1, or 0 for padding
    returns    loss float[] (sum), gradients in the shapes of ends, relation and inverse
    """
    scorer, triples = objective.scorer, relation.shape[1]
    tail, head = ends[0, :, :triples], ends[1, :, :triples]
    queries = torch.stack([scorer.query(head, relation), scorer.query(tail, inverse)])
    loss, d_queries, d_ends = _compare(objective, queries, ends, weight)
    d_head, d_relation = scorer.query_gradient(head, relation, d_queries[0])
    d_tail, d_inverse = scorer.query_gradient(tail, inverse, d_queries[1])
    d_ends[1, :, :triples] += d_head
    d_ends[0, :, :triples] += d_tail
    if objective.n3:
        for vectors, slot in (
            (head, d_ends[1, :, :triples]),
            (tail, d_ends[0, :, :triples]),
            (relation, d_relation),
            (inverse, d_inverse),
        ):
            pull = weight[..., None] * _modulus(vectors, scorer.complex) * vectors
            loss += objective.n3 * (pull * vectors).sum()
            slot += (3 * objective.n3) * pull
    return loss, d_ends, d_relation, d_inverse


def _compare(objective: Objective, queries: Tensor, ends: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax over candidates; gradients for queries [2, chunks, triples, dim] and ends."""
    dim, scale = queries.shape[-1], objective.scale
    q, k = queries.flatten(0, 1), ends.flatten(0, 1)
    if objective.compare == "cosine":
        q_norm, k_norm = (x.norm(dim=-1, keepdim=True).clamp_min_(_NORM) for x in (q, k))
        q, k = q / q_norm, k / k_norm
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
        if objective.compare == "cosine":
            d_q = d_q.sub_(q * (q * d_q).sum(-1, keepdim=True)).div_(q_norm)
            d_k = d_k.sub_(k * (k * d_k).sum(-1, keepdim=True)).div_(k_norm)
    return loss, d_q.view(*queries.shape[:3], dim), d_k.view(ends.shape)


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
