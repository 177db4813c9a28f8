"""Ranking queries: those of one direction, counted against blocks of candidates, tile by tile.

A matrix product rounds differently from one shape of block to the next, so a candidate counts as tied when its
score is closer to the answer's than float32 could place a copy of the answer (`TIE`): ties are found however the
candidates are cut into blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from distjoint.base.arrays import Bools, Doubles, Ints
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Triples
from distjoint.data.types import Domains
from distjoint.evaluate.candidates import Candidates
from distjoint.evaluate.known import KnownAnswers
from distjoint.evaluate.scoring import Side, TripleModel

TIE = 1e-6
"""Difference below which scores tie, as a share of the size of the terms that make a score: a few float32 roundings."""
QUERY_TILE = 1024
CANDIDATE_TILE = 4096


@dataclass
class Counts:
    """Numbers of candidates by query, from which its rank follows.

    higher        int64[n]: candidates that score higher than the right answer, other right answers left out
    reached       int64[n]: those that score at least as high
    ranked        int64[n]: candidates it was ranked among, the right answers with them
    own_higher    int64[n]: 1 where the entity that the query gives is among `higher`
    own_reached   int64[n]: 1 where it is among `reached`
    """

    higher: Ints
    reached: Ints
    ranked: Ints
    own_higher: Ints
    own_reached: Ints

    @classmethod
    def zeros(cls, queries: int) -> Counts:
        return cls(*(np.zeros(queries, np.int64) for _ in fields(cls)))

    def put(self, chosen: Ints, other: Counts) -> None:
        """Set the counts of some queries."""
        for each in fields(self):
            getattr(self, each.name)[chosen] = getattr(other, each.name)

    def ties(self) -> Ints:
        """int64[n]: candidates that tie with the right answer."""
        return self.reached - self.higher

    def ranks(self) -> Doubles:
        """float64[n]: a tie counts half."""
        return 1 + (self.higher + self.reached) / 2

    def own(self) -> Doubles:
        """float64[n]: what the entity that the query gives adds to the rank: 1 where it is higher, .5 where it ties."""
        return (self.own_higher + self.own_reached) / 2


class RankingProblem:
    """A ranking to be done chunk by chunk: model, candidates, known answers and limits.

    model        scores triples
    candidates   answers are ranked among these
    triples      all that will be ranked
    known        triples known to be right
    allowed      candidates that types allow at the ends of relations; None for all
    sample       candidates drawn for each query; None for all
    seed         of what is drawn
    memory       bytes that vectors of queries, scores and filters may take
    progress     told how many triples have been ranked since it was last told
    """

    def __init__(
        self,
        model: TripleModel,
        candidates: Candidates,
        triples: Triples,
        known: Triples,
        allowed: Domains | None,
        sample: int | None,
        seed: int,
        memory: int,
        progress: Callable[[float], None] | None,
    ) -> None:
        self.model, self.candidates, self.allowed = model, candidates, allowed
        self.sample, self.seed, self.memory, self.progress = sample, seed, memory, progress
        self.known: dict[Side, KnownAnswers] = {
            "tail": KnownAnswers(known, "tail", triples.head, triples.relation),
            "head": KnownAnswers(known, "head", triples.tail, triples.relation),
        }
        self._buffers: tuple[Tensor, Tensor] | None = None

    def triples_at_once(self) -> int:
        """Triples of a chunk, so that its queries fit the memory.

        A triple makes two queries, each with its own vector, its answer's and a copy on the way; a relation is at
        least half as wide as they are. A drawn candidate is kept as a row id and on the way as two places.
        """
        width = 2 * self.model.relations.shape[1]
        if self.sample is None:
            return max(QUERY_TILE, self.memory // (8 * 4 * width))
        return max(1, self.memory // (8 * 4 * width + 2 * 32 * min(self.sample, self.candidates.count)))

    def buffers(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of a tile and their comparison with a bound, reused: float[QUERY_TILE * CANDIDATE_TILE] each."""
        if self._buffers is None:
            size = QUERY_TILE * CANDIDATE_TILE
            self._buffers = like.new_empty(size), like.new_empty(size)
        return self._buffers


