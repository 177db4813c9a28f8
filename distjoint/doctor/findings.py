"""What a check finds, and all findings together. Imports nothing that may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.table import Table

_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """Outcome of a check: what was found, and how to fix it where it is not ok."""

    check: str
    status: Status
    found: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.status:7}  {self.check}: {self.found}" + (f"; {self.fix}" if self.fix else "")


@dataclass(frozen=True)
class Diagnosis:
    """All findings.

    complete   False where a check ran out of time: its thread still waits for something
    """

    results: Sequence[Finding]
    complete: bool = True

    def count(self, status: Status) -> int:
        """Number of findings of a status."""
        return sum(result.status == status for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        counts = {"problems": self.count("problem"), "warnings": self.count("warning")}
        return {"ok": not counts["problems"], **counts, "results": [asdict(result) for result in self.results]}

    def __str__(self) -> str:
        return "\n".join([*map(str, self.results), self.verdict])

    @property
    def verdict(self) -> str:
        """`1 problem, no warnings`"""
        problems, warned = self.count("problem"), self.count("warning")
        return f"{problems or 'no'} problem{'s' * (problems != 1)}, {warned or 'no'} warning{'s' * (warned != 1)}"

    def table(self) -> Table:
        """All findings for a terminal."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, caption=self.verdict, caption_justify="left")
        for column in ("", "check", "found", "fix"):
            table.add_column(column, overflow="fold")
        for result in self.results:
            state = Text(result.status, style=_COLORS[result.status])
            table.add_row(state, Text(result.check), Text(result.found), Text(result.fix))
        return table


def sentence(error: object) -> str:
    """Message of an error, on one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def size(count: float) -> str:
    """A number of bytes for people: `1.5 GB`."""
    from distjoint.base.progress import short

    return f"{short(count)}B" if count >= 1000 else f"{count:.0f} B"
