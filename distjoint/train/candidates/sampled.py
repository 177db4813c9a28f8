"""Sampled negatives: the triples of a chunk share what is drawn for it, and serve each other as negatives.

All scores of a chunk are so one matrix product (Lerer et al. 2019, section 4.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from distjoint.backends.base import Distinct, QueryTables, Random
from distjoint.backends.queries import select
from distjoint.config import Config
from distjoint.train.batches import Batch
from distjoint.train.candidates.base import CandidateStrategy, Step
from distjoint.train.negatives import Pool
from distjoint.train.terms import BatchLoss, Dropout, EmbeddedRows, Relations

_PLACE_BYTES = 40
"""Of a place of a candidate in a batch: its row, its number among distinct ones, and where these occur."""
_TRIPLES, _SLICES = 1280, 8
"""On a CPU: triples in a slice of work, and the slices that are made of a batch where it has the chunks."""


@dataclass(frozen=True)
class SampledPlan:
    """All of a batch that needs no vectors. Triples are in whole chunks, the last one padded.

    places            int64[2, chunks, triples + negatives]: which distinct row is a candidate for tails, for heads
    relation          int64[chunks, triples]
    weight            float32[chunks, triples]: 0 for padding
    mask              filter mask, bool[2, chunks, triples, candidates]; None where all are negatives
    row_weight        float32[distinct]: sum of the weights of the triples a row is an end of
    relation_weight   float32[2R]: likewise of relations
    candidates        index of where each row is a candidate
    ends              index of where it is a head or tail, unless these are among the candidates
    """

    distinct: Distinct
    places: Tensor
    relation: Tensor
    weight: Tensor
    mask: Tensor | None
    row_weight: Tensor
    relation_weight: Tensor
    candidates: Any
    ends: Any
    dropout: Dropout


class Sampled(CandidateStrategy):
    """`sampled`: negatives drawn for each chunk and side, and the chunk's other targets where `in_batch`."""

    name = "sampled"

    @classmethod
    def needs_known(cls, mask_known: bool, few: bool, complete: bool) -> bool:
        return mask_known and few

    @classmethod
    def step_bytes(cls, config: Config, entities: int) -> int:
        """Vectors of distinct rows, twice; gradients by place and by row; places and masks of two batches."""
        graph, dim = config.graph, config.model.dim
        chunks = -(-graph.batch // graph.chunk)
        places = 2 * chunks * (graph.chunk + graph.negatives)
        rows = min(places, entities)
        return 4 * dim * (3 * rows + places + 2 * graph.batch) + 2 * places * (_PLACE_BYTES + graph.chunk)

    def draw(self, pool: Pool, random: Random, relation: Tensor, count: int) -> Tensor:
        """Negatives of some chunks, as `Sampler.draw`."""
        return pool.sampler.draw(random, relation, count)

    def plan(self, batch: Batch, pool: Pool, random: Random) -> Step:
        trainer, config, backend = self.trainer, self.trainer.config, self.trainer.backend
        chunk = min(config.chunk, len(batch))
        padded, weights = batch.padded(chunk)
        columns = (padded.head, padded.relation, padded.tail, weights)
        head, relation, tail, weight = (backend.tensor(column).view(-1, chunk) for column in columns)
        drawn = config.negatives if len(pool) else 0
        given = chunk if trainer.own_end else 0
        # Targets, given ends where these serve as negatives, and what is drawn.
        rows = torch.empty(2, len(head), chunk + given + drawn, dtype=torch.int64, device=backend.device)
        rows[0, :, :chunk], rows[1, :, :chunk] = tail, head
        if given:
            rows[0, :, chunk : chunk + given], rows[1, :, chunk : chunk + given] = head, tail
        if drawn:
            rows[:, :, chunk + given :] = self.draw(pool, random, relation, drawn)
        competing = rows if config.in_batch else rows[:, :, chunk:].contiguous()
        mask = pool.filter_mask(head, relation, tail, competing, config.in_batch, backend)
        if given:
            mask = _own_ends_only(mask, competing, chunk, chunk if config.in_batch else 0)
        distinct = backend.distinct(rows.view(-1), trainer.arena_rows)
        places, count = distinct.inverse.view(rows.shape), len(distinct.rows)
        ends = places[..., :chunk].reshape(-1)
        made = SampledPlan(
            distinct,
            places,
            relation,
            weight,
            mask,
            _summed(ends, weight.flatten().repeat(2), count),
            _summed(relation.flatten(), weight.flatten(), trainer.forward).repeat(2),
            backend.occurrences(distinct.inverse, count),
            None if trainer.plain else backend.occurrences(ends, count),
            self.dropout(count, random),
        )
        return partial(self._train, made)

    def _train(self, plan: SampledPlan, rate: float) -> BatchLoss:
        trainer, backend = self.trainer, self.trainer.backend
        embeddings = trainer.embed(plan.distinct.rows, plan.dropout)
        relations = trainer.relations(plan.dropout.relations)
        loss, d_candidates, d_ends = self._score(embeddings, relations, plan)
        if trainer.config.relation_weight:
            tail, head = plan.places[..., : plan.relation.shape[1]].flatten(1)
            triples = head, tail, plan.relation.flatten(), plan.weight.flatten()
            found, d_head, d_tail = trainer.predict_relations(embeddings, relations, *triples)
            loss = loss + found
            d_ends[1] += d_head.view(d_ends[1].shape)
            d_ends[0] += d_tail.view(d_ends[0].shape)
        loss = loss + trainer.regularise(relations.values, plan.relation_weight, relations.gradient)

        def gradient_of(part: slice) -> tuple[Tensor, float | Tensor]:
            candidates = own = backend.sum_rows(d_candidates.view(-1, trainer.dim), plan.candidates, part)
            if plan.ends is not None:
                own = backend.sum_rows(d_ends.view(-1, trainer.dim), plan.ends, part)
            penalty = trainer.regularise(embeddings.vectors[part], plan.row_weight[part], own)
            return trainer.backward(embeddings, part, candidates, None if plan.ends is None else own), penalty

        return trainer.learn(embeddings, relations, gradient_of, rate, loss)

    def _score(
        self, embeddings: EmbeddedRows, relations: Relations, plan: SampledPlan
    ) -> tuple[float | Tensor, Tensor, Tensor]:
        """Loss, and gradients of the candidates and of heads and tails as embedded; adds the relations' gradient.

        Where candidates are the embeddings themselves, heads and tails are a part of the candidates.

        returns   float32[2, chunks, triples + negatives, dim] and [2, chunks, triples, dim]
        """
        trainer, backend, (_, chunks, width) = self.trainer, self.trainer.backend, plan.places.shape
        triples, in_batch = plan.relation.shape[1], trainer.config.in_batch
        d_candidates = torch.empty(2, chunks, width, trainer.dim, device=backend.device)
        own = d_candidates[:, :, :triples]
        d_ends = own if trainer.plain else torch.zeros(own.shape, device=backend.device)
        competing = slice(None) if in_batch else slice(triples, None)
        tables = QueryTables(
            embeddings.vectors,
            embeddings.candidates,
            plan.places,
            relations.values,
            plan.relation,
            trainer.dense,
            d_candidates,
            d_ends,
        )

        def score(part: slice) -> tuple[float | Tensor, Tensor, Tensor, dict[str, Tensor]]:
            queries = backend.queries(trainer.scorer, trainer.comparison, in_batch, tables, part)
            candidates = select(embeddings.candidates, plan.places[:, part, competing])
            mask = None if plan.mask is None else plan.mask[:, part]
            scores, distance = trainer.comparison.scores(queries.vectors, candidates)
            loss, gradient, d_target = trainer.loss.sampled(
                scores, queries.target, plan.weight[part], mask, backend.cross_entropy
            )
            gradient = trainer.comparison.score_backward(gradient, distance)
            d_queries = trainer.comparison.vector_backward(gradient, queries.vectors, candidates, distance=distance)
            into = d_candidates[:, part, competing]
            for side in range(2):  # one at a time, since its place may be a part of a larger batch's, not in one piece
                back = gradient[side].transpose(1, 2)
                far = None if distance is None else distance[side].transpose(1, 2)
                trainer.comparison.vector_backward(back, candidates[side], queries.vectors[side], into[side], far)
            return loss, *queries.backward(d_queries, d_target)

        total: float | Tensor = 0.0
        parts = backend.slices(chunks, max(1, min(_TRIPLES // triples, -(-chunks // _SLICES))))
        for loss, ids, d_relation, d_dense in backend.map(score, parts):
            relations.gradient.index_add_(0, ids, d_relation)
            trainer.add_dense(d_dense)
            total = total + loss
        return total, d_candidates, d_ends


def _own_ends_only(mask: Tensor | None, candidates: Tensor, chunk: int, first: int) -> Tensor:
    """The filter mask, with the given ends of a chunk's other triples in it; these begin at candidate `first`."""
    sides, chunks, width = candidates.shape
    if mask is None:
        mask = torch.zeros(sides, chunks, chunk, width, dtype=torch.bool, device=candidates.device)
    mask[..., first : first + chunk] |= ~torch.eye(chunk, dtype=torch.bool, device=candidates.device)
    return mask


def _summed(places: Tensor, weight: Tensor, count: int) -> Tensor:
    """float32[count]: the sum of the weights that fall on each place."""
    sums = torch.zeros(count, dtype=torch.float64, device=places.device)
    return sums.scatter_add_(0, places, weight.double()).float()
