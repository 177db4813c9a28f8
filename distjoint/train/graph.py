"""One graph loss over the rows of a worker: from a batch of triples to changed rows.

Plan what needs no vectors: negatives, which rows are distinct. Then gather the distinct rows as the view shows them,
score chunks of triples against shared candidates, sum the gradients that meet in a row, step the row. `dual` has two of
these, on entities and on words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distjoint.arrays import Floats, Ints
from distjoint.backends.cpu.comparison import Objective, as_candidates, through_candidates
from distjoint.backends.cpu.graph import gradient, relation_gradient
from distjoint.backends.cpu.queries import Products, Queries
from distjoint.backends.cpu.rows import Distinct, Occurrences, Penalty, RowKernels
from distjoint.config import Config
from distjoint.couplings.views import View
from distjoint.model import scorers
from distjoint.model.scorers import comparison, default_scale
from distjoint.train.batches import Batch
from distjoint.train.negatives import Pool

_TRIPLES, _ROWS, _PARTS = 1280, 2048, 8
"""On a CPU: triples, and distinct rows, in a piece of work, and the pieces that are made of a batch where it has the
chunks. Pieces four times as small cost a fifth of the speed, for Python's share of them.
"""


@dataclass(frozen=True)
class Kept:
    """What the coordinates of a batch are multiplied by: 0 where one is dropped, else what the others are scaled by;
    None where none are dropped.

    rows        float32[distinct, dim]
    relations   float32[R or 2R, relation_dim]
    """

    rows: Tensor | None
    relations: Tensor | None


@dataclass(frozen=True)
class Plan:
    """All of a batch that needs no vectors. Triples are in whole chunks, the last one padded.

    places        int64[2, chunks, triples + negatives]: which distinct row is a candidate for tails, for heads
    relation      int64[chunks, triples]
    weight        float32[chunks, triples]: 0 for padding
    refused       as in `gradient`
    asked         float32[distinct]: the triples a row is an end of, by their weights
    of_relation   float32[R or 2R]: likewise
    candidates    where each row is a candidate
    ends          where it is an end, unless that is known as where it is a candidate
    """

    distinct: Distinct
    places: Tensor
    relation: Tensor
    weight: Tensor
    refused: Tensor | None
    asked: Tensor
    of_relation: Tensor
    candidates: Occurrences
    ends: Occurrences | None
    kept: Kept


@dataclass(frozen=True)
class Shown:
    """The distinct rows of a batch as the view shows them, and as candidates; float32[distinct, dim] each.

    norms   float32[distinct, 1] where candidates are unit vectors
    kept    as the rows of `Kept`
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

    kept   as in `Kept`
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
        scorer = scorers.scorer(model.scorer)
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

    def plan(self, batch: Batch, pool: Pool, rng: np.random.Generator) -> Callable[[float], float]:
        """Make a batch ready, of what needs no vectors: meanwhile another one may train.

        returns   what trains it, given the step size of the rows, and returns the loss, summed over the triples and
                  both directions
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
        places = distinct.inverse.reshape(rows.shape)
        ends = places[..., :chunk].reshape(-1)
        made = Plan(
            distinct,
            self._tensor(places),
            self._tensor(padded.relation.reshape(chunks, -1)),
            self._tensor(weight.reshape(chunks, -1)),
            None if refused is None else self._tensor(refused),
            self._counted(ends, np.tile(weight, 2), len(distinct.rows)),
            self._counted(padded.relation, weight, self._forward).repeat(2),
            distinct.occurrences(),
            None if self._same else distinct.occurrences(ends),
            self._kept(len(distinct.rows), rng),
        )
        return partial(self._train, made)

    def _train(self, plan: Plan, rate: float) -> float:
        shown, relations = self._show(plan.distinct.rows, plan.kept.rows), self._relations(plan.kept.relations)
        loss, d_candidates, d_ends = self._compare(shown, relations, plan)
        if self.relation_weight:
            tail, head = plan.places[..., : plan.relation.shape[1]].flatten(1)
            ways, weight = plan.relation.flatten(), plan.weight.flatten()
            found, d_head, d_tail = self._predict_relations(shown, relations, head, tail, ways, weight)
            loss += found
            d_ends[1] += d_head.view(d_ends[1].shape)
            d_ends[0] += d_tail.view(d_ends[0].shape)
        loss += self.kernels.regularise(self.penalty, relations.values, plan.of_relation, relations.gradient)
        self._learn_relations(relations)
        pulls: dict[int, float] = {}

        def summed(cut: slice) -> Tensor:
            candidates = own = self.kernels.sum_rows(d_candidates.view(-1, self.dim), plan.candidates, cut)
            if plan.ends is not None:
                own = self.kernels.sum_rows(d_ends.view(-1, self.dim), plan.ends, cut)
            pulls[cut.start] = self.kernels.regularise(self.penalty, shown.vectors[cut], plan.asked[cut], own)
            return shown.back(cut, candidates, None if plan.ends is None else own)

        self._learn_rows(plan.distinct.rows, summed, rate)
        return loss + sum(pulls[start] for start in sorted(pulls))

    @property
    def _same(self) -> bool:
        """Whether candidates are what is shown, so that the gradient of triples' ends is a part of the candidates'."""
        return self.objective.compare != "cosine"

    @property
    def _forward(self) -> int:
        """Relations, each counted once."""
        return len(self.relation) // 2 if self.reciprocal else len(self.relation)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _kept(self, rows: int, rng: np.random.Generator) -> Kept:
        """What is kept of so many rows, and of relations."""
        of_rows = _scales((rows, self.dim), self.dropout, rng)
        of_relations = _scales((2 * self._forward, self.relation.shape[1]), self.relation_dropout, rng)
        return Kept(*(None if made is None else made.to(self.device) for made in (of_rows, of_relations)))

    def _counted(self, places: Ints, weight: Floats, count: int) -> Tensor:
        """float32[count]: the sum of the weights that fall on each place."""
        return self._tensor(np.bincount(places, weight, count).astype(np.float32))

    def _predict_relations(
        self, shown: Shown, relations: Relations, head: Tensor, tail: Tensor, relation: Tensor, weight: Tensor
    ) -> tuple[float, Tensor, Tensor]:
        """Loss of the right relation among all and gradients of heads and tails; adds the relations'.

        head, tail   int64[triples]: which of the shown rows they are
        """
        forward = self._forward

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

    def _show(self, rows: Ints, kept: Tensor | None) -> Shown:
        vectors = torch.empty(len(rows), self.dim, device=self.device)
        candidates = vectors if self._same else torch.empty_like(vectors)
        norms = None if self._same else torch.empty(len(rows), 1, device=self.device)

        def show(cut: slice) -> None:
            found = self.view.gather(rows[cut], vectors[cut])
            if kept is not None:
                found *= kept[cut]
            made, norm = as_candidates(self.objective, found)
            if norms is not None and norm is not None:
                candidates[cut], norms[cut] = made, norm

        for _ in self.kernels.map(show, self._pieces(len(rows), _ROWS)):
            pass
        return Shown(vectors, candidates, norms, kept)

    def _compare(self, shown: Shown, relations: Relations, plan: Plan) -> tuple[float, Tensor, Tensor]:
        """Loss; gradients of the candidates, and of the triples' own ends as they are shown; adds relations'.

        Where candidates are what is shown, the ends' are a part of the candidates', and already added.

        returns   float32[2, chunks, triples + negatives, dim] and [2, chunks, triples, dim]
        """
        places, relation = plan.places, plan.relation
        (_, chunks, width), triples, same = places.shape, relation.shape[1], self._same
        d_candidates, own = torch.empty(2, chunks, width, self.dim, device=self.device), slice(None, triples)
        d_ends = d_candidates[:, :, own] if same else torch.zeros(2, chunks, triples, self.dim, device=self.device)
        compared = slice(None) if self.objective.in_batch else slice(triples, None)
        compiled = same and self.objective.scorer.product is not None and self.device.type == "cpu"

        def ask(cut: slice) -> Queries | Products:
            if compiled:
                tables = shown.vectors, places, relations.values, relation
                return Products(self.objective, *tables, d_candidates, cut)
            right = _select(shown.candidates, places[:, cut, own])
            given = right.flip(0) if same else _select(shown.vectors, places[:, cut, own].flip(0))
            ways = torch.stack([relation[cut], relation[cut] + self._forward])
            asked, d_right = _select(relations.values, ways), d_candidates[:, cut, own]
            return Queries(self.objective, right, given, asked, ways, d_right, d_ends[:, cut])

        def run(cut: slice) -> tuple[Tensor | float, Tensor, Tensor]:
            candidates = _select(shown.candidates, places[:, cut, compared])
            refused = None if plan.refused is None else plan.refused[:, cut]
            d_compared = d_candidates[:, cut, compared]
            return gradient(self.objective, ask(cut), candidates, plan.weight[cut], refused, d_compared)

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

    def _relations(self, kept: Tensor | None) -> Relations:
        """Read from tail to head they have rows of their own where reciprocal, else are inverted by the scorer."""
        values = self.relation
        if not self.reciprocal:
            values = torch.cat([values, self.objective.scorer.inverse(values)])
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


def _scales(shape: tuple[int, int], dropout: float, rng: np.random.Generator) -> Tensor | None:
    """As in `Kept`."""
    if not dropout:
        return None
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
    return (torch.rand(shape, generator=generator) >= dropout).float().div_(1 - dropout)


def _select(vectors: Tensor, places: Tensor) -> Tensor:
    """float[..., dim] of int64[...] places."""
    return vectors.index_select(0, places.reshape(-1)).view(*places.shape, vectors.shape[1])
