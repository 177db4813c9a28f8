"""Telling callbacks how a run goes: one after another, each guarded from the others and the run from all of them."""

from __future__ import annotations

import copy
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from distjoint.base.errors import DistjointWarning
from distjoint.runs.folder import Status
from distjoint.train.callbacks.base import Callback, Stop, TrainingRun

Hook = Literal["on_epoch_end", "on_checkpoint"]
Tell = Callable[[Hook, Any], bool]
"""Tells callbacks of something, and returns whether the run is to end. See `Callbacks.tell`."""


class Callbacks:
    """All callbacks of a run.

    failures     how often each has raised something, by name
    stopped_by   name of the one that asked for the end of the run, and its request; None as long as none has
    """

    def __init__(self, members: Sequence[Callback]) -> None:
        self._members = [(member.name or type(member).__name__, member) for member in members]
        self._epoch = 0
        self._shown: set[tuple[str, int]] = set()
        self.failures: Counter[str] = Counter()
        self.stopped_by: tuple[str, Stop] | None = None

    def start(self, run: TrainingRun) -> bool:
        """Tell all that training begins. One that fails is told nothing more; whether the run is to end at once."""
        self._epoch = run.epoch
        self._members = [each for each in self._members if self._call(each, "on_start", run)]
        return self.stopped_by is not None

    def tell(self, hook: Hook, what: Any) -> bool:
        """Tell all of an epoch or a checkpoint; whether the run is to end.

        what   metrics of the epoch, of which each gets a copy; URL of the checkpoint
        """
        if hook == "on_epoch_end":
            self._epoch = what["epoch"]
        for each in self._members:
            self._call(each, hook, copy.deepcopy(what))
        return self.stopped_by is not None

    def end(self, status: Status) -> None:
        """Tell all that training has ended."""
        for each in self._members:
            self._call(each, "on_end", status)

    def _call(self, member: tuple[str, Callback], hook: str, what: Any) -> bool:
        """Call a method of one; whether it went well."""
        name, callback = member
        try:
            getattr(callback, hook)(what)
        except Stop as stop:
            if self.stopped_by is None:
                self.stopped_by = name, stop
        except Exception as error:
            self.failures[name] += 1
            self._show(name, hook, error)
            return False
        return True

    def _show(self, name: str, hook: str, error: Exception) -> None:
        """Show what a callback has raised, once each epoch."""
        if (name, self._epoch) in self._shown:
            return
        self._shown.add((name, self._epoch))
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}, line {frame.lineno}"
        times = self.failures[name]
        counted = f", {times} times so far" if times > 1 else ""
        so = "it is told nothing more; the run goes on" if hook == "on_start" else "the run goes on"
        warnings.warn(
            f"callback {name}, {hook} at epoch {self._epoch}: {type(error).__name__}: {error} ({where}{counted}); {so}",
            DistjointWarning,
            stacklevel=2,
        )
