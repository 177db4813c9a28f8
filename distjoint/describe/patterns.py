"""Which relations say what others say: symmetric ones, inverse pairs, near-duplicates.

Two relations are an inverse pair where at least a share of the triples of each stand, the other way around, in the
other; near-duplicates where they stand there as they are. A relation is symmetric where it is its own inverse; its
loops, whose ends are one entity, are then their own reversals, which says nothing, and are left out. The share that
is wanted in training is of what a random split leaves: of all triples training holds a part f, so a triple's
counterpart is there with a probability of f, and .8 f in training stands for .8 in the whole. Dettmers et al. 2018 want
.99 - (1 - f), for pairs without exception; .8 is that of Akrami et al. 2020. By chance a small relation has less in
training, and a split that was filtered has less in the whole: a pair is one where either shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
    """How many triples relations have in common. R is the number of relations.

    triples    int64[R]: distinct triples of each
    directed   int64[R]: those that are no loops
    mirrored   int64[R]: those of these whose reversal is in the relation too
    same       sparse int64[R, R]: pairs of entities in both relations, in one order
    reversed   sparse int64[R, R]: pairs of a relation whose reversal is in the other
    """

    triples: Ints
    directed: Ints
    mirrored: Ints
    same: csr_array
    reversed: csr_array

    @classmethod
    def of(cls, graph: NumberedGraph, keys: Ints) -> Overlaps:
        """Count them, by products of sparse matrices of pairs and relations.

        keys   of the triples that count: int64[n], ascending and distinct
        """
        from scipy.sparse import csr_array

        triples, count = graph.triples(keys), len(graph.relations)
        pairs, place = np.unique(graph.pair_keys(triples.head, triples.tail), return_inverse=True)
        forward = _incidence(place, triples.relation, (len(pairs), count))
        back = graph.pair_keys(triples.tail, triples.head)
        found = np.searchsorted(pairs, back)
        found[found == len(pairs)] = 0
        there = pairs[found] == back if len(pairs) else np.zeros(0, np.bool_)
        backward = _incidence(found[there], triples.relation[there], (len(pairs), count))
        of_both = csr_array(forward.T @ backward)
        total = np.bincount(triples.relation, minlength=count)
        loops = np.bincount(triples.relation[triples.head == triples.tail], minlength=count)
        return cls(total, total - loops, of_both.diagonal() - loops, csr_array(forward.T @ forward), of_both)

    @property
    def symmetry(self) -> Doubles:
        """float64[R]: share of each relation's triples whose reversal is in it too; NaN where it has none but loops."""
        with np.errstate(invalid="ignore"):
            found: Doubles = self.mirrored / self.directed
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
    share            of the first relation's triples, those that are in both; of a symmetric one, loops aside
    share_second     the same of the second
    found_in         the triples that show it and are counted: of `train`, or of `all` splits where training does not
    """

    kind: PairKind
    first: int
    second: int
    common: int
    share: float
    share_second: float
    found_in: Literal["train", "all"] = "train"

    @property
    def key(self) -> tuple[PairKind, int, int]:
        """Which pair it is."""
        return self.kind, self.first, self.second

    def to_dict(self, relations: Sequence[str]) -> dict[str, Any]:
        """With names in the place of ids."""
        return {**asdict(self), "first": relations[self.first], "second": relations[self.second]}


def wanted_share(graph: NumberedGraph, share: float = SHARE) -> float:
    """The share that a pair must have in training: `share` of what a random split leaves there."""
    every = sum(map(len, graph.splits.values()))
    return share * len(graph.train) / every if every else share


def find_pairs(graph: NumberedGraph, share: float, train: Overlaps) -> list[RelationPair]:
    """Symmetric relations, inverse pairs and near-duplicates, of either kind those with most in common first.

    share   of the triples of both relations that must be in both
    train   overlaps in training
    """
    found = {pair.key: pair for pair in _pairs(train, wanted_share(graph, share))}
    if len(graph.known_keys) > len(graph.train_keys):
        for pair in _pairs(Overlaps.of(graph, graph.known_keys), share):
            found.setdefault(pair.key, replace(pair, found_in="all"))
    return sorted(found.values(), key=lambda pair: (KINDS.index(pair.kind), -pair.common, pair.first, pair.second))


def _pairs(overlaps: Overlaps, wanted: float) -> list[RelationPair]:
    """Pairs of relations with a wanted share of the triples of both in both."""
    mirrored, directed = overlaps.mirrored, overlaps.directed
    found = [
        RelationPair("symmetric", r, r, n, share := n / int(directed[r]), share)
        for r, n in enumerate(mirrored.tolist())
        if n > 0 and n >= wanted * directed[r]
    ]
    kinds: tuple[tuple[PairKind, csr_array], ...] = (("inverse", overlaps.reversed), ("duplicate", overlaps.same))
    for kind, counts in kinds:
        table, of = counts.tocoo(), overlaps.triples
        first, second, common = table.row.astype(np.int64), table.col.astype(np.int64), table.data
        chosen = (first < second) & (common > 0) & (common >= wanted * np.maximum(of[first], of[second]))
        for r, s, n in zip(first[chosen].tolist(), second[chosen].tolist(), common[chosen].tolist(), strict=True):
            found.append(RelationPair(kind, r, s, n, n / int(of[r]), n / int(of[s])))
    return found
