"""Ranking among a few candidates drawn for each query, where a graph has too many entities to rank against them all.

Such ranks are those of an easier task: among 500 of a million candidates, one answer in 2000 that scores higher is
met. They compare models measured in the same way, and nothing else (Krichene and Rendle 2020).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distjoint.evaluate.candidates import Ints
from distjoint.evaluate.queries import Queries


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
        setting, count = self.setting, self.drawn.shape[1]
        # A pair needs both vectors and their product, and room for the steps between.
        pairs = max(1, setting.memory // (4 * 16 * vectors.shape[1]))
        tile = max(1, pairs // max(count, 1))
        for start in range(0, len(self.drawn), tile):
            drawn = self.drawn[start : start + tile]
            query, column = np.nonzero((setting.candidates.block_of[drawn] == index) & (drawn >= 0))
            place = setting.candidates.place[drawn[query, column]].astype(np.int64)
            for first in range(0, len(query), pairs):
                chosen = slice(first, first + pairs)
                self._count_pairs(vectors, start + query[chosen], place[chosen])
            if setting.progress is not None:
                setting.progress(len(drawn) / 2 * len(vectors) / setting.candidates.count)

    def _count_pairs(self, vectors: Tensor, query: Ints, place: Ints) -> None:
        asked = torch.from_numpy(query).to(vectors.device)
        met = vectors[torch.from_numpy(place).to(vectors.device)]
        scores = self.setting.model.order_pairs(self.query[asked], met)
        for counts, hit in (
            (self.counts.higher, scores > self.above[asked, 0]),
            (self.counts.reached, scores >= self.below[asked, 0]),
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
