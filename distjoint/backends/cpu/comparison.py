"""How queries meet candidates, and the way back from their scores' gradient: matrix products, but for L1.

Same scores as `similarity` in model/scorers. Plain torch operations, so the same code runs on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from distjoint.model.scorers import Compare, Scorer

Kind = Literal["softmax", "logistic", "margin", "adversarial"]

_NORM = 1e-12
_SQUARE = 1e-9


@dataclass(frozen=True)
class Objective:
    """How triples are scored and compared: the part of a step that stays the same all run.

    loss          see docs/graph.md; with its margin, and temperature; smoothing where all are candidates
    in_batch      whether the triples of a chunk are each other's negatives
    """

    scorer: Scorer
    compare: Compare
    scale: float
    loss: Kind = "softmax"
    margin: float = 1.0
    temperature: float = 1.0
    smoothing: float = 0.0
    in_batch: bool = True


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


def scores(objective: Objective, q: Tensor, k: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Scores of all queries and candidates, and the distances that `pairwise` will need of them.

    q, k      float[..., n, dim], float[..., m, dim], as from `as_candidates`
    out       float[n, m]: where the scores go
    returns   float[..., n, m] each
    """
    scale = objective.scale
    if objective.compare == "manhattan":
        return torch.mul(torch.cdist(q, k, p=1), -scale, out=out), None
    if objective.compare == "distance":
        products = (q @ k.transpose(-1, -2)).mul_(-2)
        products.add_((q * q).sum(-1)[..., :, None]).add_((k * k).sum(-1)[..., None, :])
        distance = products.clamp_min_(_SQUARE).sqrt_()
        return torch.mul(distance, -scale, out=out), distance
    found = torch.matmul(q, k.transpose(-1, -2), out=out)
    return (found.mul_(scale) if scale != 1.0 else found), None


def matched(objective: Objective, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor | None]:
    """The same for query i and candidate i alone.

    q, k      float[..., n, dim]
    returns   float[..., n] each
    """
    if objective.compare in ("dot", "cosine"):
        return (q * k).sum(-1).mul_(objective.scale), None
    if objective.compare == "manhattan":
        return (q - k).abs_().sum(-1).mul_(-objective.scale), None
    distance = (q - k).square_().sum(-1).clamp_min_(_SQUARE).sqrt_()
    return distance * -objective.scale, distance


def pairwise(objective: Objective, gradient: Tensor, distance: Tensor | None) -> Tensor:
    """The gradient of scores, made ready for `toward`, in its own memory."""
    if distance is not None:
        return gradient.mul_(-objective.scale).div_(distance)
    scale = -objective.scale if objective.compare == "manhattan" else objective.scale
    return gradient.mul_(scale) if scale != 1.0 else gradient


def toward(objective: Objective, gradient: Tensor, one: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """The gradient of one side, float[..., n, dim], from `pairwise`: float[..., n, m], m on the other side.

    out   where it goes
    """
    if objective.compare == "manhattan":
        # The distances, its last argument, are not read for this norm.
        gradient = gradient.contiguous()
        found = torch.ops.aten._cdist_backward(gradient, one.contiguous(), other.contiguous(), 1.0, gradient)
        return found if out is None else out.copy_(found)
    product = torch.matmul(gradient, other, out=out)
    if objective.compare != "distance":
        return product
    return product.neg_().addcmul_(one, gradient.sum(-1)[..., None])


def toward_matched(objective: Objective, gradient: Tensor, q: Tensor, k: Tensor, d_q: Tensor, d_k: Tensor) -> None:
    """The gradients of `matched`, from `pairwise`: float[..., n]. Adds that of q, and sets that of k."""
    gradient = gradient[..., None]
    if objective.compare in ("dot", "cosine"):
        d_q.addcmul_(k, gradient)
        torch.mul(q, gradient, out=d_k)
        return
    apart = q - k
    apart = (apart.sign_() if objective.compare == "manhattan" else apart).mul_(gradient)
    d_q.add_(apart)
    torch.neg(apart, out=d_k)
