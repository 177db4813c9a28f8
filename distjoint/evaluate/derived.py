"""Vectors made of those that stay in their files: some of them, one part of them, several side by side.

Each is `StoredVectors` again: read as it is indexed, and by blocks. So what word tests and exports choose of a table
larger than memory needs no more memory than the table itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np

from distjoint.base.arrays import Bools, Floats, Ints
from distjoint.evaluate.stored import RowReader, StoredVectors


class PartVectors(StoredVectors):
    """One of the parts that make up entities' vectors.

    part   as `Coupling.entity_parts` calls it
    """

    def __init__(self, reader: RowReader, memory: int, part: str) -> None:
        super().__init__(reader, "entity", memory)
        self.part = part

    def made(self, places: Ints) -> tuple[Floats, Bools]:
        vectors = self.reader.entity_parts(self.reader.layout.entities_at(places))[self.part]
        return vectors, np.ones(len(places), np.bool_)


class ChosenVectors(StoredVectors):
    """Some vectors among others, in the order of their places.

    places   int64[n], ascending
    """

    def __init__(self, among: StoredVectors, places: Ints) -> None:
        self._among, self._places = among, places
        self.take_shape(among, len(places), among.shape[1])

    def made(self, places: Ints) -> tuple[Floats, Bools]:
        return self._among.made(self._places[places])

    def blocks(self) -> Iterator[tuple[Ints, Floats, Bools]]:
        number = np.full(len(self._among), -1, np.int64)
        number[self._places] = np.arange(len(self._places))
        for places, vectors, said in self._among.blocks():
            chosen = number[places] >= 0
            if chosen.any():
                yield number[places][chosen], vectors[chosen], said[chosen]


class BesideVectors(StoredVectors):
    """Vectors of the same names side by side, each half scaled first.

    halves   with what scales them: float32[n, dim] to the same
    """

    def __init__(self, halves: Sequence[tuple[StoredVectors, Callable[[Floats], Floats]]]) -> None:
        self._halves = halves
        self.take_shape(halves[0][0], len(halves[0][0]), sum(half.shape[1] for half, _ in halves))

    def made(self, places: Ints) -> tuple[Floats, Bools]:
        scaled = [scale(half.made(places)[0]) for half, scale in self._halves]
        return np.hstack(scaled), np.ones(len(places), np.bool_)

    def blocks(self) -> Iterator[tuple[Ints, Floats, Bools]]:
        for places, vectors, said in self._halves[0][0].blocks():
            others = [scale(half.made(places)[0]) for half, scale in self._halves[1:]]
            yield places, np.hstack([self._halves[0][1](vectors), *others]), said


class MentionedVectors(StoredVectors):
    """Words, then n-grams of names, where the entities are that are said with them.

    parts     of words that entities read
    beside    puts words where entities are: float32[n, dim] to the same
    """

    def __init__(self, reader: RowReader, memory: int, parts: tuple[str, ...], beside: Callable[[Floats], Floats]):
        super().__init__(reader, "word", memory, parts)
        self._beside = beside
        self.take_shape(self, reader.layout.with_word, self.shape[1])

    def made(self, places: Ints) -> tuple[Floats, Bools]:
        vectors = self._beside(self.reader.words(self._rows[places], self.parts))
        return np.asarray(vectors, np.float32), np.ones(len(places), np.bool_)

    def blocks(self) -> Iterator[tuple[Ints, Floats, Bools]]:
        for start in range(0, len(self), self.rows_at_once):
            places = np.arange(start, min(start + self.rows_at_once, len(self)))
            yield places, *self.made(places)

    @cached_property
    def _rows(self) -> Ints:
        """int64[words + grams]: the row of each."""
        layout = self.reader.layout
        found = np.empty(layout.with_word, np.int64)
        found[layout.mentioned(layout.word_rows)] = layout.word_rows
        return found


def are_there(vectors: Floats | StoredVectors) -> Bools:
    """bool[n]: which vectors are not all zeros."""
    if not isinstance(vectors, StoredVectors):
        return np.asarray(vectors.any(1))
    found = np.zeros(len(vectors), np.bool_)
    for places, block, _ in vectors.blocks():
        found[places] = block.any(1)
    return found
