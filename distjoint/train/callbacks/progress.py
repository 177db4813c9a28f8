"""The callback that shows a line for each epoch."""

from __future__ import annotations

from typing import Any, ClassVar

from distjoint.train.callbacks.base import Callback, TrainingRun
from distjoint.train.describe import epoch_line


class ShownProgress(Callback):
    """Shows each epoch in a line: losses, rates, validation. The bar within an epoch is the worker's own."""

    name: ClassVar[str] = "progress"

    def on_start(self, run: TrainingRun) -> None:
        """Keep where lines are shown."""
        self._shown, self._epochs = run.progress, run.config.train.epochs

    def on_epoch_end(self, metrics: dict[str, Any]) -> None:
        """Show the epoch's line."""
        self._shown.say(epoch_line(metrics, self._epochs))
