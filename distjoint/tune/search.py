"""The search itself: Ray Tune runs trials on the cluster, Optuna proposes settings, ASHA ends those that are behind.

Ray and Optuna are imported when a search starts.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from distjoint.base.errors import UsageError
from distjoint.base.progress import Progress
from distjoint.storage import Location
from distjoint.tune import trial
from distjoint.tune.space import OneOf, Range, SearchSpace
from distjoint.tune.trial import EPOCH, SCORE
from distjoint.tune.trials import watched

_NAME = "ray"
_SNAPSHOTS = "5"
"""Seconds between two notes of Ray's of how far a search is."""
_REDUCTION = 3
"""ASHA: of the trials that reach an epoch where it looks, one in three goes on; it looks at a ninth and a third."""


@dataclass(frozen=True)
class Search:
    """How a search goes.

    metrics   two components to maximise; none for the weighted mean
    """

    folder: Location
    task: trial.Shared
    space: SearchSpace
    metrics: tuple[str, ...]
    trials: int
    hours: float | None
    seed: int
    prune: bool

    def run(self, progress: Progress) -> None:
        """Run the trials that are left, on the cluster that this process is connected to."""
        os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
        os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", _SNAPSHOTS)
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # whose tables come however quiet it is told to be
        from ray import tune

        place, storage = (self.folder / _NAME).path, self.folder.fs
        trainable = self._trainable()
        if tune.Tuner.can_restore(place, storage_filesystem=storage):
            tuner = tune.Tuner.restore(place, trainable, resume_unfinished=True, storage_filesystem=storage)
            progress.say(f"{self.folder}: going on with the search that is there")
        else:
            tuner = tune.Tuner(trainable, tune_config=self._how(), run_config=self._where())
        with watched(self.folder, self.trials, progress), redirect_stdout(sys.stderr):
            tuner.fit()

    def repeat(self, wanted: Sequence[tuple[str, Mapping[str, Any], int]], progress: Progress) -> list[str]:
        """Train settings again with other seeds; the names of the runs.

        wanted   a trial's name, its settings, the seed
        """
        import ray

        options: dict[str, Any] = {"num_cpus": self.task.cores, **({"num_gpus": 1} if _has_gpus() else {})}
        function = ray.remote(trial.repeated).options(**options)
        waiting = [function.remote(self.task, dict(settings), name, seed) for name, settings, seed in wanted]
        names: list[str] = []
        with progress.task("repetitions with other seeds", total=len(waiting)) as bar:
            while waiting:
                (done, *_), waiting = ray.wait(waiting)
                names.append(ray.get(done))
                bar.advance()
        return names

    def _trainable(self) -> Any:
        from ray import tune

        resources = {"cpu": self.task.cores, **({"gpu": 1} if _has_gpus() else {})}
        task = self.task

        def run_trial(config: dict[str, Any]) -> None:
            trial.reported(task, config)

        return tune.with_resources(run_trial, resources)

    def _how(self) -> Any:
        """What Tune is told: who proposes, who prunes, how many."""
        from ray import tune
        from ray.tune.schedulers import ASHAScheduler

        epochs = self.task.base.train.epochs
        scheduler = None
        if self.prune and len(self.metrics) < 2 and epochs > 1:
            every = self.task.base.train.validate_every
            grace = max(every, math.ceil(epochs / _REDUCTION**2))
            scheduler = ASHAScheduler(
                time_attr=EPOCH,
                metric=SCORE,
                mode="max",
                max_t=epochs + 1,  # a trial ends by itself
                grace_period=min(grace, epochs),
                reduction_factor=_REDUCTION,
            )
        return tune.TuneConfig(
            search_alg=self._searcher(),
            scheduler=scheduler,
            num_samples=self.trials,
            time_budget_s=self.hours and self.hours * 3600,
            trial_dirname_creator=lambda each: each.trial_id,
        )

    def _searcher(self) -> Any:
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        several = len(self.metrics) == 2
        samplers = optuna.samplers
        return OptunaSearch(
            space={key: distribution(each) for key, each in self.space.varied.items()},
            metric=list(self.metrics) if several else SCORE,
            mode=["max", "max"] if several else "max",
            points_to_evaluate=[dict(self.task.first)] if self.task.first else None,
            sampler=samplers.NSGAIISampler(seed=self.seed) if several else samplers.TPESampler(seed=self.seed),
        )

    def _where(self) -> Any:
        from ray import tune

        return tune.RunConfig(
            name=_NAME,
            storage_path=self.folder.path,
            storage_filesystem=self.folder.fs,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),
        )


def distribution(each: Range | OneOf) -> Any:
    """What a key may be, as Optuna has it."""
    from optuna import distributions

    if isinstance(each, OneOf):
        return distributions.CategoricalDistribution(list(each.values))
    if each.whole:
        return distributions.IntDistribution(int(each.low), int(each.high), log=each.log)
    return distributions.FloatDistribution(each.low, each.high, log=each.log)


def check_packages() -> None:
    """raises UsageError where Ray Tune or Optuna is not installed"""
    try:
        import optuna  # noqa: F401
        from ray import tune  # noqa: F401
    except ImportError as error:
        raise UsageError(f"tune needs Ray Tune and Optuna ({error}); pip install 'distjoint[tune]'") from error


def _has_gpus() -> bool:
    import ray

    return bool(ray.cluster_resources().get("GPU"))
