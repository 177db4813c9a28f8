"""The queries of a batch's triples, beside their right answers, and the way back from their gradient.

`Queries` is made of torch operations, for any scorer and any device. `Products` is the same for scorers whose query is
a product, compiled: one pass over the rows of a triple, where they lie, and no Python in between, whose lock keeps
threads waiting for each other.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.cpu.comparison import (
    Objective,
    as_candidates,
    matched,
    pairwise,
    through_candidates,
    toward_matched,
)
from distjoint.backends.cpu.compiled import compiled
from distjoint.backends.cpu.rows import find_distinct
from distjoint.backends.cpu.simd import (
    add_scaled,
    dot,
    multiply,
    multiply_back,
    multiply_complex,
    multiply_complex_back,
    scale,
)


class Queries:
    """Tails are asked for in [0], heads in [1].

    right      float[2, chunks, triples, dim]: right answers, as from `as_candidates`
    given      the same shape: the other ends, heads in [0]
    relation   float[2, chunks, triples, relation_dim], read from what is given
    ways       int64[2, chunks, triples]: which relations these are
    d_right    float[2, chunks, triples, dim]: where the gradient of right answers is, or goes where they are compared
               apart from the candidates
    d_ends     the same shape, tails in [0]: where that of what is given is added; may be the memory of `d_right`

    vectors    float[2, chunks, triples, dim]: the queries, ready to be compared
    own        float[2, chunks, triples]: the right answers' scores, where they are not among the candidates
    """

    def __init__(
        self,
        objective: Objective,
        right: Tensor,
        given: Tensor,
        relation: Tensor,
        ways: Tensor,
        d_right: Tensor,
        d_ends: Tensor,
    ) -> None:
        self._objective, self._right, self._given, self._relation = objective, right, given, relation
        self._ways = ways
        self._d_right, self._d_ends = d_right, d_ends
        self.vectors, self._norms = as_candidates(objective, objective.scorer.query(given, relation))
        self.own: Tensor | None = None
        if not objective.in_batch:
            self.own, self._distance = matched(objective, self.vectors, right)

    def back(self, d_vectors: Tensor, d_own: Tensor | None) -> tuple[Tensor, Tensor]:
        """The gradients of ends go where they were told to.

        d_vectors   what candidates say of the queries, changed in place
        returns     some of the ways, int64[n], and their gradients, float[n, relation_dim]; to be added up
        """
        if d_own is not None:
            d_own = pairwise(self._objective, d_own, self._distance)
            toward_matched(self._objective, d_own, self.vectors, self._right, d_vectors, self._d_right)
        d_query = through_candidates(d_vectors, self.vectors, self._norms)
        d_given, d_relation = self._objective.scorer.query_gradient(self._given, self._relation, d_query)
        self._d_ends[1] += d_given[0]
        self._d_ends[0] += d_given[1]
        return self._ways.flatten(), d_relation.flatten(0, -2)


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
        dim, asked = vectors.shape[1], relation[cut]
        self._objective, self._cut = objective, cut
        self._tables = (vectors.numpy(), places.numpy(), relations.numpy(), asked.numpy())
        self._d_candidates = d_candidates.view(-1, dim)
        self._complex = objective.scorer.product == "complex"
        self.vectors = torch.empty(2, *asked.shape, dim)
        apart, own = not objective.in_batch, torch.empty(2, *asked.shape)
        _ask(*self._tables, cut.start, self._complex, self.vectors.view(-1, dim).numpy(), apart, own.view(-1).numpy())
        self.own = own.mul_(objective.scale) if apart else None

    def back(self, d_vectors: Tensor, d_own: Tensor | None) -> tuple[Tensor, Tensor]:
        """As in `Queries`, with each relation once."""
        apart, dim, ways = d_own is not None, d_vectors.shape[-1], len(self._tables[2])
        asked, which = find_distinct(self._tables[3].reshape(-1), np.full(ways // 2, -1, np.int32))
        d_own = torch.empty(0) if d_own is None else d_own.mul(self._objective.scale).flatten()
        d_ways = torch.zeros(2 * len(asked), dim)
        gradients = (d_vectors.view(-1, dim), d_own, self._d_candidates, d_ways)
        queries, arrays = self.vectors.view(-1, dim).numpy(), [x.numpy() for x in gradients]
        _back(*self._tables, self._cut.start, self._complex, queries, apart, *arrays, which)
        return torch.from_numpy(np.concatenate([asked, asked + ways // 2])), d_ways


@compiled
def _ask(vectors, places, relations, relation, first, complex_, queries, apart, own):  # type: ignore[no-untyped-def]
    chunks, triples = relation.shape
    backward, query = len(relations) // 2, 0
    for side in range(2):
        for chunk in range(chunks):
            answers, given = places[side, first + chunk], places[1 - side, first + chunk]
            for k in range(triples):
                way = relation[chunk, k] + side * backward
                if complex_:
                    multiply_complex(vectors, given[k], relations, way, queries, query)
                else:
                    multiply(vectors, given[k], relations, way, queries, query)
                if apart:
                    own[query] = dot(queries, query, vectors, answers[k])
                query += 1


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
    d_ways,
    which,
):
    chunks, triples = relation.shape
    _, every, width = places.shape
    backward, asked = len(relations) // 2, len(d_ways) // 2
    for chunk in range(chunks):
        for k in range(triples):
            # A row that is the answer on one side is what is given on the other.
            if apart:
                for side in range(2):
                    query = (side * chunks + chunk) * triples + k
                    answer = (side * every + first + chunk) * width + k
                    scale(queries, query, d_candidates, answer, d_own[query])
                    add_scaled(vectors, places[side, first + chunk, k], d_queries, query, d_own[query])
            for side in range(2):
                query = (side * chunks + chunk) * triples + k
                given, d_given = places[1 - side, first + chunk, k], ((1 - side) * every + first + chunk) * width + k
                way = relation[chunk, k] + side * backward
                d_way = which[chunk * triples + k] + side * asked
                if complex_:
                    multiply_complex_back(
                        vectors, given, relations, way, d_queries, query, d_candidates, d_given, d_ways, d_way
                    )
                else:
                    multiply_back(
                        vectors, given, relations, way, d_queries, query, d_candidates, d_given, d_ways, d_way
                    )
