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
def test_all_pairs_of_groups_meet_once_in_the_fewest_rounds_the_lanes_allow(size: tuple[int, int, int]) -> None:
    shards, groups, lanes = size
    plan = schedule(shards, 0, 0, groups, lanes)
    pairs = [visit.groups for one in plan.rounds for visit in one.visits if visit]
    assert len(pairs) == len(set(pairs)) == groups * (groups - 1) // 2
    turns, per_turn = groups - 1 + groups % 2, groups // 2
    assert len(plan.rounds) == turns * -(-per_turn // lanes)


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
