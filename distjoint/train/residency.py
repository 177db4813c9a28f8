"""Which shards are in the arena, and how they get there: from a start, from beside it, or from another worker.

Every worker replays the same schedule, so each knows where every shard is without asking: with the worker that
trained it last. Before a round each takes in what its lanes need. What is not needed stays where it is while
there is room, is parked outside the arena when there is none, and travels only when another worker needs it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from distjoint.data.layout import Layout
from distjoint.errors import DistjointError
from distjoint.table.arena import Arena, pack, packed_size, unpack
from distjoint.table.parts import Scheme, Shard
from distjoint.train.schedule import Round


class Parking:
    """Shards that are not being trained: in memory, or on local disk when the table is larger than its memory."""

    def __init__(self, on_disk: bool) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="distjoint-table-")) if on_disk else None
        self._memory: dict[int, Tensor] = {}
        self.shards: set[int] = set()

    def put(self, shard: int, flat: Tensor) -> None:
        self.shards.add(shard)
        if self._folder is None:
            self._memory[shard] = flat
        else:
            place = self._folder / f"{shard}.bin"
            try:
                with place.open("wb") as file:  # numpy's tofile does not look whether the last bytes were written
                    file.write(flat.cpu().numpy().data)
            except OSError as error:
                raise DistjointError(
                    f"{place}: cannot park a shard here ({error}); free some disk, or set TMPDIR to another one"
                ) from error

    def read(self, shard: int) -> Tensor:
        if self._folder is None:
            return self._memory[shard]
        return torch.from_numpy(np.fromfile(self._folder / f"{shard}.bin", np.float32))

    def take(self, shard: int) -> Tensor:
        """The shard, which then is no longer parked."""
        flat = self.read(shard)
        self.shards.discard(shard)
        if self._folder is None:
            del self._memory[shard]
        else:
            (self._folder / f"{shard}.bin").unlink()
        return flat

    def close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class Residency:
    """Moves shards so that each round finds what it trains in the arena.

    begin        makes a shard that nobody holds yet: from its start values, or from a checkpoint
    worker_of    lane to the rank that trains it
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

    def settle(self, round_: Round) -> None:
        """Bring this worker's shards of a round into the arena; every worker calls it for every round."""
        needed = {
            shard: self._worker_of(lane) for lane, visit in enumerate(round_.visits) if visit for shard in visit.shards
        }
        arriving = self._exchange(needed)
        mine = [shard for shard, rank in needed.items() if rank == self._rank]
        for shard in [shard for shard in self.arena.slot if shard not in needed]:
            if len(self.arena.slot) + sum(s not in self.arena.slot for s in mine) <= self.arena.slots:
                break
            self.parking.put(shard, pack(self.arena.views(shard)))
            self.arena.drop(shard)
        for shard in mine:
            if shard in self.arena.slot:
                continue
            if shard in arriving:
                self.arena.put(shard, self._unpack(shard, arriving.pop(shard)))
            elif shard in self.parking.shards:
                self.arena.put(shard, self._unpack(shard, self.parking.take(shard)))
            else:
                self.arena.put(shard, self._begin(shard))
        self._holder |= needed

    def held(self) -> Iterator[tuple[int, Shard]]:
        """The shards this worker holds, resident or parked, by number: what it writes to a checkpoint."""
        for shard in sorted([*self.arena.slot, *self.parking.shards]):
            if shard in self.arena.slot:
                yield shard, self.arena.views(shard)
            else:
                yield shard, self._unpack(shard, self.parking.read(shard))

    def _exchange(self, needed: dict[int, int]) -> dict[int, Tensor]:
        """Send the shards that other workers need, receive those needed here."""
        operations, arriving, leaving = [], {}, []
        for shard in sorted(needed):
            source, target = self._holder.get(shard), needed[shard]
            if source is None or source == target:
                continue
            if source == self._rank:
                leaving.append(self._release(shard))
                operations.append(dist.P2POp(dist.isend, leaving[-1], target))
            elif target == self._rank:
                size = packed_size(self.arena.scheme, self.arena.layout, shard)
                arriving[shard] = torch.empty(size, device=self.arena.device)
                operations.append(dist.P2POp(dist.irecv, arriving[shard], source))
        if operations:
            for request in dist.batch_isend_irecv(operations):
                request.wait()
        return arriving

    def _release(self, shard: int) -> Tensor:
        if shard in self.parking.shards:
            return self.parking.take(shard).to(self.arena.device)
        flat = pack(self.arena.views(shard))
        self.arena.drop(shard)
        return flat

    def _unpack(self, shard: int, flat: Tensor) -> Shard:
        return unpack(flat, self.arena.scheme, self.arena.layout, shard)


def slots_needed(layout: Layout, groups: int, lanes: int) -> int:
    """Slots that hold the two groups of each of some lanes."""
    return min(layout.shards, 2 * lanes * -(-layout.shards // groups))


def shard_bytes(scheme: Scheme, layout: Layout) -> int:
    """Bytes of the largest shard."""
    return 4 * max(packed_size(scheme, layout, shard) for shard in range(layout.shards))
