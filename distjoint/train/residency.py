"""Which shards are in the arena, and how they get there: from a start, from beside it, or from another worker.

Every worker replays the same schedule, so each knows where every shard is without asking: with the worker that
trained it last. Before a round each takes in what its lanes need. What is not needed stays where it is while
there is room, is parked outside the arena when there is none, and travels only when another worker needs it.

While a round trains, a thread parks what is no longer needed and brings what the next rounds need, straight from
a file into slots that the round does not use: a table larger than its memory takes no more than the arena.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from distjoint.base.errors import DistjointError
from distjoint.table.arena import Arena, pack, unpack
from distjoint.table.layout import Layout
from distjoint.table.parts import Parts, Shard, packed_size
from distjoint.train.schedule import Round

_GROUPS_AT_HAND = (4, 3, 2)
"""Groups that a lane would have in memory: the two it trains, and two that come and go meanwhile; or fewer."""
_LOOK_AHEAD = 6
"""For each lane, the coming rounds in which a shard's next use is looked for."""


class Parking:
    """Shards that are not being trained: in memory, or on local disk when the table is larger than its memory.

    folder   where they are on disk; None for in memory
    """

    def __init__(self, on_disk: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="distjoint-table-")) if on_disk else None
        self._memory: dict[int, Shard] = {}
        self._thread = ThreadPoolExecutor(1, "parking")

    def carry(self, job: Callable[..., None], *arguments: Any) -> Future[None]:
        """Do a job after all that were given before it, in the thread that carries shards to and fro."""
        return self._thread.submit(job, *arguments)

    def put(self, shard: int, arrays: Shard) -> None:
        """raises DistjointError where the disk takes no more"""
        if self.folder is None:
            self._memory[shard] = {name: array.clone() for name, array in arrays.items()}
            return
        place = self.folder / f"{shard}.bin"
        try:
            # Over what it was when it was last parked: those blocks are the disk's and the cache's already.
            with place.open("r+b" if place.exists() else "wb", buffering=0) as file:
                for array in arrays.values():
                    _write(file, _raw(array.cpu()))
        except OSError as error:
            raise DistjointError(
                f"{place}: cannot park a shard here ({error}); free some disk, or set TMPDIR to another one"
            ) from error

    def read(self, shard: int, into: Shard) -> None:
        """Fill arrays of the shard's shapes; it stays parked. raises DistjointError where the disk gives less"""
        if self.folder is None:
            for name, array in into.items():
                array.copy_(self._memory[shard][name])
            return
        place = self.folder / f"{shard}.bin"
        try:
            with place.open("rb", buffering=0) as file:
                for array in into.values():
                    here = array.cpu()  # itself, unless it lies on a device
                    _fill(_raw(here), file)
                    if here is not array:
                        array.copy_(here)
        except OSError as error:
            raise DistjointError(f"{place}: cannot read a parked shard ({error}); resume the run") from error

    def take(self, shard: int, into: Shard) -> None:
        """As `read`, but it is no longer parked."""
        self.read(shard, into)
        self._memory.pop(shard, None)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class Residency:
    """Moves shards so that each round finds what it trains in the arena.

    begin        makes a shard that nobody holds yet: from its start values, or from a checkpoint; called in another
                 thread than the one that trains
    worker_of    lane to the rank that trains it
    waited       seconds in `settle` so far: how much later shards came than they were needed
    moved        bytes parked and taken back so far
    sent         bytes sent to other workers so far
    """

    def __init__(
        self,
        arena: Arena,
        parking: Parking,
        rank: int,
        worker_of: Callable[[int], int],
        begin: Callable[[int], Shard],
    ) -> None:
        self.arena, self.parking = arena, parking
        self._rank, self._worker_of, self._begin = rank, worker_of, begin
        self._holder: dict[int, int] = {}
        self._parked: set[int] = set()
        self._jobs: deque[Future[None]] = deque()
        self._coming: dict[int, Future[None]] = {}
        self.waited, self.moved, self.sent = 0.0, 0, 0

    def settle(self, round_: Round, following: Sequence[Round] = ()) -> None:
        """Bring this worker's shards of a round into the arena; every worker calls it for every round.

        following   the rounds after it, of the next epoch too: what they need is brought while this one trains
        """
        start = time.perf_counter()
        needed, ahead = self._needed(round_), self._first_needs(following)
        arriving = self._exchange(needed)
        mine = [shard for shard, rank in needed.items() if rank == self._rank]
        for shard in mine:
            if shard not in self.arena.slot:
                self._make_room(mine, ahead)
                self._bring(shard, arriving.pop(shard, None))
        for shard in mine:
            self.wait(shard)
        self._holder |= needed
        for shard, (when, rank) in ahead.items():
            elsewhere = self._holder.get(shard, self._rank) != self._rank
            if rank != self._rank or elsewhere or shard in self.arena.slot:
                continue
            if not self._make_room(mine, ahead, when):
                break
            self._bring(shard)
        self.waited += time.perf_counter() - start

    def held(self) -> Iterator[tuple[int, Shard]]:
        """The shards this worker holds, resident or parked, by number: what it writes to a checkpoint.

        Every worker calls it. Shards that no round has needed yet are dealt out, so that together they hold all.
        """
        self.wait()
        self._adopt()
        for shard in sorted([*self.arena.slot, *self._parked]):
            yield (
                shard,
                self.arena.views(shard) if shard in self.arena.slot else self._unpack(shard, self.read_parked(shard)),
            )

    def wait(self, shard: int | None = None) -> None:
        """Until a shard that is coming is there, or all is carried that was to be. Raises what went wrong first."""
        last = self._coming.pop(shard, None) if shard is not None else None
        if shard is None:
            self._coming.clear()
        elif last not in self._jobs:
            return
        while self._jobs:
            job = self._jobs.popleft()
            job.result()
            if job is last:
                return

    def _adopt(self) -> None:
        workers = dist.get_world_size() if dist.is_initialized() else 1
        for shard in range(self.arena.layout.shards):
            if shard in self._holder:
                continue
            self._holder[shard] = shard % workers
            mine, here = self._holder[shard] == self._rank, shard in self.arena.slot or shard in self._parked
            if mine and not here and self.arena.free:
                self._bring(shard)
            elif mine and not here:
                self._parked.add(shard)
                self._carry(lambda shard=shard: self.parking.put(shard, self._begin(shard)))
            elif here and not mine:  # brought too early
                self._parked.discard(shard)
                if shard in self.arena.slot:
                    self.arena.drop(shard)
        self.wait()

    def _needed(self, round_: Round) -> dict[int, int]:
        """The rank that needs each shard of a round."""
        return {
            shard: self._worker_of(lane) for lane, visit in enumerate(round_.visits) if visit for shard in visit.shards
        }

    def _first_needs(self, following: Sequence[Round]) -> dict[int, tuple[int, int]]:
        """Shards of the coming rounds, soonest first: how many rounds ahead, and by which rank each is needed first."""
        ahead: dict[int, tuple[int, int]] = {}
        for when, round_ in enumerate(following[: _LOOK_AHEAD * len(following[0].visits)] if following else ()):
            for shard, rank in self._needed(round_).items():
                ahead.setdefault(shard, (when, rank))
        return ahead

    def _make_room(self, keep: Collection[int], ahead: Mapping[int, tuple[int, int]], when: float = -1) -> bool:
        """Park the shard that is needed last where no slot is free; not one that is needed by round `when`."""

        def next_need(shard: int) -> float:
            return ahead[shard][0] if shard in ahead else math.inf

        if not self.arena.free:
            latest = max((shard for shard in self.arena.slot if shard not in keep), key=next_need, default=None)
            if latest is None or next_need(latest) <= when:
                return False
            self._park(latest)
        return True

    def _park(self, shard: int) -> None:
        self.wait(shard)
        self._carry(self.parking.put, shard, self.arena.views(shard))
        self.moved += self._size(shard)
        self.arena.drop(shard)
        self._parked.add(shard)

    def _bring(self, shard: int, flat: Tensor | None = None) -> None:
        """Start to fill a free slot: with what came from another worker, from beside the arena, or from a start."""
        self.arena.assign(shard)
        parked, views = shard in self._parked, self.arena.views(shard)
        self._parked.discard(shard)
        self.moved += parked * self._size(shard)

        def fill() -> None:
            if parked:
                self.parking.take(shard, views)
            else:
                values = self._begin(shard) if flat is None else self._unpack(shard, flat)
                for name, view in views.items():
                    view.copy_(values[name])
            self.arena.index(shard)

        self._coming[shard] = self._carry(fill)

    def _carry(self, job: Callable[..., None], *arguments: Any) -> Future[None]:
        self._jobs.append(self.parking.carry(job, *arguments))
        return self._jobs[-1]

    def _exchange(self, needed: dict[int, int]) -> dict[int, Tensor]:
        """Send the shards that other workers need, receive those needed here."""
        leaving, arriving = [], []
        for shard in sorted(needed):
            source, target = self._holder.get(shard), needed[shard]
            if source is None or source == target:
                continue
            if source == self._rank:
                leaving.append((shard, target))
                self.sent += self._size(shard)
            elif target == self._rank:
                arriving.append((shard, source))
        return self.transfer([(self._release(shard), target) for shard, target in leaving], arriving)

    def transfer(self, leaving: list[tuple[Tensor, int]], arriving: list[tuple[int, int]]) -> dict[int, Tensor]:
        """Send packed shards to other workers and receive others, all at once; returns these by their numbers.

        leaving    packed shards, in the order of their numbers, each with the rank that it goes to
        arriving   numbers of shards in order, each with the rank that it comes from
        """
        arrived = {
            shard: torch.empty(packed_size(self.arena.parts, self.arena.layout, shard), device=self.arena.device)
            for shard, _ in arriving
        }
        operations = [dist.P2POp(dist.isend, flat, target) for flat, target in leaving]
        operations += [dist.P2POp(dist.irecv, arrived[shard], source) for shard, source in arriving]
        for request in dist.batch_isend_irecv(operations) if operations else ():
            request.wait()
        return arrived

    def _release(self, shard: int) -> Tensor:
        if shard in self._parked:
            self.wait()
            self._parked.discard(shard)
            return self.read_parked(shard).to(self.arena.device)
        self.wait(shard)
        flat = pack(self.arena.views(shard))
        self.arena.drop(shard)
        return flat

    def read_parked(self, shard: int) -> Tensor:
        """A shard that is parked, packed; it stays parked."""
        flat = torch.empty(packed_size(self.arena.parts, self.arena.layout, shard))
        self.parking.read(shard, self._unpack(shard, flat))
        return flat

    def _size(self, shard: int) -> int:
        return 4 * packed_size(self.arena.parts, self.arena.layout, shard)

    def _unpack(self, shard: int, flat: Tensor) -> Shard:
        return unpack(flat, self.arena.parts, self.arena.layout, shard)


