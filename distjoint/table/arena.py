"""The arena: the rows a worker trains in place. One array per part, cut into slots of one shard each.

Shards come into slots and leave them; backends see plain arrays and row numbers. A row of the arena is
`slot * rows per slot + offset`; the parts, which not every row has, are reached through an index that lies on the same
device. Row NONE, the last place of an index, is no row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distjoint.base.arrays import Bools, Ints
from distjoint.table.layout import Layout
from distjoint.table.parts import Parts, Shard

NONE = -1


@dataclass(frozen=True)
class Carried:
    """Rows that another run had, the first of the table.

    rows     ids below are such
    pace     factor on their step sizes
    """

    rows: int = 0
    pace: float = 1.0


class Arena:
    """Resident shards of a table.

    slots    how many shards it can hold
    frozen   parts whose rows take no step
    held     part -> bool[rows of the table]: single rows of it that take no step
    carried  rows of another run
    """

    def __init__(
        self,
        parts: Parts,
        layout: Layout,
        slots: int,
        device: torch.device,
        frozen: Collection[str] = (),
        held: Mapping[str, Bools] | None = None,
        carried: Carried | None = None,
    ) -> None:
        self.parts, self.layout, self.slots, self.device = parts, layout, slots, device
        shards = range(layout.shards)
        self.rows_per_slot = max(map(layout.shard_rows, shards))
        self._per_slot = {
            "word": max(map(layout.shard_words, shards)),
            "entity": max(map(layout.shard_entities, shards)),
        }
        self.arrays: dict[str, Tensor] = {
            part.name: torch.zeros(
                (slots * self._per_slot[part.of], *([part.width] if part.width else [])), device=device
            )
            for part in parts
        }
        self.frozen: dict[str, Tensor] = {
            name: torch.ones(len(self.arrays[name]), dtype=torch.bool, device=device)
            for name in frozen
            if name in self.arrays
        }
        """bool[rows of the part]: rows that take no step, of parts that have any."""
        self.carried = carried or Carried()
        kinds = {part.name: part.of for part in parts}
        self._held = [(name, kinds[name], rows) for name, rows in (held or {}).items() if name in kinds.keys() - frozen]
        for name, *_ in self._held:
            self.frozen[name] = torch.zeros(len(self.arrays[name]), dtype=torch.bool, device=device)
        self.pace: dict[str, Tensor] = {
            of: torch.ones(slots * rows, device=device) for of, rows in self._per_slot.items() if self.carried.pace != 1
        }
        """float32[rows of the kind]: factor on the steps of a row; of no kind where all are 1."""
        self.slot: dict[int, int] = {}
        """Slot of each resident shard."""
        self._free = list(range(slots))[::-1]
        rows = slots * self.rows_per_slot
        self.has_word = np.zeros(rows, np.bool_)
        """bool[rows]: which arena rows have a word; on the host."""
        self.word_index = torch.full((rows + 1,), NONE, device=device)
        """int64[rows + 1]: place of an arena row in W and C, or NONE."""
        self.entity_index = torch.full((rows + 1,), NONE, device=device)
        """int64[rows + 1]: place of an arena row in X, or NONE."""

    @property
    def rows(self) -> int:
        return len(self.word_index) - 1

    def base(self, shard: int) -> int:
        """Arena row of a resident shard's offset 0."""
        return self.slot[shard] * self.rows_per_slot

    def shard_of(self, row: int) -> int:
        """The resident shard of an arena row."""
        slot = row // self.rows_per_slot
        return next(shard for shard, taken in self.slot.items() if taken == slot)

    def row_id(self, row: int) -> int:
        """The permanent id of an arena row."""
        return int(self.layout.rows_of(self.shard_of(row))[row % self.rows_per_slot])

    def word_base(self, tile: int) -> int:
        """Place in W and C of the first row of a tile (numbered over all shards)."""
        shard, local = divmod(tile, self.layout.tiles_per_shard)
        return self.slot[shard] * self._per_slot["word"] + int(self.layout.word_offsets[shard, local])

    @property
    def free(self) -> int:
        """Slots without a shard."""
        return len(self._free)

    def put(self, shard: int, arrays: Shard) -> None:
        """Take a shard into a free slot."""
        self.assign(shard)
        for name, view in self.views(shard).items():
            view.copy_(arrays[name])
        self.index(shard)

    def assign(self, shard: int) -> None:
        """Give a shard a free slot; its values and its index are yet to come."""
        self.slot[shard] = self._free.pop()

    def index(self, shard: int) -> None:
        """Let the rows of a shard that has a slot be found."""
        base, rows = self.base(shard), self.layout.shard_rows(shard)
        self.has_word[base : base + rows] = self.layout.has_word(shard)
        for index, of, present in (
            (self.word_index, "word", self.layout.has_word(shard)),
            (self.entity_index, "entity", self.layout.has_entity(shard)),
        ):
            places = np.full(rows, NONE, np.int64)
            places[present] = self.slot[shard] * self._per_slot[of] + np.arange(int(present.sum()))
            index[base : base + rows] = torch.from_numpy(places).to(self.device)
            self._mark(shard, of, present)
            index[base + rows : base + self.rows_per_slot] = NONE

    def _mark(self, shard: int, of: str, present: Bools) -> None:
        """Note which rows of a kind are held, or another run's. present: bool[shard rows]: which rows have the kind"""
        if not (self.pace or self._held):
            return
        rows, start = self.layout.rows_of(shard)[present], self.slot[shard] * self._per_slot[of]
        here = slice(start, start + len(rows))
        if of in self.pace:
            old = torch.from_numpy(rows < self.carried.rows).to(self.device)
            self.pace[of][here] = torch.where(old, self.carried.pace, 1.0)
        for name, kind, held in self._held:
            if kind == of:
                self.frozen[name][here] = torch.from_numpy(held[rows]).to(self.device)

    def paces(self, of: str, index: Tensor, rate: float, allowed: Tensor | None) -> list[tuple[float, Tensor | None]]:
        """Step sizes of some rows, with which of them take each; those of another run may have one of their own.

        of        `word` or `entity`
        index     int64[n]: places of the rows in parts of the kind, or NONE
        allowed   bool[n] or bool[]: what may step; None for all
        """
        if of not in self.pace:
            return [(rate, allowed)]
        old = self.pace[of][index] != 1
        masks = (old, ~old) if allowed is None else (old & allowed, ~old & allowed)
        return [(rate * self.carried.pace, masks[0]), (rate, masks[1])]

    def views(self, shard: int) -> Shard:
        """The parts of a resident shard, in the arena's own memory."""
        return {part.name: self._view(part.name, part.of, shard) for part in self.parts}

    def drop(self, shard: int) -> None:
        """Forget a shard; its slot is free for another."""
        base, rows = self.base(shard), self.layout.shard_rows(shard)
        self.has_word[base : base + rows] = False
        self.word_index[base : base + rows] = NONE
        self.entity_index[base : base + rows] = NONE
        self._free.append(self.slot.pop(shard))

    def _view(self, name: str, of: str, shard: int) -> Tensor:
        start = self.slot[shard] * self._per_slot[of]
        rows = self.layout.shard_words(shard) if of == "word" else self.layout.shard_entities(shard)
        return self.arrays[name][start : start + rows]


def places_among(rows: Ints, count: int) -> Ints:
    """int64[count]: the place of each arena row among some, NONE for one that is not there."""
    found = np.full(count, NONE, np.int64)
    found[rows] = np.arange(len(rows))
    return found


def pack(arrays: Shard) -> Tensor:
    """A shard as one flat float32 array, to be sent or kept."""
    return torch.cat([array.reshape(-1) for array in arrays.values()]) if arrays else torch.empty(0)


def unpack(flat: Tensor, parts: Parts, layout: Layout, shard: int) -> Shard:
    """The inverse of `pack`: views into the flat array."""
    arrays, start = {}, 0
    for part in parts:
        rows = part.rows(layout, shard)
        size = rows * max(part.width, 1)
        arrays[part.name] = flat[start : start + size].view((rows, part.width) if part.width else (rows,))
        start += size
    return arrays
