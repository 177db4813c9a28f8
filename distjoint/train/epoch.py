"""An epoch of a worker: its rounds, the lanes of each, the sync of dense parameters, and the epoch's metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from distjoint.backends.base import NotFiniteError
from distjoint.base.errors import DivergedError
from distjoint.base.progress import Task
from distjoint.couplings.scheme import Scheme
from distjoint.data.manifest import Manifest
from distjoint.runs.checkpoint import Position
from distjoint.runs.folder import RunInfo
from distjoint.train import agreement
from distjoint.train.build import Parts, Place, scheme_of
from distjoint.train.describe import rates_line
from distjoint.train.lane import Lane
from distjoint.train.rates import Rates, rates
from distjoint.train.residency import Residency
from distjoint.train.schedule import Round, Visit, schedule
from distjoint.train.sources.base import LaneVisit, sources_of
from distjoint.train.tally import SECONDS, Tally

_TEXT_STEPS = 32
"""Steps of a round that has no triples: how often the progress bar moves."""
_SHOWN_EVERY = 0.25
"""Seconds between two looks at losses for the progress bar: a device is waited for then."""
MOVED, SENT = "moved_bytes", "sent_bytes"
"""Sums and metrics: bytes of shards that were parked and taken back, and that were sent to another worker."""
_DENSE_FAILED = "relations: the gradient is not a finite number; no dense parameter was stepped by it"

Save = Callable[[Position, Mapping[str, float]], None]
"""Takes a checkpoint within an epoch, if one is due, with the sums so far of all workers."""


class EpochLoop:
    """Trains the rounds of an epoch on a worker's lanes.

    residency   brings the shards that a round needs
    """

    def __init__(self, info: RunInfo, place: Place, parts: Parts, residency: Residency) -> None:
        self._info, self._place, self._parts, self._residency = info, place, parts, residency
        self._dense, self._scheme = parts.resources.dense, parts.resources.scheme
        self._passes = passes_of(info)
        self._moves = (0, 0)

    def run(
        self, at: Position, before: Mapping[str, float], bar: Task, is_due: Callable[[int], bool], save: Save
    ) -> dict[str, Any]:
        """Train the rounds that are left of an epoch; its metrics, the same on every worker.

        at       epochs that are done, and rounds of this one
        before   sums over the rounds that are done, on one worker
        is_due   whether a checkpoint is, after so many rounds; the same on every worker
        """
        tally, clock = self._new_tally(before), _Clock()
        rounds, next_rounds = self.rounds(at.epoch), self.rounds(at.epoch + 1)
        steps = [self._steps(round_) for round_ in rounds]
        progress = _Progress(sum(steps), sum(steps[: at.round]), bar)
        for number in range(at.round, len(rounds)):
            following = (rounds + next_rounds)[number + 1 :]
            self._residency.settle(rounds[number], following)
            coming = (at.epoch + (number + 1 == len(rounds)), following[0])
            self._train_round(at.epoch, rounds[number], coming, steps[number], tally, progress)
            self._count_moves(tally)
            if number + 1 < len(rounds) and is_due(number + 1):
                tally.add(SECONDS, clock.lap())
                save(Position(at.epoch, number + 1), tally.over_workers(self._place.device))
                clock.lap()
        tally.add(SECONDS, clock.lap())
        return self._epoch_metrics(at.epoch, tally.over_workers(self._place.device))

    def _train_round(
        self,
        epoch: int,
        round_: Round,
        coming: tuple[int, Round],
        steps: int,
        tally: Tally,
        progress: _Progress,
    ) -> None:
        """Advance this worker's lanes of a round in equal steps; dense parameters are synced after each."""
        resources, sources = self._parts.resources, self._parts.sources
        lanes = [
            Lane(resources, sources, LaneVisit(visit, epoch, self._passes, _visit_of(lane, *coming)), tally)
            for lane, visit in enumerate(round_.visits)
            if visit and self._place.worker_of(lane, self._info.lanes) == self._place.rank
        ]
        for step in range(steps):
            now = rates(self._scheme, (epoch + progress.share) / self._info.config.train.epochs)
            for lane in lanes:
                lane.advance(step, steps, now)
            self._sync(now, tally)
            if progress.advance():
                progress.bar.note(rates_line(self._metrics(tally.sums(), 1)))

    def _sync(self, now: Rates, tally: Tally) -> None:
        """Step the dense parameters by what all lanes have summed up."""
        if not self._dense.values:
            return
        try:
            squares = self._dense.sync(now.graph)
        except NotFiniteError:
            raise DivergedError(_DENSE_FAILED) from None
        tally.add("syncs", 1)
        for name, square in squares.items():
            tally.add(f"{name}_squares", square)

    def _count_moves(self, tally: Tally) -> None:
        now = (self._residency.moved, self._residency.sent)
        for name, total, before in zip((MOVED, SENT), now, self._moves, strict=True):
            tally.add(name, total - before)
        self._moves = now

    def _new_tally(self, before: Mapping[str, float]) -> Tally:
        names = [name for source in self._parts.sources for name in source.sums]
        return Tally(
            [*names, *agreement.SUMS, MOVED, SENT, "syncs", *(f"{name}_squares" for name in self._dense.values)], before
        )

    def _metrics(self, sums: dict[str, float], workers: int) -> dict[str, float]:
        """Means, rates and gradient norms by their names in metrics.jsonl."""
        found: dict[str, float] = {}
        for source in self._parts.sources:
            found |= source.metrics(sums, workers)
        found |= agreement.metrics(sums)
        found |= {name: sums[name] for name in (MOVED, SENT) if sums[name]}
        if sums["syncs"]:
            for name in self._dense.values:
                found[f"{name}_gradient_norm"] = math.sqrt(sums[f"{name}_squares"] / sums["syncs"])
        return found

    def _epoch_metrics(self, epoch: int, sums: dict[str, float]) -> dict[str, Any]:
        ending, workers = rates(self._scheme, (epoch + 1) / self._info.config.train.epochs), self._place.workers
        if not all(math.isfinite(sums[f"{name}_squares"]) for name in self._dense.values):
            raise DivergedError(_DENSE_FAILED)  # by a backend that did not wait to see it
        sizes = {f"{source.name}_step_size": source.step_size(ending) for source in self._parts.sources}
        return {"epoch": epoch + 1, **self._metrics(sums, workers), **sizes, "seconds": sums[SECONDS] / workers}

    def rounds(self, epoch: int) -> tuple[Round, ...]:
        """The schedule of an epoch. Where shards rotate, all groups meet anew for each pass over the triples.

        Passes over the same few triples in a row learn less: FB15k-237 with 8 groups and 5 passes per epoch, 9 epochs:
        MRR .290 by five passes a visit, .303 by five visits (.311 with two groups, where all shards are always there).
        """
        return rounds_of(self._info, epoch)

    def _steps(self, round_: Round) -> int:
        return sync_points(self._info, self._scheme, self._parts.resources.manifest, round_)


