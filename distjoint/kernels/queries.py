"""The queries of a batch's triples, beside their right answers, and the way back from their gradient.

`Queries` is made of torch operations, for any scorer and any device. `Products` is the same for scorers whose query is
a product, compiled: one pass over the rows of a triple, where they lie, and no Python in between, whose lock keeps
threads waiting for each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distjoint.kernels.comparison import Objective, as_candidates, matched, pairwise, through_candidates, toward_matched
from distjoint.kernels.compiled import compiled

Ints = NDArray[np.int64]


class Queries:
    """Tails are asked for in [0], heads in [1].

    right      float[2, chunks, triples, dim]: right answers, as from `as_candidates`
    given      the same shape: the other ends, heads in [0]
    relation   float[2, chunks, triples, relation_dim], read from what is given
    d_right    float[2, chunks, triples, dim]: where the gradient of right answers is, or goes where they are compared
               apart from the candidates
    d_ends     the same shape, tails in [0]: where that of what is given is added; may be the memory of `d_right`

    vectors    float[2, chunks, triples, dim]: the queries, ready to be compared
    own        float[2, chunks, triples]: the right answers' scores, where they are not among the candidates
    """

    def __init__(
        self, objective: Objective, right: Tensor, given: Tensor, relation: Tensor, d_right: Tensor, d_ends: Tensor
    ) -> None:
        self._objective, self._right, self._given, self._relation = objective, right, given, relation
        self._d_right, self._d_ends = d_right, d_ends
        self.vectors, self._norms = as_candidates(objective, objective.scorer.query(given, relation))
        self.own: Tensor | None = None
        if not objective.in_batch:
            self.own, self._distance = matched(objective, self.vectors, right)

    def back(self, d_vectors: Tensor, d_own: Tensor | None) -> Tensor:
        """The gradient of relations, float[2, chunks, triples, relation_dim]; those of ends go where they were told to.

        d_vectors   what candidates say of the queries, changed in place
        """
        if d_own is not None:
            d_own = pairwise(self._objective, d_own, self._distance)
            toward_matched(self._objective, d_own, self.vectors, self._right, d_vectors, self._d_right)
        d_query = through_candidates(d_vectors, self.vectors, self._norms)
        d_given, d_relation = self._objective.scorer.query_gradient(self._given, self._relation, d_query)
        self._d_ends[1] += d_given[0]
        self._d_ends[0] += d_given[1]
        return d_relation


class Products:
    """As `Queries`, of rows of tables: for float32 on a CPU, scorers with a `product`, compared by dot product.

    vectors        float32[rows, dim]
    places         int64[2, chunks, candidates]: their rows, the triples' own first: tails in [0], heads in [1]
    relations      float32[2R, dim], the second half read from tail to head
    relation       int64[chunks, triples]
    d_candidates   float32[2, chunks, candidates, dim]
    cut            which of the chunks
    """

    def __init__(
        self,
        objective: Objective,
        vectors: Tensor,
        places: Tensor,
        relations: Tensor,
        relation: Tensor,
        d_candidates: Tensor,
        cut: slice,
    ) -> None:
        triples, dim = relation.shape[1], vectors.shape[1]
        self._objective = objective
        self._tables: tuple[Any, ...] = (vectors.numpy(), places.numpy(), relations.numpy(), relation.numpy())
        self._d_candidates, self._first = d_candidates.numpy(), cut.start
        self._complex = objective.scorer.product == "complex"
        self.vectors = torch.empty(2, cut.stop - cut.start, triples, dim)
        apart, own = not objective.in_batch, torch.empty(self.vectors.shape[:3])
        _ask(*self._tables, cut.start, self._complex, self.vectors.numpy(), apart, own.numpy())
        self.own = own.mul_(objective.scale) if apart else None

    def back(self, d_vectors: Tensor, d_own: Tensor | None) -> Tensor:
        """As in `Queries`."""
        apart, d_relation = d_own is not None, torch.empty_like(self.vectors)
        d_own = torch.zeros(1, 1, 1) if d_own is None else (d_own * self._objective.scale).contiguous()
        gradients = (d_vectors.contiguous().numpy(), d_own.numpy(), self._d_candidates, d_relation.numpy())
        _back(*self._tables, self._first, self._complex, self.vectors.numpy(), apart, *gradients)
        return d_relation


@compiled
def _ask(vectors, places, relations, relation, first, complex_, queries, apart, own):  # type: ignore[no-untyped-def]
    backward = len(relations) // 2
    for side in range(2):
        for chunk in range(queries.shape[1]):
            for k in range(queries.shape[2]):
                here = places[:, first + chunk, k]
                way = relations[relation[first + chunk, k] + side * backward]
                query = queries[side, chunk, k]
                _multiply(vectors[here[1 - side]], way, complex_, query)
                if apart:
                    own[side, chunk, k] = _dot(query, vectors[here[side]])


@compiled
def _back(  # type: ignore[no-untyped-def]
    vectors,
    places,
    relations,
    relation,
    first,
    complex_,
    queries,
    apart,
    d_queries,
    d_own,
    d_candidates,
    d_relation,
):
    backward = len(relations) // 2
    for chunk in range(queries.shape[1]):
        for k in range(queries.shape[2]):
            here = places[:, first + chunk, k]
            if apart:
                for side in range(2):
                    g = d_own[side, chunk, k]
                    d_query, answer = d_queries[side, chunk, k], vectors[here[side]]
                    query, d_answer = queries[side, chunk, k], d_candidates[side, first + chunk, k]
                    for q in range(len(query)):
                        d_query[q] += g * answer[q]
                        d_answer[q] = g * query[q]
            for side in range(2):
                way = relations[relation[first + chunk, k] + side * backward]
                d_query, d_way = d_queries[side, chunk, k], d_relation[side, chunk, k]
                d_given = d_candidates[1 - side, first + chunk, k]
                _multiply_back(vectors[here[1 - side]], way, complex_, d_query, d_given, d_way)


@compiled
def _dot(one, other):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for q in range(len(one)):
        total += one[q] * other[q]
    return total


@compiled
def _multiply(one, other, complex_, out):  # type: ignore[no-untyped-def]
    if not complex_:
        for q in range(len(one)):
            out[q] = one[q] * other[q]
        return
    half = len(one) // 2
    a, b, c, d, real, imaginary = one[:half], one[half:], other[:half], other[half:], out[:half], out[half:]
    for q in range(half):
        real[q] = a[q] * c[q] - b[q] * d[q]
        imaginary[q] = b[q] * c[q] + a[q] * d[q]


@compiled
def _multiply_back(one, other, complex_, gradient, d_one, d_other):  # type: ignore[no-untyped-def]
    """Adds the gradient of `one`, and sets that of `other`."""
    if not complex_:
        for q in range(len(one)):
            d_one[q] += gradient[q] * other[q]
            d_other[q] = gradient[q] * one[q]
        return
    half = len(one) // 2
    a, b, c, d, u, v = one[:half], one[half:], other[:half], other[half:], gradient[:half], gradient[half:]
    real, imaginary = d_one[:half], d_one[half:]
    for q in range(half):
        real[q] += u[q] * c[q] + v[q] * d[q]
        imaginary[q] += v[q] * c[q] - u[q] * d[q]
    real, imaginary = d_other[:half], d_other[half:]
    for q in range(half):
        real[q] = u[q] * a[q] + v[q] * b[q]
        imaginary[q] = v[q] * a[q] - u[q] * b[q]
