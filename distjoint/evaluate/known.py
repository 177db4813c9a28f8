"""Known answers of queries: what link prediction filters out, and predictions leave out or mark.

Training has its own (`train/negatives.py`), over the resident rows of a lane and fast enough for every batch.
"""

from __future__ import annotations

import numpy as np

from distjoint.base.arrays import Bools, Ints
from distjoint.data.dataset import Triples
from distjoint.evaluate.scoring import Side


class KnownAnswers:
    """Entities that known triples give as answers: tails of (head, relation, ?), or heads of (?, relation, tail).

    answers   int64[m]: row ids, query by query, ascending and distinct within each; `spans` says which are whose
    """

    def __init__(self, known: Triples, side: Side, given: Ints, relation: Ints) -> None:
        """Index the answers of some queries.

        known             all triples known to be right, by row id
        side              the end that is predicted
        given, relation   int64[n]: the other end and the relation of every query that will be looked up
        """
        end, answer = (known.head, known.tail) if side == "tail" else (known.tail, known.head)
        chosen = _among(known.relation, relation) & _among(end, given)
        end, answer, relation_id = end[chosen], answer[chosen], known.relation[chosen]
        self._relations = 1 + int(max(known.relation.max(initial=-1), relation.max(initial=-1)))
        keys = end * self._relations + relation_id
        order = np.lexsort((answer, keys))
        keys, answer = keys[order], answer[order]
        first = np.ones(len(keys), np.bool_)
        first[1:] = (keys[1:] != keys[:-1]) | (answer[1:] != answer[:-1])
        self._keys, self.answers = keys[first], answer[first]

    def spans(self, given: Ints, relation: Ints) -> tuple[Ints, Ints]:
        """Start and stop of each query's answers in `answers`: int64[n] each."""
        keys = given * self._relations + relation
        return np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")


def _among(ids: Ints, wanted: Ints) -> Bools:
    """bool[n]: which ids are wanted."""
    flags = np.zeros(1 + max(int(ids.max(initial=-1)), int(wanted.max(initial=-1))), np.bool_)
    flags[wanted] = True
    return np.asarray(flags[ids])
