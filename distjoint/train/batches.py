"""Batches of triples, and the order in which a lane trains them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from distjoint.base.arrays import Floats, Ints

_SMOOTHED = 6
"""What Sun et al. add to the two counts of a triple, so that rare ones do not weigh everything."""


@dataclass(frozen=True)
class Batch:
    """Triples by arena row; int64[n] each, or int32 as they are read.

    side     the end that is queried
    weight   float32[n]: of each triple's loss; None for 1 each
    """

    head: Ints
    relation: Ints
    tail: Ints
    side: Literal["both", "tail", "head"] = "both"
    weight: Floats | None = None

    def __len__(self) -> int:
        return len(self.head)

    @property
    def sides(self) -> int:
        return 2 if self.side == "both" else 1

    def wide(self) -> Batch:
        """As int64: read from files, rows are int32."""
        head, relation, tail = (x.astype(np.int64) for x in (self.head, self.relation, self.tail))
        return Batch(head, relation, tail, self.side, self.weight)

    def select(self, which: NDArray[np.bool_] | Ints | slice) -> Batch:
        weight = None if self.weight is None else self.weight[which]
        return Batch(self.head[which], self.relation[which], self.tail[which], self.side, weight)

    def padded(self, chunk: int) -> tuple[Batch, Floats]:
        """With the last chunk filled up by the first triples, and all weights: 0 for what fills it."""
        missing = -len(self) % chunk
        weight = np.ones(len(self) + missing, np.float32)
        if self.weight is not None:
            weight[: len(self)] = self.weight
        weight[len(self) :] = 0
        return (self.select(np.arange(len(weight)) % len(self)) if missing else self), weight


def question_numbers(source: Ints, relation: Ints) -> Ints:
    """int64[triples]: a number for each (source entity, relation), the same for triples that make the same query."""
    return source.astype(np.int64) * (int(relation.max(initial=0)) + 1) + relation


def subsampled(triples: Batch, power: float) -> Batch:
    """Weighted by how rare they are (Sun et al. 2019, the `subsampling weight` of their code): the more triples have
    the same head and relation, or the same relation and tail, the less each weighs, by `power`. The mean is 1.
    A weight that a triple has already is multiplied by this one.
    """
    if not power or not len(triples):
        return triples
    counts = np.full(len(triples), _SMOOTHED, np.float64)
    for source in (triples.head, triples.tail):
        _, question, count = np.unique(
            question_numbers(source, triples.relation), return_inverse=True, return_counts=True
        )
        counts += count[question]
    rare = counts**-power
    weight = rare / rare.mean() * (1 if triples.weight is None else triples.weight)
    return Batch(triples.head, triples.relation, triples.tail, triples.side, _floats(weight))


def shuffled(triples: Batch, size: int, grouped: bool, rng: np.random.Generator) -> Iterator[Batch]:
    """All triples in batches, in random order.

    grouped   one end is queried at a time: first in one batch, then in another, and triples that make the same query
              are in the same one; a batch may be larger therefore, and others empty
    """
    if not grouped:
        order = rng.permutation(len(triples))
        for start in range(0, len(order), size):
            yield triples.select(order[start : start + size]).wide()
        return
    batches: list[Batch] = []
    sides: tuple[tuple[Literal["tail", "head"], Ints], ...] = (("tail", triples.head), ("head", triples.tail))
    for side, source in sides:
        _, question = np.unique(question_numbers(source, triples.relation), return_inverse=True)
        place = rng.permutation(int(question.max()) + 1)[question]
        order = np.argsort(place, kind="stable")
        ends = np.flatnonzero(np.diff(place[order], append=-1)) + 1  # where a question's triples end
        cuts = ends[np.searchsorted(ends, np.arange(0, len(order), size))]
        cuts[0] = 0
        for start, stop in zip(cuts, [*cuts[1:], len(order)], strict=True):
            part = triples.select(order[start:stop])
            batches.append(Batch(part.head, part.relation, part.tail, side, part.weight))
    for which in rng.permutation(len(batches)):
        yield batches[which].wide()


def _floats(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)
