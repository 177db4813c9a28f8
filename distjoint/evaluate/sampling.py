"""Ranking among a few candidates drawn for each query, where a graph has too many entities to rank against them all.

Such ranks are those of an easier task: among 500 of a million candidates, one in 2000 of those that score higher is
drawn. They compare models measured in the same way, and nothing else (Krichene and Rendle 2020).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distjoint.base.arrays import Bools, Ints
from distjoint.evaluate.queries import RankingQueries

_PAIRS = 4096
"""Pairs scored at a time: their vectors stay in the cache."""


class SampledQueries(RankingQueries):
    """Ranking queries with drawn candidates: for each its own, none a known answer, all allowed by their types."""

    def prepare(self) -> None:
        """Draw the candidates: int32[n, count] row ids, -1 where there are too few to draw from."""
        problem = self.problem
        pool, count = problem.candidates.pool, min(problem.sample or 0, problem.candidates.count)
        self.drawn = np.full((len(self.query), count), -1, np.int32)
        free, last = pool, -1
        for query, relation in enumerate(self.relation.tolist()):
            if problem.allowed is not None and relation != last:
                free, last = pool[problem.allowed.allowed(relation, self.side)[pool]], relation
            answers = self.known.answers[self.start[query] : self.stop[query]]
            without = np.union1d(answers, self.right[query : query + 1])
            random = np.random.default_rng([problem.seed, self.side == "head", int(self.numbers[query])])
            found = draw(free, without, count, random)
            self.drawn[query, : len(found)] = found
            self.counts.ranked[query] = len(found)

    def count(self, index: int, vectors: Tensor) -> None:
        """Add the drawn candidates that lie in a block (prepared vectors) to the counts."""
        problem, count = self.problem, max(self.drawn.shape[1], 1)
        # A pair needs both vectors and their product, and room for the steps between.
        pairs = max(1, min(_PAIRS, problem.memory // (4 * 16 * vectors.shape[1])))
        step = max(1, pairs * len(problem.candidates.rows) // count)
        for start in range(0, len(self.drawn), step):
            tile = slice(start, start + step)
            drawn = self.drawn[tile]
            query, column = np.nonzero((problem.candidates.block_of[drawn] == index) & (drawn >= 0))
            rows = drawn[query, column]
            place = problem.candidates.place[rows].astype(np.int64)
            own = rows == self.given[tile][query]
            for first in range(0, len(query), pairs):
                part = slice(first, first + pairs)
                self._count_pairs(vectors, tile, query[part], place[part], own[part])
            if problem.progress is not None:
                problem.progress(len(drawn) / 2 * len(vectors) / problem.candidates.count)

    def _count_pairs(self, vectors: Tensor, tile: slice, query: Ints, place: Ints, own: Bools) -> None:
        """Add pairs of a query of the tile and a candidate's place in the block to the counts: int64[pairs] each.

        own   bool[pairs]: the candidate is the entity that the query gives
        """
        queries = torch.from_numpy(query).to(vectors.device)
        # Rows one after the other: faster than indexing.
        drawn = vectors.index_select(0, torch.from_numpy(place).to(vectors.device))
        scores = self.problem.model.order_pairs(self.query[tile].index_select(0, queries), drawn)
        for counts, of_own, hit in (
            (self.counts.higher[tile], self.counts.own_higher[tile], scores > self.above[tile, 0][queries]),
            (self.counts.reached[tile], self.counts.own_reached[tile], scores >= self.below[tile, 0][queries]),
        ):
            flags = hit.numpy(force=True)
            counts += np.bincount(query[flags], minlength=len(counts))
            of_own += np.bincount(query[flags & own], minlength=len(counts))


def draw(pool: Ints, without: Ints, count: int, random: np.random.Generator) -> Ints:
    """Some of a pool, drawn evenly without replacement.

    pool      int64[n], ascending
    without   int64[m], ascending, distinct: never drawn
    returns   int64[count], or all that there are where they are fewer; in no order that means anything
    """
    excluded = np.searchsorted(pool, without)
    inside = excluded < len(pool)
    excluded = excluded[inside][pool[excluded[inside]] == without[inside]]
    free = len(pool) - len(excluded)
    chosen = np.arange(free) if count >= free else random.choice(free, count, replace=False, shuffle=False)
    # The k-th that is free lies as many places further on as there are excluded ones before it.
    return pool[chosen + np.searchsorted(excluded - np.arange(len(excluded)), chosen, side="right")]
