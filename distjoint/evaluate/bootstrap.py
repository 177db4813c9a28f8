"""Bootstrap intervals, of one result and of the difference between two on the same items.

A difference is taken on the same resample of pairs, triples or questions for both runs. What is hard for one is
mostly hard for the other, so this sees differences that two separate intervals would hide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from distjoint.base.arrays import Doubles, Ints

RESAMPLES = 1000
LEVEL = 0.95
_AT_ONCE = 4 << 20
"""Resampled items in memory at a time."""

Statistic = Callable[[Ints], Doubles]
"""Statistic of resamples: from int64[resamples, n], indices of items, to float64[resamples]."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; `low` and `high` are NaN where there are too few items for one."""

    low: float
    high: float

    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def interval(statistic: Statistic, items: int, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Percentile bootstrap interval of a statistic of `items` items; the same for the same seed."""
    if items < 3:
        return Interval(float("nan"), float("nan"))
    values = np.concatenate([statistic(indices) for indices in _resamples(items, seed, resamples)])
    if np.isnan(values).all():
        return Interval(float("nan"), float("nan"))
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _resamples(items: int, seed: int, resamples: int) -> Iterator[Ints]:
    random, step = np.random.default_rng(seed), max(1, _AT_ONCE // items)
    for start in range(0, resamples, step):
        yield random.integers(0, items, (min(step, resamples - start), items))


def spearman(first: Doubles, second: Doubles) -> Doubles:
    """Spearman's rank correlation along the last axis, ties at their mean rank; NaN where one side is constant.

    first, second   float64[..., n]
    returns         float64[...]
    """
    from scipy.stats import rankdata  # a second to import, which training would pay too

    left, right = rankdata(first, axis=-1), rankdata(second, axis=-1)
    left, right = left - left.mean(-1, keepdims=True), right - right.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((left * right).sum(-1) / np.sqrt((left**2).sum(-1) * (right**2).sum(-1)))


def spearman_of(gold: Doubles, predicted: Doubles) -> Statistic:
    """Rank correlation of two values of each item: float64[items] each."""
    return lambda indices: spearman(gold[indices], predicted[indices])


def mean_of(values: Doubles) -> Statistic:
    """Mean of a value of each item: float64[items]."""
    return lambda indices: values[indices].mean(-1)


def difference(first: Statistic, second: Statistic) -> Statistic:
    """Paired difference, second - first: both on the same resample."""
    return lambda indices: second(indices) - first(indices)
