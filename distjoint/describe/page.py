"""Contents of a description, apart from how they are shown: chapters of sentences and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Value = str | int | float | None


@dataclass(frozen=True)
class Figures:
    """A table.

    title     what its lines are
    columns   names of the columns; the first one names a line
    rows      values of each line: counts are int, shares and means float, None where there is none
    shares    columns whose values are shares of one, shown as percentages
    bar       the column that is drawn as bars besides
    note      a sentence under it
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    shares: Sequence[str] = ()
    bar: str | None = None
    note: str = ""

    def text(self, row: Sequence[Value], column: int) -> str:
        """A value as people read it."""
        value = row[column]
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        if isinstance(value, int):
            return f"{value:,}"
        return percent(value) if self.columns[column] in self.shares else number(value)

    def is_text(self, column: int) -> bool:
        """Whether a column holds no numbers."""
        return all(row[column] is None or isinstance(row[column], str) for row in self.rows)

    def lengths(self) -> list[float]:
        """Length of each line's bar, the longest being 1."""
        if self.bar is None:
            return [0.0] * len(self.rows)
        column = list(self.columns).index(self.bar)
        values = [float(row[column] or 0) for row in self.rows]
        longest = max(values, default=0.0)
        return [value / longest if longest > 0 else 0.0 for value in values]


@dataclass(frozen=True)
class Chapter:
    """One subject: sentences, then tables."""

    title: str
    sentences: Sequence[str] = ()
    tables: Sequence[Figures] = ()


def percent(share: float) -> str:
    """A share as a percentage, to a tenth; 0 and 100 are only shown where they are exact."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 <= share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f} %"


def number(value: float) -> str:
    """A number with three digits after the point where it is small, one where it is large."""
    if value != value:
        return "-"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}" if 0 < abs(value) < 0.01 else f"{value:.3f}"
