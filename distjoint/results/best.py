"""The best of many candidates for many queries, block of candidates by block, in bounded memory.

Scores are made in float32, by matrix products, which round differently from one shape of block to the next. So a few
more than are wanted are kept, scored again in float64, and put in that order: answers do not depend on the blocks, and
are those of float64 but for candidates that are further down than `SPARE` places only by a float32 rounding. Equal
scores come in order of place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from distjoint.base.arrays import Bools, Doubles, Floats, Ints
from distjoint.evaluate.stored import StoredVectors

SPARE = 8
"""Candidates that are kept besides those that are wanted."""
SCORES = 16 << 20
"""Scores in memory at a time."""
_ROWS = 1 << 16
_LEAST = np.finfo(np.float32).min
_SAMPLE, _MANY = 2048, 8
"""Candidates of a first block that give a bound, and how many times too many may reach it."""

Block = tuple[Ints, Floats, Bools | None]
"""Places of some candidates, int64[n]; their vectors, float32[n, dim]; bool[n]: of which words say something."""


def blocks_of(vectors: Floats | StoredVectors) -> Iterator[Block]:
    """All vectors once, in blocks; the third of a block is None where vectors are in memory, and it is known."""
    if isinstance(vectors, StoredVectors):
        yield from vectors.blocks()
        return
    for start in range(0, len(vectors), _ROWS):
        block = vectors[start : start + _ROWS]
        yield np.arange(start, start + len(block)), block, None


class Best:
    """The best candidates of each query so far.

    scores   float32[queries, k], greatest first; minus infinity where there is none
    places   int64[queries, k], -1 where there is none
    """

    def __init__(self, queries: int, k: int) -> None:
        self.scores = np.full((queries, k), -np.inf, np.float32)
        self.places = np.full((queries, k), -1, np.int64)

    def add(self, scores: Floats, places: Ints) -> None:
        """Take up a block of candidates.

        scores   float32[queries, n]; minus infinity or NaN for one that is none
        places   int64[n]
        """
        queries, k = self.scores.shape
        bound = np.maximum(self.scores[:, -1:], _LEAST)  # so that neither minus infinity nor NaN reaches it
        if scores.shape[1] > 2 * (sample := max(k, _SAMPLE)) and (bound == _LEAST).any():
            # The k-th of some is no greater than that of all: it spares a partition of the whole block.
            bound = np.fmax(bound, np.partition(_numbers(scores[:, :sample]), -k, axis=1)[:, -k][:, None])
        reached = scores >= bound
        if np.count_nonzero(reached) > _MANY * queries * k and scores.shape[1] > k:
            # All that reach the k-th of this block, so that ties are decided by place and not by chance.
            safe = np.where(reached, scores, -np.inf)
            reached &= scores >= np.partition(safe, -k, axis=1)[:, -k][:, None]
        query, column = np.divmod(np.flatnonzero(reached), scores.shape[1])  # faster than `nonzero` of two axes
        if not len(query):
            return
        rows = np.concatenate([np.repeat(np.arange(queries), k), query])
        values = np.concatenate([self.scores.ravel(), scores[query, column]])
        at = np.concatenate([self.places.ravel(), places[column]])
        order = np.lexsort((at, -values, rows))
        rows, values, at = rows[order], values[order], at[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = rank < k
        self.scores[rows[kept], rank[kept]], self.places[rows[kept], rank[kept]] = values[kept], at[kept]
        self.places[~np.isfinite(self.scores)] = -1

    def exact(self, k: int, score: Callable[[Ints, Ints], Doubles]) -> tuple[Ints, Doubles]:
        """The k best by their scores in float64: int64[queries, k], -1 for none; float64[queries, k].

        score   float64[n] of queries, int64[n], and places, int64[n]
        """
        query, column = np.nonzero(self.places >= 0)
        exact = np.full(self.scores.shape, -np.inf)
        exact[query, column] = score(query, self.places[query, column])
        order = np.lexsort((self.places, -exact), axis=1)[:, :k]
        return np.take_along_axis(self.places, order, 1), np.take_along_axis(exact, order, 1)


def _numbers(scores: Floats) -> Floats:
    """Scores with minus infinity for NaN, which would be sorted last."""
    return np.where(np.isnan(scores), np.float32(-np.inf), scores)


class Columns:
    """Where candidates stand in a block.

    count   of all candidates
    """

    def __init__(self, count: int) -> None:
        self._column = np.full(count, -1, np.int32)

    def exclude(self, scores: Floats, places: Ints, queries: Ints, wanted: Ints) -> None:
        """Set the scores of pairs of a query and a candidate to minus infinity.

        scores    float32[queries, n] of a block, changed
        places    int64[n]: the candidates of the block
        queries   int64[m]
        wanted    int64[m]: candidates, in the block or not
        """
        self._column[places] = np.arange(len(places))
        found = self._column[wanted]
        self._column[places] = -1
        here = found >= 0
        scores[queries[here], found[here]] = -np.inf


def search(
    queries: int,
    k: int,
    blocks: Iterable[Block],
    score: Callable[[Block], Floats],
    exact: Callable[[Ints, Ints], Doubles],
    advance: Callable[[float], Any] = lambda _: None,
) -> tuple[Ints, Doubles]:
    """The k best candidates of each query; see `Best.exact`.

    score     float32[queries, n] of a part of a block; minus infinity for what is no candidate of a query
    advance   told how many candidates all queries have met since it was last told
    """
    best, step = Best(queries, k + SPARE), max(64, SCORES // max(1, queries))
    for places, vectors, said in blocks:
        for start in range(0, len(places), step):
            part = slice(start, start + step)
            best.add(score((places[part], vectors[part], None if said is None else said[part])), places[part])
        advance(len(places))
    return best.exact(k, exact)
