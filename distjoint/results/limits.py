"""What is no answer of a prediction: known triples, the given end, entities that types or a list leave out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from distjoint.base.arrays import Bools, Ints
from distjoint.base.errors import UsageError

if TYPE_CHECKING:
    from distjoint.data.dataset import Dataset, Triples
    from distjoint.data.types import Domains
    from distjoint.table.layout import Layout

Side = Literal["head", "tail"]
NONE = np.empty(0, np.int64)


class Ends(Protocol):
    """Which entities may stand at an end of a relation."""

    def allowed(self, relation: int, side: Side, places: Ints) -> Bools:
        """bool[n]: which of these entities."""


@dataclass(frozen=True)
class Limits:
    """What is no answer.

    queries, places   int64[m] each: pairs of a query and an entity that is none of its answers
    listed            bool[entities]: which may be answers at all; None for all
    ends              which may stand at an end of a relation; None for all
    """

    queries: Ints
    places: Ints
    listed: Bools | None = None
    ends: Ends | None = None


@dataclass(frozen=True)
class TypedEnds:
    """By types: those of which an entity stood there in training.

    layout  of the rows
    """

    domains: Domains
    layout: Layout

    def allowed(self, relation: int, side: Side, places: Ints) -> Bools:
        sets = (self.domains.head if side == "head" else self.domains.tail)[relation]
        return np.asarray(np.append(sets, False)[self.domains.type_of[self.layout.entities_at(places)]])


class SeenEnds:
    """By observation: the entities that stood there in training.

    train   triples by place of entity
    """

    def __init__(self, train: Triples) -> None:
        self._ends: dict[Side, tuple[Ints, Ints]] = {}
        sides: tuple[tuple[Side, Ints], ...] = (("head", train.head), ("tail", train.tail))
        for side, end in sides:
            pairs = np.unique(np.stack([train.relation, end]), axis=1)
            self._ends[side] = pairs[0], pairs[1]

    def allowed(self, relation: int, side: Side, places: Ints) -> Bools:
        relations, ends = self._ends[side]
        mine = ends[slice(*np.searchsorted(relations, (relation, relation + 1)))]
        if not len(mine):
            return np.zeros(len(places), np.bool_)
        at = np.searchsorted(mine, places)
        return np.asarray(mine[np.minimum(at, len(mine) - 1)] == places)


def ends_of(dataset: Dataset, train: Triples) -> tuple[Ends, str]:
    """What may stand at the ends of relations, and how that is known.

    train   training triples by place of entity
    """
    domains = dataset.domains()
    if domains is None:
        return SeenEnds(train), "entities that stood at this end of the relation in training"
    return TypedEnds(domains, dataset.layout), "entities of the types that did in training"


def of_types(dataset: Dataset, names: Sequence[str], count: int) -> Bools:
    """bool[entities]: those that have one of some types. raises UsageError for a type that there is not

    count   of entities
    """
    from distjoint.data.types import NAME as TYPES

    if not dataset.has_types:
        raise UsageError(f"--type {names[0]}: {dataset.folder} has no types; prepare it with --types")
    table: Any = dataset.read(TYPES, None)
    kinds, listed = table.column("type").to_numpy(), np.zeros(count, np.bool_)
    rows = dataset.layout.entity_places(table.column("row").to_numpy())
    for name in names:
        if not (mine := kinds == name).any():
            known = ", ".join(map(str, np.unique(kinds.astype(str))[:5]))
            raise UsageError(f"--type {name}: no entity has this type; there is {known}")
        listed[rows[mine]] = True
    return listed
