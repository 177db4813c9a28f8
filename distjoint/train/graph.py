"""One graph loss over the rows of a worker: from a batch of triples to changed rows.

Gather the batch's distinct rows as the view shows them, score chunks of triples against shared candidates, sum
the gradients that meet in a row, step the row. `dual` has two of these, on entities and on words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distjoint.config import Config
from distjoint.kernels.comparison import Objective, as_candidates, through_candidates
from distjoint.kernels.graph import gradient, relation_gradient
from distjoint.kernels.queries import Products, Queries
from distjoint.kernels.rows import Penalty, RowKernels
from distjoint.model.scorers import SCORERS, comparison, default_scale
from distjoint.table.views import View
from distjoint.train.batches import Batch
from distjoint.train.negatives import Pool

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_TRIPLES, _ROWS, _PARTS = 1280, 2048, 8
"""On a CPU: triples, and distinct rows, in a piece of work, and the pieces that are made of a batch where it has the
chunks. Pieces four times as small cost a fifth of the speed, for Python's share of them.
"""


@dataclass(frozen=True)
class Shown:
    """The distinct rows of a batch as the view shows them, and as candidates; float32[distinct, dim] each.

    norms   float32[distinct, 1] where candidates are unit vectors
    kept    float32[distinct, dim] where coordinates were dropped: 0 there, else what the others were scaled by
    """

    vectors: Tensor
    candidates: Tensor
    norms: Tensor | None
    kept: Tensor | None

    def back(self, cut: slice, candidates: Tensor, ends: Tensor | None) -> Tensor:
        """The gradient of what the view shows, given those of candidates and of triples' ends; may change both."""
        summed = through_candidates(candidates, self.candidates[cut], None if self.norms is None else self.norms[cut])
        if ends is not None:
            summed += ends
        return summed if self.kept is None else summed.mul_(self.kept[cut])


@dataclass(frozen=True)
class Relations:
    """Relations as a batch sees them: R read from head to tail, then R read from tail to head.

    kept   as in Shown
    """

    values: Tensor
    gradient: Tensor
    kept: Tensor | None


