"""What a format of triples is: how its files are known, and how they are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from distjoint.base.errors import DistjointError
from distjoint.data.columns import Chosen, ColumnTable, TableForm, partitions_of
from distjoint.data.lines import open_text
from distjoint.data.noticed import Noticed
from distjoint.data.packing import inner_name, refuse_foreign
from distjoint.storage import Location

LOOKED_AT = 1 << 16
"""Bytes by which a format is known."""


class NotAHeaderError(Exception):
    """A line that was taken as names of columns has one of these again below it, so it is a triple like the others."""


@dataclass(frozen=True)
class TripleFile:
    """A file of triples before it is read.

    name     its path in lower case, without the ending of its compression
    begin    its first bytes, decompressed
    cut      whether there are more
    """

    file: Location
    name: str
    begin: bytes
    cut: bool

    @classmethod
    def look(cls, file: Location) -> TripleFile:
        """raises DistjointError for a file that cannot be read, or of a format that is not"""
        file.size()  # raises where there is none
        begin = b""
        with open_text(file) as (stream, _):
            while len(begin) < LOOKED_AT and (more := bytes(stream.read(LOOKED_AT - len(begin)))):
                begin += more
        refuse_foreign(file, begin)
        return cls(file, inner_name(file.path), begin, len(begin) == LOOKED_AT)

    @cached_property
    def all_lines(self) -> list[str]:
        """The first lines, empty ones too, without their ends: those of a file, not all that Unicode has (U+2028)."""
        begin = self.begin.removeprefix(BOM_UTF8)
        return [line.decode(errors="replace") for line in begin.splitlines()]

    @cached_property
    def lines(self) -> list[str]:
        """The first lines with something in them; what is no UTF-8 replaced."""
        lines = self.all_lines
        return [line for line in (lines[:-1] if self.cut and len(lines) > 1 else lines) if line.strip()]

    @property
    def partitions(self) -> Mapping[str, str]:
        return partitions_of(self.file.path)

    def beside(self, name: str) -> Location:
        """A file of the same folder, or below or above it."""
        folder = replace(self.file, path=self.file.path.rpartition("/")[0], url=self.file.url.rpartition("/")[0] or ".")
        return folder / name

    def table(self, width: int, names: tuple[str, ...] | None = None) -> ColumnTable:
        return ColumnTable(str(self.file), width, names, self.partitions)


@dataclass(frozen=True)
class TripleBatch:
    """Some triples of a file, as strings.

    weight       float64; None for 1 each
    named        whether names that stood for numbers were put in their place
    first_line   whether the first line of the file is the first triple, and no header by any sign
    """

    head: pa.Array
    relation: pa.Array
    tail: pa.Array
    weight: pa.Array | None = None
    named: bool = False
    first_line: bool = False

    def __len__(self) -> int:
        return len(self.head)

    @classmethod
    def of(
        cls,
        file: Location,
        chosen: Chosen,
        columns: Mapping[int, pa.Array],
        rows: int,
        before: int,
        first_line: bool = False,
    ) -> TripleBatch:
        """Of the columns that were chosen, by position. rows: how many; before: triples that came before these"""
        ends = [_column(file, place, columns, rows) for place in chosen.places]
        weight = None if chosen.weight is None else _weights(file, columns[chosen.weight], before)
        return cls(ends[0], ends[1], ends[2], weight, first_line=first_line)


class TripleFormat(ABC):
    """A format of triples.

    title       in sentences
    """

    title: ClassVar[str]

    @classmethod
    @abstractmethod
    def knows(cls, source: TripleFile, form: TableForm) -> bool:
        """Whether a file is of this format."""

    @abstractmethod
    def read(self, source: TripleFile, form: TableForm, noticed: Noticed) -> Iterator[TripleBatch]:
        """The triples of a file, some at a time.

        raises   DistjointError naming file, line and value of what is wrong; NotAHeaderError
        """

    def labels(self, entities: Sequence[str], form: TableForm, noticed: Noticed) -> dict[str, str]:
        """Entity -> what people call it, where a format's names say so; nothing in all others."""
        return {}


def note_columns(noticed: Noticed, source: TripleFile, chosen: Chosen, names: tuple[str, ...] | None) -> None:
    """Say which columns are no part of triples, and where only the order says which is which."""
    if chosen.left_out:
        shown = ", ".join(chosen.left_out[:8])
        noticed.add("Columns that are no part of triples, left out in files", f"{shown} of {source.file}")
    if names and not chosen.known and all(isinstance(place, int) for place in chosen.places):
        taken = ", ".join(names[int(place)] for place in chosen.places)
        fix = "--triple-columns takes others"
        noticed.add("Columns taken in their order as head, relation, tail in files", f"{taken} of {source.file}", fix)


def _column(file: Location, place: int | str, columns: Mapping[int, pa.Array], rows: int) -> pa.Array:
    if isinstance(place, str):
        return pa.repeat(pa.scalar(place, pa.string()), rows)
    return as_names(file, columns[place])


def as_names(file: Location, column: pa.Array) -> pa.Array:
    """A column of strings, integers, or a dictionary of them, as strings. raises DistjointError for others"""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    text = is_text(kind)
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    if not (text or binary or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        hint = "; it has numbers that are not whole, or gaps: make it text or integers" * pa.types.is_floating(kind)
        raise DistjointError(f"{file}: a column of names holds {kind}; names are text or integers{hint}")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    column = column if column.type == pa.string() else pc.cast(column, pa.string())
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise DistjointError(f"{file}: names that are not UTF-8 ({str(error).splitlines()[0]})") from error
    return column


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings, or a dictionary of them."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _weights(file: Location, column: pa.Array, before: int) -> pa.Array:
    """raises DistjointError naming a weight that is no number above zero"""
    kind = column.type
    if pa.types.is_string(kind):
        column = pc.utf8_trim_whitespace(column)
    try:
        found = pc.cast(column, pa.float64())
    except pa.ArrowException:
        found = pa.array([_number(value) for value in column.to_pylist()], pa.float64())
    right = pc.fill_null(pc.and_(pc.greater(found, 0), pc.is_finite(found)), False)
    if not pc.all(right).as_py() and len(right):
        at = pc.index(right, False).as_py()
        raise DistjointError(
            f"{file}, triple {before + at + 1}: weight {column[at].as_py()!r}; weights are finite and above 0"
        )
    return found


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None
