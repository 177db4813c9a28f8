"""Word similarity: rank correlation of cosines with the scores that people gave to pairs of words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distjoint.base.arrays import Doubles
from distjoint.evaluate.bootstrap import Interval, interval, spearman_of
from distjoint.evaluate.space import Space
from distjoint.evaluate.wordsets import WordPairs

LEAST = 3
"""Smallest number of pairs that has a correlation."""


@dataclass(frozen=True)
class Similarity:
    """Result on one set of word pairs, pair by pair.

    gold        float64[pairs]: scores by people
    cosines     float64[pairs]: cosines of the vectors, NaN where a word has none
    spearman    rank correlation of the two over covered pairs
    """

    name: str
    gold: Doubles
    cosines: Doubles
    spearman: float
    interval: Interval

    @property
    def covered(self) -> NDArray[np.bool_]:
        """bool[pairs]: both words have a vector."""
        return ~np.isnan(self.cosines)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "spearman": self.spearman,
            "interval": [self.interval.low, self.interval.high],
            "covered": int(self.covered.sum()),
            "pairs": len(self.gold),
        }


def similarity(space: Space, pairs: WordPairs, standardize: bool = True, seed: int = 0) -> Similarity:
    """Spearman's rho of cosines and human scores over the pairs whose words both have a vector.

    standardize   columns to mean 0 and deviation 1 over the whole vocabulary, before the cosine
    returns       the result; its rho is NaN when fewer than three pairs are covered
    """
    first, second = (space.find_all(pair[side] for pair in pairs.pairs) for side in (0, 1))
    covered = (first >= 0) & (second >= 0)
    gold, cosines = np.array(pairs.scores), np.full(len(covered), np.nan)
    cosines[covered] = np.einsum("nd,nd->n", *(space.unit_of(side[covered], standardize) for side in (first, second)))
    statistic = spearman_of(gold[covered], cosines[covered])
    rho = float(statistic(np.arange(covered.sum())[None])[0]) if covered.sum() >= LEAST else float("nan")
    return Similarity(pairs.name, gold, cosines, rho, interval(statistic, int(covered.sum()), seed))
