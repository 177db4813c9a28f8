"""A worker: its lanes, epoch by epoch. The same loop alone in a process and as one of many."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed as dist

from distjoint.backends.base import NotFiniteError
from distjoint.backends.cpu.compiled import announce
from distjoint.backends.cpu.memory import keep_freed
from distjoint.couplings.scheme import initial_shard
from distjoint.data.dataset import Dataset
from distjoint.errors import DivergedError
from distjoint.model.text import with_rate
from distjoint.progress import Progress, Task
from distjoint.runs import checkpoint
from distjoint.runs.checkpoint import Position
from distjoint.runs.folder import Checkpoint, RunInfo
from distjoint.runs.journal import Journal
from distjoint.storage import Location
from distjoint.table.parts import Shard
from distjoint.train import agreement
from distjoint.train.build import Place, build
from distjoint.train.changes import first_value
from distjoint.train.describe import epoch_line, rates_line
from distjoint.train.initial import begin_with, open_initial
from distjoint.train.lane import Lane
from distjoint.train.peers import Heartbeat
from distjoint.train.rates import Rates, rates
from distjoint.train.residency import Parking, Residency
from distjoint.train.schedule import Round, Visit, schedule
from distjoint.train.sources.base import LaneVisit
from distjoint.train.tally import SECONDS, Tally
from distjoint.train.validate import Validation
from distjoint.train.warm_up import warm_up

_TEXT_STEPS = 32
"""Steps of a round that has no triples: how often the progress bar moves."""
_SHOWN_EVERY = 0.25
"""Seconds between two looks at losses for the progress bar: a device is waited for then."""


class Worker:
    """Trains its lanes of a run from the newest checkpoint to the last epoch."""

    def __init__(self, run: Location, info: RunInfo, dataset: Dataset, place: Place, progress: Progress) -> None:
        self.run, self.info, self.dataset, self.place, self.progress = run, info, dataset, place, progress
        self.config = info.config
        self.parts = build(info, dataset, place)
        self.resources, self.sources = self.parts.resources, self.parts.sources
        self.scheme, self.dense = self.resources.scheme, self.resources.dense
        self.parking = Parking(on_disk=not self.parts.fits)
        self.residency = Residency(self.resources.arena, self.parking, place.rank, self._worker_of, self.begin)
        self.passes = 1 if self.scheme.graph and info.groups > 2 else self.config.train.triple_passes
        self.checkpoints = checkpoint.Writer(run, info, self.publish)
        self.saved = time.monotonic()
        self.journal: Journal | None = None
        self.start: Checkpoint | None = None
        self.initial: Checkpoint | None = None
        self.at = Position(0)

    def train(self) -> None:
        """Run what is left. Raises DivergedError when a loss or gradient is not finite."""
        with ExitStack() as stack:
            stack.enter_context(keep_freed())
            stack.enter_context(_one_torch_thread())
            self._take_up()
            if self.place.workers > 1:
                stack.enter_context(Heartbeat())
            self._warm_up()
            with announce(self.progress), self.progress.task("training", total=self.config.train.epochs) as bar:
                self._train(bar)
            if self.place.workers > 1:
                dist.barrier()  # nobody leaves before all are done

    def close(self) -> None:
        """Give back threads and scratch files."""
        self.checkpoints.close()
        if self.journal:
            self.journal.close()
        self.parking.close()
        self.parts.close()

    def _take_up(self) -> None:
        """Find the newest checkpoint and where it leaves off; every worker calls it."""
        self.start = checkpoint.newest(self.run, self.info)
        self.initial = open_initial(self.run) if self.config.train.init and not self.start else None
        if self.start:
            self.dense.load(self.start.dense())
            self.at = Position(self.start.manifest.epoch, self.start.manifest.round)
        self.journal = Journal(self.run, self.at.epoch) if self.place.rank == 0 else None
        lines = self.journal.lines if self.journal else []
        self.validation = Validation(self.run, self.info, self.dataset, lines)
        if self.journal and self.start and len(self.journal.lines) < self.at.epoch:
            self._tell(dict(self.start.manifest.metrics))  # stopped just after it was written
        self.validation.share()

    def _warm_up(self) -> None:
        with announce(self.progress):
            warm_up(self.scheme, self.place.device)

    def _train(self, bar: Task) -> None:
        epochs = self.config.train.epochs
        bar.advance(self.at.epoch)
        while self.at.epoch < epochs and not self.validation.exhausted():
            try:
                metrics = self.train_epoch(self.at.epoch, bar)
            except DivergedError as error:
                raise DivergedError(f"{error}; {self._advice(error.key)}", error.key) from error
            following = Position(self.at.epoch + 1)
            if self._is_kept(following.epoch):
                self.save(following, metrics=metrics)
            else:
                self.at = following
            if self.journal:
                self._tell(metrics)
            self.validation.share()
        self.checkpoints.wait()

    def _advice(self, key: str) -> str:
        """How to go on from a step that was too large."""
        section, name = key.split(".")
        lower = getattr(getattr(self.config, section), name) / 2
        last = checkpoint.complete(self.run)[-1:]
        if not last:
            return f"there is no checkpoint yet; begin again with a lower {key}, {lower:g} say"
        return (
            f"{last[0]} is kept; go on from it with smaller steps: distjoint train --resume {self.run} "
            f"--set {key}={lower:g} (or a smaller model.scale in a new run)"
        )

    def save(
        self, position: Position, metrics: Mapping[str, Any] | None = None, tally: Mapping[str, float] | None = None
    ) -> None:
        """Take a checkpoint of where the run now is."""
        self.checkpoints.write(position, self.residency.held(), self.dense.tensors(), metrics or {}, tally or {})
        self.at, self.saved = position, time.monotonic()

    def _tell(self, metrics: dict[str, Any]) -> None:
        """Measure the epoch that is done, if that is due, and say how it went; rank 0 only."""
        assert self.journal is not None
        if self.validation.due(metrics["epoch"]):
            self.checkpoints.wait()
            metrics |= self.validation.after(metrics["epoch"])
            self.publish(Position(metrics["epoch"]).name)
        self.journal.write(metrics)
        self.progress.say(epoch_line(metrics, self.config.train.epochs))

    def publish(self, name: str) -> None:
        """Choose the run's result, now that the checkpoint `name` is complete; rank 0 only."""
        best = self.validation.best
        self.info = self.info.model_copy(update={"result": best or name})
        self.info.write(self.run)
        checkpoint.prune(self.run, self.config.train.keep, best)

    def train_epoch(self, epoch: int, bar: Task) -> dict[str, Any]:
        """Train the rounds of the epoch that are left; its metrics, the same on every worker."""
        epochs, done, began = self.config.train.epochs, self.at.round, time.perf_counter()
        tally, rounds, next_rounds = self._new_tally(), self._rounds(epoch), self._rounds(epoch + 1)
        steps = [self._steps(round_) for round_ in rounds]
        total, taken, shown = sum(steps), sum(steps[:done]), 0.0
        bar.advance(taken / total)
        for number in range(done, len(steps)):
            self.residency.settle(rounds[number], (rounds + next_rounds)[number + 1 :])
            coming = (epoch, rounds[number + 1]) if number + 1 < len(rounds) else (epoch + 1, next_rounds[0])
            lanes = [
                Lane(
                    self.resources, self.sources, LaneVisit(visit, epoch, self.passes, _visit_of(lane, *coming)), tally
                )
                for lane, visit in enumerate(rounds[number].visits)
                if visit and self._worker_of(lane) == self.place.rank
            ]
            for step in range(steps[number]):
                now = rates(self.scheme, (epoch + taken / total) / epochs)
                for lane in lanes:
                    lane.advance(step, steps[number], now)
                self._sync(now, tally)
                taken += 1
                bar.advance(1 / total)
                if time.perf_counter() - shown > _SHOWN_EVERY:
                    shown = time.perf_counter()
                    bar.note(rates_line(self._metrics(tally.sums(), 1)))
            if number + 1 < len(steps) and self._is_due(number + 1):
                tally.add(SECONDS, time.perf_counter() - began)
                began = time.perf_counter()
                self.save(Position(epoch, number + 1), tally=tally.over_workers(self.place.device))
        tally.add(SECONDS, time.perf_counter() - began)
        sums, ending = tally.over_workers(self.place.device), rates(self.scheme, (epoch + 1) / epochs)
        found = self._metrics(sums, self.place.workers)
        sizes = {f"{source.name}_step_size": source.step_size(ending) for source in self.sources}
        return {"epoch": epoch + 1, **found, **sizes, "seconds": sums[SECONDS] / self.place.workers}

    def _sync(self, now: Rates, tally: Tally) -> None:
        """Step the dense parameters by what all lanes have summed up."""
        if not self.dense.values:
            return
        try:
            squares = self.dense.sync(now.graph)
        except NotFiniteError:
            raise DivergedError(
                "relations: the gradient is not a finite number; no dense parameter was stepped by it"
            ) from None
        tally.add("syncs", 1)
        for name, square in squares.items():
            tally.add(f"{name}_squares", square)

    def _dense_sums(self) -> list[str]:
        return ["syncs", *(f"{name}_squares" for name in self.dense.values)]

    def _new_tally(self) -> Tally:
        """Of an epoch; one worker takes up the sums of an epoch that a checkpoint broke off in for all."""
        names = [name for source in self.sources for name in source.sums]
        resumes = self.start and self.at.round and self.place.rank == 0
        before = self.start.manifest.tally if self.start and resumes else None
        return Tally([*names, *agreement.SUMS, *self._dense_sums()], before)

    def _metrics(self, sums: dict[str, float], workers: int) -> dict[str, float]:
        """Means, rates and gradient norms by their names in metrics.jsonl."""
        found: dict[str, float] = {}
        for source in self.sources:
            found |= source.metrics(sums, workers)
        found |= agreement.metrics(sums)
        if sums["syncs"]:
            for name in self.dense.values:
                found[f"{name}_gradient_norm"] = math.sqrt(sums[f"{name}_squares"] / sums["syncs"])
        return found

    def _is_due(self, rounds: int) -> bool:
        """Whether a checkpoint within the epoch is; the same on every worker."""
        every, minutes = self.config.train.checkpoint_rounds, self.config.train.checkpoint_minutes
        if every and rounds % every == 0:
            return True
        return minutes is not None and self._have_passed(60 * minutes)

    def _is_kept(self, epoch: int) -> bool:
        """Whether there is a checkpoint after an epoch: on a store, short epochs go without; the same on every worker.

        Else its uploads would cost as much as the training.
        """
        config = self.config.train
        if self.run.is_local or epoch == config.epochs or self.validation.due(epoch):
            return True
        return self._have_passed(config.checkpoint_seconds)

    def _have_passed(self, seconds: float) -> bool:
        """Whether that long has passed since the last checkpoint, by the clock of rank 0."""
        passed = torch.tensor([float(time.monotonic() - self.saved > seconds)], device=self.place.device)
        if dist.is_initialized():
            dist.broadcast(passed, 0)
        return bool(passed.item())

    def _rounds(self, epoch: int) -> tuple[Round, ...]:
        """The schedule of an epoch. Where shards rotate, all groups meet anew for each pass over the triples.

        Passes over the same few triples in a row learn less: FB15k-237 with 8 groups and 5 passes per epoch, 9 epochs:
        MRR .290 by five passes a visit, .303 by five visits (.311 with two groups, where all shards are always there).
        """
        repeats = self.config.train.triple_passes // self.passes
        config, layout = self.config.train, self.dataset.layout
        return schedule(layout.shards, config.seed, epoch, self.info.groups, self.info.lanes, repeats).rounds

    def _steps(self, round_: Round) -> int:
        """Sync points of a round: from the mean lane's batches, so that it does not depend on who runs them."""
        visits = [visit for visit in round_.visits if visit]
        if not self.scheme.graph:
            return _TEXT_STEPS
        every = self.config.train.sync_batches if self.info.lanes > 1 else 1
        batches = self.passes * sum(source.batches(visit) for source in self.sources for visit in visits)
        return max(1, math.ceil(batches / len(visits) / every))

    def begin(self, shard: int) -> Shard:
        """A shard that no worker has yet: from the checkpoint, or as it begins."""
        if self.start:
            return self._resumed(self.start, shard)
        parts = initial_shard(self.scheme, self.dataset.layout, shard)
        if self.initial:
            parts = begin_with(parts, self.initial.shard(shard), self.scheme, self.dataset.layout, shard)
        return parts

    def _resumed(self, start: Checkpoint, shard: int) -> Shard:
        """A shard of a checkpoint. The text's learning rate may have changed since: it lies in the accumulators."""
        parts, rate = start.shard(shard), self.config.text.learning_rate
        before = start.manifest.text_learning_rate or first_value(self.info, "text.learning_rate")
        if "W" in parts and before != rate:
            parts |= {name: with_rate(parts[name], before, rate) for name in ("W.state", "C.state")}
        return parts

    def _worker_of(self, lane: int) -> int:
        return self.place.worker_of(lane, self.info.lanes)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Torch on one thread: the threads are distjoint's own, over slices of a batch and tiles of a wave."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _visit_of(lane: int, epoch: int, round_: Round) -> tuple[int, Visit] | None:
    visit = round_.visits[lane]
    return (epoch, visit) if visit else None
