"""Cosine of query and candidate."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.comparisons.dot import Dot

_SMALLEST = 1e-12
"""Norm that a shorter vector is divided by instead of its own."""


class Cosine(Dot):
    """scale * cos(q, c): the dot product of unit vectors.

    It lies in [-1, 1], so as a logit of a softmax over hundreds of candidates it needs a scale.
    """

    name = "cosine"
    formula = "scale * (q . c) / (|q| |c|)"
    default_scale = 10.0
    is_product = False
    has_units = True

    def embed(self, vectors: Tensor) -> tuple[Tensor, Tensor | None]:
        norms = vectors.norm(dim=-1, keepdim=True).clamp_min_(_SMALLEST)
        return vectors / norms, norms

    def embed_backward(self, gradient: Tensor, embedded: Tensor, norms: Tensor | None) -> Tensor:
        assert norms is not None
        along = (gradient * embedded).sum(-1, keepdim=True)
        return gradient.addcmul_(embedded, along, value=-1).div_(norms)

    def rank_rounding(self, q: Tensor, c: Tensor) -> Tensor:
        return torch.ones(len(q), dtype=q.dtype, device=q.device)
