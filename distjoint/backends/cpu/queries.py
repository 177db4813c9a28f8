"""Queries of scorers whose query is a product of entity and relation, compiled.

One pass over the rows of a triple, where they lie, and no Python in between, whose lock keeps threads waiting for each
other. backends/queries.py has the same for any scorer.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.base import QueryTables
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


class ProductQueries:
    """See `base.Queries`; of float32 rows compared by dot product.

    complex_   whether rows are complex numbers, real parts in their first half
    scale      factor on scores
    """

    def __init__(self, complex_: bool, scale: float, in_batch: bool, tables: QueryTables, chunks: slice) -> None:
        dim, relation = tables.vectors.shape[1], tables.relation[chunks]
        self._complex, self._scale, self._first = complex_, scale, chunks.start
        arrays = tables.vectors, tables.places, tables.relations, relation
        self._tables = tuple(array.numpy() for array in arrays)
        self._d_candidates = tables.d_candidates.view(-1, dim)
        self.vectors = torch.empty(2, *relation.shape, dim)
        apart, target = not in_batch, torch.empty(2, *relation.shape)
        made = self.vectors.view(-1, dim).numpy(), apart, target.view(-1).numpy()
        _query(*self._tables, self._first, complex_, *made)
        self.target = target.mul_(scale) if apart else None

    def backward(self, d_vectors: Tensor, d_target: Tensor | None) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See `base.Queries.backward`; each relation is returned once."""
        apart, dim, relations = d_target is not None, d_vectors.shape[-1], len(self._tables[2])
        distinct, which = find_distinct(self._tables[3].reshape(-1), np.full(relations // 2, -1, np.int32))
        d_own = torch.empty(0) if d_target is None else d_target.mul(self._scale).flatten()
        d_relations = torch.zeros(2 * len(distinct), dim)
        gradients = (d_vectors.view(-1, dim), d_own, self._d_candidates, d_relations)
        queries, arrays = self.vectors.view(-1, dim).numpy(), [x.numpy() for x in gradients]
        _query_backward(*self._tables, self._first, self._complex, queries, apart, *arrays, which)
        return torch.from_numpy(np.concatenate([distinct, distinct + relations // 2])), d_relations, {}


@compiled
def _query(vectors, places, relations, relation, first, complex_, queries, apart, own):  # type: ignore[no-untyped-def]
    chunks, triples = relation.shape
    backward, query = len(relations) // 2, 0
    for side in range(2):
        for chunk in range(chunks):
            answers, source = places[side, first + chunk], places[1 - side, first + chunk]
            for k in range(triples):
                relation_id = relation[chunk, k] + side * backward
                if complex_:
                    multiply_complex(vectors, source[k], relations, relation_id, queries, query)
                else:
                    multiply(vectors, source[k], relations, relation_id, queries, query)
                if apart:
                    own[query] = dot(queries, query, vectors, answers[k])
                query += 1


@compiled
def _query_backward(  # type: ignore[no-untyped-def]
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
    d_relations,
    which,
):
    chunks, triples = relation.shape
    _, every, width = places.shape
    backward, distinct = len(relations) // 2, len(d_relations) // 2
    for chunk in range(chunks):
        for k in range(triples):
            # A row that is the answer on one side is the source on the other.
            if apart:
                for side in range(2):
                    query = (side * chunks + chunk) * triples + k
                    answer = (side * every + first + chunk) * width + k
                    scale(queries, query, d_candidates, answer, d_own[query])
                    add_scaled(vectors, places[side, first + chunk, k], d_queries, query, d_own[query])
            for side in range(2):
                query = (side * chunks + chunk) * triples + k
                source, d_source = places[1 - side, first + chunk, k], ((1 - side) * every + first + chunk) * width + k
                relation_id = relation[chunk, k] + side * backward
                d_relation = which[chunk * triples + k] + side * distinct
                if complex_:
                    multiply_complex_back(
                        vectors,
                        source,
                        relations,
                        relation_id,
                        d_queries,
                        query,
                        d_candidates,
                        d_source,
                        d_relations,
                        d_relation,
                    )
                else:
                    multiply_back(
                        vectors,
                        source,
                        relations,
                        relation_id,
                        d_queries,
                        query,
                        d_candidates,
                        d_source,
                        d_relations,
                        d_relation,
                    )
