"""The callback that logs a run to Weights & Biases; extra `wandb`."""

from __future__ import annotations

import os
import uuid
from typing import Any, ClassVar

from distjoint.base.errors import UsageError
from distjoint.runs.folder import Status
from distjoint.train.callbacks.base import Callback, TrainingRun
from distjoint.train.callbacks.settings import flat, numbers

_FILE = "wandb.id"


class WandB(Callback):
    """Logs settings and each epoch's metrics to Weights & Biases.

    WANDB_MODE=offline, WANDB_PROJECT (by default `distjoint`), WANDB_DIR and the rest of its environment say where to.
    A run that goes on is logged to the same run there.
    """

    name: ClassVar[str] = "wandb"

    def __init__(self) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UsageError(f"train.callbacks: wandb: {error}; pip install 'distjoint[wandb]'") from error
        self._wandb: Any = wandb

    def on_start(self, run: TrainingRun) -> None:
        """Begin a run of theirs, or go on with the one that was begun."""
        noted = run.folder / _FILE
        if not noted.exists():
            noted.write_bytes(uuid.uuid4().hex[:8].encode())
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "distjoint"),
            id=noted.read_bytes().decode(),
            name=run.folder.name,
            config={**flat(run.config), "distjoint.run": run.url},
            resume="allow",
            reinit="create_new",
            settings=self._wandb.Settings(silent=True),
        )
        self._run.define_metric("*", step_metric="epoch")

    def on_epoch_end(self, metrics: dict[str, Any]) -> None:
        """Log the epoch's numbers, drawn over epochs."""
        self._run.log({**numbers(metrics), "epoch": metrics["epoch"]})

    def on_checkpoint(self, checkpoint: str) -> None:
        """Note where the newest checkpoint is."""
        self._run.summary["checkpoint"] = checkpoint

    def on_end(self, status: Status) -> None:
        """Close the run."""
        self._run.summary["status"] = status
        self._run.finish(exit_code=int(status == "failed"))
