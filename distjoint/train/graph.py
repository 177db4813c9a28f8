"""One graph loss over the rows of a worker: from a batch of triples to changed rows.

Gather the batch's distinct rows as the view shows them, score chunks of triples against shared candidates, sum
the gradients that meet in a row, step the row. `dual` has two of these, on entities and on words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distjoint.config import Config
from distjoint.kernels.graph import Objective, as_candidates, gradient, through_candidates
from distjoint.kernels.rows import Distinct, RowKernels
from distjoint.model.scorers import SCORERS, default_scale
from distjoint.table.views import View

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_CHUNKS = 8
"""Chunks scored at a time: their temporaries stay in the cache."""


@dataclass(frozen=True)
class Batch:
    """Triples by arena row; int64[n] each."""

    head: Ints
    relation: Ints
    tail: Ints

    def __len__(self) -> int:
        return len(self.head)

    def select(self, which: NDArray[np.bool_]) -> Batch:
        return Batch(self.head[which], self.relation[which], self.tail[which])


class GraphLoss:
    """The sampled softmax loss on one view of the rows.

    view       vectors of rows
    relation   float32[R or 2R, relation_dim]; gradient: where its gradient is added up
    """

    def __init__(self, config: Config, view: View, kernels: RowKernels, relation: Tensor, gradient: Tensor) -> None:
        model = config.model
        scorer = SCORERS[model.scorer]
        compare = "cosine" if model.cosine else scorer.compare
        self.objective = Objective(scorer, compare, model.scale or default_scale(compare), config.graph.n3)
        self.view, self.kernels, self.relation, self.relation_gradient = view, kernels, relation, gradient
        self.reciprocal, self.chunk, self.negatives = model.reciprocal, config.graph.chunk, config.graph.negatives

    def step(self, batch: Batch, pool: Ints, rng: np.random.Generator, rate: float) -> float:
        """Train one batch.

        pool      int64[m]: arena rows that may serve as negatives
        rate      step size of the rows
        returns   the loss, summed over the triples and both directions
        """
        chunk = min(self.chunk, len(batch))
        padded, weight = _pad(batch, chunk)
        chunks = len(padded) // chunk
        negatives = self.negatives if len(pool) else 0
        rows = np.empty((2, chunks, chunk + negatives), np.int64)
        rows[0, :, :chunk], rows[1, :, :chunk] = padded.tail.reshape(-1, chunk), padded.head.reshape(-1, chunk)
        if negatives:
            rows[:, :, chunk:] = pool[rng.integers(0, len(pool), (2, chunks, negatives))]
        distinct = self.kernels.distinct(rows.reshape(-1))
        vectors = self.view.gather(distinct.rows)
        places = torch.from_numpy(distinct.inverse.reshape(rows.shape))
        loss, summed = self._gradient(vectors, distinct, places, padded.relation.reshape(chunks, -1), weight)
        self.view.apply(distinct.rows, summed, rate)
        return loss

    def _gradient(
        self, vectors: Tensor, distinct: Distinct, places: Tensor, relations: Ints, weights: Floats
    ) -> tuple[float, Tensor]:
        """Loss, and the gradient of each distinct row, float32[distinct, dim].

        Cuts of a few chunks go over the threads and torch runs each of them on one: operations this small would
        spend their time in torch's own barriers. Sums are taken in the order of the cuts, so threads never show
        in a bit. Rows are made candidates once each, and gradients go back through that once each.
        """
        (_, chunks, width), dim, device = places.shape, vectors.shape[1], vectors.device
        triples = relations.shape[1]
        relation, weight = torch.from_numpy(relations).to(device), torch.from_numpy(weights).to(device)
        candidates, norms = as_candidates(self.objective, vectors)
        d_candidates = torch.empty(2, chunks, width, dim, device=device)
        d_ends = torch.empty(2, chunks, triples, dim, device=device)
        places = places.to(device)

        def run(cut: slice) -> tuple[Tensor, Tensor, Tensor]:
            tail, head = _select(vectors, places[:, cut, :triples])
            some = _select(candidates, places[:, cut])
            forward, backward = self._relations(relation[cut])
            found = gradient(self.objective, some, head, tail, forward, backward, weight.view(chunks, -1)[cut])
            d_candidates[:, cut], d_ends[0, cut], d_ends[1, cut] = found.candidates, found.tail, found.head
            return found.loss, found.relation, found.inverse

        cuts = [slice(first, first + _CHUNKS) for first in range(0, chunks, _CHUNKS)]
        total = 0.0
        for cut, (loss, d_forward, d_backward) in zip(cuts, self.kernels.map(run, cuts), strict=True):
            self._add_relations(relation[cut], d_forward, d_backward)
            total += float(loss)
        summed = through_candidates(self.kernels.sum_rows(d_candidates.view(-1, dim), distinct), candidates, norms)
        ends = self.kernels.distinct(distinct.inverse.reshape(2, chunks, width)[..., :triples].reshape(-1))
        summed[torch.from_numpy(ends.rows).to(device)] += self.kernels.sum_rows(d_ends.view(-1, dim), ends)
        return total, summed

    def _relations(self, relation: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of relations, and of their inverses: reciprocal rows, or the scorer's own inversion."""
        forward = _select(self.relation, relation)
        if self.reciprocal:
            return forward, _select(self.relation, relation + len(self.relation) // 2)
        return forward, self.objective.scorer.inverse(forward)

    def _add_relations(self, relation: Tensor, d_forward: Tensor, d_backward: Tensor) -> None:
        width = self.relation.shape[1]
        self.relation_gradient.index_add_(0, relation.reshape(-1), d_forward.reshape(-1, width))
        if self.reciprocal:
            relation = relation + len(self.relation) // 2
        else:  # `inverse` is linear and its own transpose: it carries the gradient back as well
            d_backward = self.objective.scorer.inverse(d_backward)
        self.relation_gradient.index_add_(0, relation.reshape(-1), d_backward.reshape(-1, width))


def _select(vectors: Tensor, places: Tensor) -> Tensor:
    """float[..., dim] of int64[...] places."""
    return vectors.index_select(0, places.reshape(-1)).view(*places.shape, -1)


def _pad(batch: Batch, chunk: int) -> tuple[Batch, NDArray[np.float32]]:
    """Fill up the last chunk with the batch's first triples, at weight 0."""
    missing = -len(batch) % chunk
    weight = np.ones(len(batch) + missing, np.float32)
    if not missing:
        return batch, weight
    weight[len(batch) :] = 0
    fill = np.arange(len(batch) + missing) % len(batch)
    return Batch(batch.head[fill], batch.relation[fill], batch.tail[fill]), weight
