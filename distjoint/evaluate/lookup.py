"""Looking up the names of evaluation sets; those not found, or found for several, are counted, with examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from distjoint.base.arrays import Ints
from distjoint.evaluate.space import Space

SHOWN = 5
"""Examples that are kept."""


@dataclass(frozen=True)
class Coverage:
    """How many names of a set have a vector.

    names     different ones
    unknown   those without a vector; `examples` are the first of them
    shared    those that stand for several vectors, of which the first was taken; `shared_examples` likewise
    """

    names: int = 0
    unknown: int = 0
    examples: tuple[str, ...] = ()
    shared: int = 0
    shared_examples: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "names": self.names,
            "unknown": self.unknown,
            "unknown_examples": list(self.examples),
            "shared": self.shared,
            "shared_examples": list(self.shared_examples),
        }

    @classmethod
    def of(cls, tree: dict[str, Any] | None) -> Coverage:
        """The coverage that `to_dict` describes; of nothing where an older report has none."""
        if tree is None:
            return cls()
        examples, shared = tuple(tree["unknown_examples"]), tuple(tree["shared_examples"])
        return cls(tree["names"], tree["unknown"], examples, tree["shared"], shared)


class Lookup:
    """The vectors of a set's names, each looked up once.

    A name is found as `Space.find` finds it, else with blanks for its underscores, as titles of Wikipedia write them.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._found: dict[str, int] = {}

    def find(self, name: str) -> int:
        """The index of a name, -1 where it is unknown."""
        if name not in self._found:
            index = self._space.find(name)
            if index is None and "_" in name:
                index = self._space.find(name.replace("_", " "))
            self._found[name] = -1 if index is None else index
        return self._found[name]

    def find_all(self, names: Iterable[str]) -> Ints:
        """int64[n]: the index of each name, -1 where it is unknown."""
        return np.array([self.find(name) for name in names], np.int64)

    def coverage(self) -> Coverage:
        """What was found of all names so far."""
        unknown = [name for name, index in self._found.items() if index < 0]
        shared = self._shared()
        return Coverage(len(self._found), len(unknown), _first(unknown), len(shared), _first(shared))

    def _shared(self) -> list[str]:
        """Names that are no vector's own, as they are spelt, and stand for several vectors."""
        names = self._space.names
        doubtful = {name: name.casefold() for name, index in self._found.items() if index >= 0 and names[index] != name}
        places: dict[str, set[int]] = {key: set() for key in doubtful.values()}
        if places:
            for other, place in chain(zip(names, range(len(names)), strict=True), self._space.aliases):
                if (key := other.casefold()) in places:
                    places[key].add(place)
        return [name for name, key in doubtful.items() if len(places[key]) > 1]


def _first(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[:SHOWN])
