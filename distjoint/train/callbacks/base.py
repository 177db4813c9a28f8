"""What a callback is: an object that is told how a run goes, and may stop it.

Nothing heavy is imported here: `distjoint.Callback` and `distjoint.Stop` are these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from distjoint.base.progress import Progress
    from distjoint.config import Config
    from distjoint.runs.folder import Status
    from distjoint.storage import Location


class Stop(Exception):  # noqa: N818 - it is a request, not an error
    """Request of a callback to end the run in order: what is trained is kept, and the run can go on later.

    reason     one sentence, which is shown
    finished   whether the run has reached its end, so that it counts as finished; else as stopped
    """

    def __init__(self, reason: str = "", *, finished: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.finished = reason, finished


@dataclass(frozen=True)
class TrainingRun:
    """The run that callbacks are told of.

    url        of its folder
    folder     the same, to write to
    config     its configuration
    sources    which losses train: `text`, `graph`
    epoch      epochs that are done: 0 in a new run
    history    metrics of each of these, oldest first
    progress   where lines are shown
    """

    url: str
    folder: Location
    config: Config
    sources: tuple[str, ...]
    epoch: int
    history: Sequence[Mapping[str, Any]]
    progress: Progress


class Callback:
    """Base of callbacks, which does nothing. Methods are called in the process that called `train`, one at a time.

    An exception in a method is shown as a warning and counted; the run goes on. A callback whose `on_start` raises is
    told nothing more. `Stop`, raised in any method but `on_end`, ends the run in order.

    name   in `train.callbacks` and in messages; by default the class's
    """

    name: ClassVar[str] = ""

    def on_start(self, run: TrainingRun) -> None:
        """Training begins, or goes on."""

    def on_epoch_end(self, metrics: dict[str, Any]) -> None:
        """An epoch is done, and validated where that is due.

        Where Ray workers die, epochs since the last checkpoint are trained again, and told again.

        metrics   the epoch's line of metrics.jsonl: `epoch`, losses, rates, `valid_...`; a copy
        """

    def on_checkpoint(self, checkpoint: str) -> None:
        """A checkpoint is complete.

        checkpoint   its URL
        """

    def on_end(self, status: Status) -> None:
        """Training has ended, also by an error: `finished`, `stopped` or `failed`."""
