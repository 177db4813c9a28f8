"""Shards that come and go: each round finds its own as they were left, the next round's come while one trains, and
what fails beside the arena is named.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distjoint.base.errors import DistjointError
from distjoint.couplings.scheme import Scheme, initial_shard
from distjoint.recipes.load import load_config
from distjoint.table.arena import Arena
from distjoint.table.layout import Layout
from distjoint.table.parts import Shard, table_bytes
from distjoint.train.residency import Parking, Residency, choose_groups, shard_bytes, slots_for, slots_needed
from distjoint.train.schedule import Round, schedule

pytestmark = pytest.mark.unit

CPU = torch.device("cpu")
SCHEME = Scheme.of(load_config(overrides={"model.dim": 6}), has_text=False, has_graph=True)
PARTS = SCHEME.parts
LAYOUT = Layout(8, 8, 9, 9, 20)
WIDE = Layout(16, 16, 0, 0, 160)


def zeros(shard: int, layout: Layout = LAYOUT) -> Shard:
    return {name: array * 0 for name, array in initial_shard(SCHEME, layout, shard).items()}


@contextmanager
def resident(slots: int, layout: Layout = LAYOUT, on_disk: bool = True) -> Iterator[Residency]:
    """A worker alone, all shards of which begin as zeros."""
    parking = Parking(on_disk)
    try:
        yield Residency(Arena(PARTS, layout, slots, CPU), parking, 0, lambda _: 0, lambda shard: zeros(shard, layout))
    finally:
        parking.close()


def rounds(layout: Layout, groups: int, lanes: int, seed: int = 0, epochs: int = 1) -> list[Round]:
    return [r for epoch in range(epochs) for r in schedule(layout.shards, seed, epoch, groups, lanes).rounds]


def shards_of(round_: Round) -> set[int]:
    return {shard for visit in round_.visits if visit for shard in visit.shards}


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_is_parked_comes_back_and_leaves_nothing(
    on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    parking = Parking(on_disk)
    kept = {"X": torch.arange(12.0).view(2, 6), "none": torch.empty(0, 6), "X.state": torch.arange(2.0)}
    parking.put(3, kept)
    for get in (parking.read, parking.take):
        into = {name: torch.full_like(array, -1) for name, array in kept.items()}
        get(3, into)
        assert all(torch.equal(into[name], kept[name]) for name in kept)
    parking.put(3, {name: array + 1 for name, array in kept.items()})
    parking.read(3, into)
    assert torch.equal(into["X"], kept["X"] + 1)
    parking.close()
    assert list(tmp_path.iterdir()) == []


@given(
    lanes=st.integers(1, 2), more=st.integers(0, 4), spare=st.integers(0, 4), seed=st.integers(0, 20),
    on_disk=st.booleans(), foresight=st.integers(0, 20), looks=st.sets(st.integers(0, 40)),
)  # fmt: skip
def test_every_round_finds_its_shards_as_they_were_left(
    lanes: int, more: int, spare: int, seed: int, on_disk: bool, foresight: int, looks: set[int]
) -> None:
    """Each visit adds 1 to its shards, so each counts its visits wherever it waits; a checkpoint finds all of them."""
    groups = 2 * lanes + more
    slots = min(8, slots_needed(LAYOUT, groups, lanes) + spare)
    visited = np.zeros(8)
    with resident(slots, on_disk=on_disk) as residency:
        plan = rounds(LAYOUT, groups, lanes, seed, epochs=2)
        for number, round_ in enumerate(plan):
            residency.settle(round_, plan[number + 1 : number + 1 + foresight])
            for shard in shards_of(round_):
                visited[shard] += 1
                residency.arena.views(shard)["X"].add_(1)
            if number in looks or number == len(plan) - 1:
                held = {shard: float(arrays["X"].mean()) for shard, arrays in residency.held()}
                assert held == dict(enumerate(visited))


def test_rows_are_found_where_their_shard_is() -> None:
    """After shards of different sizes have gone through a slot."""
    plan = rounds(LAYOUT, 8, 1)
    with resident(4) as residency:
        for number, round_ in enumerate(plan):
            residency.settle(round_, plan[number + 1 :])
            list(residency.held())
            arena = residency.arena
            for shard in arena.slot:
                rows = slice(arena.base(shard), arena.base(shard) + LAYOUT.shard_rows(shard))
                places = arena.entity_index[rows]
                assert np.array_equal(places >= 0, LAYOUT.has_entity(shard))
                own = arena.views(shard)["X"]
                assert torch.equal(arena.arrays["X"][places[places >= 0]], own)
            assert (arena.entity_index >= 0).sum() == sum(LAYOUT.shard_entities(shard) for shard in arena.slot)


def test_with_room_for_four_groups_the_next_ones_come_while_two_train() -> None:
    """What a round needs is there when the one before it ends, but for the first."""
    plan = rounds(WIDE, 16, 1)
    with resident(4, WIDE) as residency:
        for number, round_ in enumerate(plan):
            there = set(residency.arena.slot)
            assert number == 0 or shards_of(round_) <= there
            residency.settle(round_, plan[number + 1 :])
            residency.wait()
        shard = 4 * table_bytes(PARTS, WIDE) / 4 / 16
        assert 2 * shard * (16**2 / 4 - 16) <= residency.moved <= 2 * shard * (16**2 / 4 + 2)


def test_training_goes_on_while_a_disk_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups stay: the round that trains the other of them needs nothing of what is under way."""
    asked, stuck, put = threading.Event(), threading.Event(), Parking.put

    def slow(self: Parking, shard: int, arrays: Shard) -> None:
        asked.set()
        stuck.wait(30)
        put(self, shard, arrays)

    plan = rounds(WIDE, 16, 1)
    with resident(4, WIDE) as residency:
        for number in range(5):
            residency.settle(plan[number], plan[number + 1 :])
        residency.wait()
        monkeypatch.setattr(Parking, "put", slow)
        residency.settle(plan[5], plan[6:])
        assert asked.wait(10)
        residency.settle(plan[6], plan[7:])
        assert residency.waited < 10
        stuck.set()
        for number in range(7, len(plan)):
            residency.settle(plan[number], plan[number + 1 :])


