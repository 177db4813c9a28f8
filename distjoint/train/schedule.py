"""The schedule: which groups of shards train together, when, and on which lane.

A pure function of (shards, seed, epoch, groups, lanes): no clock, no rank, no I/O. Every worker computes all of
it and so knows where each shard is without asking.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Partition = tuple[int, int]
Pair = tuple[int, int]

_PATIENCE = 1.1
"""Times as many rounds, in which some lane rests, as moving fewer groups may take."""


@dataclass(frozen=True)
class Visit:
    """One lane with one pair of groups.

    groups       the two groups' numbers, smaller first
    shards       all shards of the two groups
    partitions   the partitions (i, j) whose triples this visit trains: all between the groups, and its share of those
                 inside
    counted      those of them whose co-occurrence counts it trains too
    repeat       which of the epoch's rounds of visits between all groups it belongs to
    """

    groups: tuple[int, int]
    shards: tuple[int, ...]
    partitions: tuple[Partition, ...]
    counted: tuple[Partition, ...]
    repeat: int


@dataclass(frozen=True)
class Round:
    """Visits that share no group, by lane; None for a lane that rests."""

    visits: tuple[Visit | None, ...]


@dataclass(frozen=True)
class Schedule:
    """All rounds of an epoch: every partition's triples once in each repeat, its counts once in all."""

    epoch: int
    rounds: tuple[Round, ...]


def schedule(shards: int, seed: int, epoch: int, groups: int, lanes: int, repeats: int = 1) -> Schedule:
    """The rounds of an epoch.

    shards   S, at least `groups`
    groups   G, at least 2 x lanes; the shards are dealt to them anew in each repeat
    lanes    visits at a time
    repeats  how often all pairs of groups are visited: passes over the triples, where shards rotate
    raises   ValueError where these do not fit
    """
    if not 2 * lanes <= groups <= shards:
        raise ValueError(f"{lanes} lanes need 2 x lanes <= groups <= shards, not {groups} groups of {shards} shards")
    counted = np.random.default_rng([seed, epoch]).permutation(shards * shards).reshape(shards, shards) % repeats
    rounds: list[Round] = []
    resident: list[frozenset[int]] = [frozenset()] * lanes
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, epoch, repeat + 1])
        members = [tuple(sorted(int(s) for s in part)) for part in np.array_split(rng.permutation(shards), groups)]
        inner = _share_inner(members)
        for pairs in _rounds([int(g) for g in rng.permutation(groups)], lanes):
            visits = _seat([_visit(pair, members, inner, counted, repeat) for pair in pairs], resident)
            resident = [frozenset(v.shards) if v else old for v, old in zip(visits, resident, strict=True)]
            rounds.append(Round(tuple(visits)))
    return Schedule(epoch, tuple(rounds))


def _rounds(players: list[int], lanes: int) -> list[list[Pair]]:
    """The pairs of each round, in the order that moves few groups unless it leaves too many lanes at rest."""
    sparing, quick = (_in_rounds(order, lanes) for order in (_passing_by(players, lanes), _tournament(players)))
    return sparing if len(sparing) <= _PATIENCE * len(quick) else quick


def _passing_by(players: list[int], lanes: int) -> list[Pair]:
    """Every pair of groups once, in an order that moves few of them.

    Groups stand in blocks, one for each lane. Two blocks stay while the others pass by, and each that comes meets
    both: with B blocks and room for three, about B^2 / 4 are brought in (Marius's order, Mohoney et al. 2021); with
    room for a fourth the next one comes while two are busy. Going round a tournament would bring in B^2.
    """
    order: list[Pair] = []
    left = [players[start : start + lanes] for start in range(0, len(players), lanes)]
    while len(left) > 1:
        (first, second), left = left[:2], left[2:]
        order += _tournament(first + second)
        for number, passing in enumerate(left):
            staying = (second, first) if number % 2 else (first, second)  # the one it met last has not left its lane
            order += [pair for block in staying for pair in _across(block, passing)]
        left = left[::-1]  # those that came last are still there
    return order + [pair for block in left for pair in _tournament(block)]


def _across(one: list[int], other: list[int]) -> list[Pair]:
    """Every pair between two blocks, in an order of runs in which no group meets twice."""
    length = max(len(one), len(other))
    met = [(k, (k + shift) % length) for shift in range(length) for k in range(length)]
    return [_pair(one[k], other[m]) for k, m in met if k < len(one) and m < len(other)]


def _tournament(players: list[int]) -> list[Pair]:
    """Every pair of groups once, in an order of runs in which no group meets twice (the circle method)."""
    players = players + [-1] * (len(players) % 2)
    order: list[Pair] = []
    for _ in range(len(players) - 1):
        half = len(players) // 2
        pairs = zip(players[:half], reversed(players[half:]), strict=True)
        order += [_pair(*p) for p in pairs if -1 not in p]
        players = [players[0], players[-1], *players[1:-1]]
    return order


def _pair(one: int, other: int) -> Pair:
    return min(one, other), max(one, other)


def _in_rounds(order: list[Pair], lanes: int) -> list[list[Pair]]:
    """Cut an order into rounds: each takes the first pairs that are left and share no group."""
    left, rounds = list(order), []
    while left:
        chosen: list[Pair] = []
        at = 0
        while at < len(left) and len(chosen) < lanes:
            if any({*left[at]} & {*pair} for pair in chosen):
                at += 1
            else:
                chosen.append(left.pop(at))
        rounds.append(chosen)
    return rounds


def _seat(coming: list[Visit], resident: list[frozenset[int]]) -> list[Visit | None]:
    """Give each visit a lane, first to the lane that already holds most of its shards: fewer travel.

    resident   shards of each lane
    """
    seated: list[Visit | None] = [None] * len(resident)
    wishes = sorted(
        (-len(held.intersection(visit.shards)), lane, number)
        for number, visit in enumerate(coming)
        for lane, held in enumerate(resident)
    )
    placed: set[int] = set()
    for _, lane, number in wishes:
        if seated[lane] is None and number not in placed:
            seated[lane] = coming[number]
            placed.add(number)
    return seated


def _share_inner(members: list[tuple[int, ...]]) -> dict[Pair, list[Partition]]:
    """Deal each group's inner partitions over its visits, one by one.

    The cell (i, j) and its mirror (j, i) go together, and the diagonal starts where the round-robin stands.
    """
    inner: dict[Pair, list[Partition]] = {pair: [] for pair in combinations(range(len(members)), 2)}
    for group, shards in enumerate(members):
        visits = [pair for pair in inner if group in pair]
        blocks = [[(i, i)] for i in shards] + [[(i, j), (j, i)] for i, j in combinations(shards, 2)]
        for number, block in enumerate(blocks):
            inner[visits[number % len(visits)]] += block
    return inner


def _visit(
    pair: Pair,
    members: list[tuple[int, ...]],
    inner: dict[Pair, list[Partition]],
    counted: NDArray[np.int64],
    repeat: int,
) -> Visit:
    a, b = members[pair[0]], members[pair[1]]
    partitions = tuple([block for i in a for j in b for block in ((i, j), (j, i))] + inner[pair])
    return Visit(pair, a + b, partitions, tuple(p for p in partitions if counted[p] == repeat), repeat)