class GraphLoss:
    """The loss of triples against sampled candidates, on one view of the rows.

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
        compare = comparison(scorer, model.cosine, model.norm)
        own = config.graph
        self.objective = Objective(
            scorer,
            compare,
            model.scale or default_scale(compare),
            own.loss,
            own.margin,
            own.temperature,
            own.smoothing,
            own.in_batch,
        )
        self.penalty = Penalty(own.n3, own.l2, scorer.complex)
        self.view, self.kernels, self.relation, self.relation_gradient = view, kernels, relation, gradient
        self.map_gradient, self.dim, self.device = map_gradient, model.dim, relation.device
        self.reciprocal, self.chunk, self.negatives = model.reciprocal, own.chunk, own.negatives
        self.dropout, self.relation_dropout = own.dropout, own.relation_dropout
        self.relation_weight = own.relation_weight

    def step(self, batch: Batch, pool: Pool, rng: np.random.Generator, rate: float) -> float:
        """Train one batch.

        rate      step size of the rows
        returns   the loss, summed over the triples and both directions
        """
        chunk = min(self.chunk, len(batch))
        padded, weight = batch.padded(chunk)
        chunks = len(padded) // chunk
        negatives = self.negatives if len(pool) else 0
        rows = np.empty((2, chunks, chunk + negatives), np.int64)
        rows[0, :, :chunk], rows[1, :, :chunk] = padded.tail.reshape(-1, chunk), padded.head.reshape(-1, chunk)
        if negatives:
            rows[:, :, chunk:] = pool.draw(rng, padded.relation.reshape(chunks, -1), negatives)
        competing = rows if self.objective.in_batch else np.ascontiguousarray(rows[:, :, chunk:])
        refused = pool.refused(padded, competing, self.objective.in_batch, self.kernels)
        distinct = self.kernels.distinct(rows.reshape(-1))
        inverse = distinct.inverse.reshape(rows.shape)
        shown, relations = self._show(distinct.rows, rng), self._relations(rng)
        relation = torch.from_numpy(padded.relation.reshape(chunks, -1)).to(self.device)
        weights = torch.from_numpy(weight.reshape(chunks, -1)).to(self.device)
        places = torch.from_numpy(inverse).to(self.device)
        without = None if refused is None else torch.from_numpy(refused).to(self.device)
        loss, d_candidates, d_ends = self._compare(shown, places, relations, relation, weights, without)
        if self.relation_weight:
            tail, head = places[..., :chunk].flatten(1)
            found = self._predict_relations(shown, relations, head, tail, relation.flatten(), weights.flatten())
            loss += found[0]
            d_ends[1] += found[1].view(d_ends[1].shape)
            d_ends[0] += found[2].view(d_ends[0].shape)
        ends = inverse[..., :chunk].reshape(-1)
        asked = self._counted(ends, np.tile(weight, 2), len(distinct.rows))
        of_relation = self._counted(padded.relation, weight, len(relations.values) // 2).repeat(2)
        loss += self.kernels.regularise(self.penalty, relations.values, of_relation, relations.gradient)
        self._learn_relations(relations)
        as_candidate, as_end = distinct.occurrences(), None if shown.norms is None else distinct.occurrences(ends)
        pulls: dict[int, float] = {}

        def summed(cut: slice) -> Tensor:
            candidates = own = self.kernels.sum_rows(d_candidates.view(-1, self.dim), as_candidate, cut)
            if as_end is not None:
                own = self.kernels.sum_rows(d_ends.view(-1, self.dim), as_end, cut)
            pulls[cut.start] = self.kernels.regularise(self.penalty, shown.vectors[cut], asked[cut], own)
            return shown.back(cut, candidates, None if as_end is None else own)

        self._learn_rows(distinct.rows, summed, rate)
        return loss + sum(pulls[start] for start in sorted(pulls))

    def _counted(self, places: Ints, weight: Floats, count: int) -> Tensor:
        """float32[count]: the sum of the weights that fall on each place."""
        return torch.from_numpy(np.bincount(places, weight, count).astype(np.float32)).to(self.device)

    def _predict_relations(
        self, shown: Shown, relations: Relations, head: Tensor, tail: Tensor, relation: Tensor, weight: Tensor
    ) -> tuple[float, Tensor, Tensor]:
        """Loss of the right relation among all and gradients of heads and tails; adds the relations'.

        head, tail   int64[triples]: which of the shown rows they are
        """
        forward = len(relations.values) // 2

        def run(cut: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            ends = shown.vectors[head[cut]], shown.vectors[tail[cut]]
            own = self.relation_weight * weight[cut]
            return relation_gradient(self.objective, *ends, relations.values[:forward], relation[cut], own)

        loss, d_ends = 0.0, torch.empty(2, len(head), self.dim, device=self.device)
        cuts = self._pieces(len(head), _ROWS)
        for cut, (part, d_head, d_tail, d_relations) in zip(cuts, self.kernels.map(run, cuts), strict=True):
            loss += float(part)
            d_ends[0, cut], d_ends[1, cut] = d_head, d_tail
            relations.gradient[:forward] += d_relations
        return loss, d_ends[0], d_ends[1]

    def _learn_rows(self, rows: Ints, gradient: Callable[[slice], Tensor], rate: float) -> None:
        """Step some rows, piece by piece; `gradient` has that of what the view shows of a piece."""

        def apply(cut: slice) -> Tensor | None:
            return self.view.apply(rows[cut], gradient(cut), rate)

        for d_map in self.kernels.map(apply, self._pieces(len(rows), _ROWS)):
            if d_map is not None and self.map_gradient is not None:
                self.map_gradient += d_map

    def _show(self, rows: Ints, rng: np.random.Generator) -> Shown:
        vectors = torch.empty(len(rows), self.dim, device=self.device)
        cosine = self.objective.compare == "cosine"
        candidates = torch.empty_like(vectors) if cosine else vectors
        norms = torch.empty(len(rows), 1, device=self.device) if cosine else None
        kept = _kept(vectors, self.dropout, rng)

        def show(cut: slice) -> None:
            vectors[cut] = self.view.gather(rows[cut]) if kept is None else self.view.gather(rows[cut]) * kept[cut]
            made, norm = as_candidates(self.objective, vectors[cut])
            if norms is not None and norm is not None:
                candidates[cut], norms[cut] = made, norm

        for _ in self.kernels.map(show, self._pieces(len(rows), _ROWS)):
            pass
        return Shown(vectors, candidates, norms, kept)

    def _compare(
        self,
        shown: Shown,
        places: Tensor,
        relations: Relations,
        relation: Tensor,
        weight: Tensor,
        refused: Tensor | None,
    ) -> tuple[float, Tensor, Tensor]:
        """Loss; gradients of the candidates, and of the triples' own ends as they are shown; adds relations'.

        Where candidates are what is shown, the ends' are a part of the candidates', and already added.

        places             int64[2, chunks, triples + negatives]: which distinct row is a candidate for tails, heads
        relation, weight   [chunks, triples]
        refused            as in `gradient`
        returns            float32[2, chunks, triples + negatives, dim] and [2, chunks, triples, dim]
        """
        _, chunks, width = places.shape
        triples, backward = relation.shape[1], len(relations.values) // 2
        d_candidates = torch.empty(2, chunks, width, self.dim, device=self.device)
        same, own = shown.norms is None, slice(None, triples)
        d_ends = d_candidates[:, :, own] if same else torch.zeros(2, chunks, triples, self.dim, device=self.device)
        compared = slice(None) if self.objective.in_batch else slice(triples, None)
        compiled = same and self.objective.scorer.product is not None and self.device.type == "cpu"

        def ask(cut: slice, ways: Tensor) -> Queries | Products:
            if compiled:
                tables = shown.vectors, places, relations.values, relation
                return Products(self.objective, *tables, d_candidates, cut)
            right = _select(shown.candidates, places[:, cut, own])
            given = right.flip(0) if same else _select(shown.vectors, places[:, cut, own].flip(0))
            asked, d_right = _select(relations.values, ways), d_candidates[:, cut, own]
            return Queries(self.objective, right, given, asked, d_right, d_ends[:, cut])

        def run(cut: slice) -> tuple[Tensor, Tensor, Tensor]:
            ways = torch.stack([relation[cut], relation[cut] + backward])
            candidates = _select(shown.candidates, places[:, cut, compared])
            without = None if refused is None else refused[:, cut]
            d_compared = d_candidates[:, cut, compared]
            queries = ask(cut, ways)
            loss, d_ways = gradient(self.objective, queries, candidates, weight[cut], without, d_compared)
            return loss, ways.flatten(), d_ways.flatten(0, -2)

        cuts, total = self._pieces(chunks, max(1, min(_TRIPLES // triples, -(-chunks // _PARTS)))), 0.0
        for loss, ways, d_relation in self.kernels.map(run, cuts):
            relations.gradient.index_add_(0, ways, d_relation)
            total += float(loss)
        return total, d_candidates, d_ends

    def _pieces(self, count: int, size: int) -> list[slice]:
        """Of at most some size each, and of one size, or nearly so."""
        pieces = -(-count // size) if self.device.type == "cpu" else min(count, 1)
        bounds = [count * k // pieces for k in range(pieces + 1)] if pieces else [0]
        return [slice(*ends) for ends in pairwise(bounds)]

    def _relations(self, rng: np.random.Generator) -> Relations:
        """Read from tail to head they have rows of their own where reciprocal, else are inverted by the scorer."""
        values = self.relation
        if not self.reciprocal:
            values = torch.cat([values, self.objective.scorer.inverse(values)])
        kept = _kept(values, self.relation_dropout, rng)
        values = values if kept is None else values * kept
        own = self.relation_gradient if values is self.relation else torch.zeros_like(values)
        return Relations(values, own, kept)

    def _learn_relations(self, relations: Relations) -> None:
        """Add up what a batch has found."""
        if relations.gradient is self.relation_gradient:
            return
        found = relations.gradient if relations.kept is None else relations.gradient * relations.kept
        if not self.reciprocal:  # `inverse` is linear and its own transpose: it carries the gradient back as well
            forward, backward = found.chunk(2)
            found = forward + self.objective.scorer.inverse(backward)
        self.relation_gradient += found


def _kept(vectors: Tensor, dropout: float, rng: np.random.Generator) -> Tensor | None:
    """What coordinates are multiplied by: 0 for the share `dropout` of them; None where none are dropped."""
    if not dropout:
        return None
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
    kept = torch.rand(vectors.shape, generator=generator) >= dropout
    return kept.to(vectors.device, vectors.dtype).div_(1 - dropout)


def _select(vectors: Tensor, places: Tensor) -> Tensor:
    """float[..., dim] of int64[...] places."""
    return vectors.index_select(0, places.reshape(-1)).view(*places.shape, vectors.shape[1])
