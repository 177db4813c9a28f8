"""Ranking among a few candidates drawn for each query, where a graph has too many entities to rank against them all.

Such ranks are those of an easier task: among 500 of a million candidates, one answer in 2000 that scores higher is
met. They compare models measured in the same way, and nothing else (Krichene and Rendle 2020).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distjoint.arrays import Ints
from distjoint.evaluate.queries import Queries

_PAIRS = 4096
"""Pairs scored at a time: their vectors stay in the cache."""


class SampledQueries(Queries):
    """Queries with candidates of their own: none of them a right answer, nor barred by its types."""

    def _prepare(self) -> None:
        setting = self.setting
        pool, count = setting.candidates.pool, min(setting.sample or 0, setting.candidates.count)
        self.drawn = np.full((len(self.query), count), -1, np.int32)
        free, last = pool, -1
        for query, relation in enumerate(self.relation.tolist()):
            if setting.allowed is not None and relation != last:
                free, last = pool[setting.allowed.allowed(relation, self.side)[pool]], relation
            answers = self.known.answers[self.start[query] : self.stop[query]]
            without = np.union1d(answers, self.right[query : query + 1])
            random = np.random.default_rng([setting.seed, self.side == "head", int(self.numbers[query])])
            found = draw(free, without, count, random)
            self.drawn[query, : len(found)] = found
            self.counts.met[query] = len(found)

    def count(self, index: int, vectors: Tensor) -> None:
        """Add those that lie in a block (prepared vectors) to the counts."""
        setting, count = self.setting, max(self.drawn.shape[1], 1)
        # A pair needs both vectors and their product, and room for the steps between.
        pairs = max(1, min(_PAIRS, setting.memory // (4 * 16 * vectors.shape[1])))
        step = max(1, pairs * len(setting.candidates.rows) // count)
        for start in range(0, len(self.drawn), step):
            tile = slice(start, start + step)
            drawn = self.drawn[tile]
            query, column = np.nonzero((setting.candidates.block_of[drawn] == index) & (drawn >= 0))
            place = setting.candidates.place[drawn[query, column]].astype(np.int64)
            for first in range(0, len(query), pairs):
                part = slice(first, first + pairs)
                self._count_pairs(vectors, tile, query[part], place[part])
            if setting.progress is not None:
                setting.progress(len(drawn) / 2 * len(vectors) / setting.candidates.count)

    def _count_pairs(self, vectors: Tensor, tile: slice, query: Ints, place: Ints) -> None:
        asked = torch.from_numpy(query).to(vectors.device)
        # Rows one after the other: faster than indexing.
        met = vectors.index_select(0, torch.from_numpy(place).to(vectors.device))
        scores = self.setting.model.order_pairs(self.query[tile].index_select(0, asked), met)
        for counts, hit in (
            (self.counts.higher[tile], scores > self.above[tile, 0][asked]),
            (self.counts.reached[tile], scores >= self.below[tile, 0][asked]),
        ):
            counts += np.bincount(query[hit.numpy(force=True)], minlength=len(counts))


def draw(pool: Ints, without: Ints, count: int, random: np.random.Generator) -> Ints:
    """Some of a pool, each as likely as any other, none twice.

    pool      int64[n], ascending
    without   int64[m], ascending, distinct: never drawn
    returns   int64[count], or all that there are where they are fewer; in no order that means anything
    """
    barred = np.searchsorted(pool, without)
    inside = barred < len(pool)
    barred = barred[inside][pool[barred[inside]] == without[inside]]
    free = len(pool) - len(barred)
    chosen = np.arange(free) if count >= free else random.choice(free, count, replace=False, shuffle=False)
    # The k-th that is free lies as many places further on as there are barred ones before it.
    return pool[chosen + np.searchsorted(barred - np.arange(len(barred)), chosen, side="right")]
