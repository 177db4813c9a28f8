"""Nearest neighbours by cosine: of one vector, or of thousands at a time, among vectors in memory or in their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from distjoint.base.arrays import Bools, Doubles, Floats, Ints
from distjoint.evaluate.space import Space, Spaces
from distjoint.evaluate.stored import StoredVectors, read_parts
from distjoint.evaluate.trained import TrainedVectors
from distjoint.results.best import Block, Columns, blocks_of, search


class Compared:
    """The vectors of one kind as they are compared with each other.

    vectors     float32[n, dim], as they are read
    prepare     makes vectors of length one of them, whose products are cosines, in the precision that it is given
    plausible   bool[n]: which are neighbours, from places and `said` of a block; None for all
    unit        float32[n, dim]: all of them prepared, where that is in memory
    plain       `prepare` divides by the length, and does no more
    """

    def __init__(
        self,
        vectors: Floats | StoredVectors,
        prepare: Callable[[Any], Any],
        plausible: Callable[[Ints, Bools | None], Bools] | None = None,
        unit: Floats | None = None,
        plain: bool = False,
    ) -> None:
        self.vectors, self.prepare, self._plausible, self._unit = vectors, prepare, plausible, unit
        self._plain = plain and unit is None

    def __len__(self) -> int:
        return len(self.vectors)

    def nearest(
        self,
        queries: Doubles,
        k: int,
        skip: Ints,
        advance: Callable[[float], Any] = lambda _: None,
        limit: int | None = None,
    ) -> tuple[Ints, Doubles]:
        """The k nearest: places, int64[queries, k], -1 for none; cosines, float64[queries, k].

        queries   float64[queries, dim], of length one
        skip      int64[queries]: place of one that is no neighbour, as the query itself; -1 for none
        advance   told how many neighbours all queries have met since it was last told
        limit     only so many of the first are neighbours
        """
        narrow, columns, mine = queries.astype(np.float32), Columns(len(self)), np.flatnonzero(skip >= 0)

        def score(block: Block) -> Floats:
            places, vectors, said = block
            if self._plain:
                norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
                cosines = np.asarray(narrow @ vectors.T / np.where(norms > 0, norms, 1), np.float32)
            else:
                cosines = narrow @ (vectors if self._unit is not None else self.prepare(vectors)).T
            if self._plausible is not None:
                cosines[:, ~self._plausible(places, said)] = -np.inf
            if limit is not None:
                cosines[:, places >= limit] = -np.inf
            columns.exclude(cosines, places, mine, skip[mine])
            return np.asarray(cosines, np.float32)

        def exact(query: Ints, places: Ints) -> Doubles:
            found: Doubles = np.empty(len(places))
            for start in range(0, len(places), 1 << 14):
                part = slice(start, start + (1 << 14))
                unit = self.prepare(self.vectors[places[part]].astype(np.float64))
                found[part] = np.einsum("nd,nd->n", queries[query[part]], unit)
            return found

        blocks = blocks_of(self.vectors if self._unit is None else self._unit)
        return search(len(queries), min(k, len(self)), blocks, score, exact, advance)

    def cosines(self, query: Doubles, limit: int | None = None) -> Doubles:
        """float64[n]: the cosines of a query, float64[dim] of length one, and all vectors, or so many of the first."""
        found: Doubles = np.empty(len(self))
        for places, vectors, _ in blocks_of(self.vectors):
            found[places] = self.prepare(vectors.astype(np.float64)) @ query
        return found[:limit]


@dataclass(frozen=True)
class Nearest:
    """Neighbours of some queries, in one kind or in several, nearest first.

    space        int64[queries, k]: number of the space of each
    places       int64[queries, k]: place in it, -1 where there are no more
    similarity   float64[queries, k]
    """

    space: Ints
    places: Ints
    similarity: Doubles


class Neighbours:
    """The spaces of a run, compared within a kind and across kinds.

    plausible   of entities, as of `Compared`
    """

    def __init__(
        self, trained: TrainedVectors, spaces: Spaces, plausible: Callable[[Ints, Bools | None], Bools]
    ) -> None:
        self._trained, self._spaces, self._plausible = trained, spaces, plausible
        self._coupling, self._known = trained.coupling, dict[tuple[str, bool], Compared]()
        self._means = dict[int, Doubles]()

    def within(self, space: Space, standardize: bool) -> Compared:
        """The vectors of one kind.

        standardize   columns first
        """
        key = space.kind, standardize
        if key not in self._known:
            stored = isinstance(space.vectors, StoredVectors)

            def prepare(vectors: Any) -> Any:
                return space.to_unit(vectors, standardize)

            plausible = self._plausible if space.kind == "entity" else None
            unit = None if stored else space.unit(standardize)
            self._known[key] = Compared(space.vectors, prepare, plausible, unit, plain=not standardize)
        return self._known[key]

    def nearest(
        self,
        source: Space,
        places: Ints,
        vectors: Floats,
        k: int,
        spaces: Sequence[Space],
        standardize: bool,
        advance: Callable[[float], Any] = lambda _: None,
    ) -> Nearest:
        """The neighbours of some vectors of one kind.

        places    int64[queries]: theirs in their space, -1 for a vector that was given
        vectors   float32[queries, dim]
        spaces    where neighbours are sought; one of another kind only where the coupling lets kinds meet
        """
        found = [self._of_space(source, places, vectors, k, space, standardize, advance) for space in spaces]
        number = np.concatenate([np.full(at.shape, each) for each, (at, _) in enumerate(found)], 1)
        at, cosines = (np.concatenate([pair[side] for pair in found], 1) for side in (0, 1))
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        return Nearest(*(np.take_along_axis(each, order, 1) for each in (number, at, cosines)))

    def _of_space(
        self,
        source: Space,
        places: Ints,
        vectors: Floats,
        k: int,
        space: Space,
        standardize: bool,
        advance: Callable[[float], Any],
    ) -> tuple[Ints, Doubles]:
        wide = vectors.astype(np.float64)
        if space.kind == source.kind:
            compared = self.within(space, standardize and space.kind == "word")
            return compared.nearest(compared.prepare(wide), k, places, advance)
        if source.kind == "entity":
            return self.words_among_entities.nearest(_unit(wide), k, np.full(len(places), -1), advance)
        known = places >= 0
        beside = np.empty((len(wide), space.vectors.shape[1]))
        if known.any():
            beside[known] = self.among_entities(self.read_words[places[known]].astype(np.float64))
        if not known.all():
            beside[~known] = self.among_entities(wide[~known], as_read=False)
        return self.within(space, False).nearest(_unit(beside), k, np.full(len(places), -1), advance)

    @cached_property
    def words_among_entities(self) -> Compared:
        """Words where the coupling puts them beside entities, unstandardised."""
        vectors = self.read_words

        def prepare(some: Any) -> Any:
            return _unit(self.among_entities(some))

        unit = None if isinstance(vectors, StoredVectors) else _unit(self.among_entities(vectors))
        return Compared(vectors, prepare, None, unit)

    def among_entities(self, words: Any, as_read: bool = True) -> Any:
        """Vectors of words where the coupling puts them beside entities, in the precision they are given in.

        as_read   whether they are as entities read them, not W + C as the text has them
        """
        every = self.read_words if as_read else self._spaces.words.vectors
        if self._coupling.of_arrays or isinstance(every, StoredVectors):
            every = self._mean(every).astype(words.dtype)[None]
        dense: Any = {name: value.astype(words.dtype) for name, value in self._maps.items()}
        if self._coupling.of_arrays:
            given: Any = every
            return np.asarray(self._coupling.words_among_entities(words, dense, given))
        import torch

        tensors = {name: torch.from_numpy(value) for name, value in dense.items()}
        others = torch.from_numpy(every.astype(words.dtype))
        return self._coupling.words_among_entities(torch.from_numpy(np.array(words)), tensors, others).numpy()

    @cached_property
    def read_words(self) -> Floats | StoredVectors:
        """float32[words, dim]: words as entities read them, before the coupling puts them there."""
        words = self._spaces.words.vectors
        if self._coupling.read_parts == ("W", "C"):
            return words
        if isinstance(words, StoredVectors):
            return words.of_parts(self._coupling.read_parts)
        return read_parts(self._trained.reader(), self._coupling.read_parts)[: len(words)]

    @cached_property
    def _maps(self) -> dict[str, Floats]:
        return {name: value for name, value in self._trained.reader().dense.items() if value.ndim == 2}

    def _mean(self, words: Floats | StoredVectors) -> Doubles:
        """float64[dim]: the mean of all words."""
        if id(words) not in self._means:
            total = sum((part.sum(0, dtype=np.float64) for _, part, _ in blocks_of(words)), np.zeros(words.shape[1]))
            self._means[id(words)] = total / max(1, len(words))
        return self._means[id(words)]


def _unit(vectors: Any) -> Any:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)
