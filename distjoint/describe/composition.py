"""Which relations are like transitive ones: how many of a relation's paths of two steps are closed by a third.

A path is h, m, t with (h, r, m) and (m, r, t) in training and three different entities. It is closed where (h, r, t) is
in training too. A hub has more paths than can be walked: of relations with many, some are drawn evenly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distjoint.base.arrays import Doubles, Ints
from distjoint.base.progress import Task
from distjoint.describe.keys import NumberedGraph, contains

MOST = 200_000
"""Paths of a relation that are walked."""
CLOSED = 0.5
"""Share of closed paths that makes a relation like a transitive one."""


@dataclass(frozen=True)
class Composition:
    """Closed paths of every relation.

    paths     int64[R]: paths of two steps that there are, those that come back or stand still included
    walked    int64[R]: those of three different entities among all, or among `MOST` that were drawn
    closed    int64[R]: closed ones of these
    """

    paths: Ints
    walked: Ints
    closed: Ints

    @property
    def share(self) -> Doubles:
        """float64[R]: share of closed paths; NaN where there are no paths."""
        with np.errstate(invalid="ignore"):
            found: Doubles = self.closed / self.walked
        return found

    @classmethod
    def of(cls, graph: NumberedGraph, seed: int, task: Task, most: int = MOST) -> Composition:
        """Walk the paths of every relation. task: told of relations that are done"""
        keys, count = graph.train_keys, len(graph.relations)
        train = graph.triples(keys)
        # The triples of one relation and head lie side by side: where those begin that go on from each triple's tail.
        ends = graph.end_keys(train.relation, train.head)
        onward = graph.end_keys(train.relation, train.tail)
        begin = np.searchsorted(ends, onward, "left")
        steps = np.searchsorted(ends, onward, "right") - begin
        bounds = np.searchsorted(train.relation, np.arange(count + 1))
        paths, walked, closed = (np.zeros(count, np.int64) for _ in range(3))
        for relation in range(count):
            part = slice(int(bounds[relation]), int(bounds[relation + 1]))
            until = np.cumsum(steps[part])
            paths[relation] = total = int(until[-1]) if len(until) else 0
            chosen = np.arange(total)
            if total > most:
                chosen = np.random.default_rng((seed, relation)).integers(0, total, most)
            first = np.searchsorted(until, chosen, "right")
            second = begin[part][first] + chosen - (until - steps[part])[first]
            head, middle, tail = train.head[part][first], train.tail[part][first], train.tail[second]
            apart = (head != tail) & (head != middle) & (middle != tail)
            wanted = graph.triple_keys(np.full(int(apart.sum()), relation), head[apart], tail[apart])
            walked[relation], closed[relation] = len(wanted), int(contains(keys, wanted).sum())
            task.advance()
        return cls(paths, walked, closed)
