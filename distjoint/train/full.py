"""The graph's loss against every resident entity: 1vsAll (Lacroix et al. 2018) and KvsAll (Dettmers et al. 2018).

A batch asks for one end of its triples. Triples that ask the same are one query: of FB15k-237's 544,230 questions
150,000 are distinct, and that is what the matrix products are made for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distjoint.arrays import Ints
from distjoint.backends.cpu.full import Answers, against_all, candidate_gradient, weigh
from distjoint.config import Config
from distjoint.train.batches import Batch
from distjoint.train.graph import GraphLoss, Kept, Relations, Shown
from distjoint.train.negatives import Pool

ROOM = 256 << 20
"""Bytes of scores that are kept at a time."""
_QUERIES, _CANDIDATES = 64, 1024
"""Queries, and candidates, in a piece of work on a CPU."""


def bytes_needed(entities: int, dim: int, dropout: bool = False) -> int:
    """Memory of a step over so many candidates, besides the table: what is shown of them and, with dropout, kept of
    them in this step and the next, two gradients, scores.
    """
    return 4 * entities * (6 if dropout else 4) * dim + max(ROOM, 4 * _QUERIES * entities)


@dataclass(frozen=True)
class _Queries:
    """The distinct queries of a batch.

    place      int64[queries]: which candidate the given entity is
    relation   int64[queries]: row of the relations, the inverse's where heads are asked for
    """

    place: Tensor
    relation: Tensor
    answers: Answers

    def __len__(self) -> int:
        return len(self.place)

    def part(self, cut: slice) -> _Queries:
        """Some of them, with their answers."""
        first, last = torch.searchsorted(self.answers.query, self.place.new_tensor([cut.start, cut.stop])).tolist()
        query = self.answers.query[first:last] - cut.start
        answers = Answers(
            query, self.answers.candidate[first:last], self.answers.weight[cut], self.answers.each[first:last]
        )
        return _Queries(self.place[cut], self.relation[cut], answers)


class FullLoss(GraphLoss):
    """As GraphLoss, with every row of the pool as candidate of every query."""

    _places: tuple[Pool, Ints] | None = None

    def __init__(self, config: Config, *rest: Any) -> None:
        super().__init__(config, *rest)
        self.versus = config.graph.candidates

    def plan(self, batch: Batch, pool: Pool, rng: np.random.Generator) -> Callable[[float], float]:
        triples = None
        if self.relation_weight and batch.side == "tail":
            ends = (self._tensor(self._place_in(pool)[end]) for end in (batch.head, batch.tail))
            triples = (*ends, self._tensor(batch.relation))
        return partial(self._train_full, pool, self._queries(batch, pool), self._kept(len(pool), rng), triples)

    def _train_full(
        self, pool: Pool, queries: _Queries, kept: Kept, triples: tuple[Tensor, ...] | None, rate: float
    ) -> float:
        """Train the queries and, where given, the relations of triples: their heads, tails and relations."""
        shown, relations = self._show(pool.rows, kept.rows), self._relations(kept.relations)
        candidates, ends = (torch.zeros_like(shown.vectors) for _ in range(2))
        most, loss = max(_QUERIES, ROOM // (4 * len(pool)) // _QUERIES * _QUERIES), 0.0
        for start in range(0, len(queries), most):
            part = queries.part(slice(start, min(start + most, len(queries))))
            loss += self._block(part, shown, relations, candidates, ends)
        loss += self._regularise(queries, shown, relations, ends)
        if triples is not None:
            head, tail, relation = triples
            weight = torch.ones(len(head), device=self.device)
            found, d_head, d_tail = self._predict_relations(shown, relations, head, tail, relation, weight)
            loss += found
            ends.index_add_(0, head, d_head).index_add_(0, tail, d_tail)
        self._learn_relations(relations)
        self._learn_rows(pool.rows, lambda cut: shown.back(cut, candidates[cut], ends[cut]), rate)
        return loss

    def _block(self, queries: _Queries, shown: Shown, relations: Relations, candidates: Tensor, ends: Tensor) -> float:
        """Loss of some queries; adds the gradients of candidates, of given entities and of relations."""
        room = torch.empty(len(queries), len(shown.vectors), device=self.device)
        compared = torch.empty(len(queries), self.dim, device=self.device)
        scorer = self.objective.scorer

        def ask(cut: slice) -> tuple[Tensor, Tensor, Tensor]:
            part = queries.part(cut)
            given, relation = shown.vectors[part.place], relations.values[part.relation]
            asked = scorer.query(given, relation)
            loss, compared[cut], d_query = against_all(self.objective, shown.candidates, asked, part.answers, room[cut])
            d_given, d_relation = scorer.query_gradient(given, relation, d_query)
            return loss, d_given, d_relation

        cuts, total = self._pieces(len(queries), _QUERIES), 0.0
        for cut, (loss, d_given, d_relation) in zip(cuts, self.kernels.map(ask, cuts), strict=True):
            ends.index_add_(0, queries.place[cut], d_given)
            relations.gradient.index_add_(0, queries.relation[cut], d_relation)
            total += float(loss)

        def answer(cut: slice) -> None:
            candidates[cut] += candidate_gradient(self.objective, shown.candidates[cut], compared, room[:, cut])

        for _ in self.kernels.map(answer, self._pieces(len(candidates), _CANDIDATES)):
            pass
        return total

    def _regularise(self, queries: _Queries, shown: Shown, relations: Relations, ends: Tensor) -> float:
        """What holds the vectors of the triples small; adds its gradient."""
        answers = queries.answers
        entity, relation = (torch.zeros(len(x), device=self.device) for x in (shown.vectors, relations.values))
        entity.index_add_(0, queries.place, answers.weight).index_add_(0, answers.candidate, answers.each)
        relation.index_add_(0, queries.relation, answers.weight)
        pull = self.kernels.regularise(self.penalty, shown.vectors, entity, ends)
        return pull + self.kernels.regularise(self.penalty, relations.values, relation, relations.gradient)

    def _queries(self, batch: Batch, pool: Pool) -> _Queries:
        """raises AssertionError when an end of a triple is not in the pool"""
        relations = self._forward
        given, answer = (batch.tail, batch.head) if batch.side == "head" else (batch.head, batch.tail)
        relation = batch.relation + (relations if batch.side == "head" else 0)
        keys, query, counts = np.unique(given * 2 * relations + relation, return_inverse=True, return_counts=True)
        order = np.argsort(query, kind="stable")
        query, answer = query[order], answer[order]
        if self.versus == "kvsall" and pool.known is not None:
            side = int(batch.side == "head")
            counts, answer = pool.known.answers(side, keys // (2 * relations), keys % (2 * relations) % relations)
            query = np.repeat(np.arange(len(keys)), counts)
        places = self._place_in(pool)
        place, candidate = places[keys // (2 * relations)], places[answer]
        assert (place >= 0).all()
        assert (candidate >= 0).all()
        answers = weigh(self.versus, self.objective.loss == "logistic", *map(self._tensor, (query, candidate, counts)))
        return _Queries(self._tensor(place), self._tensor(keys % (2 * relations)), answers)

    def _place_in(self, pool: Pool) -> Ints:
        """int64[arena rows]: place in the pool, -1 for a row that is not in it."""
        if self._places is None or self._places[0] is not pool:
            places = np.full(self.kernels.rows, -1, np.int64)
            places[pool.rows] = np.arange(len(pool))
            self._places = (pool, places)
        return self._places[1]
