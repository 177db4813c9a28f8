"""Which entities serve as negatives: those with a training triple, drawn evenly or by degree; by option only those
whose types fit the relation, and never one that is known to be right.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from distjoint.arrays import Bools, Ints
from distjoint.backends.cpu.compiled import compiled
from distjoint.backends.cpu.rows import RowKernels
from distjoint.data.types import Domains
from distjoint.train.batches import Batch

_TASKS = 4
"""Parts of a batch whose negatives are looked through at a time."""
_MANY, _ROOM = 64, 64 << 20
"""Answers that make it worth to look candidates up among them, instead of them among candidates; and bytes for that,
for either end: some questions have thousands of answers, and are asked as often.
"""


class Known:
    """The right answers among the resident entities, by question.

    triples   every training triple between resident entities
    rows      arena rows
    """

    def __init__(self, triples: Batch, rows: int) -> None:
        self._sides = []
        for given, answer in ((triples.head, triples.tail), (triples.tail, triples.head)):
            questions = _by_question(given, triples.relation, answer, rows)
            self._sides.append((*questions, *_answer_sets(*questions[2:], rows)))
        self._slots = np.full((_TASKS, rows), -1, np.int32)

    def answers(self, side: int, given: Ints, relation: Ints) -> tuple[Ints, Ints]:
        """How many answers each of some questions has, and all of these, question after question.

        side              as in `refuse`
        given, relation   int64[questions], each of a triple that is known
        """
        first, relations, starts, answers, *_ = self._sides[side]
        asked = _questions(given, relation, first, relations)
        counts = starts[asked + 1] - starts[asked]
        places = np.arange(counts.sum()) + np.repeat(starts[asked] - np.cumsum(counts) + counts, counts)
        return counts, answers[places]

    def refuse(self, side: int, task: int, batch: Batch, candidates: Ints, refused: Bools) -> None:
        """Mark the candidates that are right: int64[chunks, width], bool[chunks, triples, width].

        side    0 where tails are asked for, 1 where heads are
        task    of those that are at work at a time, in [0, _TASKS)
        """
        given = batch.head if side == 0 else batch.tail
        # Padding repeats the batch's triples, so every question has its answers here.
        _refuse_known(given, batch.relation, *self._sides[side], candidates, self._slots[task], refused)


class Typed:
    """The entities that the types of a relation allow at its ends (`Domains`), to draw from and to check against.

    rows      int64[m]: the pool's rows
    weight    float64[m]: how often each is drawn
    type_of   int32[arena rows]: each one's set of types
    """

    def __init__(self, domains: Domains, rows: Ints, weight: NDArray[np.float64], type_of: NDArray[np.int32]) -> None:
        self._type_of, self._allowed = type_of, np.stack([domains.tail, domains.head])
        order = np.argsort(type_of[rows], kind="stable")
        self._rows, self._sums = rows[order], np.concatenate([[0.0], np.cumsum(weight[order])])
        sets = self._allowed.shape[2]
        bounds = np.searchsorted(type_of[self._rows], np.arange(sets + 1))
        self._first, self._last = bounds[:-1], bounds[1:] - 1
        mass = self._sums[bounds[1:]] - self._sums[bounds[:-1]]
        # Running sums over sets, relation after relation: one search finds the set, another the entity in it.
        self._running = np.cumsum(np.where(self._allowed, mass, 0.0).reshape(2, -1), axis=1)

    def draw(self, rng: np.random.Generator, relation: Ints, count: int) -> Ints:
        """int64[2, chunks, count]: rows for tails, for heads; each allowed by some triple of its chunk.

        relation   int64[chunks, triples]
        """
        chunks, triples = relation.shape
        sets, drawn = self._allowed.shape[2], np.empty((2, chunks, count), np.int64)
        for side, running in enumerate(self._running):
            chosen = np.take_along_axis(relation, rng.integers(0, triples, (chunks, count)), axis=1)
            low, high = np.where(chosen > 0, running[chosen * sets - 1], 0.0), running[(chosen + 1) * sets - 1]
            value = np.minimum(low + rng.random((chunks, count)) * (high - low), np.nextafter(high, 0))
            place = np.searchsorted(running, value, "right")
            which = place % sets
            rest = value - np.where(place > 0, running[place - 1], 0.0)
            entity = np.searchsorted(self._sums, self._sums[self._first[which]] + rest, "right") - 1
            drawn[side] = self._rows[entity.clip(self._first[which], self._last[which])]
        return drawn

    def refuse(self, side: int, task: int, batch: Batch, candidates: Ints, refused: Bools) -> None:
        """Mark the candidates whose types are not allowed; arguments as in `Known.refuse`."""
        _refuse_typed(batch.relation, self._allowed[side], self._type_of, candidates, refused)


@dataclass(frozen=True)
class Pool:
    """Rows that may serve as negatives, or as candidates where all do.

    rows         int64[m]: arena rows, distinct
    cumulative   float64[m]: sums of how often each is drawn; None where all are drawn alike
    typed        None where types do not matter
    known        None where right answers are not looked for
    """

    rows: Ints
    cumulative: NDArray[np.float64] | None = None
    typed: Typed | None = None
    known: Known | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, rng: np.random.Generator, relation: Ints, count: int) -> Ints:
        """Negatives for the tails and for the heads of chunks, with replacement: arena rows, int64[2, chunks, count].

        relation   int64[chunks, triples]
        """
        if self.typed is not None:
            return self.typed.draw(rng, relation, count)
        shape = (2, len(relation), count)
        if self.cumulative is None:
            return self.rows[rng.integers(0, len(self.rows), shape)]
        return self.rows[np.searchsorted(self.cumulative, rng.random(shape) * self.cumulative[-1], "right")]

    def refused(self, batch: Batch, candidates: Ints, in_batch: bool, kernels: RowKernels) -> Bools | None:
        """Which candidates are no negatives of which triples: bool[2, chunks, triples, width], None for none.

        batch        whole chunks of triples
        candidates   int64[2, chunks, width]: arena rows, for tails and for heads
        in_batch     whether candidate k of a chunk is the right answer of its triple k: that place is never refused
        """
        limits = [limit for limit in (self.typed, self.known) if limit is not None]
        if not limits:
            return None
        _, chunks, width = candidates.shape
        triples = len(batch) // chunks
        refused = np.zeros((2, chunks, triples, width), np.bool_)

        def refuse(task: int) -> None:
            first, last = (chunks * k // _TASKS for k in (task, task + 1))
            part = batch.select(slice(first * triples, last * triples))
            for side, limit in product((0, 1), limits):
                limit.refuse(side, task, part, candidates[side, first:last], refused[side, first:last])

        for _ in kernels.map(refuse, range(_TASKS)):
            pass
        if in_batch:
            own = np.arange(triples)
            refused[:, :, own, own] = False
        return refused


def _by_question(given: Ints, relation: Ints, answer: Ints, rows: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Distinct questions, in order of what is given and then of the relation.

    first      int64[rows + 1]: where those that give a row begin, and where the last ones end
    relation   int64[questions]
    starts     int64[questions + 1]: where the answers of each begin, and where the last ones end
    answer     int64[triples]
    """
    order = np.lexsort((relation, given))
    given, relation = given[order], relation[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (given[1:] != given[:-1]) | (relation[1:] != relation[:-1])
    starts = np.flatnonzero(new)
    first = np.searchsorted(given[starts], np.arange(rows + 1))
    return first, relation[starts].astype(np.int64), np.append(starts, len(order)), answer[order].astype(np.int64)


def _answer_sets(starts: Ints, answers: Ints, rows: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The answers of those questions that have most of them, as sets of arena rows.

    starts, answers   as from `_by_question`
    returns           int32[questions]: which set, -1 for none; and uint8[sets, bytes], eight rows to a byte
    """
    counts, width = np.diff(starts), -(-rows // 8)
    asked = np.flatnonzero(counts > _MANY)
    asked = asked[np.argsort(-counts[asked], kind="stable")][: _ROOM // width]
    which, sets = np.full(len(counts), -1, np.int32), np.empty((len(asked), width), np.uint8)
    which[asked] = np.arange(len(asked))
    for place, question in enumerate(asked):
        answer = np.zeros(rows, np.bool_)
        answer[answers[starts[question] : starts[question + 1]]] = True
        sets[place] = np.packbits(answer, bitorder="little")
    return which, sets


@compiled
def _question(given, relation, first, relations):  # type: ignore[no-untyped-def]
    """Which of the distinct questions one is; it is one of them."""
    low, high = first[given], first[given + 1]
    return low + np.searchsorted(relations[low:high], relation)


@compiled
def _questions(given, relation, first, relations):  # type: ignore[no-untyped-def]
    found = np.empty(len(given), np.int64)
    for k in range(len(given)):
        found[k] = _question(given[k], relation[k], first, relations)
    return found


@compiled
def _refuse_known(  # type: ignore[no-untyped-def]
    given, relation, first, relations, starts, answers, which, sets, candidates, slot, refused
):
    chunks, width = candidates.shape
    triples = refused.shape[1]
    following = np.empty(width, np.int32)
    for chunk in range(chunks):
        here = candidates[chunk]
        for place in range(width):  # the places of a row in a chain, the last one first
            following[place] = slot[here[place]]
            slot[here[place]] = place
        for k in range(triples):
            at = chunk * triples + k
            asked = _question(given[at], relation[at], first, relations)
            if which[asked] >= 0:
                answer, marked = sets[which[asked]], refused[chunk, k]
                for place in range(width):
                    row = here[place]
                    marked[place] |= (answer[row >> 3] >> (row & 7)) & 1 == 1
                continue
            for at in range(starts[asked], starts[asked + 1]):
                place = slot[answers[at]]
                while place >= 0:
                    refused[chunk, k, place] = True
                    place = following[place]
        for place in range(width):
            slot[here[place]] = -1


@compiled
def _refuse_typed(relation, allowed, type_of, candidates, refused):  # type: ignore[no-untyped-def]
    chunks, width = candidates.shape
    triples = refused.shape[1]
    for chunk in range(chunks):
        for k in range(triples):
            fits = allowed[relation[chunk * triples + k]]
            for place in range(width):
                if not fits[type_of[candidates[chunk, place]]]:
                    refused[chunk, k, place] = True
