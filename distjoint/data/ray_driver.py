"""Counting on several Ray workers: the only file of `data/` that knows Ray.

The token stream goes into Ray's object store once, in pieces; each worker reads all of it and counts the rows
of its own shards, which nobody else touches, straight to the dataset's storage. So nothing is merged, and the
counts have the same bits as those of one process.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayTaskError

from distjoint import machine
from distjoint.data.cooccurrence import Blocks, Plan, count_shards
from distjoint.data.partition import Written
from distjoint.data.spool import Int32s
from distjoint.errors import DistjointError
from distjoint.progress import Silent, Task
from distjoint.ray_session import ray_session
from distjoint.storage import Location, locate

_PIECE = 1 << 24


def count(blocks: Blocks, plan: Plan, workers: int, folder: Location, task: Task) -> list[Written]:
    """As `cooccurrence.count_shards` for all shards, by `workers` Ray tasks.

    Connects to the cluster of RAY_ADDRESS, or starts Ray on this machine and stops it again.
    """
    try:
        with ray_session(Silent()):
            return _count(blocks, plan, workers, folder, task)
    except RayTaskError as error:
        # What the task raised is the sentence the user is meant to read.
        if isinstance(error.cause, DistjointError):
            raise error.cause from None
        raise


def _count(blocks: Blocks, plan: Plan, workers: int, folder: Location, task: Task) -> list[Written]:
    pieces = [ray.put(piece) for piece in _pieces(blocks())]
    workers = min(workers, plan.layout.shards)
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)) // workers)
    remote = ray.remote(num_cpus=cores, max_retries=2)(_task)
    # Every shard holds the same mix of frequent and rare rows, so equal numbers are equal work.
    shares = [list(range(worker, plan.layout.shards, workers)) for worker in range(workers)]
    waiting = {
        remote.remote(pieces, plan, cores, share, folder.absolute, dict(folder.options)): share
        for share in shares
        if share
    }
    written: list[Written] = []
    tokens = plan.tokens / plan.layout.shards
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1)
        for reference in done:
            written.extend(ray.get(reference))
            task.advance(tokens * len(waiting.pop(reference)))
    return sorted(written, key=lambda part: part.file.path)


def _task(
    pieces: list[Any], plan: Plan, cores: int, shards: list[int], url: str, options: dict[str, Any]
) -> list[Written]:
    """Runs on a worker. Scratch is the worker's own, so the driver's folder does not count."""
    from dataclasses import replace

    mine = replace(plan, threads=min(cores, machine.cores()), scratch=None)
    return count_shards(partial(_read, pieces), mine, shards, locate(url, options), Silent())


def _read(pieces: list[Any]) -> Iterator[Int32s]:
    for reference in pieces:
        # One at a time: the object store may hold more than this machine's memory.
        yield ray.get(reference)


def _pieces(blocks: Iterator[Int32s]) -> Iterator[Int32s]:
    """Blocks put together to pieces that are worth an object."""
    waiting: list[Int32s] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= _PIECE:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)
