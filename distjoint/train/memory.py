"""What a worker of a run will take of memory, before it starts: by the run's own layout, parts, slots and visits.

What is counted (rows, their index, decoded partitions) is counted by the code that allocates it. What is scratch
(batches, known positives, the reading of text) each source says of itself. `scripts/bench/plan.py` compares the sums
with the peaks of processes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from distjoint.base.errors import UsageError
from distjoint.base.machine import available_memory, cores
from distjoint.base.machine import memory as memory_here
from distjoint.base.sizes import in_bytes
from distjoint.data.dataset import Dataset
from distjoint.runs.folder import RunInfo
from distjoint.table.parts import table_bytes
from distjoint.train.build import arena_slots, lane_worker, scheme_of
from distjoint.train.epoch import rounds_of
from distjoint.train.on_storage import checkpoint_bytes
from distjoint.train.plan import plan
from distjoint.train.residency import shard_bytes
from distjoint.train.schedule import Round, Visit
from distjoint.train.sources.base import sources_of
from distjoint.train.stream import SHARE_OF_MEMORY

PROGRAM = 480_000_000
"""Bytes of a worker with nothing to train: Python, torch, numba with what it compiled, Arrow."""
_INDEX_BYTES = 17
"""Of a row of the arena: its places in W and C and in X, and whether it has a word."""
_SHARES = (0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.12, 0.06, 0.03)
"""Of the memory that there is: what `train.memory` may be, tried from the largest."""
_ALL_ALIKE = 64
_COPIES = 4
"""Shards that begin or are written to a checkpoint take so many times their size, and it stays with the process."""
_ROW_BYTES = 8
"""Of a row of the table: the degree of its entity."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a worker at its most, by what takes them.

    program      Python and its libraries, by themselves
    table        slots of the arena: rows with the state of their steps
    index        where rows lie in it
    parked       shards in memory beside the arena
    samples      decoded partitions that are kept
    scratch      batches, known positives, reading of text
    copies       shards that are written to a checkpoint, or on their way
    """

    program: int
    table: int
    index: int
    parked: int
    samples: int
    scratch: int
    copies: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


def typical_round(info: RunInfo) -> Round:
    """A round of visits of the run's size, for sizes alone: every lane has the same shards, and all between them."""
    shards = tuple(range(min(info.layout.shards, 2 * -(-info.layout.shards // info.groups))))
    partitions = tuple((i, j) for i in shards for j in shards)
    return Round((Visit((0, 1), shards, partitions, partitions, 0),) * info.lanes)


def memory_of(
    info: RunInfo,
    data: Dataset,
    workers: int,
    rounds: Iterable[Round],
    *,
    beside: int | None = None,
    available: int | None = None,
    threads: int | None = None,
) -> Memory:
    """What the worker of rank 0 takes.

    rounds      of an epoch, or some that are like the others
    beside      workers that share a machine; by default all
    available   bytes of the machine; by default this one's
    threads     of the worker; by default as the run will have
    """
    layout, scheme = data.layout, scheme_of(info)
    parts, kinds, beside = scheme.parts, sources_of(scheme), beside or workers
    threads = threads or info.config.train.threads or max(1, cores() // beside)
    slots, fits = arena_slots(info, scheme, layout, 0, workers)
    shards = range(layout.shards)
    most = {"word": max(map(layout.shard_words, shards)), "entity": max(map(layout.shard_entities, shards))}
    table = 4 * slots * sum(most[part.of] * max(part.width, 1) for part in parts)
    largest, per_shard = max(map(layout.shard_rows, shards)), shard_bytes(parts, layout)
    held = -(-layout.shards // min(workers, info.lanes)) if workers > 1 else layout.shards
    decoders = [kind.decoder(data, info.config) for kind in kinds]
    some = shards[:_ALL_ALIKE]  # of many shards the first stand for all
    sizes = [decoder.bytes((i, j)) for i in some for j in shards for decoder in decoders]
    decoded = sum(sizes) * len(shards) // len(some)
    seen = 1 - (1 - 1 / min(workers, info.lanes)) ** info.config.train.epochs if workers > 1 else 1
    budget = int(SHARE_OF_MEMORY * (available or memory_here()) / beside)
    scratch = 0
    for round_ in rounds:
        mine = [v for lane, v in enumerate(round_.visits) if v and lane_worker(lane, info.lanes, workers) == 0]
        scratch = max(scratch, sum(kind.working_bytes(scheme, data.manifest, v) for kind in kinds for v in mine))
    travelling = 2 * -(-layout.shards // info.groups) if workers > 1 and info.lanes > 1 else 0
    return Memory(
        program=PROGRAM,
        table=table,
        index=slots * largest * _INDEX_BYTES + layout.rows * _ROW_BYTES,
        parked=max(0, held - slots) * per_shard if fits else 0,
        samples=min(budget, int(seen * decoded)) + threads * max(sizes, default=0),
        scratch=scratch,
        copies=(_COPIES + travelling) * per_shard,
    )


def foreseen(info: RunInfo, data: Dataset, workers: int, here: bool, refuse: bool) -> str:
    """A line about what a run takes, for its log.

    here     whether its workers have this machine's memory
    refuse   whether to raise UsageError, which says what would fit, where that is less than they take
    """
    memory = memory_of(info, data, workers, rounds_of(info, 0, 1))
    table = in_bytes(table_bytes(scheme_of(info).parts, data.layout))
    line = f"a table of {table}, about {in_bytes(memory.total)} of memory a worker, "
    line += f"{in_bytes(checkpoint_bytes(info, data))} a checkpoint"
    if not here:
        return line
    free = available_memory() // workers
    if refuse and memory.total > free:
        limit = limit_that_fits(info, data, workers, free)
        instead = (
            f"set train.memory={limit}, so that shards wait on disk, or " if limit else "prepare with more --shards, "
        )
        raise UsageError(
            f"{data.folder}: {line}, and there are {in_bytes(free)}; {instead}take a smaller model.dim or a larger "
            "machine; 'distjoint plan' says more, and --any-memory tries it all the same"
        )
    return f"{line}; {in_bytes(free)} are free"


def limit_that_fits(info: RunInfo, data: Dataset, workers: int, free: int, **where: Any) -> str | None:
    """The largest `train.memory` that was tried by which a worker takes no more than some bytes; None for none.

    where   as of `memory_of`
    """
    for share in _SHARES:
        limit = int(free * share)
        train = info.config.train.model_copy(update={"memory": limit, "groups": None})
        try:
            changed = plan(data, info.dataset, info.config.model_copy(update={"train": train}), workers)
        except UsageError:
            continue
        if memory_of(changed, data, workers, [typical_round(changed)], **where).total <= free:
            return _as_option(limit)
    return None


def _as_option(limit: int) -> str:
    """A size as an option has it, rounded down."""
    unit, name = (10**9, "GB") if limit >= 10**10 else (10**6, "MB")
    return f"{limit // unit}{name}"
