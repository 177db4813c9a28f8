"""A worker: its lanes, epoch by epoch. The same loop alone in a process and as one of many."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from distjoint.data.dataset import Dataset
from distjoint.kernels.compiled import announce
from distjoint.kernels.glove import WaveTrainer, warm_up
from distjoint.kernels.memory import keep_freed
from distjoint.kernels.rows import RowKernels
from distjoint.machine import cores
from distjoint.progress import Progress, Task, short
from distjoint.run_folder import RunInfo
from distjoint.storage import Location
from distjoint.table.arena import Arena
from distjoint.table.parts import Scheme, Shard, initial_shard
from distjoint.table.views import Mapped, Own, Tied, View, Word
from distjoint.train import checkpoint
from distjoint.train.dense import Dense
from distjoint.train.graph import GraphLoss
from distjoint.train.journal import Journal
from distjoint.train.lane import Equipment, Lane, batches_of
from distjoint.train.rates import rates
from distjoint.train.residency import Parking, Residency, slots_needed
from distjoint.train.schedule import Round, schedule
from distjoint.train.stream import Stream
from distjoint.train.tally import Tally
from distjoint.train.validate import Validation

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
        keep_freed()
        torch.set_num_threads(1)  # the threads are distjoint's own: over cuts of a batch, and tiles of a wave
        self.scheme = Scheme(self.config.model.dim, "text" in info.sources, "graph" in info.sources, info.coupling)
        lanes = sum(self._worker_of(lane) == place.rank for lane in range(info.lanes))
        limit = self.config.train.memory
        needed = slots_needed(layout, info.groups, lanes)
        fits = limit is None or self.scheme.bytes(layout) <= limit
        slots = layout.shards if fits and place.workers == 1 else needed
        self.arena = Arena(self.scheme, layout, slots, place.device)
        relations = dataset.manifest.counts.get("relations", 0)
        self.dense = Dense(self.scheme, self.config, relations, place.device)
        self.rows = RowKernels(self.arena.rows, place.threads)
        self.waves = WaveTrainer(place.threads)
        self.stream = Stream(dataset, self.config.loss, place.threads, workers=self._neighbours())
        self.parking = Parking(on_disk=not fits)
        self.residency = Residency(self.arena, self.parking, place.rank, self._worker_of, self._begin)
        if self.start:
            self.dense.load(self.start.dense())

    def train(self) -> None:
        """Run the epochs that are left. Raises DivergedError when a loss is not finite."""
        done = self.start.manifest.epoch if self.start else 0
        first = self.place.rank == 0
        journal = Journal(self.run, done) if first else None
        validation = Validation(self.run, self.info, self.dataset, journal.lines if journal else [])
        equipment = self._equipment()
        epochs = self.config.train.epochs
        try:
            if journal and self.start and len(journal.lines) < done:  # stopped just after it was written
                self._publish(dict(self.start.manifest.metrics), validation, journal)
            validation.share()
            with announce(self.progress):
                warm_up()
            with self.progress.task("training", total=epochs) as bar:
                bar.advance(done)
                for epoch in range(done, epochs):
                    if validation.exhausted():
                        break
                    metrics = self._epoch(epoch, equipment, bar)
                    shards, dense = self.residency.held(), self.dense.tensors()
                    checkpoint.write(self.run, self.info, epoch + 1, shards, dense, metrics)
                    if journal:
                        self._publish(metrics, validation, journal)
                    validation.share()
        finally:
            if journal:
                journal.close()

    def close(self) -> None:
        """Give back threads and scratch files."""
        self.parking.close()
        self.stream.close()
        self.waves.close()
        self.rows.close()

    def _publish(self, metrics: dict[str, Any], validation: Validation, journal: Journal) -> None:
        """Measure the checkpoint just written, choose the run's result, say so; rank 0 only."""
        name = checkpoint.name_of(metrics["epoch"])
        metrics |= validation.after(metrics["epoch"], name)
        journal.write(metrics)
        self.info = self.info.model_copy(update={"result": validation.best or name})
        self.info.write(self.run)
        checkpoint.prune(self.run, self.config.train.keep, validation.best)
        self.progress.say(describe(metrics, self.config.train.epochs))

    def _epoch(self, epoch: int, equipment: Equipment, bar: Task) -> dict[str, Any]:
        """Train every round of an epoch; its metrics, the same on every worker."""
        config, tally, began = self.config.train, Tally(), time.perf_counter()
        plan = schedule(self.dataset.layout.shards, config.seed, epoch, self.info.groups, self.info.lanes)
        steps = [self._steps(round_) for round_ in plan.rounds]
        total, taken = sum(steps), 0
        for round_, count in zip(plan.rounds, steps, strict=True):
            self.residency.settle(round_)
            lanes = [
                Lane(equipment, visit, epoch, tally)
                for number, visit in enumerate(round_.visits)
                if visit and self._worker_of(number) == self.place.rank
            ]
            for step in range(count):
                now = rates(self.config, self.scheme, (epoch + taken / total) / self.config.train.epochs)
                for lane in lanes:
                    lane.advance(step, count, now)
                if self.dense.values:
                    self.dense.sync(now.graph)
                taken += 1
                bar.advance(1 / total)
                bar.note(_rates(tally))
        metrics = tally.over_workers(self.place.device).metrics(self.place.workers)
        return {"epoch": epoch + 1, **metrics, "seconds": time.perf_counter() - began}

    def _steps(self, round_: Round) -> int:
        """Sync points of a round: from the mean lane's batches, so that it does not depend on who runs them."""
        visits = [visit for visit in round_.visits if visit]
        if not self.scheme.graph:
            return _TEXT_STEPS
        every = self.config.train.sync_batches if self.info.lanes > 1 else 1
        mean = sum(batches_of(visit, self.dataset.manifest, self.config) for visit in visits) / len(visits)
        return max(1, math.ceil(mean / every))

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
            np.asarray(degree > 0),
        )

    def _losses(self) -> tuple[GraphLoss, ...]:
        """The graph losses of the coupling: one, or for `dual` one on entities and one on words."""
        if not self.scheme.graph:
            return ()
        values, gradients = self.dense.values, self.dense.gradients

        def loss(view: View, name: str, map_gradient: Tensor | None = None) -> GraphLoss:
            return GraphLoss(self.config, view, self.rows, values[name], gradients[name], map_gradient)

        if self.scheme.coupling == "dual":
            entities = Mapped(self.arena, self.rows, values["map"], self.config.graph.own_l2)
            words = Word(self.arena, self.rows)
            return loss(entities, "relation", gradients["map"]), loss(words, "word_relation")
        tied = self.scheme.coupling == "tie"
        return (loss(Tied(self.arena, self.rows) if tied else Own(self.arena, self.rows), "relation"),)

    def _begin(self, shard: int) -> Shard:
        if self.start:
            return self.start.shard(shard)
        return initial_shard(self.scheme, self.config, self.dataset.layout, shard)

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
        parts.append(f"valid MRR {metrics['valid_mrr']:.4f}")
    return "  ".join([*parts, f"{metrics['seconds']:.1f} s"])


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
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    threads = threads or max(1, cores() // beside)
    return Place(dist.get_rank(), dist.get_world_size(), device, threads)