def passes_of(info: RunInfo) -> int:
    """Passes over its triples of a visit."""
    return 1 if scheme_of(info).graph and info.groups > 2 else info.config.train.triple_passes


def rounds_of(info: RunInfo, epoch: int, repeats: int | None = None) -> tuple[Round, ...]:
    """The schedule of an epoch. repeats: rounds of visits between all groups; by default as many as the run has"""
    train = info.config.train
    every = train.triple_passes // passes_of(info) if repeats is None else repeats
    return schedule(info.layout.shards, train.seed, epoch, info.groups, info.lanes, every).rounds


def sync_points(info: RunInfo, scheme: Scheme, manifest: Manifest, round_: Round) -> int:
    """Sync points of a round: from the mean lane's batches, so that it does not depend on who runs them."""
    visits = [visit for visit in round_.visits if visit]
    if not scheme.graph:
        return _TEXT_STEPS
    every = info.config.train.sync_batches if info.lanes > 1 else 1
    counted = sum(source.batches_of(scheme, manifest, visit) for source in sources_of(scheme) for visit in visits)
    return max(1, math.ceil(passes_of(info) * counted / len(visits) / every))


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self._since = self._since, time.perf_counter()
        return self._since - before


class _Progress:
    """Steps of an epoch that are done, on a progress bar of epochs."""

    def __init__(self, total: int, done: int, bar: Task) -> None:
        self._total, self._done, self.bar, self._shown = total, done, bar, 0.0
        bar.advance(done / total)

    @property
    def share(self) -> float:
        """Of the epoch, done."""
        return self._done / self._total

    def advance(self) -> bool:
        """One step further; whether it is time to show how it goes."""
        self._done += 1
        self.bar.advance(1 / self._total)
        if time.perf_counter() - self._shown <= _SHOWN_EVERY:
            return False
        self._shown = time.perf_counter()
        return True


def _visit_of(lane: int, epoch: int, round_: Round) -> tuple[int, Visit] | None:
    visit = round_.visits[lane]
    return (epoch, visit) if visit else None
