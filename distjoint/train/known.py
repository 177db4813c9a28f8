"""Known positives: the training triples among resident entities, by the question they answer."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from distjoint.backends import Backend
from distjoint.backends.base import KnownSide
from distjoint.base.arrays import Floats, Ints
from distjoint.train.batches import Batch


class KnownPositives:
    """Training triples by (head, relation), and by (tail, relation).

    triples   every training triple between resident entities
    rows      arena rows
    """

    def __init__(self, triples: Batch, rows: int, backend: Backend) -> None:
        ends = (triples.head, triples.tail)
        self.sides = tuple(_by_question(ends[k], triples.relation, ends[1 - k], rows) for k in (0, 1))
        self.mask = backend.filter_mask((self.sides[0], self.sides[1]))
        self._weights = [
            None if triples.weight is None else triples.weight[np.lexsort((triples.relation, end))] for end in ends
        ]

    def answers(self, side: int, source: Ints, relation: Ints) -> tuple[Ints, Ints, Floats | None]:
        """How many answers each of some questions has, all of these, question after question, and their weights.

        side               0 where tails are queried, 1 where heads are
        source, relation   int64[questions], each of a known triple
        """
        known, (keys, width) = self.sides[side], self._keys[side]
        place = np.searchsorted(keys, source * width + relation)
        counts = known.starts[place + 1] - known.starts[place]
        places = np.arange(counts.sum()) + np.repeat(known.starts[place] - np.cumsum(counts) + counts, counts)
        weights = self._weights[side]
        return counts, known.answer[places], None if weights is None else weights[places]

    @cached_property
    def _keys(self) -> list[tuple[Ints, int]]:
        """Of each side a sorted number for every question, and the factor of the source in it."""
        found = []
        for known in self.sides:
            width = int(known.relation.max(initial=0)) + 1
            source = np.repeat(np.arange(known.rows), np.diff(known.first))
            found.append((source * width + known.relation, width))
        return found


def _by_question(source: Ints, relation: Ints, answer: Ints, rows: int) -> KnownSide:
    """Distinct questions, in order of their source and then of the relation."""
    order = np.lexsort((relation, source))
    source, relation = source[order], relation[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (source[1:] != source[:-1]) | (relation[1:] != relation[:-1])
    starts = np.flatnonzero(new)
    first = np.searchsorted(source[starts], np.arange(rows + 1))
    ends = np.append(starts, len(order))
    return KnownSide(first, relation[starts].astype(np.int64), ends, answer[order].astype(np.int64), rows)