class RankingQueries:
    """Queries of one direction and their counts so far.

    side       the end that is predicted
    query      float[n, dim]: what candidates are compared with, as the model makes it
    answer     float[n, dim]: vectors of the right answers
    given      int64[n]: row ids of the other ends
    relation   int64[n]
    right      int64[n]: row ids of the right answers
    numbers    int64[n]: places of the triples among all that are ranked, which seed what is drawn
    raises     DistjointError when a right answer's score is not finite
    """

    def __init__(
        self,
        problem: RankingProblem,
        side: Side,
        query: Tensor,
        answer: Tensor,
        given: Ints,
        relation: Ints,
        right: Ints,
        numbers: Ints,
    ) -> None:
        self.problem, self.side, self.known = problem, side, problem.known[side]
        self.given, self.relation, self.right, self.numbers = given, relation, right, numbers
        self.query = problem.model.prepare(query)
        answer = problem.model.prepare(answer)
        target = problem.model.order_pairs(self.query, answer)
        slack = TIE * problem.model.rounding(self.query, answer)
        if not bool(torch.isfinite(target).all()):
            raise DistjointError("relations, or vectors they are asked about, hold NaN or infinity; nothing to rank")
        self.above, self.below = (target + slack)[:, None], (target - slack)[:, None]
        self.start, self.stop = self.known.spans(given, relation)
        self.counts = Counts.zeros(len(query))
        self.prepare()

    def prepare(self) -> None:
        """Once before the first block: collect the tiles with their known answers, where they fit the memory."""
        filters = 2 * len(self.query) + int((self.stop - self.start).sum())
        self.tiles = list(self._tiles()) if 17 * filters <= self.problem.memory else None

    def _tiles(self) -> Iterator[tuple[slice, _Pairs]]:
        """Query tiles, each with its known answers and the entities that it gives, by row.

        A tile ends early where its known answers would outgrow the memory.
        """
        limit = max(1 << 16, self.problem.memory // 64)
        filled = np.cumsum(self.stop - self.start + 1) // limit
        ends = np.flatnonzero(np.diff(filled, append=filled[-1:] + 1)) + 1
        start = 0
        for end in ends:
            while start < end:
                stop = min(start + QUERY_TILE, int(end))
                yield slice(start, stop), self._pairs(start, stop)
                start = stop

    def _pairs(self, start: int, stop: int) -> _Pairs:
        """Known answers of queries [start, stop), the right one among them, and the given entities that are none."""
        first, lengths = self.start[start:stop], (self.stop - self.start)[start:stop]
        right, given, every = self.right[start:stop], self.given[start:stop], np.arange(stop - start)
        query = np.repeat(every, lengths)
        within = np.arange(len(query)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows = self.known.answers[np.repeat(first, lengths) + within]
        other = rows != right[query]
        query, rows = np.concatenate([query[other], every]), np.concatenate([rows[other], right])
        free = np.setdiff1d(every, query[rows == given[query]])
        own = np.arange(len(query) + len(free)) >= len(query)
        return _Pairs(np.concatenate([query, free]), np.concatenate([rows, given[free]]), own)

    def count(self, index: int, vectors: Tensor) -> None:
        """Add a block of candidates (prepared vectors) to the counts."""
        candidates = self.problem.candidates
        rows_of_block = candidates.rows[index][candidates.picked[index]]
        for tile, pairs in self.tiles or self._tiles():
            here = pairs.select(candidates.block_of[pairs.candidate] == index)
            here = replace(here, candidate=candidates.place[here.candidate].astype(np.int64))
            self._count_tile(tile, vectors, rows_of_block, here.select(here.candidate >= 0))
            if self.problem.progress is not None:
                # Each triple makes two queries, each of which meets every block.
                self.problem.progress((tile.stop - tile.start) / 2 * len(vectors) / candidates.count)

    def _count_tile(self, tile: slice, vectors: Tensor, rows: Ints, pairs: _Pairs) -> None:
        """Add the candidates of a block to the counts of a tile.

        vectors   float[n, dim] of the candidates, prepared
        rows      int64[n]: their row ids
        pairs     queries of the tile and those of the candidates that are taken away, or counted apart
        """
        pairs = pairs.select(np.argsort(pairs.candidate, kind="stable"))
        above, below = self.above[tile], self.below[tile]
        counts, types = self.counts, self._type_mask(tile)
        # One pair of buffers for all tiles: fresh memory for each would cost more in page faults than the product.
        scored, flagged = self.problem.buffers(vectors)
        for start in range(0, len(vectors), CANDIDATE_TILE):
            part = vectors[start : start + CANDIDATE_TILE]
            shape = (len(above), len(part))
            scores = self.problem.model.order(self.query[tile], part, scored[: shape[0] * shape[1]].view(shape))
            if types is None:
                counts.ranked[tile] += len(part)
            else:
                # A candidate that scores minus infinity is neither counted nor, below, taken away again.
                allowed, of_query = types.of(rows[start : start + CANDIDATE_TILE])
                counts.ranked[tile] += allowed.sum(1)[of_query]
                excluded = torch.from_numpy(~allowed).to(scores.device)
                scores.masked_fill_(excluded[torch.from_numpy(of_query).to(scores.device)], -torch.inf)
            flags = flagged[: scores.numel()].view(shape)
            # A comparison written as floats and summed is ten times faster than torch.count_nonzero; exact to 2^24.
            higher = torch.gt(scores, above, out=flags).sum(1).long().numpy(force=True)
            reached = torch.ge(scores, below, out=flags).sum(1).long().numpy(force=True)
            here = pairs.select(slice(*np.searchsorted(pairs.candidate, (start, start + len(part)))))
            # What is taken away must be what was counted: the scores of this very product.
            query = torch.from_numpy(here.query).to(scores.device)
            found = scores[query, torch.from_numpy(here.candidate - start).to(scores.device)]
            for total, own, counted, hit in (
                (counts.higher, counts.own_higher, higher, found > above[query, 0]),
                (counts.reached, counts.own_reached, reached, found >= below[query, 0]),
            ):
                hits = hit.numpy(force=True)
                total[tile] += counted - np.bincount(here.query[hits & ~here.own], minlength=len(above))
                own[tile] += np.bincount(here.query[hits & here.own], minlength=len(above))

    def _type_mask(self, tile: slice) -> _TypeMask | None:
        allowed = self.problem.allowed
        return None if allowed is None else _TypeMask(allowed, self.side, self.relation[tile])


@dataclass(frozen=True)
class _Pairs:
    """Pairs of a query and a candidate that matters to it.

    query       int64[n]: place in a tile
    candidate   int64[n]: row id, or place among the candidates of a block
    own         bool[n]: the candidate is the entity that the query gives, not a known answer
    """

    query: Ints
    candidate: Ints
    own: Bools

    def select(self, which: Bools | Ints | slice) -> _Pairs:
        return _Pairs(self.query[which], self.candidate[which], self.own[which])


class _TypeMask:
    """Candidates that the relations of a tile of queries allow at the predicted end."""

    def __init__(self, domains: Domains, side: Side, relation: Ints) -> None:
        self.domains, self.side = domains, side
        self.relations, self.of_query = np.unique(relation, return_inverse=True)

    def of(self, rows: Ints) -> tuple[Bools, Ints]:
        """bool[relations, len(rows)]: which rows are allowed; and each query's place in it: int64[queries]."""
        few = replace(self.domains, type_of=self.domains.type_of[rows])
        return np.stack([few.allowed(relation, self.side) for relation in self.relations.tolist()]), self.of_query
