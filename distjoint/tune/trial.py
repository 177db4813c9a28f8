"""A trial: a run like any other, in the search's folder, whose epochs are reported to Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distjoint.base.errors import DistjointError
from distjoint.config import Config
from distjoint.registry import load_plugins
from distjoint.storage import Location, Options, locate
from distjoint.train import train
from distjoint.train.callbacks import TrainingRun
from distjoint.train.callbacks.ray_tune import RayTune
from distjoint.train.objective import Objective
from distjoint.tune.space import settled

TRIALS, REPEATS = "trials", "repeats"
EPOCH, SCORE = "epoch", "score"
"""What a trial reports: epochs that are done, the best of the weighted metric so far, and components by their names."""


@dataclass(frozen=True)
class Shared:
    """What all trials of a search share; sent to each.

    base      configuration on which settings go
    fixed     settings of every trial but the first
    first     varied settings that stand for the base as it is; None where none do
    plugins   modules to import
    """

    dataset: str
    out: str
    base: Config
    fixed: Mapping[str, Any]
    first: Mapping[str, Any] | None
    cores: int
    options: Options | None
    plugins: tuple[str, ...]

    def config(self, settings: Mapping[str, Any]) -> Config:
        """The configuration of a trial. raises UsageError for settings that do not go together"""
        whole = {} if settings == self.first else {**self.fixed, **settings}
        return settled(self.base, {**whole, "train.threads": self.cores}, "trial")


def reported(task: Shared, settings: Mapping[str, Any]) -> None:
    """Train one trial within Ray Tune; a trial that was killed goes on where it was.

    settings   of the keys that vary, as Optuna proposes them
    raises     DistjointError, also noted beside the trial's folder, for settings that cannot be trained by
    """
    from ray import tune

    load_plugins(task.plugins)
    name = tune.get_context().get_trial_id()
    place = locate(task.out, task.options) / TRIALS
    place.make_dir()
    note: dict[str, Any] = {"settings": dict(settings), "base": settings == task.first}
    (place / f"{name}.json").write_json(note)
    try:
        _train(task, task.config(settings), place / name, [Reporter()])
    except DistjointError as error:
        (place / f"{name}.json").write_json({**note, "error": str(error)})
        raise


def repeated(task: Shared, settings: Mapping[str, Any], name: str, seed: int) -> str:
    """Train the settings of a trial again with another seed; the run's name."""
    load_plugins(task.plugins)
    config = settled(task.config(settings), {"train.seed": seed})
    run = f"{name}-seed-{seed}"
    _train(task, config, locate(task.out, task.options) / REPEATS / run, [])
    return run


def _train(task: Shared, config: Config, run: Location, callbacks: list[Any]) -> None:
    train(
        task.dataset,
        run.absolute,
        config,
        go_on=True,
        callbacks=callbacks,
        storage_options=task.options,
        any_graph=True,
    )


class Reporter(RayTune):
    """Reports each validated epoch: the best of the weighted metric so far, and the components of that epoch.

    A run keeps its best epoch, so the best so far is what a trial is worth.
    """

    name = "trial"

    def on_start(self, run: TrainingRun) -> None:
        """Report what a trial that goes on has reached before."""
        self._objective = Objective.of(run.config, run.sources)
        self._best: dict[str, Any] = {}
        for line in run.history:
            self.on_epoch_end(dict(line))

    def on_epoch_end(self, metrics: dict[str, Any]) -> None:
        """Report the epoch, if it was validated."""
        score = self._objective.score(metrics)
        if score is None:
            return
        if not self._best or score > self._best[SCORE]:
            self._best = {SCORE: score, **{name: metrics[f"valid_{name}"] for name in self._objective.weights}}
        super().on_epoch_end({EPOCH: metrics["epoch"], **self._best})
