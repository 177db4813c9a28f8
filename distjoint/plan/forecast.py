"""Forecast: what a run moves and how long it takes, by its own schedule, gone through round by round.

Lanes of a round train at the same time, and the round lasts as long as the slowest worker. Parking and taking back
goes on meanwhile, so of both the longer counts. What workers send each other they wait for, and the sums of dense
gradients too. A checkpoint comes after each epoch. Nothing here is drawn, and no clock is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distjoint.data.dataset import Dataset
from distjoint.plan.nodes import Node
from distjoint.plan.speed import Speed, visit_weight
from distjoint.runs.folder import RunInfo
from distjoint.train.build import lane_worker, scheme_of
from distjoint.train.epoch import passes_of, rounds_of, sync_points
from distjoint.train.memory import Memory, memory_of
from distjoint.train.on_storage import checkpoint_bytes, dense_shapes
from distjoint.train.schedule import Round
from distjoint.train.sources.base import sources_of
from distjoint.train.traffic import rehearse

_WHOLE = 4000
"""Visits of an epoch that are all gone through; of more, one of the rounds of visits between all groups."""
_LOOKS = 3_000_000
"""Shards that are looked at, about, when a round's moves are rehearsed: beyond, the first rounds stand for all."""
_RANKS = 4
"""Workers whose moves are rehearsed: they are like the others'."""
_LATENCY = 1e-3
"""Seconds that a sum of dense gradients takes however small it is: a collective by gloo between two machines."""


@dataclass(frozen=True)
class Epoch:
    """An epoch of a run, but for the first, in which shards begin.

    visits      of lanes with pairs of groups
    samples     that train, by what their source calls them
    parked      bytes of shards written to where they wait and read from there, of all workers
    sent        bytes of shards that workers send each other
    summed      bytes of dense gradients that workers send each other
    syncs       sums of dense gradients over lanes
    compute, disk, network   seconds of each, were there nothing else
    seconds     with what goes on at the same time, and without the checkpoint
    checkpoint  seconds of writing one
    sampled     whether some rounds stand for all
    """

    rounds: int
    visits: int
    samples: dict[str, float]
    parked: float
    sent: float
    summed: float
    syncs: float
    compute: float
    disk: float
    network: float
    seconds: float
    checkpoint: float
    sampled: bool


def memory_and_epoch(
    info: RunInfo, data: Dataset, workers: int, node: Node, speed: Speed, beside: int
) -> tuple[Memory, Epoch]:
    """Memory of a worker, and an epoch of the run. beside: workers that share a node"""
    schedules = _schedules(info)
    rounds = schedules[1]
    looked = _looked_at(info, rounds)
    memory = memory_of(
        info,
        data,
        workers,
        rounds[:looked],
        beside=beside,
        available=node.memory,
        threads=info.config.train.threads or node.cores,
    )
    return memory, _epoch(info, data, workers, node, speed, [list(each) for each in schedules], looked)


def _schedules(info: RunInfo) -> list[tuple[Round, ...]]:
    """Three epochs that follow each other; where one has too many rounds, a pass of each."""
    pairs = info.groups * (info.groups - 1) // 2
    repeats = info.config.train.triple_passes // passes_of(info)
    whole = repeats if pairs * repeats <= _WHOLE else 1
    if pairs * info.lanes > _WHOLE or info.groups == 2:
        one = rounds_of(info, 0, whole)
        return [one, one, one]
    return [rounds_of(info, epoch, whole) for epoch in range(3)]


def _looked_at(info: RunInfo, rounds: Sequence[Round]) -> int:
    each = 12 * info.lanes**2 * -(-info.layout.shards // info.groups)
    return min(len(rounds), max(8, _LOOKS // each))


def _epoch(
    info: RunInfo,
    data: Dataset,
    workers: int,
    node: Node,
    speed: Speed,
    schedules: Sequence[list[Round]],
    looked: int,
) -> Epoch:
    scheme, busy = scheme_of(info), min(workers, info.lanes)
    kinds, passes = sources_of(scheme), passes_of(info)
    cores = info.config.train.threads or node.cores
    rounds, ranks = schedules[1], range(min(busy, _RANKS))
    few = [each[:looked] for each in schedules]
    moves = [rehearse(info, data.layout, workers, rank, few) for rank in ranks]
    parked = np.array([move.parked for move in moves], float)
    sent = np.array([move.sent for move in moves], float)
    dense = 4 * sum(int(np.prod(shape)) for name, shape in _values(info, data).items()) if scheme.graph else 0
    per_sum = 2 * dense * (busy - 1) / busy
    disk, network = 1e6 * node.disk, node.network * 1e9 / 8
    samples = {kind.unit: 0.0 for kind in kinds}
    compute, syncs, lasts = np.zeros(looked), np.zeros(looked), np.zeros(looked)
    for number, round_ in enumerate(rounds[:looked]):
        of_worker = [0.0] * busy
        for lane, visit in enumerate(round_.visits):
            if visit is None:
                continue
            here = {kind.unit: float(kind.visit_samples(scheme, data, visit, passes)) for kind in kinds}
            rows = visit_weight(data, visit) if info.groups > 2 else 0
            of_worker[lane_worker(lane, info.lanes, workers)] += speed.seconds(here, rows, cores)
            for unit, count in here.items():
                samples[unit] += count
        compute[number] = max(of_worker)
        syncs[number] = sync_points(info, scheme, data.manifest, round_) if dense and busy > 1 else 0
    waits = sent.max(0) / network + syncs * (_LATENCY + per_sum / network)
    lasts = np.maximum(compute, parked.max(0) / disk) + waits
    repeats = info.config.train.triple_passes // passes
    done = len(schedules[1]) / len(rounds_of(info, 0, 1)) if info.groups > 2 else 1
    scale = repeats / done * len(rounds) / looked
    all_ranks = busy / len(ranks)
    return Epoch(
        rounds=round(len(rounds) * repeats / done),
        visits=round(sum(visit is not None for each in rounds for visit in each.visits) * repeats / done),
        samples={unit: count * scale for unit, count in samples.items()},
        parked=float(parked.sum()) * scale * all_ranks,
        sent=float(sent.sum()) * scale * all_ranks,
        summed=float(syncs.sum()) * per_sum * busy * scale,
        syncs=float(syncs.sum()) * scale,
        compute=float(compute.sum()) * scale,
        disk=float((parked.max(0) / disk).sum()) * scale,
        network=float(waits.sum()) * scale,
        seconds=float(lasts.sum()) * scale,
        checkpoint=checkpoint_bytes(info, data) / busy / disk,
        sampled=looked < len(rounds) or done < repeats,
    )


def _values(info: RunInfo, data: Dataset) -> dict[str, tuple[int, ...]]:
    """Shapes of the dense parameters, without the state of their steps."""
    scheme, relations = scheme_of(info), data.manifest.counts.get("relations", 0)
    states = tuple(f".{kind}" for kind in scheme.optimizer.state(1))
    return {name: shape for name, shape in dense_shapes(scheme, relations).items() if not name.endswith(states)}
