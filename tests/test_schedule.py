"""The schedule covers every partition once, never seats a group twice, and depends on nothing but its arguments."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distjoint.train.schedule import schedule

pytestmark = pytest.mark.unit


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int, int]:
    lanes = draw(st.integers(1, 5))
    groups = draw(st.integers(2 * lanes, 2 * lanes + 5))
    return draw(st.integers(groups, groups + 20)), groups, lanes


@given(sizes(), st.integers(0, 3), st.integers(0, 3))
def test_every_partition_is_trained_exactly_once(size: tuple[int, int, int], seed: int, epoch: int) -> None:
    shards, groups, lanes = size
    plan = schedule(shards, seed, epoch, groups, lanes)
    seen = Counter(p for r in plan.rounds for v in r.visits if v for p in v.partitions)
    assert seen == Counter((i, j) for i in range(shards) for j in range(shards))


@given(sizes(), st.integers(1, 4), st.integers(0, 3))
def test_each_turn_trains_all_triples_and_all_turns_together_all_counts(
    size: tuple[int, int, int], repeats: int, epoch: int
) -> None:
    shards, groups, lanes = size
    visits = [v for one in schedule(shards, 0, epoch, groups, lanes, repeats).rounds for v in one.visits if v]
    every = Counter((i, j) for i in range(shards) for j in range(shards))
    for repeat in range(repeats):
        assert Counter(p for visit in visits if visit.repeat == repeat for p in visit.partitions) == every
    assert Counter(p for visit in visits for p in visit.counted) == every
    share = [sum(len(visit.counted) for visit in visits if visit.repeat == repeat) for repeat in range(repeats)]
    assert max(share) - min(share) <= 1


@given(sizes())
def test_visits_of_a_round_share_no_shard_and_train_only_their_own(size: tuple[int, int, int]) -> None:
    shards, groups, lanes = size
    for one in schedule(shards, 0, 0, groups, lanes).rounds:
        visits = [visit for visit in one.visits if visit]
        assert len(one.visits) == lanes
        held = Counter(shard for visit in visits for shard in visit.shards)
        assert max(held.values()) == 1
        assert all({i, j} <= set(visit.shards) for visit in visits for i, j in visit.partitions)


@given(sizes())
def test_all_pairs_of_groups_meet_once_in_about_the_fewest_rounds_the_lanes_allow(size: tuple[int, int, int]) -> None:
    shards, groups, lanes = size
    plan = schedule(shards, 0, 0, groups, lanes)
    pairs = [visit.groups for one in plan.rounds for visit in one.visits if visit]
    assert len(pairs) == len(set(pairs)) == groups * (groups - 1) // 2
    fewest = -(-len(pairs) // lanes)
    assert len(plan.rounds) <= 1.1 * fewest + (lanes > 1 and groups % lanes > 0)


@pytest.mark.parametrize("lanes", [1, 2, 3, 5])
def test_where_every_group_trains_in_every_round_no_lane_rests(lanes: int) -> None:
    plan = schedule(20, 0, 0, 2 * lanes, lanes)
    assert len(plan.rounds) == 2 * lanes - 1
    assert all(visit for one in plan.rounds for visit in one.visits)


def groups_brought(shards: int, groups: int, lanes: int, room: int) -> int:
    """How many groups an epoch brings into room for so many, where the one that is needed last makes way."""
    needs = [
        {group for visit in one.visits if visit for group in visit.groups}
        for one in schedule(shards, 0, 0, groups, lanes).rounds
    ]
    resident: set[int] = set()
    brought = 0
    for number, needed in enumerate(needs):
        brought += len(needed - resident)
        resident |= needed

        def next_need(group: int, after: list[set[int]] = needs[number + 1 :]) -> int:
            return next((when for when, later in enumerate(after) if group in later), len(needs))

        spare = sorted(resident - needed, key=next_need)
        resident -= set(spare[max(0, room - len(needed)) :])
    return brought


def test_one_group_changes_from_a_visit_to_the_next() -> None:
    assert groups_brought(16, 13, 1, room=2) == 13 * 12 // 2 + 1


@pytest.mark.parametrize(("groups", "lanes"), [(7, 1), (13, 1), (20, 1), (8, 2), (16, 2), (26, 2), (24, 3)])
def test_groups_that_pass_by_meet_two_blocks_that_stay(groups: int, lanes: int) -> None:
    """About B^2 / 4 blocks of a group for each lane are brought in; a tournament would bring nearly B^2."""
    blocks = groups / lanes
    assert groups_brought(groups, groups, lanes, room=3 * lanes) <= (blocks**2 / 4 + 2) * lanes
    assert groups_brought(groups, groups, lanes, room=4 * lanes) <= groups_brought(groups, groups, lanes, 3 * lanes)


def test_groups_are_dealt_anew_each_epoch_and_the_same_for_the_same_seed() -> None:
    first, again, later = schedule(16, 1, 0, 4, 2), schedule(16, 1, 0, 4, 2), schedule(16, 1, 1, 4, 2)
    assert first == again
    assert first.rounds != later.rounds


def test_one_lane_with_two_groups_has_everything_resident() -> None:
    (only,) = schedule(8, 0, 0, 2, 1).rounds
    assert only.visits[0] is not None
    assert len(only.visits[0].partitions) == 64


@pytest.mark.parametrize(("shards", "groups", "lanes"), [(3, 4, 2), (8, 2, 2), (1, 2, 1)])
def test_sizes_that_do_not_fit_are_refused(shards: int, groups: int, lanes: int) -> None:
    with pytest.raises(ValueError, match="2 x lanes <= groups <= shards"):
        schedule(shards, 0, 0, groups, lanes)
