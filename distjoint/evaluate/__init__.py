"""Measuring results: exact link prediction, word similarity, analogies, and differences between runs."""

from distjoint.evaluate.comparison import Comparison, compare, compare_reports
from distjoint.evaluate.measures import Difference
from distjoint.evaluate.report import Report
from distjoint.evaluate.run import evaluate

__all__ = ["Comparison", "Difference", "Report", "compare", "compare_reports", "evaluate"]
