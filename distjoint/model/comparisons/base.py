"""What a comparison is: the score of a query vector and a candidate vector, its gradient, and a key that ranks alike.

Training calls the forward and backward methods, evaluation the ranking keys: both ask the same object.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor


class Comparison(ABC):
    """Score function of two vectors; higher is more plausible.

    scale   factor on scores, > 0: sharpens a softmax over bounded scores, never changes a rank
    """

    name: ClassVar[str]
    formula: ClassVar[str] = "as its class says"
    """The score of a query q and a candidate c, for people who compute it elsewhere."""
    default_scale: ClassVar[float] = 1.0
    is_product: ClassVar[bool] = False
    """Whether a score is `scale * (q . c)` of the vectors as they are."""
    has_units: ClassVar[bool] = False
    """Whether vectors are divided by their norms before they are compared."""

    def __init__(self, scale: float | None = None) -> None:
        self.scale = scale or self.default_scale

    def embed(self, vectors: Tensor) -> tuple[Tensor, Tensor | None]:
        """Vectors as they are compared. Done once for a vector that meets many.

        vectors   float[..., dim]
        returns   float[..., dim], and their norms float[..., 1] where they were divided by them
        """
        return vectors, None

    def embed_backward(self, gradient: Tensor, embedded: Tensor, norms: Tensor | None) -> Tensor:
        """Gradient of the vectors behind `embed`, given that of what it returned; may change it in place."""
        return gradient

    @abstractmethod
    def scores(self, q: Tensor, c: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Scores of all queries with all candidates.

        q, c      float[..., n, dim], float[..., m, dim], as from `embed`
        out       float[n, m]: where the scores go
        returns   float[..., n, m], and the distances that `score_backward` needs of them, if any
        """

    @abstractmethod
    def pairs(self, q: Tensor, c: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same for query i and candidate i alone: float[..., n, dim] each to float[..., n]."""

    @abstractmethod
    def score_backward(self, gradient: Tensor, distance: Tensor | None) -> Tensor:
        """Gradient of scores made ready for `vector_backward` and `pair_backward`, in its own memory."""

    @abstractmethod
    def vector_backward(
        self, gradient: Tensor, one: Tensor, other: Tensor, out: Tensor | None = None, distance: Tensor | None = None
    ) -> Tensor:
        """Gradient of one side, float[..., n, dim], from `score_backward`: float[..., n, m], m on the other side.

        distance   that of `scores`, after `score_backward`, where it was kept
        """

    @abstractmethod
    def pair_backward(self, gradient: Tensor, q: Tensor, c: Tensor, d_q: Tensor, d_c: Tensor) -> None:
        """Gradients of `pairs`, from `score_backward`: float[..., n]. Adds that of q, and sets that of c."""

    def slopes(self, q: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors that say how much of a score each part of a query or of a candidate makes.

        The score of query i and candidate i is `slope . vector + rest`, so that of parts that add up to the vector each
        makes `slope . part`. A slope is the gradient with norms held fixed: the rest is 0 for a product and a cosine,
        and for a distance, -||d|| = -(d / ||d||) . (q - c), what the other vector makes.

        q, c      float[..., n, dim], as they are before `embed`
        returns   float[..., n, dim] each: of the query and of the candidate
        """
        (one, norms), (other, other_norms) = self.embed(q), self.embed(c)
        scores, distance = self.pairs(one, other)
        d_q, d_c = torch.zeros_like(one), torch.empty_like(other)
        self.pair_backward(self.score_backward(torch.ones_like(scores), distance), one, other, d_q, d_c)
        return d_q if norms is None else d_q / norms, d_c if other_norms is None else d_c / other_norms

    @abstractmethod
    def rank_key(self, q: Tensor, c: Tensor, out: Tensor) -> Tensor:
        """A number for each query and candidate that orders the candidates of a query as the score does, but cheaper.

        q, c   float[queries, dim], float[candidates, dim], as from `embed`
        out    float[queries, candidates], which is filled and returned
        """

    @abstractmethod
    def rank_key_pairs(self, q: Tensor, c: Tensor) -> Tensor:
        """The same number for query i and candidate i only: float[n, dim] each to float[n]."""

    @abstractmethod
    def rank_rounding(self, q: Tensor, c: Tensor) -> Tensor:
        """Size of the terms that `rank_key_pairs` adds up, which bounds its rounding: float[n]."""
