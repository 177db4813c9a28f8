"""What a worker is made of: its backend, its part of the table, dense parameters and sources."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist

from distjoint.backends import Backend, backend_of, choose_device
from distjoint.base.arrays import Bools
from distjoint.base.machine import cores
from distjoint.couplings.base import RELATION
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.model.scorers import scorer
from distjoint.model.weighed import in_parts
from distjoint.names import OLD
from distjoint.runs.folder import CarriedFrom, RunInfo
from distjoint.table.arena import Arena, Carried
from distjoint.table.layout import Layout
from distjoint.table.parts import table_bytes
from distjoint.train.dense import Dense
from distjoint.train.residency import slots_for, slots_needed
from distjoint.train.sources.base import Resources, Source, sources_of
from distjoint.train.stream import Stream


@dataclass(frozen=True)
class Place:
    """Where a worker stands: its rank of how many, its device, its threads."""

    rank: int
    workers: int
    device: torch.device
    threads: int

    @property
    def beside(self) -> int:
        """Workers that share this machine's memory."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.workers))

    def worker_of(self, lane: int, lanes: int) -> int:
        """As `lane_worker`."""
        return lane_worker(lane, lanes, self.workers)


def local_place(threads: int | None) -> Place:
    """A worker alone in this process: the first GPU where there is one, else all cores."""
    return Place(0, 1, choose_device(), threads or cores())


def group_place(threads: int | None) -> Place:
    """A worker of torch's process group; GPUs are dealt by local rank."""
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return Place(dist.get_rank(), dist.get_world_size(), choose_device(), threads or max(1, cores() // beside))


@dataclass(frozen=True)
class Parts:
    """A worker's own.

    fits   whether the whole table may be in memory
    """

    resources: Resources
    sources: tuple[Source, ...]
    fits: bool

    @property
    def backend(self) -> Backend:
        return self.resources.backend

    def close(self) -> None:
        """Give back threads and scratch files."""
        self.resources.stream.close()
        self.resources.backend.close()


def scheme_of(info: RunInfo) -> Scheme:
    """The scheme of a run."""
    return Scheme.of(
        info.config,
        "text" in info.sources,
        "graph" in info.sources,
        rotates=info.groups > 2,
        carries=info.old is not None,
    )


def lane_worker(lane: int, lanes: int, workers: int) -> int:
    """The rank that trains a lane: lanes are dealt to workers in runs; workers beyond the number of lanes idle."""
    return lane * min(workers, lanes) // lanes


def arena_slots(info: RunInfo, scheme: Scheme, layout: Layout, rank: int, workers: int) -> tuple[int, bool]:
    """Slots of a worker's arena, and whether the whole table may be in memory."""
    parts, limit = scheme.parts, info.config.train.memory
    lanes = sum(lane_worker(lane, info.lanes, workers) == rank for lane in range(info.lanes))
    if limit is not None and table_bytes(parts, layout) > limit:
        return slots_for(parts, layout, info.groups, lanes, limit), False
    return (layout.shards if workers == 1 else slots_needed(layout, info.groups, lanes)), True


def build(info: RunInfo, dataset: Dataset, place: Place, given: Mapping[str, Bools] | None = None) -> Parts:
    """Allocate all that a worker of a run needs; no shard has values yet.

    given   `word`, `entity` -> bool[rows]: which begin with vectors of `train.init`
    """
    config, scheme, layout = info.config, scheme_of(info), dataset.layout
    parts = scheme.parts
    slots, fits = arena_slots(info, scheme, layout, place.rank, place.workers)
    backend = backend_of(place.device, place.threads)
    old = Layout(**info.old.layout.model_dump()).rows if info.old else 0
    held, carried = scheme.held(layout.rows, old, given or {}), Carried(old, config.train.old_rate if old else 1.0)
    arena = Arena(parts, layout, slots, place.device, scheme.frozen, held, carried)
    kinds = sources_of(scheme)
    decoders = {kind.name: kind.decoder(dataset, config) for kind in kinds}
    stream = Stream(dataset, decoders, place.threads, workers=place.beside, disk=config.train.disk_cache)
    dense = build_dense(scheme, dataset.manifest.counts.get("relations", 0), backend, info.old)
    resources = Resources(scheme, dataset, arena, backend, stream, dense)
    return Parts(resources, tuple(kind(resources) for kind in kinds), fits)


def build_dense(scheme: Scheme, relations: int, backend: Backend, old: CarriedFrom | None = None) -> Dense:
    """The dense parameters of a run, as they begin: none where no graph trains.

    old   the run that it goes on from: its relations, and all that are no relations, train as its rows do
    """
    config, generator = scheme.config, torch.Generator().manual_seed(scheme.config.train.seed)
    rows = relations * (2 if config.model.reciprocal else 1)
    used = in_parts(scorer(config.model.scorer), scheme.coupling.parts)
    parameters = scheme.coupling.dense(config, used, rows, generator) if scheme.graph else {}
    pace = {}
    if old and (config.train.old_rate != 1 or OLD in config.train.freeze):
        of_old = 0.0 if OLD in config.train.freeze else config.train.old_rate
        for name in parameters:
            pace[name] = torch.full((1,), of_old)
            if name.endswith(RELATION):
                is_old = torch.arange(rows) % max(relations, 1) < old.relations
                pace[name] = torch.where(is_old, of_old, 1.0)
    return Dense(parameters, scheme.optimizer, config.train.freeze, backend, pace)
