"""Word similarity: rank correlation of cosines with the scores that people gave to pairs of words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distjoint.base.arrays import Bools, Doubles
from distjoint.evaluate.bootstrap import Interval, interval, spearman, spearman_of
from distjoint.evaluate.lookup import Coverage, Lookup
from distjoint.evaluate.options import SetForm
from distjoint.evaluate.sets import LEAST, GroupedPairs, WordPairs
from distjoint.evaluate.space import Space


@dataclass(frozen=True)
class Similarity:
    """Result on one set of word pairs, pair by pair.

    gold        float64[pairs]: scores by people
    cosines     float64[pairs]: cosines of the vectors, NaN where a word has none
    spearman    rank correlation of the two over covered pairs
    words       which of the set's words have a vector
    """

    name: str
    gold: Doubles
    cosines: Doubles
    spearman: float
    interval: Interval
    words: Coverage = field(default_factory=Coverage)
    form: SetForm = "pairs"

    @property
    def covered(self) -> NDArray[np.bool_]:
        """bool[pairs]: both words have a vector."""
        return ~np.isnan(self.cosines)

    @property
    def spearman_all(self) -> float:
        """The correlation over all pairs, cosine 0 where a word has no vector; NaN where none is covered."""
        return _correlation(self.gold, np.nan_to_num(self.cosines)) if self.covered.any() else float("nan")

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "form": self.form,
            "spearman": self.spearman,
            "interval": [self.interval.low, self.interval.high],
            "spearman_all": self.spearman_all,
            "covered": int(self.covered.sum()),
            "pairs": len(self.gold),
            "words": self.words.to_dict(),
        }


@dataclass(frozen=True)
class GroupedSimilarity:
    """Result on a set whose figure is the mean of its groups' rank correlations.

    groups      the name and number of pairs of each
    gold        float64[pairs]: scores by people, group after group
    predicted   float64[pairs]: scores by the vectors, NaN where a name has none
    interval    of the mean, by resampling groups
    words       which of the set's names have a vector
    """

    name: str
    form: SetForm
    groups: tuple[tuple[str, int], ...]
    gold: Doubles
    predicted: Doubles
    interval: Interval
    words: Coverage = field(default_factory=Coverage)

    @property
    def covered(self) -> NDArray[np.bool_]:
        """bool[pairs]: both names have a vector."""
        return ~np.isnan(self.predicted)

    @property
    def by_group(self) -> Doubles:
        """float64[groups]: Spearman's rho over a group's covered pairs, NaN for fewer than three, or all alike."""
        return correlations(self.groups, self.gold, self.predicted)

    @property
    def spearman(self) -> float:
        """Mean of the groups that have a correlation; NaN where none has."""
        found = self.by_group[~np.isnan(self.by_group)]
        return float(found.mean()) if len(found) else float("nan")

    @property
    def spearman_all(self) -> float:
        """Mean over all groups: score 0 where a name has no vector, correlation 0 where all scores are alike."""
        if not self.covered.any():
            return float("nan")
        every = correlations(self.groups, self.gold, np.nan_to_num(self.predicted))
        return float(np.nan_to_num(every).mean())

    def to_dict(self) -> dict[str, Any]:
        starts = np.cumsum([0, *(count for _, count in self.groups)])
        groups = [
            {"name": name, "spearman": float(rho), "covered": int(self.covered[start : start + count].sum()),
             "pairs": count}
            for (name, count), start, rho in zip(self.groups, starts, self.by_group, strict=False)
        ]  # fmt: skip
        return {
            "name": self.name,
            "form": self.form,
            "spearman": self.spearman,
            "interval": [self.interval.low, self.interval.high],
            "spearman_all": self.spearman_all,
            "covered": int(self.covered.sum()),
            "pairs": len(self.gold),
            "groups_covered": int((~np.isnan(self.by_group)).sum()),
            "groups": groups,
            "words": self.words.to_dict(),
        }


def similarity(space: Space, pairs: WordPairs, standardize: bool = True, seed: int = 0) -> Similarity:
    """Spearman's rho of cosines and human scores over the pairs whose words both have a vector.

    standardize   columns to mean 0 and deviation 1 over the whole vocabulary, before the cosine
    returns       the result; its rho is NaN when fewer than three pairs are covered
    """
    lookup = Lookup(space)
    first, second = (lookup.find_all(pair[side] for pair in pairs.pairs) for side in (0, 1))
    covered = (first >= 0) & (second >= 0)
    gold, cosines = np.array(pairs.scores), np.full(len(covered), np.nan)
    cosines[covered] = np.einsum("nd,nd->n", *(space.unit_of(side[covered], standardize) for side in (first, second)))
    statistic = spearman_of(gold[covered], cosines[covered])
    rho = float(statistic(np.arange(covered.sum())[None])[0]) if covered.sum() >= LEAST else float("nan")
    found = interval(statistic, int(covered.sum()), seed)
    return Similarity(pairs.name, gold, cosines, rho, found, lookup.coverage(), pairs.form)


def grouped_similarity(space: Space, pairs: GroupedPairs, standardize: bool = True, seed: int = 0) -> GroupedSimilarity:
    """Mean over the groups of Spearman's rho over the pairs whose names both have a vector.

    A pair's score is the cosine of its names. In a set `by_offset` it is the cosine of the offset between its unit
    vectors with the mean of those of the group's other pairs, each of length one.

    standardize   columns to mean 0 and deviation 1 over the whole vocabulary, before the cosine
    """
    lookup = Lookup(space)
    parts: list[Doubles] = []
    for group in pairs.groups:
        first, second = (lookup.find_all(pair[side] for pair in group.pairs) for side in (0, 1))
        covered = (first >= 0) & (second >= 0)
        scores = np.full(len(covered), np.nan)
        left, right = (space.unit_of(side[covered], standardize).astype(np.float64) for side in (first, second))
        scores[covered] = _likeness(right - left) if pairs.by_offset else (left * right).sum(1)
        parts.append(scores)
    groups = tuple((group.name, len(group.pairs)) for group in pairs.groups)
    gold, predicted = np.array([score for group in pairs.groups for score in group.scores]), np.concatenate(parts)
    rhos = correlations(groups, gold, predicted)
    known = rhos[~np.isnan(rhos)]
    found = interval(lambda indices: known[indices].mean(-1), len(known), seed)
    return GroupedSimilarity(pairs.name, pairs.form, groups, gold, predicted, found, lookup.coverage())


def correlations(groups: tuple[tuple[str, int], ...], gold: Doubles, predicted: Doubles) -> Doubles:
    """float64[groups]: rank correlation of each group of two values of each pair, NaN where it has none."""
    rhos, start = np.full(len(groups), np.nan), 0
    for place, (_, count) in enumerate(groups):
        chosen = slice(start, start + count)
        kept: Bools = ~np.isnan(predicted[chosen])
        if kept.sum() >= LEAST:
            rhos[place] = _correlation(gold[chosen][kept], predicted[chosen][kept])
        start += count
    return rhos


def _correlation(gold: Doubles, predicted: Doubles) -> float:
    return float(spearman(gold[None], predicted[None])[0])


def _likeness(offsets: Doubles) -> Doubles:
    """float64[n]: cosine of each offset with the mean of the others; 0 where one of the two is zero."""
    norms = np.linalg.norm(offsets, axis=1, keepdims=True)
    unit = offsets / np.where(norms > 0, norms, 1)
    others = unit.sum(0) - unit
    size = np.linalg.norm(others, axis=1)
    return np.asarray((unit * others).sum(1) / np.where(size > 0, size, 1))
