"""A worker: its lanes, epoch by epoch. The same loop alone in a process and as one of many."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from distjoint.backends.cpu import glove
from distjoint.backends.cpu.compiled import announce
from distjoint.backends.cpu.glove import WaveTrainer
from distjoint.backends.cpu.memory import keep_freed
from distjoint.backends.cpu.rows import RowKernels
from distjoint.couplings.views import Mapped, Own, Tied, View, Word
from distjoint.data.dataset import Dataset
from distjoint.machine import cores
from distjoint.progress import Progress, Task, short
from distjoint.runs import checkpoint
from distjoint.runs.checkpoint import Position
from distjoint.runs.folder import RunInfo
from distjoint.runs.journal import Journal
from distjoint.storage import Location
from distjoint.table.arena import Arena
from distjoint.table.parts import Scheme, Shard, initial_shard
from distjoint.train.dense import Dense
from distjoint.train.full import FullLoss
from distjoint.train.graph import GraphLoss
from distjoint.train.initial import begin_with, open_initial
from distjoint.train.lane import Equipment, Lane, batches_of
from distjoint.train.peers import Watch
from distjoint.train.rates import rates
from distjoint.train.residency import Parking, Residency, slots_for, slots_needed
from distjoint.train.schedule import Round, Visit, schedule
from distjoint.train.stream import Stream
from distjoint.train.tally import Tally
from distjoint.train.validate import Validation
from distjoint.train.warm_up import warm_up

_TEXT_STEPS = 32
"""Steps of a round that has no triples: how often the progress bar moves."""


@dataclass(frozen=True)
class Place:
    """Where a worker stands: its rank of how many, its device, its threads."""

    rank: int
    workers: int
    device: torch.device
    threads: int


class Worker:
    """Trains its lanes of a run from the newest checkpoint to the last epoch."""

    def __init__(self, run: Location, info: RunInfo, dataset: Dataset, place: Place, progress: Progress) -> None:
        self.run, self.info, self.dataset, self.place, self.progress = run, info, dataset, place, progress
        self.config, layout = info.config, dataset.layout
        self.start = checkpoint.newest(run, info)
        self.initial = open_initial(run) if self.config.train.init and not self.start else None
        keep_freed()
        torch.set_num_threads(1)  # the threads are distjoint's own: over cuts of a batch, and tiles of a wave
        self.scheme = Scheme.of(self.config, "text" in info.sources, "graph" in info.sources)
        lanes = sum(self._worker_of(lane) == place.rank for lane in range(info.lanes))
        limit = self.config.train.memory
        fits = limit is None or self.scheme.bytes(layout) <= limit
        slots = layout.shards if fits and place.workers == 1 else slots_needed(layout, info.groups, lanes)
        if limit is not None and not fits:
            slots = slots_for(self.scheme, layout, info.groups, lanes, limit)
        self.arena = Arena(self.scheme, layout, slots, place.device)
        relations = dataset.manifest.counts.get("relations", 0)
        self.dense = Dense(self.scheme, self.config, relations, place.device)
        self.rows = RowKernels(self.arena.rows, place.threads)
        self.waves = WaveTrainer(place.threads)
        cache = self.config.train.disk_cache
        self.stream = Stream(dataset, self.config.loss, place.threads, workers=self._neighbours(), disk=cache)
        self.parking = Parking(on_disk=not fits)
        self.residency = Residency(self.arena, self.parking, place.rank, self._worker_of, self._begin)
        self.passes = 1 if self.scheme.graph and info.groups > 2 else self.config.train.triple_passes
        self.at = Position(0)
        if self.start:
            self.dense.load(self.start.dense())
            self.at = Position(self.start.manifest.epoch, self.start.manifest.round)
        self.journal = Journal(run, self.at.epoch) if place.rank == 0 else None
        self.validation = Validation(run, info, dataset, self.journal.lines if self.journal else [])
        self.checkpoints = checkpoint.Writer(run, info, self._publish)
        self.saved = time.monotonic()
        self.watch = Watch() if place.workers > 1 else None

    def train(self) -> None:
        """Run what is left. Raises DivergedError when a loss is not finite."""
        if self.journal and self.start and len(self.journal.lines) < self.at.epoch:
            self._tell(dict(self.start.manifest.metrics))  # stopped just after it was written
        self.validation.share()
        equipment, epochs = self._equipment(), self.config.train.epochs
        with announce(self.progress):
            if self.scheme.text:
                glove.warm_up()
            if self.scheme.graph and self.place.device.type == "cpu":
                warm_up(self.config, self._graph_loss)
        with announce(self.progress), self.progress.task("training", total=epochs) as bar:
            bar.advance(self.at.epoch)
            while self.at.epoch < epochs and not self.validation.exhausted():
                metrics = self._epoch(self.at.epoch, equipment, bar)
                following = Position(self.at.epoch + 1)
                if self._is_kept(following.epoch):
                    self._checkpoint(following, metrics=metrics)
                else:
                    self.at = following
                if self.journal:
                    self._tell(metrics)
                self.validation.share()
            self.checkpoints.wait()
        if self.watch:
            dist.barrier()  # nobody leaves before all are done

    def close(self) -> None:
        """Give back threads and scratch files."""
        if self.watch:
            self.watch.close()
        self.checkpoints.close()
        if self.journal:
            self.journal.close()
        self.parking.close()
        self.stream.close()
        self.waves.close()
        self.rows.close()

    def _checkpoint(
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
            self._publish(Position(metrics["epoch"]).name)
        self.journal.write(metrics)
        self.progress.say(describe(metrics, self.config.train.epochs))

    def _publish(self, name: str) -> None:
        """Choose the run's result, now that the checkpoint `name` is complete; rank 0 only."""
        best = self.validation.best
        self.info = self.info.model_copy(update={"result": best or name})
        self.info.write(self.run)
        checkpoint.prune(self.run, self.config.train.keep, best)

    def _epoch(self, epoch: int, equipment: Equipment, bar: Task) -> dict[str, Any]:
        """Train the rounds of the epoch that are left; its metrics, the same on every worker."""
        config, done, began = self.config.train, self.at.round, time.perf_counter()
        tally, rounds, next_rounds = self._tally_so_far(), self._rounds(epoch), self._rounds(epoch + 1)
        steps = [self._steps(round_) for round_ in rounds]
        total, taken = sum(steps), sum(steps[:done])
        bar.advance(taken / total)
        for number in range(done, len(steps)):
            self.residency.settle(rounds[number], (rounds + next_rounds)[number + 1 :])
            coming = (epoch, rounds[number + 1]) if number + 1 < len(rounds) else (epoch + 1, next_rounds[0])
            lanes = [
                Lane(equipment, visit, epoch, tally, self.passes, _visit_of(lane, *coming))
                for lane, visit in enumerate(rounds[number].visits)
                if visit and self._worker_of(lane) == self.place.rank
            ]
            for step in range(steps[number]):
                now = rates(self.config, self.scheme, (epoch + taken / total) / config.epochs)
                for lane in lanes:
                    lane.advance(step, steps[number], now)
                if self.dense.values:
                    self.dense.sync(now.graph)
                taken += 1
                bar.advance(1 / total)
                bar.note(_rates(tally))
            if number + 1 < len(steps) and self._is_due(number + 1):
                tally.seconds += time.perf_counter() - began
                began = time.perf_counter()
                self._checkpoint(Position(epoch, number + 1), tally=asdict(tally.over_workers(self.place.device)))
        tally.seconds += time.perf_counter() - began
        tally = tally.over_workers(self.place.device)
        return {"epoch": epoch + 1, **tally.metrics(self.place.workers), "seconds": tally.seconds / self.place.workers}

    def _tally_so_far(self) -> Tally:
        """Of the epoch a checkpoint broke off in; one worker takes it up for all."""
        return Tally(**self.start.manifest.tally) if self.start and self.at.round and self.place.rank == 0 else Tally()

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
        """Where shards rotate, each pass over the triples is a turn of its own.

        Passes over the same few triples in a row learn less: FB15k-237 with 8 groups and 5 passes per epoch, 9 epochs:
        MRR .290 in one turn, .303 in five (.311 with two groups, where all shards are always there).
        """
        turns = self.config.train.triple_passes // self.passes
        config, layout = self.config.train, self.dataset.layout
        return schedule(layout.shards, config.seed, epoch, self.info.groups, self.info.lanes, turns).rounds

    def _steps(self, round_: Round) -> int:
        """Sync points of a round: from the mean lane's batches, so that it does not depend on who runs them."""
        visits = [visit for visit in round_.visits if visit]
        if not self.scheme.graph:
            return _TEXT_STEPS
        every = self.config.train.sync_batches if self.info.lanes > 1 else 1
        batches = self.passes * sum(batches_of(visit, self.dataset.manifest, self.config) for visit in visits)
        return max(1, math.ceil(batches / len(visits) / every))

    def _equipment(self) -> Equipment:
        degree = self.dataset.rows(["degree"]).column("degree").to_numpy() if self.scheme.graph else np.empty(0)
        return Equipment(
            self.config,
            self.scheme,
            self.dataset.manifest,
            self.arena,
            self.stream,
            self.waves,
            self._losses(),
            np.asarray(degree),
            self.dataset.domains() if self.scheme.graph and self.config.graph.typed else None,
        )

    @property
    def _graph_loss(self) -> type[GraphLoss]:
        return GraphLoss if self.config.graph.candidates == "sampled" else FullLoss

    def _losses(self) -> tuple[GraphLoss, ...]:
        """The graph losses of the coupling: one, or for `dual` one on entities and one on words."""
        if not self.scheme.graph:
            return ()
        values, gradients = self.dense.values, self.dense.gradients

        def loss(view: View, name: str, map_gradient: Tensor | None = None) -> GraphLoss:
            return self._graph_loss(self.config, view, self.rows, values[name], gradients[name], map_gradient)

        if self.scheme.coupling == "dual":
            entities = Mapped(self.arena, self.rows, values["map"], self.config.graph.own_l2)
            words = Word(self.arena, self.rows)
            return loss(entities, "relation", gradients["map"]), loss(words, "word_relation")
        tied = self.scheme.coupling == "tie"
        return (loss(Tied(self.arena, self.rows) if tied else Own(self.arena, self.rows), "relation"),)

    def _begin(self, shard: int) -> Shard:
        if self.start:
            return self.start.shard(shard)
        parts = initial_shard(self.scheme, self.config, self.dataset.layout, shard)
        if self.initial:
            parts = begin_with(parts, self.initial.shard(shard), self.scheme, self.dataset.layout, shard)
        return parts

    def _worker_of(self, lane: int) -> int:
        """Lanes are dealt to workers in runs; workers beyond the number of lanes idle."""
        return lane * min(self.place.workers, self.info.lanes) // self.info.lanes

    def _neighbours(self) -> int:
        """Workers that share this machine's memory."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.place.workers))


def describe(metrics: Mapping[str, Any], epochs: int) -> str:
    """One line about an epoch."""
    parts = [f"epoch {metrics['epoch']}/{epochs}"]
    if "text_loss" in metrics:
        parts.append(f"text loss {metrics['text_loss']:.5f} ({short(metrics['cells_per_second'])} cells/s)")
    if "graph_loss" in metrics:
        parts.append(f"graph loss {metrics['graph_loss']:.3f} ({short(metrics['triples_per_second'])} triples/s)")
    if "word_graph_loss" in metrics:
        parts.append(f"on words {metrics['word_graph_loss']:.3f}")
    if "update_cosine" in metrics:
        parts.append(f"updates: cosine {metrics['update_cosine']:+.2f}, norm ratio {metrics['update_norm_ratio']:.2g}")
    if "valid_mrr" in metrics:
        among = " (typed)" if metrics.get("typed") else ""
        parts.append(f"valid MRR{among} {metrics['valid_mrr']:.4f}")
    return "  ".join([*parts, f"{metrics['seconds']:.1f} s"])


def _visit_of(lane: int, epoch: int, round_: Round) -> tuple[int, Visit] | None:
    visit = round_.visits[lane]
    return (epoch, visit) if visit else None


def _rates(tally: Tally) -> str:
    metrics = tally.metrics(1)
    parts = [
        f"{unit} {metrics[f'{name}_loss']:.4g}, {short(metrics[f'{samples}_per_second'])} {samples}/s"
        for name, unit, samples in (("text", "text", "cells"), ("graph", "graph", "triples"))
        if f"{name}_loss" in metrics
    ]
    return "  ".join(parts)


def local_place(threads: int | None) -> Place:
    """A worker alone in this process: the first GPU where there is one, else all cores."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    return Place(0, 1, device, threads or cores())


def group_place(threads: int | None) -> Place:
    """A worker of torch's process group; GPUs are dealt by local rank."""
    local, beside = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)  # collectives of objects take the current one
    threads = threads or max(1, cores() // beside)
    return Place(dist.get_rank(), dist.get_world_size(), device, threads)
