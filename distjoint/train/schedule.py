"""The schedule: which groups of shards train together, when, and on which lane.

A pure function of (shards, seed, epoch, groups, lanes): no clock, no rank, no I/O. Every worker computes all of
it and so knows where each shard is without asking.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

Partition = tuple[int, int]


@dataclass(frozen=True)
class Visit:
    """One lane with one pair of groups.

    groups       the two groups' numbers, smaller first
    shards       all shards of the two groups
    partitions   the partitions (i, j) this visit trains: all between the groups, and its share of those inside
    """

    groups: tuple[int, int]
    shards: tuple[int, ...]
    partitions: tuple[Partition, ...]


@dataclass(frozen=True)
class Round:
    """Visits that share no group, by lane; None for a lane that rests."""

    visits: tuple[Visit | None, ...]


@dataclass(frozen=True)
class Schedule:
    """All rounds of an epoch: every partition of the dataset exactly once."""

    epoch: int
    rounds: tuple[Round, ...]


def schedule(shards: int, seed: int, epoch: int, groups: int, lanes: int) -> Schedule:
    """The rounds of an epoch.

    shards   S, at least `groups`
    groups   G, at least 2 x lanes; the shards are dealt to them anew each epoch
    lanes    visits at a time
    raises   ValueError where these do not fit
    """
    if not 2 * lanes <= groups <= shards:
        raise ValueError(f"{lanes} lanes need 2 x lanes <= groups <= shards, not {groups} groups of {shards} shards")
    rng = np.random.default_rng([seed, epoch])
    members = [tuple(sorted(int(s) for s in part)) for part in np.array_split(rng.permutation(shards), groups)]
    inner = _share_inner(members)
    rounds: list[Round] = []
    resident: list[frozenset[int]] = [frozenset()] * lanes
    for pairs in _tournament(groups, rng):
        for start in range(0, len(pairs), lanes):
            seated = _seat(pairs[start : start + lanes], resident)
            resident = [frozenset(pair) if pair else old for pair, old in zip(seated, resident, strict=True)]
            rounds.append(Round(tuple(_visit(pair, members, inner) if pair else None for pair in seated)))
    return Schedule(epoch, tuple(rounds))


def _tournament(groups: int, rng: np.random.Generator) -> list[list[tuple[int, int]]]:
    """Every pair of groups once, in turns in which no group meets twice (the circle method)."""
    players = [int(g) for g in rng.permutation(groups)] + [-1] * (groups % 2)
    turns = []
    for _ in range(len(players) - 1):
        half = len(players) // 2
        pairs = zip(players[:half], reversed(players[half:]), strict=True)
        turns.append([(min(p), max(p)) for p in pairs if -1 not in p])
        players = [players[0], players[-1], *players[1:-1]]
    return turns


def _seat(pairs: list[tuple[int, int]], resident: list[frozenset[int]]) -> list[tuple[int, int] | None]:
    """Give each pair a lane, first to the lane that already holds most of it: fewer shards travel."""
    seated: list[tuple[int, int] | None] = [None] * len(resident)
    wishes = sorted(
        (
            (-len(resident[lane] & set(pair)), lane, index)
            for index, pair in enumerate(pairs)
            for lane in range(len(resident))
        )
    )
    placed: set[int] = set()
    for _, lane, index in wishes:
        if seated[lane] is None and index not in placed:
            seated[lane] = pairs[index]
            placed.add(index)
    return seated


def _share_inner(members: list[tuple[int, ...]]) -> dict[tuple[int, int], list[Partition]]:
    """Deal each group's inner partitions over its visits, one by one.

    The cell (i, j) and its mirror (j, i) go together, and the diagonal starts where the round-robin stands.
    """
    inner: dict[tuple[int, int], list[Partition]] = {pair: [] for pair in combinations(range(len(members)), 2)}
    for group, shards in enumerate(members):
        visits = [pair for pair in inner if group in pair]
        blocks = [[(i, i)] for i in shards] + [[(i, j), (j, i)] for i, j in combinations(shards, 2)]
        for number, block in enumerate(blocks):
            inner[visits[number % len(visits)]] += block
    return inner


def _visit(
    pair: tuple[int, int], members: list[tuple[int, ...]], inner: dict[tuple[int, int], list[Partition]]
) -> Visit:
    a, b = members[pair[0]], members[pair[1]]
    across = [block for i in a for j in b for block in ((i, j), (j, i))]
    return Visit(pair, a + b, tuple(across + inner[pair]))
