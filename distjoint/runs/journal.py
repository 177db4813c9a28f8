"""What a run writes about itself: metrics.jsonl (the truth) and TensorBoard (a view of it). Rank 0 only."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from distjoint.storage import Location

METRICS = "metrics.jsonl"
_FOLDER = "tensorboard"


class Journal:
    """One line of metrics per epoch.

    done   epochs whose lines are kept when a run is resumed; later ones will be trained again
    """

    def __init__(self, run: Location, done: int) -> None:
        self._run = run
        self.lines = [line for line in read(run) if line["epoch"] <= done]
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        (run / _FOLDER).make_dir()
        if run.is_local:
            folder = Path((run / _FOLDER).path)
        else:
            self._scratch = tempfile.TemporaryDirectory(prefix="distjoint-tensorboard-")
            folder = Path(self._scratch.name)
        self._folder, self._board = folder, SummaryWriter(str(folder))

    def write(self, metrics: dict[str, Any]) -> None:
        """Add an epoch's metrics; `epoch` is among them."""
        self.lines.append(metrics)
        content = "".join(json.dumps(line) + "\n" for line in self.lines)
        (self._run / METRICS).write_bytes(content.encode())
        for name, value in metrics.items():
            if isinstance(value, float):
                self._board.add_scalar(name, value, metrics["epoch"])
        self._board.flush()
        if self._scratch:
            for file in self._folder.iterdir():
                (self._run / _FOLDER / file.name).write_bytes(file.read_bytes())

    def close(self) -> None:
        self._board.close()
        if self._scratch:
            self._scratch.cleanup()


def read(run: Location) -> list[dict[str, Any]]:
    """The lines of a run's metrics, oldest first; none where there are none yet."""
    place = run / METRICS
    return [json.loads(line) for line in place.read_bytes().splitlines()] if place.exists() else []