def test_a_disk_that_fails_behind_the_training_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    plan = rounds(WIDE, 16, 1)
    with resident(4, WIDE) as residency:
        shutil.rmtree(next(tmp_path.iterdir()))
        with pytest.raises(DistjointError, match=r"\d+\.bin: cannot park a shard here \(.*\); free some disk"):
            for number, round_ in enumerate(plan):
                residency.settle(round_, plan[number + 1 :])


def test_a_parked_shard_that_was_cut_short_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    plan = rounds(WIDE, 16, 1)
    with resident(2, WIDE) as residency:
        residency.settle(plan[0])
        residency.settle(plan[1])
        residency.wait()
        (parked,) = tmp_path.rglob("*.bin")
        parked.write_bytes(parked.read_bytes()[:-1])
        with pytest.raises(DistjointError, match=r"\d+\.bin: cannot read a parked shard \(it ends too early\)"):
            for round_ in plan[2:]:
                residency.settle(round_)


def test_memory_decides_slots_and_groups() -> None:
    size = shard_bytes(PARTS, WIDE)
    assert choose_groups(PARTS, WIDE, 1, 1, 4 * size) == 16  # four groups of one shard
    assert choose_groups(PARTS, WIDE, 1, 1, 9 * size) == 8  # four groups of two shards
    assert choose_groups(PARTS, WIDE, 1, 1, 3 * size) == 16  # three of one
    assert choose_groups(PARTS, WIDE, 1, 1, 2 * size) == 16
    assert choose_groups(PARTS, WIDE, 1, 1, 2 * size - 1) is None
    assert choose_groups(PARTS, WIDE, 2, 2, 8 * size) == 16
    assert choose_groups(PARTS, WIDE, 2, 1, 8 * size) == 8  # a worker has one of the two lanes
    assert slots_for(PARTS, WIDE, 16, 1, 5 * size) == 5
    assert slots_for(PARTS, WIDE, 16, 1, 99 * size) == 16
    assert slots_for(PARTS, WIDE, 4, 1, size) == slots_needed(WIDE, 4, 1) == 8
