"""Names of vectors and the way from a name to its place, for a hundred names and for many millions.

NameColumn stay in Arrow's columns. Few are looked up by Python's dictionaries; of many a column is searched, since a
dictionary of ten million takes ten seconds and a gigabyte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from distjoint.base.arrays import Bools, Ints
from distjoint.base.prefixes import Prefixes
from distjoint.data.naming import Cleaning, folded
from distjoint.runs.folder import RunFolder

MANY = 500_000
"""Names above which no dictionary is made."""
_SEARCHES, _MOST = 100, 5_000_000
"""Names that are searched one by one before a dictionary is made after all, and names above which it never is."""
_AT_ONCE = 1 << 16
_NEAR = 50_000
"""Names that are compared with an unknown one, letter by letter."""


class NameTable:
    """The names of a run's rows, `rows.parquet`: its columns are read when they are first wanted."""

    def __init__(self, run: RunFolder) -> None:
        self._run, self._columns, self._of_entities = run, dict[str, pa.ChunkedArray](), dict[str, pa.ChunkedArray]()

    def column(self, name: str) -> pa.ChunkedArray:
        """A column over all rows."""
        if name not in self._columns:
            # What a look-up needs comes first; what says more of an entity, all at once.
            others = [name] if name in ("entity", "gram") else ["label", "word", "degree"]
            table = self._run.rows([each for each in others if each not in self._columns])
            self._columns |= {each: table.column(each) for each in table.column_names}
        return self._columns[name]

    def of_entities(self, name: str) -> pa.ChunkedArray:
        """A column over the rows of entities."""
        if name not in self._of_entities:
            layout, column = self._run.layout, self.column(name)
            self._of_entities[name] = column.take(layout.entity_rows) if layout.grown else column.slice(layout.words)
        return self._of_entities[name]

    def names(self, name: str, count: int) -> NameColumn:
        """The names in a column of words or n-grams.

        count   how many there are
        """
        layout = self._run.layout
        size = layout.rows if layout.grown else layout.with_word  # others have none
        return NameColumn(lambda: self.column(name).slice(0, size).drop_null(), count)


class NameColumn(Sequence[str]):
    """Strings of an Arrow column, none of them null, which is read when the first is needed.

    read    the column
    count   how many there are
    """

    def __init__(self, read: Callable[[], pa.ChunkedArray | pa.Array], count: int) -> None:
        self._read, self._count = read, count

    @cached_property
    def column(self) -> pa.Array:
        """large_string[n]"""
        return _whole(self._read())

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: Any) -> Any:
        found = self.column[place]
        return found.to_pylist() if isinstance(place, slice) else found.as_py()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self.column.slice(start, _AT_ONCE).to_pylist()

    def at(self, places: Ints) -> list[str]:
        """The names at some places, many at a time."""
        found: list[str] = self.column.take(_indices(places)).to_pylist()
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == len(self) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def select(self, places: Ints) -> NameColumn:
        """The names at some places."""
        return NameColumn(lambda: self.column.take(pa.array(places)), len(places))


