"""Which columns of a table about entities are read, by names that people give them: of descriptions, labels, types."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from distjoint.base.errors import DistjointError
from distjoint.data.packing import inner_name
from distjoint.data.tables.base import TripleFile
from distjoint.data.tables.delimited import fields_of, refuse_binary
from distjoint.storage import Location

ENTITY_COLUMNS, TEXT_COLUMNS = ("entity", "id", "name"), ("text", "description", "gloss", "comment")
"""Names of columns that are taken where none are named: the first that is there."""
WORD_COLUMNS = ("word", "words", "token", "term")
HINT = "name the columns with --description-columns ENTITY,TEXT"
_TABLES = (".parquet", ".pq", ".csv", ".jsonl", ".ndjson")

Columns = tuple[str, str]
"""Names of the columns of entity and text, or their positions from 0 in a file without a header."""


def choose(file: Location, names: Sequence[str], columns: Columns | None) -> Columns:
    """Which columns are entity and text, by the names there are. raises DistjointError where they are not there"""
    entity, text = columns or (None, None)
    return choose_one(file, names, ENTITY_COLUMNS, entity), choose_one(file, names, TEXT_COLUMNS, text)


def choose_one(file: Location, names: Sequence[str], usual: Sequence[str], named: str | None, hint: str = HINT) -> str:
    """The column that is named, or else the first of the usual ones, whatever its case.

    hint     how columns are named
    raises   DistjointError where it is not there
    """
    there_are = ", ".join(names[:20]) or "nothing"
    if named is not None:
        if named in names:
            return named
        raise DistjointError(f"{file}: no column '{named}'; it has {there_are}")
    lower = {name.lower(): name for name in reversed(names)}
    found = next((lower[name] for name in usual if name in lower), None)
    if found is None:
        raise DistjointError(
            f"{file}: no column {' or '.join(map(repr, usual))}; it has {there_are}; {hint_of(names, hint)}"
        )
    return found


def hint_of(names: Sequence[str], hint: str) -> str:
    """What to do about columns that are not known: where there is one, another mark than commas may part them."""
    mark = next((mark for mark in ";\t|" if len(names) == 1 and mark in names[0]), None)
    return f"put commas between its columns in the place of {mark!r}" if mark else hint


def by_position(file: Location, names: Sequence[str], columns: Columns) -> Columns:
    """Names of the columns at some positions. raises DistjointError where there are fewer"""
    places = [int(name) for name in columns]
    if max(places) >= len(names):
        raise DistjointError(f"{file}: it has columns 0 to {len(names) - 1}, not {','.join(columns)}")
    return names[places[0]], names[places[1]]


def is_pair_header(fields: Sequence[str], values: Sequence[str]) -> bool:
    """Whether a first line of an entity and a value has names of columns instead: `id`, `label`.

    values   names of columns of such values; none where there is never a header
    """
    names = [field.strip().casefold() for field in fields[:2]]
    return len(names) == 2 and names[0] in ENTITY_COLUMNS and names[1] in values and names[0] != names[1]


def is_table(file: Location) -> bool:
    """Whether pairs of entities and values stand in a table with names of columns, by the ending of its name."""
    return inner_name(file.path).endswith(_TABLES)


def column_names(file: Location) -> list[str]:
    """Names of the columns of such a table: of the schema, the first line, or the first record.

    raises DistjointError where it is damaged or empty
    """
    name = inner_name(file.path)
    if name.endswith(_TABLES[:2]):
        try:
            with file.open_input() as stream:
                return list(pq.ParquetFile(stream).schema_arrow.names)
        except (pa.ArrowException, OSError) as error:
            raise DistjointError(f"{file}: damaged or not Parquet ({str(error).splitlines()[0]})") from error
    source = TripleFile.look(file)
    refuse_binary(source)
    if not source.lines:
        raise DistjointError(f"{file}: nothing in it")
    if name.endswith(".csv"):
        return [field.strip() for field in fields_of(source.lines[0], ",")]
    try:
        first = json.loads(source.lines[0])
    except (ValueError, RecursionError) as error:
        raise DistjointError(f"{file}, line 1: not JSON ({error})") from error
    return [*first] if isinstance(first, dict) else []
