"""Progress bars of the long commands: rich bars on a terminal, plain lines elsewhere, nothing for a library call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Task(Protocol):
    """One bar."""

    def advance(self, amount: float = 1) -> None: ...

    def note(self, text: str) -> None:
        """Replace the text behind the bar: rates, losses."""


class Progress(Protocol):
    """Where long work says how far it is."""

    def task(self, name: str, total: float | None = None, unit: str = "") -> AbstractContextManager[Task]:
        """A bar for the length of a `with` block. `total` in units, None where unknown."""

    def say(self, text: str) -> None:
        """One line that stays."""


class Silent:
    """Says nothing."""

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
    """Rich progress bars on a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: RichProgress | None = None
        self._depth = 0

    @contextmanager
    def task(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
        if self._bars is None:
            self._bars = RichProgress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
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
    """Plain lines for logs: one when a task ends, and one every ten seconds between."""

    EVERY = 10.0

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
    """Bars where standard error is a terminal, lines elsewhere."""
    console = console or Console(stderr=True)
    return Bars(console) if console.is_terminal else Lines(console)


def short(number: float) -> str:
    """1234567 as `1.23 M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"
