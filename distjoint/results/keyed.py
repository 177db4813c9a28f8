"""Questions in the words of gensim's KeyedVectors, for people and programs that know those.

Vectors are compared as they are, as gensim does: `standardize=True` compares words by standardised columns, which is
what `nearest` does unless it is told otherwise, and mostly better.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distjoint.base.arrays import Doubles, Floats, Ints
from distjoint.base.errors import DistjointError, UsageError
from distjoint.evaluate.options import VectorKind
from distjoint.evaluate.space import Space
from distjoint.results.neighbours import Neighbours

Keys = str | NDArray[np.floating] | Sequence[Any]
"""A name, a vector, or several of them, each alone or as a pair with its weight."""


class Keyed(ABC):
    """Names and vectors as gensim's KeyedVectors has them: words where text was trained, else entities."""

    @property
    @abstractmethod
    def neighbours(self) -> Neighbours:
        """The vectors, compared."""

    @abstractmethod
    def spaces(self, kind: VectorKind | None) -> list[Space]:
        """The spaces of a kind, or of both. raises UsageError where there is none"""

    @abstractmethod
    def find(self, name: str, kind: VectorKind | None) -> tuple[Space, int]:
        """The space and place of a name. raises DistjointError for an unknown one"""

    def __getitem__(self, name: str | Sequence[str]) -> Floats:
        """float32[dim]: the vector of a name; float32[n, dim]: those of several.

        raises   KeyError, as of a dictionary, for an unknown name
        """
        try:
            if isinstance(name, str):
                space, index = self.find(name, None)
                return np.asarray(space.vectors[index])
            return np.stack([self[each] for each in name])
        except DistjointError as error:
            raise KeyError(str(error)) from error

    def __iter__(self) -> Iterator[str]:
        """The names: words, then entities; an aligned one comes twice where its two names are the same."""
        for space in self.spaces(None):
            yield from space.names

    def most_similar(
        self,
        positive: Keys = (),
        negative: Keys = (),
        topn: int | None = 10,
        restrict_vocab: int | None = None,
        *,
        kind: VectorKind | None = None,
        standardize: bool = False,
    ) -> list[tuple[str, float]] | Doubles:
        """The names nearest to the mean of some vectors, minus others, and their cosines; the given names left out.

        positive, negative   a name or vector, or several, each alone or as a pair with its weight
        topn                 how many; None for the cosines of all, float64[n]
        restrict_vocab       search only so many of the most frequent names
        kind                 of the names; words where text was trained, else entities
        standardize          compare words by standardised columns
        raises               DistjointError for an unknown name
        """
        space = self.spaces(kind)[0]
        compared = self.neighbours.within(space, standardize and space.kind == "word")
        signed = [*_weighted(positive, 1.0), *_weighted(negative, -1.0)]
        if not signed:
            raise UsageError("most_similar: give at least one name or vector, as positive or as negative")
        given: list[int] = []
        total: Doubles = np.zeros(compared.vectors.shape[1])
        for key, weight in signed:
            if isinstance(key, str):
                place = self.find(key, space.kind)[1]
                given.append(place)
                key = space.vectors[place]
            total += weight * compared.prepare(np.asarray(key, np.float64)[None])[0]
        query = total / (np.linalg.norm(total) or 1.0)
        if topn is None:
            return compared.cosines(query, restrict_vocab)
        if topn < 1:
            return []
        found, cosines = compared.nearest(query[None], topn + len(given), np.array([-1]), limit=restrict_vocab)
        pairs = zip(found[0].tolist(), cosines[0].tolist(), strict=True)
        return [(space.names[at], cosine) for at, cosine in pairs if at >= 0 and at not in given][:topn]

    def similarity(self, one: str, other: str, *, kind: VectorKind | None = None, standardize: bool = False) -> float:
        """The cosine of two names."""
        return self.n_similarity([one], [other], kind=kind, standardize=standardize)

    def n_similarity(
        self,
        ones: Sequence[str],
        others: Sequence[str],
        *,
        kind: VectorKind | None = None,
        standardize: bool = False,
    ) -> float:
        """The cosine of the means of two sets of names. raises UsageError for an empty one"""
        if not (len(ones) and len(others)):
            raise UsageError("n_similarity: give two sets of names, neither empty")
        means = [self._mean(names, kind, standardize) for names in (ones, others)]
        lengths = np.linalg.norm(means[0]) * np.linalg.norm(means[1])
        return float(means[0] @ means[1] / (lengths or 1.0))

    def doesnt_match(self, names: Sequence[str], *, kind: VectorKind | None = None, standardize: bool = False) -> str:
        """The name that is furthest from the mean of all. raises UsageError where none is given"""
        if not names:
            raise UsageError("doesnt_match: give at least one name")
        space = self.spaces(kind)[0]
        compared = self.neighbours.within(space, standardize and space.kind == "word")
        unit = compared.prepare(self._raw(space, names).astype(np.float64))
        return names[int(np.argmin(unit @ unit.mean(0)))]

    def _mean(self, names: Sequence[str], kind: VectorKind | None, standardize: bool) -> Doubles:
        """float64[dim]: the mean of some vectors, as gensim takes it: before they are of length one."""
        space = self.spaces(kind)[0]
        vectors = self._raw(space, names)
        if standardize and space.kind == "word":
            return np.asarray(space.standardized(vectors).mean(0, dtype=np.float64))
        return np.asarray(vectors.mean(0, dtype=np.float64))

    def _raw(self, space: Space, names: Sequence[str]) -> Floats:
        places: Ints = np.array([self.find(name, space.kind)[1] for name in names], np.int64)
        return np.asarray(space.vectors[places])


def _weighted(keys: Keys, sign: float) -> Iterator[tuple[Any, float]]:
    """Names or vectors and their weights."""
    if isinstance(keys, str) or (isinstance(keys, np.ndarray) and keys.ndim == 1):
        keys = [keys]
    for key in keys:
        if isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], int | float):
            yield key[0], sign * float(key[1])
        else:
            yield key, sign
