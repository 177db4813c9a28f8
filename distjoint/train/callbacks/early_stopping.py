"""The callback that ends a run whose validations gain nothing any more."""

from __future__ import annotations

from typing import Any, ClassVar

from distjoint.train.callbacks.base import Callback, Stop, TrainingRun
from distjoint.train.objective import Objective


class EarlyStopping(Callback):
    """Ends a run after `train.patience` validations without gain in the weighted metric of `train.validate`.

    The best epoch is the run's result, whoever ends it. With a patience of 0 it does nothing.
    """

    name: ClassVar[str] = "early_stopping"

    def on_start(self, run: TrainingRun) -> None:
        """Take patience up where earlier epochs have left it."""
        self._patience = run.config.train.patience
        self._objective = Objective.of(run.config, run.sources)
        self._scores: dict[int, float] = {}
        for line in run.history:
            self._note(line)
        self._look()

    def on_epoch_end(self, metrics: dict[str, Any]) -> None:
        """Look whether the epoch has gained."""
        self._scores = {epoch: score for epoch, score in self._scores.items() if epoch < metrics["epoch"]}
        self._note(metrics)
        self._look()

    def _note(self, line: Any) -> None:
        score = self._objective.score(line)
        if score is not None:
            self._scores[line["epoch"]] = score

    def _look(self) -> None:
        """Raise Stop where patience has run out."""
        if not self._scores:
            return
        scores = list(self._scores.values())
        gainless = len(scores) - 1 - scores.index(max(scores))
        if gainless >= self._patience > 0:
            raise Stop(f"no gain in {gainless} validations (train.patience={self._patience})", finished=True)
