"""Every resident entity as a candidate: 1vsAll (Lacroix et al. 2018) and KvsAll (Dettmers et al. 2018).

A batch queries one end of its triples. Triples that make the same query share it: of FB15k-237's 544,230 queries
150,000 are distinct, and that is what the matrix products are made for.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.base import Random
from distjoint.base.arrays import Floats, Ints
from distjoint.table.arena import places_among
from distjoint.train.batches import Batch
from distjoint.train.candidates.base import CandidateStrategy, Step
from distjoint.train.negatives import Pool
from distjoint.train.terms import BatchLoss, Dropout, EmbeddedRows, Relations, TermTrainer

ROOM = 256 << 20
"""Bytes of scores that are kept at a time."""
QUERIES, CANDIDATES = 64, 1024
"""Queries, and candidates, in a slice of work on a CPU."""


@dataclass(frozen=True)
class Answers:
    """The right answers of some queries, in order of query.

    starts      int[queries + 1]: where each query's begin, and where the last ones end; on the host
    query       int64[answers]
    candidate   int64[answers]: candidate[k] is right for query[k]
    weight      float32[queries]: of a query's sum over all candidates
    each        float32[answers]: of each right answer's score
    """

    starts: Ints
    query: Tensor
    candidate: Tensor
    weight: Tensor
    each: Tensor


@dataclass(frozen=True)
class DistinctQueries:
    """The distinct queries of a batch.

    source     int64[queries]: which candidate the given entity is
    relation   int64[queries]: row of the relations, the inverse's where heads are queried
    """

    source: Tensor
    relation: Tensor
    answers: Answers

    def __len__(self) -> int:
        return len(self.source)

    def part(self, queries: slice) -> DistinctQueries:
        """Some of them, with their answers."""
        starts = self.answers.starts[queries.start : queries.stop + 1]
        chosen = slice(int(starts[0]), int(starts[-1]))
        answers = Answers(
            starts - starts[0],
            self.answers.query[chosen] - queries.start,
            self.answers.candidate[chosen],
            self.answers.weight[queries],
            self.answers.each[chosen],
        )
        return DistinctQueries(self.source[queries], self.relation[queries], answers)


class Everything(CandidateStrategy):
    """Every entity of the pool as a candidate of every query."""

    one_end = True
    resident = True

    def __init__(self, trainer: TermTrainer) -> None:
        super().__init__(trainer)
        self._places: tuple[Pool, Ints] | None = None

    @classmethod
    def bytes_needed(cls, entities: int, dim: int, dropout: bool) -> int:
        """Embeddings and, with dropout, its masks in this step and the next; two gradients; scores."""
        return 4 * entities * (6 if dropout else 4) * dim + max(ROOM, 4 * QUERIES * entities)

    @abstractmethod
    def weights(self, queries: Ints, counts: Ints, given: Floats) -> tuple[Floats, Floats]:
        """Weight of each query's sum, and of each right answer's score: float32[queries] and float32[answers].

        queries   int64[answers]: the query of each answer, in order
        counts    int64[queries]: answers of each, one at least
        given     float32[answers]: weights of the triples
        """

    def answers_of(
        self, pool: Pool, side: int, source: Ints, relation: Ints
    ) -> tuple[Ints, Ints, Floats | None] | None:
        """The answers of distinct queries as of `KnownPositives.answers`; None for those that the batch has itself."""
        return None

    def plan(self, batch: Batch, pool: Pool, random: Random) -> Step:
        triples, backend = None, self.trainer.backend
        if self.trainer.config.relation_weight and batch.side == "tail":
            head, tail = (backend.tensor(self._place_in(pool)[end]) for end in (batch.head, batch.tail))
            weight = np.ones(len(batch), np.float32) if batch.weight is None else batch.weight
            triples = (head, tail, backend.tensor(batch.relation), backend.tensor(weight))
        queries = self._queries(batch, pool)
        return partial(self._train, backend.tensor(pool.rows), queries, self.dropout(len(pool), random), triples)

    def _train(
        self,
        rows: Tensor,
        queries: DistinctQueries,
        dropout: Dropout,
        triples: tuple[Tensor, Tensor, Tensor, Tensor] | None,
        rate: float,
    ) -> BatchLoss:
        """Train the queries and, where given, the relations of triples: their heads, tails, relations and weights."""
        trainer = self.trainer
        embeddings, relations = trainer.embed(rows, dropout), trainer.relations(dropout.relations)
        candidates, ends = (torch.zeros_like(embeddings.vectors) for _ in range(2))
        loss: float | Tensor = 0.0
        most = max(QUERIES, ROOM // (4 * len(rows)) // QUERIES * QUERIES)
        for start in range(0, len(queries), most):
            part = queries.part(slice(start, min(start + most, len(queries))))
            loss = loss + self._block(part, embeddings, relations, candidates, ends)
        loss = loss + self._regularise(queries, embeddings, relations, ends)
        if triples is not None:
            found, d_head, d_tail = trainer.predict_relations(embeddings, relations, *triples)
            loss = loss + found
            ends.index_add_(0, triples[0], d_head).index_add_(0, triples[1], d_tail)

        def gradient_of(part: slice) -> tuple[Tensor, float]:
            return trainer.backward(embeddings, part, candidates[part], ends[part]), 0.0

        return trainer.learn(embeddings, relations, gradient_of, rate, loss)

    def _block(
        self, queries: DistinctQueries, embeddings: EmbeddedRows, relations: Relations, candidates: Tensor, ends: Tensor
    ) -> float | Tensor:
        """Loss of some queries; adds the gradients of candidates, of source entities and of relations."""
        trainer, backend = self.trainer, self.trainer.backend
        comparison, device = trainer.comparison, backend.device
        scores = torch.empty(len(queries), len(embeddings.vectors), device=device)
        compared = torch.empty(len(queries), trainer.dim, device=device)

        def query(part: slice) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
            some = queries.part(part)
            source, relation = embeddings.vectors[some.source], relations.values[some.relation]
            made = trainer.scorer.query(source, relation, trainer.dense)
            compared[part], norms = comparison.embed(made)
            q, here = compared[part], scores[part]
            _, distance = comparison.scores(q, embeddings.candidates, here)
            loss = self._against_target(here, some.answers)
            comparison.score_backward(here, distance)
            d_query = comparison.embed_backward(comparison.vector_backward(here, q, embeddings.candidates), q, norms)
            d_source, d_relation = trainer.scorer.query_gradient(source, relation, d_query, trainer.dense)
            return loss, d_source, d_relation, trainer.scorer.dense_gradient(source, relation, d_query, trainer.dense)

        parts = backend.slices(len(queries), QUERIES)
        total: float | Tensor = 0.0
        for part, (loss, d_source, d_relation, d_dense) in zip(parts, backend.map(query, parts), strict=True):
            ends.index_add_(0, queries.source[part], d_source)
            relations.gradient.index_add_(0, queries.relation[part], d_relation)
            trainer.add_dense(d_dense)
            total = total + loss

        def answer(part: slice) -> None:
            candidates[part] += comparison.vector_backward(scores[:, part].T, embeddings.candidates[part], compared)

        for _ in backend.map(answer, backend.slices(len(candidates), CANDIDATES)):
            pass
        return total

    def _against_target(self, scores: Tensor, answers: Answers) -> Tensor:
        """A sum over all candidates less the scores that the target weighs; the scores become its gradient.

        Smoothing as LibKGE and ConvE do: its share of the target is spread over all candidates.
        """
        smoothing = self.trainer.config.smoothing
        right, spread = (1 - smoothing) * answers.each, smoothing / scores.shape[1] * answers.weight
        loss = -(right * scores[answers.query, answers.candidate]).sum()
        if smoothing:
            loss = loss - (spread * scores.sum(1)).sum()
        loss = loss + self.trainer.loss.over_candidates(scores, answers.weight, self.trainer.backend.cross_entropy)
        scores.index_put_((answers.query, answers.candidate), -right, accumulate=True)
        if smoothing:
            scores.sub_(spread[:, None])
        return loss

    def _regularise(
        self, queries: DistinctQueries, embeddings: EmbeddedRows, relations: Relations, ends: Tensor
    ) -> float | Tensor:
        """Regulariser of the vectors of the triples; adds its gradient."""
        trainer, answers = self.trainer, queries.answers
        rows, ids = (torch.zeros(len(x), device=x.device) for x in (embeddings.vectors, relations.values))
        rows.index_add_(0, queries.source, answers.weight).index_add_(0, answers.candidate, answers.each)
        ids.index_add_(0, queries.relation, answers.weight)
        pull = trainer.regularise(embeddings.vectors, rows, ends)
        return pull + trainer.regularise(relations.values, ids, relations.gradient)

    def _queries(self, batch: Batch, pool: Pool) -> DistinctQueries:
        """raises AssertionError when an end of a triple is not in the pool"""
        relations, side, tensor = self.trainer.forward, int(batch.side == "head"), self.trainer.backend.tensor
        source, answer = (batch.tail, batch.head) if side else (batch.head, batch.tail)
        relation = batch.relation + side * relations
        keys, query, counts = np.unique(source * 2 * relations + relation, return_inverse=True, return_counts=True)
        order = np.argsort(query, kind="stable")
        query, answer = query[order], answer[order]
        given = None if batch.weight is None else batch.weight[order]
        places = self._place_in(pool)
        known = self.answers_of(pool, side, keys // (2 * relations), keys % (2 * relations) % relations)
        if known is not None:
            counts, answer, given = known
            query, inside = np.repeat(np.arange(len(keys)), counts), places[answer] >= 0
            query, answer = query[inside], answer[inside]  # entities with a word, say, where only these are candidates
            given = None if given is None else given[inside]
            counts = np.bincount(query, minlength=len(keys))
        place, candidate = places[keys // (2 * relations)], places[answer]
        assert (place >= 0).all()
        assert (candidate >= 0).all()
        given = np.ones(len(query), np.float32) if given is None else given
        weight, each = (tensor(array) for array in self.weights(query, counts, given))
        starts = np.concatenate([[0], np.cumsum(counts)])
        answers = Answers(starts, tensor(query), tensor(candidate), weight, each)
        return DistinctQueries(tensor(place), tensor(keys % (2 * relations)), answers)

    def _place_in(self, pool: Pool) -> Ints:
        """int64[arena rows]: place in the pool, -1 for a row that is not in it."""
        if self._places is None or self._places[0] is not pool:
            self._places = (pool, places_among(pool.rows, self.trainer.arena_rows))
        return self._places[1]


class OneVersusAll(Everything):
    """`1vsall`: as if every triple were a query of its own, with one right answer."""

    name = "1vsall"

    def weights(self, queries: Ints, counts: Ints, given: Floats) -> tuple[Floats, Floats]:
        return np.add.reduceat(given, np.cumsum(counts) - counts), given


class KVersusAll(Everything):
    """`kvsall`: each query counts once. Its answers share the target (softmax), or are its labels (logistic).

    Where triples have weights, a query counts as the mean of its answers' and these share the target by theirs; or it
    counts as the heaviest, of which the labels are fractions.
    """

    name = "kvsall"

    @classmethod
    def needs_known(cls, mask_known: bool, few: bool, complete: bool) -> bool:
        """They are the labels, where a batch does not have them all by itself."""
        return not complete

    def weights(self, queries: Ints, counts: Ints, given: Floats) -> tuple[Floats, Floats]:
        starts = np.cumsum(counts) - counts
        if self.trainer.loss.shares_target:
            share = given / counts.astype(np.float32)[queries]
            return (np.add.reduceat(given, starts) / counts).astype(np.float32), share.astype(np.float32)
        return np.maximum.reduceat(given, starts), given

    def answers_of(
        self, pool: Pool, side: int, source: Ints, relation: Ints
    ) -> tuple[Ints, Ints, Floats | None] | None:
        return None if pool.known is None else pool.known.answers(side, source, relation)
