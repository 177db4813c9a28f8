"""Which relations say what others say: symmetric ones, inverse pairs, near-duplicates; counted on training triples.

Two relations are an inverse pair where at least a share of the triples of each stand, the other way around, in the
other; near-duplicates where they stand there as they are. A relation is symmetric where it is its own inverse. Loops,
whose ends are one entity, say nothing of direction and are left out of both sides of a reversed share. The share that
is wanted is of what a random split leaves: of all triples the training split holds a part f, so a triple's counterpart
is in training with a probability of f, and a share of .8 f in training stands for .8 in the whole. Dettmers et al. 2018
want .99 - (1 - f), for pairs without exception; .8 is that of Akrami et al. 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from distjoint.base.arrays import Doubles, Ints
from distjoint.describe.keys import NumberedGraph

if TYPE_CHECKING:
    from scipy.sparse import csr_array

PairKind = Literal["symmetric", "inverse", "duplicate"]
KINDS: tuple[PairKind, ...] = ("symmetric", "inverse", "duplicate")
SHARE = 0.8
"""Share of either relation's triples that makes a pair."""


@dataclass(frozen=True)
class Overlaps:
    """How many training triples relations have in common. R is the number of relations.

    triples    int64[R]: distinct triples of each
    directed   int64[R]: those that are no loops
    same       sparse int64[R, R]: pairs of entities in both relations, in one order
    reversed   sparse int64[R, R]: pairs of a relation whose reversal is in the other; no loops
    """

    triples: Ints
    directed: Ints
    same: csr_array
    reversed: csr_array

    @classmethod
    def of(cls, graph: NumberedGraph) -> Overlaps:
        """Count them, by products of sparse matrices of pairs and relations."""
        from scipy.sparse import csr_array

        train, count = graph.triples(graph.train_keys), len(graph.relations)
        loops = train.head == train.tail
        directed = train.select(~loops)
        pairs, place = np.unique(graph.pair_keys(train.head, train.tail), return_inverse=True)
        forward = _incidence(place, train.relation, (len(pairs), count))
        straight = _incidence(place[~loops], directed.relation, (len(pairs), count))
        back = graph.pair_keys(directed.tail, directed.head)
        found = np.searchsorted(pairs, back)
        found[found == len(pairs)] = 0
        there = pairs[found] == back if len(pairs) else np.zeros(0, np.bool_)
        backward = _incidence(found[there], directed.relation[there], (len(pairs), count))
        totals = np.bincount(train.relation, minlength=count), np.bincount(directed.relation, minlength=count)
        return cls(*totals, csr_array(forward.T @ forward), csr_array(straight.T @ backward))

    @property
    def symmetry(self) -> Doubles:
        """float64[R]: share of each relation's triples whose reversal is in it too; NaN where it has none but loops."""
        with np.errstate(invalid="ignore"):
            found: Doubles = self.reversed.diagonal() / self.directed
        return found


def _incidence(place: Ints, relation: Ints, shape: tuple[int, int]) -> csr_array:
    """Sparse int64[pairs, relations]: 1 where a pair of entities stands in a relation."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(place), np.int64), (place, relation)), shape=shape)


@dataclass(frozen=True)
class RelationPair:
    """Two relations that say the same of the same entities, or one that does so to itself.

    kind             `symmetric` (first is second), `inverse` or `duplicate`
    first, second    ids of relations
    common           pairs of entities in both
    share            of the first relation's triples, those that are in both; loops aside unless a duplicate
    share_second     the same of the second
    """

    kind: PairKind
    first: int
    second: int
    common: int
    share: float
    share_second: float

    def to_dict(self, relations: Sequence[str]) -> dict[str, Any]:
        """With names in the place of ids."""
        return {**asdict(self), "first": relations[self.first], "second": relations[self.second]}


def wanted_share(graph: NumberedGraph, share: float = SHARE) -> float:
    """The share that a pair must have in training: `share` of what a random split leaves there."""
    every = sum(map(len, graph.splits.values()))
    return share * len(graph.train) / every if every else share


def find_pairs(overlaps: Overlaps, wanted: float) -> list[RelationPair]:
    """Symmetric relations, inverse pairs and near-duplicates, of either kind those with most in common first.

    wanted   share of the triples of both relations that must be in both
    """
    found: list[RelationPair] = []
    kinds: tuple[tuple[PairKind, csr_array, Ints], ...] = (
        ("inverse", overlaps.reversed, overlaps.directed),
        ("duplicate", overlaps.same, overlaps.triples),
    )
    for kind, counts, of in kinds:
        table = counts.tocoo()
        first, second, common = table.row.astype(np.int64), table.col.astype(np.int64), table.data
        own = kind == "inverse"  # every relation is a duplicate of itself
        chosen = ((first <= second) if own else (first < second)) & (common > 0)
        chosen[chosen] = (common[chosen] >= wanted * of[first[chosen]]) & (
            common[chosen] >= wanted * of[second[chosen]]
        )
        for r, s, n in zip(first[chosen].tolist(), second[chosen].tolist(), common[chosen].tolist(), strict=True):
            called: PairKind = "symmetric" if r == s else kind
            found.append(RelationPair(called, r, s, n, n / int(of[r]), n / int(of[s])))
    return sorted(found, key=lambda pair: (KINDS.index(pair.kind), -pair.common, pair.first, pair.second))
