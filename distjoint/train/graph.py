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
from distjoint.kernels.rows import RowKernels
from distjoint.model.scorers import SCORERS, default_scale
from distjoint.table.views import View

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_CHUNKS, _ROWS = 8, 1024
"""Chunks, and distinct rows, in a piece of work on a CPU."""


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


@dataclass(frozen=True)
class Shown:
    """The distinct rows of a batch as the view shows them, and as candidates; float32[distinct, dim] each.

    norms   float32[distinct, 1] where candidates are unit vectors
    """

    vectors: Tensor
    candidates: Tensor
    norms: Tensor | None


class GraphLoss:
    """The sampled softmax loss on one view of the rows.

    view           vectors of rows
    relation       float32[R or 2R, relation_dim]; gradient: where its gradient is added up
    map_gradient   float32[dim, dim]: where that of the view's map is, if it has one

    Work is cut into pieces, of chunks or of distinct rows, whose temporaries stay in the cache; pieces go over the
    threads, and torch runs each on one: operations this small would spend their time in torch's own barriers. What
    pieces add up is added in their order, so the number of threads never shows in a bit.
    """

    def __init__(
        self,
        config: Config,
        view: View,
        kernels: RowKernels,
        relation: Tensor,
        gradient: Tensor,
        map_gradient: Tensor | None = None,
    ) -> None:
        model = config.model
        scorer = SCORERS[model.scorer]
        compare = "cosine" if model.cosine else scorer.compare
        self.objective = Objective(scorer, compare, model.scale or default_scale(compare), config.graph.n3)
        self.view, self.kernels, self.relation, self.relation_gradient = view, kernels, relation, gradient
        self.map_gradient, self.dim, self.device = map_gradient, model.dim, relation.device
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
        inverse = distinct.inverse.reshape(rows.shape)
        shown = self._show(distinct.rows)
        relation = torch.from_numpy(padded.relation.reshape(chunks, -1)).to(self.device)
        weights = torch.from_numpy(weight.reshape(chunks, -1)).to(self.device)
        loss, d_candidates, d_ends = self._compare(shown, torch.from_numpy(inverse).to(self.device), relation, weights)
        as_candidate, as_end = distinct.occurrences(), distinct.occurrences(inverse[..., :chunk].reshape(-1))

        def apply(cut: slice) -> Tensor | None:
            """Sum what meets in each row, take it back through the candidates, and step."""
            norms = None if shown.norms is None else shown.norms[cut]
            summed = self.kernels.sum_rows(d_candidates, as_candidate, cut)
            summed = through_candidates(summed, shown.candidates[cut], norms)
            summed += self.kernels.sum_rows(d_ends, as_end, cut)
            return self.view.apply(distinct.rows[cut], summed, rate)

        for d_map in self.kernels.map(apply, self._pieces(len(distinct.rows), _ROWS)):
            if d_map is not None and self.map_gradient is not None:
                self.map_gradient += d_map
        return loss

    def _show(self, rows: Ints) -> Shown:
        vectors = torch.empty(len(rows), self.dim, device=self.device)
        cosine = self.objective.compare == "cosine"
        candidates = torch.empty_like(vectors) if cosine else vectors
        norms = torch.empty(len(rows), 1, device=self.device) if cosine else None

        def show(cut: slice) -> None:
            vectors[cut] = self.view.gather(rows[cut])
            made, norm = as_candidates(self.objective, vectors[cut])
            if norms is not None and norm is not None:
                candidates[cut], norms[cut] = made, norm

        for _ in self.kernels.map(show, self._pieces(len(rows), _ROWS)):
            pass
        return Shown(vectors, candidates, norms)

    def _compare(self, shown: Shown, places: Tensor, relation: Tensor, weight: Tensor) -> tuple[float, Tensor, Tensor]:
        """Loss; gradients of the candidates and of the triples' own ends, float32[occurrences, dim]; adds relations'.

        places             int64[2, chunks, triples + negatives]: which distinct row is a candidate for tails, heads
        relation, weight   [chunks, triples]
        """
        _, chunks, width = places.shape
        triples = relation.shape[1]
        d_candidates = torch.empty(2, chunks, width, self.dim, device=self.device)
        d_ends = torch.empty(2, chunks, triples, self.dim, device=self.device)

        def run(cut: slice) -> tuple[Tensor, Tensor, Tensor]:
            tail, head = _select(shown.vectors, places[:, cut, :triples])
            candidates = _select(shown.candidates, places[:, cut])
            forward, backward = self._relations(relation[cut])
            found = gradient(self.objective, candidates, head, tail, forward, backward, weight[cut])
            d_candidates[:, cut], d_ends[0, cut], d_ends[1, cut] = found.candidates, found.tail, found.head
            return found.loss, found.relation, found.inverse

        cuts, total = self._pieces(chunks, _CHUNKS), 0.0
        for cut, (loss, d_forward, d_backward) in zip(cuts, self.kernels.map(run, cuts), strict=True):
            self._add_relations(relation[cut], d_forward, d_backward)
            total += float(loss)
        return total, d_candidates.view(-1, self.dim), d_ends.view(-1, self.dim)

    def _pieces(self, count: int, size: int) -> list[slice]:
        size = size if self.device.type == "cpu" else count
        return [slice(first, min(first + size, count)) for first in range(0, count, size)]

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