class Readable(Sequence[str | None]):
    """What people may read instead of entities' ids: a label, or the word of the row; None where that is the id."""

    def __init__(self, table: NameTable, count: int) -> None:
        self._table, self._count = table, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> str | None: ...
    @overload
    def __getitem__(self, place: slice) -> list[str | None]: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        return self.at(np.array([place]))[0]

    def at(self, places: Ints) -> list[str | None]:
        """What people may read at some places, many at a time."""
        chosen = _indices(places)
        columns = (self._table.of_entities(name).take(chosen).to_pylist() for name in ("entity", "label", "word"))
        return [_readable(*names) for names in zip(*columns, strict=True)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class Aliases(Sequence[tuple[str, int]]):
    """Words, then labels of entities, each with its place; of entities with one label the most frequent first."""

    def __init__(self, table: NameTable, which: Bools | None = None) -> None:
        """which: bool[entities], only of these, by their number among them."""
        self._table, self._which = table, which

    def among(self, which: Bools) -> Aliases:
        """Those of some entities, bool[n] of the entities that these are of."""
        if self._which is None:
            return Aliases(self._table, which)
        inner = self._which.copy()
        inner[inner] = which
        return Aliases(self._table, inner)

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, place: int) -> tuple[str, int]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[str, int]]: ...
    def __getitem__(self, place: Any) -> Any:
        return self._pairs[place]

    @cached_property
    def layers(self) -> list[tuple[pa.Array, Ints]]:
        """Columns of names with the place of each: words, labels, and either with underscores for its blanks."""
        entities = pa.table({name: self._table.of_entities(name) for name in ("degree", "word", "label")})
        order, found = pc.sort_indices(entities, [("degree", "descending")]), []
        for column in ("word", "label"):
            names = _whole(entities.column(column).take(order))
            there = names.is_valid()
            at = numbers_of(order.filter(there)).astype(np.int64)
            found.append(
                (names.filter(there), at) if self._which is None else _among(names.filter(there), at, self._which)
            )
        for names, places in list(found):
            blank = pc.match_substring(names, " ")
            joined = pc.replace_substring(names.filter(blank), " ", "_")
            found.append((joined, places[mask_of(blank)]))
        return found

    @cached_property
    def _pairs(self) -> list[tuple[str, int]]:
        return [pair for names, places in self.layers for pair in zip(names.to_pylist(), places.tolist(), strict=True)]


