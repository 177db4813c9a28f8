"""The callback that writes metrics for TensorBoard, a view of what metrics.jsonl says."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

from tensorboardX import SummaryWriter

from distjoint.runs.folder import Status
from distjoint.train.callbacks.base import Callback, TrainingRun

FOLDER = "tensorboard"


class TensorBoard(Callback):
    """Writes every metric that is a number into the run's folder `tensorboard`; on a store, anew after each epoch."""

    name: ClassVar[str] = "tensorboard"

    def on_start(self, run: TrainingRun) -> None:
        """Open the files."""
        self._place = run.folder / FOLDER
        self._place.make_dir()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if run.folder.is_local:
            self._folder = Path(self._place.path)
        else:
            self._scratch = tempfile.TemporaryDirectory(prefix="distjoint-tensorboard-")
            self._folder = Path(self._scratch.name)
        self._board = SummaryWriter(str(self._folder))

    def on_epoch_end(self, metrics: dict[str, Any]) -> None:
        """Write the epoch's numbers."""
        for name, value in metrics.items():
            if isinstance(value, float):
                self._board.add_scalar(name, value, metrics["epoch"])
        self._board.flush()
        if self._scratch:
            for file in self._folder.iterdir():
                (self._place / file.name).write_bytes(file.read_bytes())

    def on_end(self, status: Status) -> None:
        """Close the files."""
        self._board.close()
        if self._scratch:
            self._scratch.cleanup()
