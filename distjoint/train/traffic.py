"""What moves in an epoch, before it starts: the schedule, gone through by the code that moves shards, with none.

`Residency` decides what is parked, taken back and sent. Here it decides the same about an arena that has slots and no
rows, and beside it a parking place that keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from distjoint.runs.folder import RunInfo
from distjoint.table.arena import Arena
from distjoint.table.layout import Layout
from distjoint.table.parts import Parts, Shard
from distjoint.train.build import arena_slots, lane_worker, scheme_of
from distjoint.train.residency import Parking, Residency
from distjoint.train.schedule import Round


@dataclass(frozen=True)
class Moves:
    """Bytes that a worker moves in each of some rounds.

    parked   written to where shards wait, and read from there
    sent     to other workers
    """

    parked: tuple[int, ...]
    sent: tuple[int, ...]


class _Slots(Arena):
    """An arena's slots, without rows."""

    def __init__(self, parts: Parts, layout: Layout, slots: int) -> None:
        self.parts, self.layout, self.slots, self.device = parts, layout, slots, torch.device("meta")
        self.slot = {}
        self._free = list(range(slots))[::-1]

    def views(self, shard: int) -> Shard:
        return {}

    def index(self, shard: int) -> None:
        return None

    def drop(self, shard: int) -> None:
        self._free.append(self.slot.pop(shard))


class _Nowhere(Parking):
    """Keeps nothing, and is done at once."""

    def __init__(self) -> None:
        super().__init__(on_disk=False)

    def carry(self, job: Callable[..., None], *arguments: Any) -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done


class _Rehearsal(Residency):
    """Sends and reads nothing."""

    def transfer(self, leaving: list[tuple[Tensor, int]], arriving: list[tuple[int, int]]) -> dict[int, Tensor]:
        return {shard: torch.empty(0, device="meta") for shard, _ in arriving}

    def read_parked(self, shard: int) -> Tensor:
        return torch.empty(0, device="meta")


def rehearse(info: RunInfo, layout: Layout, workers: int, rank: int, epochs: Sequence[Sequence[Round]]) -> Moves:
    """What a worker moves in the rounds of the last of some epochs, which follow each other.

    epochs   rounds of each, with one epoch more, which is looked ahead at and not trained
    """
    scheme = scheme_of(info)
    arena = _Slots(scheme.parts, layout, arena_slots(info, scheme, layout, rank, workers)[0])
    worker_of = partial(lane_worker, lanes=info.lanes, workers=workers)
    residency = _Rehearsal(arena, _Nowhere(), rank, worker_of, lambda _: {})
    parked: list[int] = []
    sent: list[int] = []
    for rounds, following in pairwise(epochs):
        parked, sent, coming = [], [], [*rounds, *following]
        for number, round_ in enumerate(rounds):
            before = residency.moved, residency.sent
            residency.settle(round_, coming[number + 1 :])
            parked.append(residency.moved - before[0])
            sent.append(residency.sent - before[1])
    residency.parking.close()
    return Moves(tuple(parked), tuple(sent))
