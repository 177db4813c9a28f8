"""The callback that reports each epoch to Ray Tune, from within a trial."""

from __future__ import annotations

from typing import Any, ClassVar

from distjoint.base.errors import UsageError
from distjoint.train.callbacks.base import Callback, Stop
from distjoint.train.callbacks.settings import numbers


class RayTune(Callback):
    """Reports each epoch's numbers, and `epoch`, by `ray.tune.report`: Tune's schedulers prune by them.

    It is for a function that Tune runs and that calls `train`; the run's Ray workers, if it has any, need no report of
    their own.
    """

    name: ClassVar[str] = "ray_tune"

    def __init__(self) -> None:
        try:
            from ray import tune
        except ImportError as error:
            raise UsageError(f"train.callbacks: ray_tune: {error}; pip install 'distjoint[tune]'") from error
        self._tune: Any = tune

    def on_epoch_end(self, metrics: dict[str, Any]) -> None:
        """Report the epoch; Tune may answer that the trial ends."""
        try:
            self._tune.report({**numbers(metrics), "epoch": metrics["epoch"]})
        except SystemExit as end:  # how Tune ends the thread of a trial that it prunes
            raise Stop("pruned by Ray Tune") from end
