"""Measuring results: exact link prediction, word similarity, analogies, and differences between runs.

The two public functions are here, and import what does the work when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distjoint.base.options import keywords
from distjoint.evaluate.options import CompareOptions, EvaluateOptions

if TYPE_CHECKING:
    from distjoint.evaluate.comparison import RunComparison
    from distjoint.evaluate.report import Report


@keywords(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> Report:
    """Measure the result of a run; without options, by link prediction on the test split.

    {parameters}

    raises UsageError for what the run has no vectors for, DistjointError for files missing or damaged, and when the run
    knows the words of none of the sets
    """
    from distjoint.evaluate import run

    return run.evaluate(options)


@keywords(CompareOptions)
def compare(options: CompareOptions) -> RunComparison:
    """Measure runs on the same sets and take their differences to the first.

    With no sets given, the reports that `evaluate` saved beside the runs are compared; a run without one, or whose
    result is newer, is ranked on its test split. A run that has no graph is left out of link prediction, where
    others have one; a set whose words it does not know is without a result.

    {parameters}

    raises UsageError for fewer than two runs, DistjointError as `evaluate` does
    """
    from distjoint.evaluate import comparison

    return comparison.compare(options)