def slots_for(parts: Parts, layout: Layout, groups: int, lanes: int, memory: int) -> int:
    """Slots of a worker's arena that the memory, in bytes, holds; at least those its lanes train in at a time."""
    return max(slots_needed(layout, groups, lanes), min(layout.shards, memory // max(1, shard_bytes(parts, layout))))


def choose_groups(parts: Parts, layout: Layout, lanes: int, each: int, memory: int) -> int | None:
    """As few groups as the memory allows, or None where it is too small for any.

    lanes    of the run
    each     lanes of a worker, whose shards must fit into its memory
    memory   bytes of each worker

    Fewer groups train together what belongs together, and move less. But where two groups are all that fits,
    training stands still while shards come and go: so there is room for four, or three, where that can be had.
    """
    size = shard_bytes(parts, layout)
    for at_hand in _GROUPS_AT_HAND:
        for groups in [*range(2 * lanes, layout.shards, lanes), layout.shards]:
            if size * min(layout.shards, at_hand * each * -(-layout.shards // groups)) <= memory:
                return groups
    return None


def slots_needed(layout: Layout, groups: int, lanes: int) -> int:
    """Slots that hold the two groups of each of some lanes."""
    return min(layout.shards, 2 * lanes * -(-layout.shards // groups))


def shard_bytes(parts: Parts, layout: Layout) -> int:
    """Bytes of the largest shard."""
    return 4 * max(packed_size(parts, layout, shard) for shard in range(layout.shards))


def _raw(array: Tensor) -> memoryview:
    return memoryview(array.numpy().data).cast("B") if array.numel() else memoryview(b"")


def _write(file: FileIO, content: memoryview) -> None:
    """All of it: a raw file may take less at a time, and says so."""
    while content:
        content = content[file.write(content) :]


def _fill(into: memoryview, file: FileIO) -> None:
    """All of it. raises OSError where the file ends before"""
    while into:
        count = file.readinto(into)
        if not count:
            raise OSError("it ends too early")
        into = into[count:]
