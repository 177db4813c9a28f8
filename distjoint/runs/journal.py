"""What a run writes about itself, metrics.jsonl: one line for each epoch. Rank 0 only."""

from __future__ import annotations

import json
from typing import Any

from distjoint.storage import Location

METRICS = "metrics.jsonl"


class Journal:
    """One line of metrics per epoch.

    done   epochs whose lines are kept when a run is resumed; later ones will be trained again
    """

    def __init__(self, run: Location, done: int) -> None:
        self._run = run
        self.lines = [line for line in read(run) if line["epoch"] <= done]

    def write(self, metrics: dict[str, Any]) -> None:
        """Add an epoch's metrics; `epoch` is among them."""
        self.lines.append(metrics)
        content = "".join(json.dumps(line) + "\n" for line in self.lines)
        (self._run / METRICS).write_bytes(content.encode())


def read(run: Location) -> list[dict[str, Any]]:
    """The lines of a run's metrics, oldest first; none where there are none yet."""
    place = run / METRICS
    return [json.loads(line) for line in place.read_bytes().splitlines()] if place.exists() else []
