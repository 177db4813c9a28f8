"""Filter masks of known positives, compiled: a candidate is looked up among a query's answers, or these among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from distjoint.backends.base import KnownSide
from distjoint.backends.cpu.compiled import compiled
from distjoint.base.arrays import Ints

MANY, ROOM = 64, 64 << 20
"""Answers that make it worth to look candidates up among them, instead of them among candidates; and bytes for that,
for either direction: some questions have thousands of answers, and are asked as often.
"""


class KnownMask:
    """See `base.FilterMask`. Several threads may mark at once, each with candidates of its own."""

    def __init__(self, sides: tuple[KnownSide, KnownSide]) -> None:
        self._sides = sides
        self._sets = tuple(_answer_sets(side) for side in sides)
        self._free: list[NDArray[np.int32]] = []

    def mark(self, side: int, head: Tensor, relation: Tensor, tail: Tensor, candidates: Tensor, mask: Tensor) -> None:
        known, source = self._sides[side], (head if side == 0 else tail).reshape(-1).numpy()
        try:
            slot = self._free.pop()  # a list's own pop and append are safe between threads
        except IndexError:
            slot = np.full(known.rows, -1, np.int32)
        questions = known.first, known.relation, known.starts, known.answer
        arrays = candidates.numpy(), slot, mask.numpy()
        _mark(source, relation.reshape(-1).numpy(), *questions, *self._sets[side], *arrays)
        self._free.append(slot)


def _answer_sets(known: KnownSide) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The answers of those questions that have most of them, as sets of arena rows.

    returns   int32[questions]: which set, -1 for none; and uint8[sets, bytes], eight rows to a byte
    """
    counts, width = np.diff(known.starts), -(-known.rows // 8)
    chosen: Ints = np.flatnonzero(counts > MANY)
    chosen = chosen[np.argsort(-counts[chosen], kind="stable")][: ROOM // width]
    which, sets = np.full(len(counts), -1, np.int32), np.empty((len(chosen), width), np.uint8)
    which[chosen] = np.arange(len(chosen))
    for place, question in enumerate(chosen):
        answer = np.zeros(known.rows, np.bool_)
        answer[known.answer[known.starts[question] : known.starts[question + 1]]] = True
        sets[place] = np.packbits(answer, bitorder="little")
    return which, sets


@compiled
def _mark(  # type: ignore[no-untyped-def]
    source, relation, first, relations, starts, answers, which, sets, candidates, slot, mask
):
    chunks, width = candidates.shape
    triples = mask.shape[1]
    following = np.empty(width, np.int32)
    for chunk in range(chunks):
        here = candidates[chunk]
        for place in range(width):  # the places of a row in a chain, the last one first
            following[place] = slot[here[place]]
            slot[here[place]] = place
        for k in range(triples):
            at = chunk * triples + k
            low, high = first[source[at]], first[source[at] + 1]
            question = low + np.searchsorted(relations[low:high], relation[at])
            if which[question] >= 0:
                answer, marked = sets[which[question]], mask[chunk, k]
                for place in range(width):
                    row = here[place]
                    marked[place] |= (answer[row >> 3] >> (row & 7)) & 1 == 1
                continue
            for at in range(starts[question], starts[question + 1]):
                place = slot[answers[at]]
                while place >= 0:
                    mask[chunk, k, place] = True
                    place = following[place]
        for place in range(width):
            slot[here[place]] = -1
