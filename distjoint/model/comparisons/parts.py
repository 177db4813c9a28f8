"""Cosine of a query and a candidate in parts, which the query weighs."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.comparisons.cosine import Cosine

_SMALLEST = 1e-12


class CosineOfParts(Cosine):
    """scale * cos(q, c) for queries and candidates that are several vectors side by side, Q_i and C_i.

    The sum of Q_i . C_i over the root of the sum of (Q_i . Q_k) (C_i . C_k). Where the parts of a query are one vector
    q, times b_1 to b_n (`Weighed`), that is the cosine of q and the sum of b_i C_i: the candidate as the relation reads
    it.

    parts   vectors side by side
    """

    name = "cosine_of_parts"
    formula = (
        "scale * (sum of Q_i . C_i) / sqrt(sum of (Q_i . Q_k) (C_i . C_k)), over the parts i, k that lie side by side"
    )

    def __init__(self, scale: float | None = None, parts: int = 1) -> None:
        super().__init__(scale)
        self.parts = parts

    def scores(self, q: Tensor, c: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Of either pair the length that it is divided by, and its product over the length's square: [..., n, m, 2]."""
        product = torch.matmul(q, c.transpose(-1, -2), out=out)
        length = self._lengths(self._grams(q) @ self._grams(c).transpose(-1, -2))
        kept = torch.stack([length, product / length.square()], -1)
        return product.div_(length).mul_(self.scale), kept

    def pairs(self, q: Tensor, c: Tensor) -> tuple[Tensor, Tensor | None]:
        product, length = (q * c).sum(-1), self._lengths((self._grams(q) * self._grams(c)).sum(-1))
        return self.scale * product / length, torch.stack([length, product / length.square()], -1)

    def score_backward(self, gradient: Tensor, distance: Tensor | None) -> Tensor:
        """Also what the lengths take of it, which `distance` holds then."""
        assert distance is not None
        gradient.mul_(self.scale).div_(distance[..., 0])
        distance[..., 1].mul_(gradient)
        return gradient

    def vector_backward(
        self, gradient: Tensor, one: Tensor, other: Tensor, out: Tensor | None = None, distance: Tensor | None = None
    ) -> Tensor:
        of_other = self._grams(other)
        if distance is None:
            product, square = one @ other.transpose(-1, -2), self._grams(one) @ of_other.transpose(-1, -2)
            by_length = gradient * product / square.clamp_min(_SMALLEST)
        else:
            by_length = distance[..., 1]
        found = torch.matmul(gradient, other, out=out)
        return found.sub_(self._turned(by_length @ of_other, one))

    def pair_backward(self, gradient: Tensor, q: Tensor, c: Tensor, d_q: Tensor, d_c: Tensor) -> None:
        of_q, of_c = self._grams(q), self._grams(c)
        by_length = gradient * (q * c).sum(-1) / (of_q * of_c).sum(-1).clamp_min(_SMALLEST)
        d_q += gradient[..., None] * c - self._turned(by_length[..., None] * of_c, q)
        torch.mul(q, gradient[..., None], out=d_c)
        d_c -= self._turned(by_length[..., None] * of_q, c)

    def slopes(self, q: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        share = self.scale / self._lengths((self._grams(q) * self._grams(c)).sum(-1, keepdim=True))
        return share * c, share * q

    def rank_key(self, q: Tensor, c: Tensor, out: Tensor) -> Tensor:
        torch.mm(q, c.T, out=out)
        return out.div_(self._lengths(self._grams(q) @ self._grams(c).T))

    def rank_key_pairs(self, q: Tensor, c: Tensor) -> Tensor:
        return (q * c).sum(-1) / self._lengths((self._grams(q) * self._grams(c)).sum(-1))

    def _grams(self, vectors: Tensor) -> Tensor:
        """Products of the parts with each other: float[..., parts * parts]."""
        parts = torch.unflatten(vectors, -1, (self.parts, -1))
        return (parts @ parts.transpose(-1, -2)).flatten(-2)

    def _lengths(self, squares: Tensor) -> Tensor:
        return squares.clamp_min(_SMALLEST).sqrt()

    def _turned(self, grams: Tensor, vectors: Tensor) -> Tensor:
        """Parts that are sums of the parts of some vectors: float[..., parts * parts], float[..., parts * dim]."""
        square = torch.unflatten(grams, -1, (self.parts, self.parts))
        return (square @ torch.unflatten(vectors, -1, (self.parts, -1))).flatten(-2)
