"""Queries of a batch's triples in torch operations, for any scorer, comparison and device."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.backends.base import QueryTables
from distjoint.model.comparisons import Comparison
from distjoint.model.scorers import Scorer


class TorchQueries:
    """See `base.Queries`."""

    def __init__(
        self, scorer: Scorer, comparison: Comparison, in_batch: bool, tables: QueryTables, chunks: slice
    ) -> None:
        self._scorer, self._comparison, self._dense = scorer, comparison, tables.dense
        own, relation = slice(None, tables.relation.shape[1]), tables.relation[chunks]
        ends = tables.places[:, chunks, own]
        self._target = select(tables.candidates, ends)
        plain = tables.candidates is tables.vectors
        self._source = self._target.flip(0) if plain else select(tables.vectors, ends.flip(0))
        self._ids = torch.stack([relation, relation + len(tables.relations) // 2])
        self._relation = select(tables.relations, self._ids)
        self._d_target, self._d_ends = tables.d_candidates[:, chunks, own], tables.d_ends[:, chunks]
        query = scorer.query(self._source, self._relation, self._dense)
        self.vectors, self._norms = comparison.embed(query)
        self.target: Tensor | None = None
        self._distance: Tensor | None = None
        if not in_batch:
            self.target, self._distance = comparison.pairs(self.vectors, self._target)

    def backward(self, d_vectors: Tensor, d_target: Tensor | None) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See `base.Queries.backward`."""
        if d_target is not None:
            d_target = self._comparison.score_backward(d_target, self._distance)
            self._comparison.pair_backward(d_target, self.vectors, self._target, d_vectors, self._d_target)
        d_query = self._comparison.embed_backward(d_vectors, self.vectors, self._norms)
        d_source, d_relation = self._scorer.query_gradient(self._source, self._relation, d_query, self._dense)
        d_dense = self._scorer.dense_gradient(self._source, self._relation, d_query, self._dense)
        self._d_ends[1] += d_source[0]
        self._d_ends[0] += d_source[1]
        return self._ids.flatten(), d_relation.flatten(0, -2), d_dense


def select(vectors: Tensor, places: Tensor) -> Tensor:
    """float[..., dim] of int64[...] places."""
    return vectors.index_select(0, places.reshape(-1)).view(*places.shape, vectors.shape[1])
