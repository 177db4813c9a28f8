"""One measure of a run, item by item, and its difference to another run's on the items that both cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distjoint.base.arrays import Bools, Doubles
from distjoint.evaluate.bootstrap import Interval, Statistic, difference, interval, mean_of, spearman_of
from distjoint.evaluate.sets import LEAST


@dataclass(frozen=True)
class Measure:
    """One measure of one run, item by item: MRR by triple, a correlation by pair of words.

    values   float64[items]: each item's value, NaN where it is not covered
    gold     float64[items] for a rank correlation with it; None where the measure is the mean
    items    identity of the items: measures are paired when theirs are the same
    """

    name: str
    values: Doubles
    gold: Doubles | None
    items: str

    @property
    def covered(self) -> Bools:
        """bool[items]: which have a value."""
        return np.asarray(~np.isnan(self.values))

    def statistic(self, chosen: Bools) -> Statistic:
        """The measure as a function of resamples of the chosen items."""
        if self.gold is None:
            return mean_of(self.values[chosen])
        return spearman_of(self.gold[chosen], self.values[chosen])

    def value(self, chosen: Bools | None = None) -> float:
        """The measure over the chosen items, by default all that are covered; NaN where they are too few."""
        chosen = self.covered if chosen is None else chosen
        if chosen.sum() < (1 if self.gold is None else LEAST):
            return float("nan")
        return float(self.statistic(chosen)(np.arange(int(chosen.sum()))[None])[0])


@dataclass(frozen=True)
class Difference:
    """A measure of a run minus the first run's, on the items that both cover."""

    value: float
    interval: Interval
    items: int

    @property
    def significant(self) -> bool:
        """The 95 % interval leaves out zero."""
        return self.interval.excludes_zero()


def paired_difference(first: Measure | None, second: Measure | None, seed: int) -> Difference | None:
    """second - first with its paired bootstrap interval; None where they have too few items in common."""
    if first is None or second is None or first.items != second.items:
        return None
    both = np.asarray(first.covered & second.covered)
    if both.sum() < LEAST:
        return None
    statistic = difference(first.statistic(both), second.statistic(both))
    return Difference(
        second.value(both) - first.value(both), interval(statistic, int(both.sum()), seed), int(both.sum())
    )
