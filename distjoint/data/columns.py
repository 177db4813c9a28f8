"""Which columns of a table are head, relation, tail and weight: by names that people give them, else by their order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from urllib.parse import unquote

from distjoint.base.errors import DistjointError, UsageError

PARTS = ("head", "relation", "tail")
KNOWN = {
    "head": "head h headid headentity subject subj s subjectid source src sourceid from fromid fromnodeid start "
    "startid node1 entity1 arg1 lhs",
    "relation": "relation rel r relationid relationship predicate pred p predicateid property metaedge edgetype "
    "relationtype relationshiptype edge edgelabel type label rtype interaction",
    "tail": "tail t tailid tailentity object obj o objectid target tgt targetid dst dest destination to toid tonodeid "
    "end endid node2 entity2 arg2 rhs",
}
"""Names of columns, likelier ones first, without case and marks."""
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: 0|")
"""Columns that pandas makes of an index."""
_NEO4J = re.compile(r":(START_ID|END_ID|TYPE)(?:\(.*\))?\s*$")
"""Ends of names of columns by which Neo4j knows them, whatever stands before."""
_NULL = "__HIVE_DEFAULT_PARTITION__"
_HINT = "name them with --triple-columns"


@dataclass(frozen=True)
class TableForm:
    """What is known of the tables of triples before they are read.

    columns    names of the columns of head, relation and tail, or their positions from 0; two where `relation` is given
    header     whether files without a schema begin with a line of names; None to find out
    relation   that of all triples
    weight     column of weights, by name or position
    weighed    whether weights are read; otherwise their column is left out where there is one
    language   of the terms that are kept, where a format has some; None for all
    """

    columns: tuple[str, ...] | None = None
    header: bool | None = None
    relation: str | None = None
    weight: str | None = None
    language: str | None = None
    weighed: bool = True

    @classmethod
    def of(
        cls,
        columns: str | Sequence[str] | None = None,
        header: bool | None = None,
        relation: str | None = None,
        weight: str | None = None,
        language: str | None = None,
    ) -> TableForm:
        """raises UsageError for options at odds"""
        if relation is not None and not relation.strip():
            raise UsageError("--relation is empty; it takes the name of the relation of all triples")
        if columns is None:
            return cls(None, header, relation, weight, language)
        wanted = ("head", "tail") if relation else PARTS
        names = tuple(name.strip() for name in (columns.split(",") if isinstance(columns, str) else columns))
        if len(names) != len(wanted) or len(set(names)) != len(names) or not all(names):
            numbers = ",".join(map(str, range(len(wanted))))
            takes = f"takes {'two' if relation else 'three'} names, '{','.join(wanted)}', or numbers, '{numbers}'"
            raise UsageError(f"--triple-columns is {','.join(names)!r}; it {takes}")
        if header is False and not all(map(str.isdecimal, names)):
            raise UsageError(f"--triple-columns {','.join(names)} are names, which --no-header leaves none of")
        return cls(names, header, relation, weight, language)

    @property
    def by_name(self) -> bool:
        """Whether columns are named, so that a file without a schema must begin with their names."""
        return self.columns is not None and not all(map(str.isdecimal, self.columns))


@dataclass(frozen=True)
class Chosen:
    """Columns of a table that are read.

    places     head, relation, tail: position of each column, or the value that all rows have
    weight     position of the weights
    left_out   names of the other columns
    known      whether the names said which is which
    """

    places: tuple[int | str, int | str, int | str]
    weight: int | None = None
    left_out: tuple[str, ...] = ()
    known: bool = False

    @cached_property
    def positions(self) -> list[int]:
        """Of all columns that are read."""
        found = [place for place in (*self.places, self.weight) if isinstance(place, int)]
        return list(dict.fromkeys(found))

    def __str__(self) -> str:
        return ", ".join(f"{part}: {place}" for part, place in zip(PARTS, self.places, strict=True))


@dataclass(frozen=True)
class ColumnTable:
    """Columns of a file. names: None where only their number is known; partitions: by the folders that it lies in"""

    file: str
    width: int
    names: tuple[str, ...] | None = None
    partitions: Mapping[str, str] = field(default_factory=dict)

    def choose(self, form: TableForm) -> Chosen:
        """raises DistjointError where columns are missing, or it cannot be known which are wanted"""
        weight = self._weight(form)
        if form.columns is not None:
            places: list[int | str] = [self._place_or_value(name) for name in form.columns]
            if form.relation is not None:
                places.insert(1, form.relation)
            chosen = self._chosen(places, weight, known=False)
        else:
            chosen = self._by_names(form, weight) or self._by_order(form, weight)
        return chosen if form.weighed else replace(chosen, weight=None)

    def _weight(self, form: TableForm) -> int | None:
        if form.weight is None:
            return None
        there = form.weight in (self.names or ()) or (form.weight.isdecimal() and int(form.weight) < self.width)
        return self._place(form.weight) if there or form.weighed else None

    def _by_names(self, form: TableForm, weight: int | None) -> Chosen | None:
        by_role: dict[str, int | str] = {} if self.names is None else {**roles(self.names)}
        if form.relation is not None:
            by_role["relation"] = form.relation
        elif "relation" not in by_role and (value := self._partition("relation")) is not None:
            by_role["relation"] = value
        if self.names is None:
            return None
        usable = [k for k in range(self.width) if k != weight and not is_index(self.names[k])]
        if len(by_role) == 2 and len(usable) == 3:  # the third is what is left
            missing = next(part for part in PARTS if part not in by_role)
            by_role[missing] = next(k for k in usable if k not in by_role.values())
        if len(by_role) < len(PARTS):
            return None
        return self._chosen([by_role[part] for part in PARTS], weight, known=True)

    def _by_order(self, form: TableForm, weight: int | None) -> Chosen:
        usable = [k for k in range(self.width) if k != weight and not (self.names and is_index(self.names[k]))]
        relation = form.relation if form.relation is not None else self._partition("relation")
        wanted = 3 if relation is None or (len(usable) == 3 and form.relation is None) else 2
        if len(usable) != wanted:
            raise DistjointError(f"{self.file}: {self._shape(len(usable), wanted)}; {_HINT}")
        places: list[int | str] = [*usable]
        if wanted == 2:
            places.insert(1, str(relation))
        return self._chosen(places, weight, known=False)

    def _shape(self, found: int, wanted: int) -> str:
        needs = "a triple has three (head, relation, tail)" if wanted == 3 else "beside the relation it has two"
        them = f" ({', '.join(self.names)})" if self.names else ""
        two = ", or --relation says that of all" if (found, wanted) == (2, 3) else ""
        return f"{found} column{'s' * (found != 1)}{them}, {needs}{two}"

    def _chosen(self, places: list[int | str], weight: int | None, known: bool) -> Chosen:
        head, relation, tail = places
        read = {place for place in (*places, weight) if isinstance(place, int)}
        names = self.names or tuple(map(str, range(self.width)))
        left = tuple(name for k, name in enumerate(names) if k not in read and not is_index(name))
        return Chosen((head, relation, tail), weight, left, known)

    def _partition(self, role: str) -> str | None:
        """The value of a column of the folders by the names of a role."""
        found = roles(tuple(self.partitions)).get(role)
        return None if found is None else [*self.partitions.values()][found]

    def _place_or_value(self, name: str) -> int | str:
        if self.names is not None and name not in self.names and name in self.partitions:
            return self.partitions[name]
        return self._place(name)

    def _place(self, name: str) -> int:
        names = self.names or ()
        if name in names:
            if names.count(name) > 1:
                raise DistjointError(f"{self.file}: {names.count(name)} columns are called '{name}'; give its number")
            return names.index(name)
        if name.isdecimal():
            if int(name) < self.width:
                return int(name)
            raise DistjointError(f"{self.file}: it has columns 0 to {self.width - 1}, not {name}")
        if not names:
            raise DistjointError(
                f"{self.file}: no column '{name}', as it has no header; --header takes the first line for one, or give "
                "its number from 0"
            )
        raise DistjointError(f"{self.file}: no column '{name}'; it has {', '.join((*names, *self.partitions))}")


def roles(names: Sequence[str]) -> dict[str, int]:
    """Position of the columns whose names say that they are head, relation or tail."""
    plain = [_plain(name) for name in names]
    found: dict[str, int] = {}
    for part, known in KNOWN.items():
        place = next((plain.index(name) for name in known.split() if name in plain), None)
        if place is not None:
            found[part] = place
    return found


def is_header(names: Sequence[str], form: TableForm, partitions: Mapping[str, str] | None = None) -> bool:
    """Whether a line's fields are names that columns of triples are known to have.

    partitions   columns by the folders that the file lies in
    """
    found = roles(names)
    given = form.relation is not None or "relation" in roles(tuple(partitions or ()))
    if not given and len(names) == 3 and found.keys() == {"head", "tail"}:
        return all(len(names[place].strip()) > 1 for place in found.values())
    wanted = {"head", "tail"} if given else set(PARTS)
    return wanted <= found.keys() and len(set(found.values())) == len(found)


def partitions_of(path: str) -> dict[str, str]:
    """Columns by the folders that a file lies in, as Hive and Spark name them: `relation=knows/part-0.parquet`."""
    pairs = (part.partition("=") for part in path.split("/")[:-1] if "=" in part)
    return {unquote(name): "" if value == _NULL else unquote(value) for name, _, value in pairs if name}


def is_index(name: str) -> bool:
    """Whether a column is an index that pandas has written along."""
    return _INDEX.fullmatch(name) is not None


def two_columns(flag: str, given: str | Sequence[str] | None, takes: str) -> tuple[str, str] | None:
    """Two names of columns as an option has them. raises UsageError for what is not two names

    flag     the option
    takes    an example of what it takes
    """
    if given is None:
        return None
    names = [name.strip() for name in (given.split(",") if isinstance(given, str) else given)]
    if len(names) != 2 or len(set(names)) != 2 or not all(names):
        raise UsageError(f"{flag} is {','.join(names)!r}; it takes two names, '{takes}', or numbers, '0,1'")
    return names[0], names[1]


def _plain(name: str) -> str:
    """`:START_ID(Movie)` and `movie:START_ID(Movie)` as `startid`."""
    if said := _NEO4J.search(name):
        name = said[1]
    return re.sub(r"\(.*\)|[\W_]", "", name.strip().casefold())
