"""The trials of a search, as their folders tell: settings, how far each came, what it reached."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from distjoint.base.progress import Progress
from distjoint.runs import journal
from distjoint.runs.folder import RUN, RunInfo
from distjoint.storage import Location
from distjoint.storage.lock import NAME as LOCK
from distjoint.storage.lock import Holder
from distjoint.train.objective import Objective
from distjoint.tune.trial import TRIALS

_POLL = 2.0
_LEAVING = 20.0
"""Seconds that a process which Tune has ended may take to leave."""
State = Literal["finished", "pruned", "failed", "begun"]


@dataclass(frozen=True)
class Trial:
    """One trial.

    name        of its run's folder
    settings    what Optuna has proposed
    base        whether it is the base as it is
    state       `pruned` where it was ended early, by ASHA or by the hours
    epochs      that were trained
    score       the best of the weighted metric; None where none was measured
    parts       the components of that epoch, by name
    seconds     of training
    error       why it failed
    repeats     scores of its settings with other seeds
    """

    name: str
    settings: Mapping[str, Any]
    base: bool = False
    state: State = "begun"
    epochs: int = 0
    score: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    repeats: tuple[float, ...] = ()

    @property
    def worth(self) -> float:
        """The mean of its scores over seeds."""
        scores = [self.score or 0.0, *self.repeats]
        return sum(scores) / len(scores)

    @property
    def values(self) -> str:
        """Its settings in a line."""
        return "the base" if self.base else " ".join(f"{key}={_short(value)}" for key, value in self.settings.items())

    def to_dict(self) -> dict[str, Any]:
        """The trial as JSON."""
        return {**asdict(self), "mean": self.worth if self.score is not None else None}


def read_trials(folder: Location) -> list[Trial]:
    """All trials of a search, in the order in which Tune named them."""
    place = folder / TRIALS
    names = [each.name.removesuffix(".json") for each in place.list() if each.name.endswith(".json")]
    return [_read(place, name) for name in sorted(names)]


def reached(run: Location) -> tuple[int, float, float | None, dict[str, float]]:
    """Of a run: epochs, seconds of training, the best of its metric, and the components then."""
    info, lines = RunInfo.read(run), journal.read(run)
    objective = Objective.of(info.config, info.sources)
    scored = [(score, line) for line in lines if (score := objective.score(line)) is not None]
    seconds = sum(line["seconds"] for line in lines)
    if not scored:
        return len(lines), seconds, None, {}
    score, line = max(scored, key=lambda each: each[0])
    return len(lines), seconds, score, {name: line[f"valid_{name}"] for name in objective.weights}


def _read(place: Location, name: str) -> Trial:
    note, run = (place / f"{name}.json").read_json(), place / name
    trial = Trial(name, note["settings"], note["base"], error=note.get("error"))
    if not (run / RUN).exists():
        return replace(trial, state="failed" if trial.error else "begun")
    epochs, seconds, score, parts = reached(run)
    status = RunInfo.read(run).status
    state: State = {"finished": "finished", "stopped": "pruned", "failed": "failed"}.get(status, "begun")  # type: ignore[assignment]
    if state == "failed":  # what is not finite may have been on its way before it was seen
        return replace(trial, state=state, epochs=epochs, seconds=seconds)
    return replace(trial, state=state, epochs=epochs, seconds=seconds, score=score, parts=parts)


def close_broken_off(folder: Location) -> None:
    """Note of runs whose process Tune has ended that they are stopped, so that each is a run like any other."""
    until = time.monotonic() + _LEAVING
    left = [folder / TRIALS / trial.name for trial in read_trials(folder) if trial.state == "begun"]
    left = [run for run in left if (run / RUN).exists()]
    while left:
        for run in left:
            holder = Holder.read(run / LOCK)
            if (holder is None or holder.is_gone()) and RunInfo.read(run).status == "running":
                RunInfo.read(run).model_copy(update={"status": "stopped"}).write(run)
        left = [run for run in left if RunInfo.read(run).status == "running"]
        if time.monotonic() > until:
            return
        time.sleep(_LEAVING / 20 if left else 0)


@contextmanager
def watched(folder: Location, trials: int, progress: Progress) -> Iterator[None]:
    """Show each trial in a line when it is done, for the length of a `with` block."""
    ended = threading.Event()

    def watch() -> None:
        shown: set[str] = set()
        with progress.task("trials", total=trials) as bar:
            last = False
            while not last:
                last = ended.wait(_POLL)
                for trial in read_trials(folder):
                    if trial.name in shown or (trial.state == "begun" and not last):
                        continue
                    shown.add(trial.name)
                    bar.advance()
                    reached = trial.error or (f"score {trial.score:.4f}" if trial.score is not None else "no score")
                    progress.say(f"trial {trial.name} {trial.state} at epoch {trial.epochs}: {reached}  {trial.values}")

    thread = threading.Thread(target=watch, name="trials", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
