"""The callback that logs a run to MLflow; extra `mlflow`."""

from __future__ import annotations

import os
import time
from typing import Any, ClassVar

from distjoint.base.errors import UsageError
from distjoint.runs.folder import Status
from distjoint.train.callbacks.base import Callback, TrainingRun
from distjoint.train.callbacks.settings import flat, numbers

_FILE = "mlflow.id"
_LONGEST = 500
"""Characters of a parameter's value that every store of MLflow takes."""
_AT_ONCE = 100
"""Parameters that its server takes in one request."""
_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED", "running": "RUNNING"}


class MLflow(Callback):
    """Logs settings, each epoch's metrics and the end of a run to MLflow.

    Where to and in which experiment say MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME, as everywhere with MLflow; by
    default a folder or file here, and `distjoint`. A run that goes on is logged to the same run of MLflow.
    """

    name: ClassVar[str] = "mlflow"

    def __init__(self) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise UsageError(f"train.callbacks: mlflow: {error}; pip install 'distjoint[mlflow]'") from error
        self._client_of = MlflowClient

    def on_start(self, run: TrainingRun) -> None:
        """Begin a run of MLflow, or find the one that was begun."""
        self._client, noted = self._client_of(), run.folder / _FILE
        if noted.exists():
            self._id = noted.read_bytes().decode()
            self._client.update_run(self._id, status="RUNNING")
        else:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "distjoint")
            experiment = self._client.get_experiment_by_name(name)
            place = experiment.experiment_id if experiment else self._client.create_experiment(name)
            begun = self._client.create_run(place, run_name=run.folder.name, tags={"distjoint.run": run.url})
            self._id = begun.info.run_id
            noted.write_bytes(self._id.encode())
        self._log_settings(flat(run.config))

    def _log_settings(self, settings: dict[str, Any]) -> None:
        """Log settings; one that was changed since is a tag, because a parameter of MLflow cannot change."""
        from mlflow.entities import Param

        known = self._client.get_run(self._id).data.params
        texts = {key: str(value)[:_LONGEST] for key, value in settings.items()}
        new = [Param(key, text) for key, text in texts.items() if key not in known]
        for start in range(0, len(new), _AT_ONCE):
            self._client.log_batch(self._id, params=new[start : start + _AT_ONCE])
        for key, text in texts.items():
            if known.get(key, text) != text:
                self._client.set_tag(self._id, f"changed.{key}", text)

    def on_epoch_end(self, metrics: dict[str, Any]) -> None:
        """Log the epoch's numbers; the epoch is the step."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        logged = [Metric(_allowed(key), value, now, metrics["epoch"]) for key, value in numbers(metrics).items()]
        self._client.log_batch(self._id, metrics=logged)

    def on_checkpoint(self, checkpoint: str) -> None:
        """Note where the newest checkpoint is."""
        self._client.set_tag(self._id, "distjoint.checkpoint", checkpoint)

    def on_end(self, status: Status) -> None:
        """Close the run."""
        self._client.set_terminated(self._id, _STATUS[status])


def _allowed(name: str) -> str:
    """A metric's name in the characters that MLflow takes: `hits@10` as `hits_10`."""
    return "".join(letter if letter.isalnum() or letter in "_-./ " else "_" for letter in name)