class NameIndex:
    """The places of names; see `Space.find`.

    aliases    further names, and places; where several have one, the first listed
    prefixes   by which names may be written
    """

    def __init__(self, names: Sequence[str], aliases: Sequence[tuple[str, int]], prefixes: Prefixes) -> None:
        self._names, self._aliases, self._prefixes = names, aliases, prefixes
        self._searches = 0
        self._many = isinstance(names, NameColumn) and len(names) > MANY

    def find(self, name: str) -> int | None:
        """The place of a name."""
        if self._many and (self._searches < _SEARCHES or len(self._names) > _MOST):
            self._searches += 1
            return self._searched(name)
        if name in self._exact:  # as most are; the other spellings cost more than all look-ups
            return self._exact[name]
        for key in self._spellings(name):
            if key in self._exact:
                return self._exact[key]
            if (fold := folded(key)) in self._folded:
                return self._folded[fold]
        return None

    def find_all(self, names: Iterable[str]) -> Ints:
        """int64[n]: the place of each name, -1 where it is unknown."""
        if not self._many:
            return np.array([-1 if (index := self.find(name)) is None else index for name in names], np.int64)
        wanted = list(names)
        number = {name: place for place, name in enumerate(dict.fromkeys(wanted))}
        spelt = [self._spellings(name) for name in number]
        found = np.full(len(number), -1, np.int64)
        for spelling in range(3):
            self._fill(found, [keys[spelling] for keys in spelt], self._written)
            self._fill(found, [folded(keys[spelling]) for keys in spelt], self._layers)
        return found[[number[name] for name in wanted]]

    def similar(self, name: str, count: int) -> list[int]:
        """Places of names spelt much like this one, nearest first."""
        clean = Cleaning().clean(name)
        key = folded(self._prefixes.whole(clean) or clean).replace(" ", "_")
        # difflib is slow: on a large vocabulary, only names that begin like this one and are about as long.
        near = dict(self._beginning(key[:1], len(key), max(2, len(key) // 3)))
        return list(dict.fromkeys(near[other] for other in get_close_matches(key, near, n=count)))

    def _beginning(self, letter: str, length: int, apart: int) -> Iterator[tuple[str, int]]:
        if not self._many:
            fits = (key for key in self._folded if key[:1] == letter and abs(len(key) - length) <= apart)
            yield from ((key, self._folded[key]) for key, _ in zip(fits, range(_NEAR), strict=False))
            return
        left = _NEAR
        for names, places in self._layers:
            longer = pc.less_equal(pc.abs(pc.subtract(pc.cast(pc.utf8_length(names), pa.int32()), length)), apart)
            chosen = np.flatnonzero(mask_of(pc.and_(pc.starts_with(names, letter), longer)))
            chosen = chosen[:left]
            left -= len(chosen)
            at = chosen if places is None else places[chosen]
            yield from zip(names.take(pa.array(chosen)).to_pylist(), at.tolist(), strict=True)

    def _spellings(self, name: str) -> tuple[str, str, str]:
        clean = Cleaning().clean(name)
        return name, self._prefixes.whole(clean) or clean, clean.replace(" ", "_")

    def _searched(self, name: str) -> int | None:
        for key in self._spellings(name):
            for layers, wanted in ((self._written, key), (self._layers, folded(key))):
                for names, places in layers:
                    if _as_stored(wanted) is None:
                        return None
                    place = pc.index(names, pa.scalar(wanted, names.type)).as_py()
                    if place >= 0:
                        return place if places is None else int(places[place])
        return None

    def _fill(self, found: Ints, keys: Sequence[str], layers: Sequence[tuple[pa.Array, Ints | None]]) -> None:
        for names, places in layers:
            missing = np.flatnonzero(found < 0)
            if not len(missing):
                return
            wanted = pa.array([_as_stored(keys[place]) for place in missing.tolist()], names.type)
            at = numbers_of(pc.fill_null(pc.index_in(wanted, value_set=names), -1)).astype(np.int64)
            found[missing] = (
                at if places is None else np.where(at >= 0, places[np.maximum(at, 0)] if len(places) else -1, -1)
            )

    @cached_property
    def _written(self) -> list[tuple[pa.Array, None]]:
        assert isinstance(self._names, NameColumn)
        return [(self._names.column, None)]

    @cached_property
    def _layers(self) -> list[tuple[pa.Array, Ints | None]]:
        assert isinstance(self._names, NameColumn)
        of_aliases = self._aliases.layers if isinstance(self._aliases, Aliases) else []
        return [(_folded(self._names.column), None), *((_folded(names), places) for names, places in of_aliases)]

    @cached_property
    def _exact(self) -> dict[str, int]:
        index: dict[str, int] = {}
        for place, name in enumerate(self._names):
            index.setdefault(name, place)
        return index

    @cached_property
    def _folded(self) -> dict[str, int]:
        index: dict[str, int] = {}
        for place, name in enumerate(self._names):
            index.setdefault(folded(name), place)
        for name, place in self._aliases:
            index.setdefault(folded(name), place)
        return index


def names_at(names: Sequence[Any], places: Ints) -> list[Any]:
    """Some of many names, or of what people may read instead: quickly where they lie in a column."""
    if isinstance(names, NameColumn | Readable):
        return names.at(places)
    return [names[place] for place in places.tolist()]


def numbers_of(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """The numbers of a column without nulls. Not by `to_numpy`, which imports pandas: a second."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.from_dlpack(whole)


def mask_of(column: pa.Array) -> Bools:
    """bool[n] of a column of booleans without nulls, likewise."""
    return numbers_of(column.cast(pa.uint8())).view(np.bool_)


def _among(names: pa.Array, places: Ints, which: Bools) -> tuple[pa.Array, Ints]:
    """Names of some entities, bool[entities], and the number of each one's entity among these."""
    chosen = np.flatnonzero(which[places])
    return names.take(_indices(chosen)), (np.cumsum(which) - 1)[places[chosen]]


def _indices(places: Ints) -> pa.Array:
    """Places as Arrow takes them. Not by `pa.array`, which imports pandas."""
    numbers = np.ascontiguousarray(places, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def _readable(entity: str, label: str | None, word: str | None) -> str | None:
    if label is not None and label != entity:
        return label
    return word if word is not None and word.casefold() != entity.replace(" ", "_").casefold() else None


def _as_stored(name: str) -> str | None:
    """A name as a column has it; None for one that was typed in another encoding, which no column holds."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return None
    return name


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column of strings in one piece, which may be longer than 2 GB."""
    wide = column.cast(pa.large_string())
    return wide.combine_chunks() if isinstance(wide, pa.ChunkedArray) else wide


def _folded(names: pa.Array) -> pa.Array:
    """Names in the form in which they are looked up: Arrow makes it of those of ASCII, Python of others."""
    ascii_only = pc.string_is_ascii(names)
    others = names.filter(pc.invert(ascii_only))
    lowered = pc.ascii_lower(names)
    if not len(others):
        return lowered
    found = pa.array([folded(name) for name in others.to_pylist()], names.type)
    return pc.replace_with_mask(lowered, pc.invert(ascii_only), found)
