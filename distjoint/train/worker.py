"""A worker: its lanes, epoch by epoch. The same loop alone in a process and as one of many."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from distjoint.backends.cpu.compiled import announce
from distjoint.backends.cpu.memory import keep_freed
from distjoint.base.errors import DivergedError
from distjoint.base.progress import Progress, Task
from distjoint.data.dataset import Dataset
from distjoint.names import GIVEN
from distjoint.runs import checkpoint
from distjoint.runs.checkpoint import Position
from distjoint.runs.folder import RunInfo
from distjoint.runs.journal import Journal
from distjoint.storage import Location
from distjoint.table.parts import Shard
from distjoint.train.beginning import Beginning
from distjoint.train.build import Place, build
from distjoint.train.callbacks.telling import Tell
from distjoint.train.epoch import EpochLoop
from distjoint.train.initial import given_rows, open_initial
from distjoint.train.peers import Heartbeat
from distjoint.train.residency import Parking, Residency
from distjoint.train.validate import Validation
from distjoint.train.warm_up import warm_up


class Worker:
    """Trains its lanes of a run from the newest checkpoint to the last epoch, or to a callback's `Stop`.

    tell   tells callbacks of epochs and checkpoints, and says whether one wants the run to end; rank 0 only
    """

    def __init__(
        self, run: Location, info: RunInfo, dataset: Dataset, place: Place, progress: Progress, tell: Tell
    ) -> None:
        self.run, self.info, self.dataset, self.place, self.progress = run, info, dataset, place, progress
        self.tell, self.ends = tell, False
        self.published, self.untold = set[str](), list[str]()
        held = GIVEN in info.config.train.freeze
        self.parts = build(info, dataset, place, given_rows(run, dataset.layout.rows) if held else None)
        self.parking = Parking(on_disk=not self.parts.fits)
        self.residency = Residency(
            self.parts.resources.arena, self.parking, place.rank, partial(place.worker_of, lanes=info.lanes), self.begin
        )
        self.loop = EpochLoop(info, place, self.parts, self.residency)
        self.checkpoints = checkpoint.Writer(run, info, self.publish)
        self.beginning = Beginning(info, self.parts.resources)
        self.journal: Journal | None = None
        self.at, self.saved = Position(0), time.monotonic()

    def train(self) -> None:
        """Run what is left. Raises DivergedError when a loss or gradient is not finite."""
        with ExitStack() as stack:
            stack.enter_context(keep_freed())
            stack.enter_context(one_torch_thread())
            self._take_up()
            if self.place.workers > 1:
                stack.enter_context(Heartbeat())
            with announce(self.progress):
                warm_up(self.parts.resources.scheme, self.parts.backend)
            with announce(self.progress), self.progress.task("training", total=self.info.config.train.epochs) as bar:
                self._train(bar)
            if self.place.workers > 1:
                dist.barrier()  # nobody leaves before all are done

    def close(self) -> None:
        """Give back threads and scratch files."""
        self.checkpoints.close()
        self.parking.close()
        self.parts.close()

    def _take_up(self) -> None:
        """Find the newest checkpoint and where it leaves off; every worker calls it."""
        start = checkpoint.newest(self.run, self.info)
        if not start and self.info.old:
            start = open_initial(self.run)
        initial = open_initial(self.run) if self.info.config.train.init and not start else None
        self.beginning = replace(self.beginning, start=start, initial=initial)
        if initial:
            self.parts.resources.dense.begin(initial.dense())
        if start:
            self.parts.resources.dense.load(start.dense())
            self.at = Position(start.manifest.epoch, start.manifest.round)
        self.journal = Journal(self.run, self.at.epoch) if self.place.rank == 0 else None
        lines = self.journal.lines if self.journal else []
        self.validation = Validation(self.run, self.info, self.dataset, lines)
        if self.journal and start and len(self.journal.lines) < self.at.epoch:
            self._tell(dict(start.manifest.metrics))  # stopped just after it was written
        self._agree_to_end()

    def _train(self, bar: Task) -> None:
        epochs, unsaved = self.info.config.train.epochs, None
        bar.advance(self.at.epoch)
        while self.at.epoch < epochs and not self.ends:
            try:
                metrics = self.train_epoch(self.at.epoch, bar)
            except DivergedError as error:
                raise DivergedError(f"{error}; {self._advice(error.key)}", error.key) from error
            following, unsaved = Position(self.at.epoch + 1), None
            if self._is_kept(following.epoch):
                self.save(following, metrics=metrics)
            else:
                self.at, unsaved = following, metrics
            if self.journal:
                self._tell(metrics)
            self._agree_to_end()
        if unsaved is not None:  # a callback has ended the run before the next checkpoint
            self.save(self.at, metrics=unsaved)
        self.checkpoints.wait()
        self._tell_checkpoints()

    def _agree_to_end(self) -> None:
        """Let every worker know whether a callback wants the run to end; every worker calls it after every epoch."""
        self.ends = self._on_rank_0(self.ends)

    def _advice(self, key: str) -> str:
        """How to go on from a step that was too large."""
        section, name = key.split(".")
        lower = getattr(getattr(self.info.config, section), name) / 2
        last = checkpoint.complete(self.run)[-1:]
        if not last:
            return f"there is no checkpoint yet; begin again with a lower {key}, {lower:g} say"
        instead = " (or a smaller model.scale in a new run)" if section == "graph" else ""
        return (
            f"{last[0]} is kept; go on from it with smaller steps: "
            f"distjoint train --resume {shlex.quote(str(self.run))} --set {key}={lower:g}{instead}"
        )

    def save(
        self, position: Position, metrics: Mapping[str, Any] | None = None, tally: Mapping[str, float] | None = None
    ) -> None:
        """Take a checkpoint of where the run now is."""
        dense = self.parts.resources.dense.tensors()
        self.checkpoints.write(position, self.residency.held(), dense, metrics or {}, tally or {})
        self.at, self.saved = position, time.monotonic()

    def _tell(self, metrics: dict[str, Any]) -> None:
        """Measure the epoch that is done, if that is due, and tell how it went; rank 0 only."""
        assert self.journal is not None
        if self.validation.due(metrics["epoch"]):
            self.checkpoints.wait()
            metrics |= self.validation.after(metrics["epoch"])
            self.publish(Position(metrics["epoch"]).name)
        self.journal.write(metrics)
        self.ends |= self.tell("on_epoch_end", metrics)
        self._tell_checkpoints()

    def _tell_checkpoints(self) -> None:
        """Tell callbacks of the checkpoints that are complete by now; on rank 0, others know of none."""
        while self.untold:
            self.ends |= self.tell("on_checkpoint", (self.run / self.untold.pop(0)).absolute)

    def publish(self, name: str) -> None:
        """Choose the run's result, now that the checkpoint `name` is complete; rank 0 only, in whichever thread."""
        if name not in self.published:
            self.published.add(name)
            self.untold.append(name)
        best = self.validation.best
        self.info = self.info.model_copy(update={"result": best or name})
        self.info.write(self.run)
        checkpoint.prune(self.run, self.info.config.train.keep, best)

    def train_epoch(self, epoch: int, bar: Task) -> dict[str, Any]:
        """Train the rounds of the epoch that are left; its metrics, the same on every worker."""
        start = self.beginning.start if self.at.round and self.place.rank == 0 else None  # one takes the sums for all
        before = start.manifest.tally if start else {}
        return self.loop.run(self.at, before, bar, self._is_due, lambda at, sums: self.save(at, tally=sums))

    def _is_due(self, rounds: int) -> bool:
        """Whether a checkpoint within the epoch is; the same on every worker."""
        every, minutes = self.info.config.train.checkpoint_rounds, self.info.config.train.checkpoint_minutes
        if every and rounds % every == 0:
            return True
        return minutes is not None and self._have_passed(60 * minutes)

    def _is_kept(self, epoch: int) -> bool:
        """Whether there is a checkpoint after an epoch: on a store, short epochs go without; the same on every worker.

        Else its uploads would cost as much as the training.
        """
        config = self.info.config.train
        if self.run.is_local or epoch == config.epochs or self.validation.due(epoch):
            return True
        return self._have_passed(config.checkpoint_seconds)

    def _have_passed(self, seconds: float) -> bool:
        """Whether that long has passed since the last checkpoint, by the clock of rank 0."""
        return self._on_rank_0(time.monotonic() - self.saved > seconds)

    def _on_rank_0(self, truth: bool) -> bool:
        """A truth as rank 0 has it; every worker calls it."""
        if not dist.is_initialized():
            return truth
        told = torch.tensor([float(truth)], device=self.place.device)
        dist.broadcast(told, 0)
        return bool(told.item())

    def begin(self, shard: int) -> Shard:
        """A shard that no worker has yet."""
        return self.beginning.shard(shard)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Torch on one thread: the threads are distjoint's own, over slices of a batch and tiles of a wave."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
