"""Scorers of triples, each as one small description: how head and relation make a query, and how a query is
compared with a candidate.

Every scorer here has the form `compare(query(head, relation), tail)`. The query costs a few operations per
triple and the comparison is a matrix product, so one query meets thousands of candidates at the price of a
GEMM. The same form asked backwards gives the head: `compare(query(tail, inverse(relation)), head)`.

Complex vectors are held as halves of the last axis, real parts first: a GloVe row of the same width can be
tied to one, and the plain dot product of two such rows is the real part of their Hermitian product.

To add a scorer: write a subclass, list it in SCORERS; tests/test_scorers.py runs its battery on all of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

Compare = Literal["dot", "distance", "manhattan", "cosine"]


class Scorer(ABC):
    """One way to score triples. Stateless: vectors come in, scores go out."""

    name: ClassVar[str]
    compare: ClassVar[Compare]
    """How a query and a candidate are compared unless cosine scores are asked for."""
    complex: ClassVar[bool] = False
    """Whether entity vectors are complex (halves of the last axis), so that dim must be even."""

    product: ClassVar[Literal["real", "complex"] | None] = None
    """Whether a query is the product of entity and relation, coordinate by coordinate: then kernels/queries.py has a
    faster way to it."""

    def relation_dim(self, dim: int) -> int:
        """Width of a relation's vector for entities of `dim` reals."""
        return dim

    @abstractmethod
    def query(self, entity: Tensor, relation: Tensor) -> Tensor:
        """What (entity, relation, ?) looks for.

        entity     float[..., dim]
        relation   float[..., relation_dim]
        returns    float[..., dim]
        """

    @abstractmethod
    def inverse(self, relation: Tensor) -> Tensor:
        """The relation read from tail to head; float[..., relation_dim] to the same shape."""

    @abstractmethod
    def query_gradient(self, entity: Tensor, relation: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of `query` by hand: those for entity and relation, given the one for the query.

        The fast path's replacement for autograd; same shapes as `query`.
        """

    def initial_relations(self, count: int, dim: int, generator: torch.Generator) -> Tensor:
        """Start values, float32[count, relation_dim]; unit normal here, as for the entities of bilinear models."""
        return torch.randn(count, self.relation_dim(dim), generator=generator)


class TransE(Scorer):
    """Bordes et al. 2013, eq. 1: a tail lies near head + relation, by either distance, or by cosine."""

    name = "transe"
    compare = "distance"

    def query(self, entity: Tensor, relation: Tensor) -> Tensor:
        return entity + relation

    def inverse(self, relation: Tensor) -> Tensor:
        return -relation

    def query_gradient(self, entity: Tensor, relation: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient

    def initial_relations(self, count: int, dim: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(count, dim)


class DistMult(Scorer):
    """Yang et al. 2015, eq. 2 with a diagonal matrix: <head, relation, tail>. Symmetric in head and tail."""

    name = "distmult"
    compare = "dot"
    product = "real"

    def query(self, entity: Tensor, relation: Tensor) -> Tensor:
        return entity * relation

    def inverse(self, relation: Tensor) -> Tensor:
        return relation

    def query_gradient(self, entity: Tensor, relation: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient * relation, gradient * entity


class ComplEx(Scorer):
    """Trouillon et al. 2016, eq. 11: Re(<head, relation, conj(tail)>)."""

    name = "complex"
    compare = "dot"
    complex = True
    product = "complex"

    def query(self, entity: Tensor, relation: Tensor) -> Tensor:
        return _times(entity, relation)

    def inverse(self, relation: Tensor) -> Tensor:
        real, imaginary = relation.chunk(2, -1)
        return torch.cat([real, -imaginary], -1)

    def query_gradient(self, entity: Tensor, relation: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return _times(gradient, relation, conjugate=True), _times(gradient, entity, conjugate=True)


class RotatE(Scorer):
    """Sun et al. 2019, eq. 3: the relation turns each complex coordinate of the head by an angle.

    A relation is dim / 2 angles in radians. The distance is Euclidean over all coordinates (a matrix
    product), where the paper sums the moduli of the coordinates.
    """

    name = "rotate"
    compare = "distance"
    complex = True

    def relation_dim(self, dim: int) -> int:
        return dim // 2

    def query(self, entity: Tensor, relation: Tensor) -> Tensor:
        (a, b), cos, sin = entity.chunk(2, -1), relation.cos(), relation.sin()
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    def inverse(self, relation: Tensor) -> Tensor:
        return -relation

    def query_gradient(self, entity: Tensor, relation: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (x, y), (u, v) = self.query(entity, relation).chunk(2, -1), gradient.chunk(2, -1)
        return self.query(gradient, -relation), v * x - u * y

    def initial_relations(self, count: int, dim: int, generator: torch.Generator) -> Tensor:
        return (torch.rand(count, dim // 2, generator=generator) * 2 - 1) * torch.pi


class RESCAL(Scorer):
    """Nickel et al. 2011, eq. 2: head^T M tail. A relation is the matrix M, row by row: dim^2 reals."""

    name = "rescal"
    compare = "dot"

    def relation_dim(self, dim: int) -> int:
        return dim * dim

    def query(self, entity: Tensor, relation: Tensor) -> Tensor:
        return (entity[..., None, :] @ _matrix(relation, entity))[..., 0, :]

    def inverse(self, relation: Tensor) -> Tensor:
        dim = math.isqrt(relation.shape[-1])
        return relation.reshape(*relation.shape[:-1], dim, dim).transpose(-1, -2).flatten(-2)

    def query_gradient(self, entity: Tensor, relation: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        outer = (entity[..., :, None] * gradient[..., None, :]).flatten(-2)
        return (_matrix(relation, entity) @ gradient[..., None])[..., 0], outer

    def initial_relations(self, count: int, dim: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, dim * dim, generator=generator) / dim**0.5


def _times(one: Tensor, other: Tensor, conjugate: bool = False) -> Tensor:
    """The complex product with `other`, or with its conjugate; in as few passes as torch allows."""
    (a, b), (c, d) = one.chunk(2, -1), other.chunk(2, -1)
    sign = -1 if conjugate else 1
    return torch.cat([torch.addcmul(a * c, b, d, value=-sign), torch.addcmul(b * c, a, d, value=sign)], -1)


def _matrix(relation: Tensor, entity: Tensor) -> Tensor:
    """float[..., dim, dim]"""
    return relation.reshape(*relation.shape[:-1], entity.shape[-1], entity.shape[-1])


SCORERS: dict[str, Scorer] = {scorer.name: scorer for scorer in (TransE(), DistMult(), ComplEx(), RotatE(), RESCAL())}


def similarity(query: Tensor, candidate: Tensor, compare: Compare, scale: float = 1.0) -> Tensor:
    """Scores of every query against every candidate; higher is more plausible.

    query       float[..., queries, dim]
    candidate   float[..., candidates, dim]
    compare     `dot`: q . c; `distance`: -||q - c||; `manhattan`: -||q - c||_1; `cosine`: cos(q, c)
    scale       factor on the score; sharpens the softmax of bounded scores
    returns     float[..., queries, candidates]
    """
    if compare == "cosine":
        query, candidate = normalize(query, dim=-1), normalize(candidate, dim=-1)
    if compare == "manhattan":
        return -scale * torch.cdist(query, candidate, p=1)
    products = query @ candidate.transpose(-1, -2)
    if compare == "distance":
        squares = (query * query).sum(-1)[..., :, None] + (candidate * candidate).sum(-1)[..., None, :]
        return -scale * (squares - 2 * products).clamp_min(1e-9).sqrt()
    return scale * products


def comparison(scorer: Scorer, cosine: bool, norm: Literal[1, 2]) -> Compare:
    """How a run compares: by cosine where asked for, else as its scorer does, by the distance of a norm."""
    if cosine:
        return "cosine"
    return "manhattan" if norm == 1 and scorer.compare == "distance" else scorer.compare


def default_scale(compare: Compare) -> float:
    """A cosine lies in [-1, 1]: as a logit of a softmax over hundreds it needs a factor."""
    return 10.0 if compare == "cosine" else 1.0
