"""Progress of long work: rich bars on a terminal, plain lines elsewhere, nothing for calls from Python."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Task(Protocol):
    """Progress of one task: a bar, or lines."""

    def advance(self, amount: float = 1) -> None:
        """Count units as done."""

    def note(self, text: str) -> None:
        """Show a text beside the progress, in the place of the last one: rates, losses."""


class Progress(Protocol):
    """Display of the progress of long work."""

    def task(self, name: str, total: float | None = None, unit: str = "") -> AbstractContextManager[Task]:
        """Show a task for the length of a `with` block.

        total   units of work, None where unknown
        unit    what they are called, for a rate; empty for none
        """

    def say(self, text: str) -> None:
        """Print a line that stays."""


class Silent:
    """No display at all."""

    def advance(self, amount: float = 1) -> None:
        return None

    def note(self, text: str) -> None:
        return None

    def say(self, text: str) -> None:
        return None

    @contextmanager
    def task(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Silent]:
        yield self


class Bars:
    """Rich progress bars on a terminal, together for tasks within tasks."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: RichProgress | None = None
        self._depth = 0

    @contextmanager
    def task(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
        if self._bars is None:
            self._bars = RichProgress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=self.console,
            )
            self._bars.start()
        self._depth += 1
        bars, bar = self._bars, self._bars.add_task(name, total=total, note="")
        try:
            yield _Bar(bars, bar, unit)
        finally:
            self._depth -= 1
            if self._depth == 0:
                bars.stop()
                self._bars = None

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)


class _Bar:
    """One of the bars; shows a rate until there is a note."""

    def __init__(self, bars: RichProgress, bar: object, unit: str) -> None:
        self.bars, self.bar, self.unit, self.started, self.done = bars, bar, unit, time.monotonic(), 0.0
        self.noted = False

    def advance(self, amount: float = 1) -> None:
        self.done += amount
        self.bars.advance(self.bar, amount)  # type: ignore[arg-type]
        if self.unit and not self.noted:
            rate = self.done / max(time.monotonic() - self.started, 1e-9)
            self.bars.update(self.bar, note=f"{short(rate)} {self.unit}/s")  # type: ignore[arg-type]

    def note(self, text: str) -> None:
        self.noted = True
        self.bars.update(self.bar, note=text)  # type: ignore[arg-type]


class Lines:
    """Plain lines for logs: one when a task ends, and one every ten seconds before."""

    EVERY = 10.0
    """Seconds between two lines of a task."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def task(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
        line = _Line(self, name, total, unit)
        yield line
        line.print("done")

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)


class _Line:
    """A task, and when its last line was printed."""

    def __init__(self, owner: Lines, name: str, total: float | None, unit: str) -> None:
        self.owner, self.name, self.total, self.unit = owner, name, total, unit
        self.started = self.printed = time.monotonic()
        self.done, self.text = 0.0, ""

    def advance(self, amount: float = 1) -> None:
        self.done += amount
        if time.monotonic() - self.printed > Lines.EVERY:
            self.print(f"{100 * self.done / self.total:.0f}%" if self.total else short(self.done))

    def note(self, text: str) -> None:
        self.text = text

    def print(self, state: str) -> None:
        self.printed = time.monotonic()
        seconds = self.printed - self.started
        if state == "done" and seconds < 2:
            return
        rate = f", {short(self.done / seconds)} {self.unit}/s" if self.unit and seconds > 0 else ""
        self.owner.say(f"{self.name}: {state}, {seconds:.0f} s{rate}{'  ' + self.text if self.text else ''}")


def for_terminal(console: Console | None = None) -> Progress:
    """Bars if standard error is a terminal, lines otherwise."""
    console = console or Console(stderr=True, markup=False, emoji=False)
    return Bars(console) if console.is_terminal else Lines(console)


def short(number: float) -> str:
    """A number with three digits and a suffix: 1234567 as `1.23 M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"
