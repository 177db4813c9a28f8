"""Which columns of a table about entities are read, by names that people give them: of descriptions, labels, types."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from distjoint.base.errors import DistjointError
from distjoint.data.packing import inner_name
from distjoint.data.tables.base import TripleFile
from distjoint.data.tables.delimited import refuse_binary
from distjoint.storage import Location

ENTITY_COLUMNS, TEXT_COLUMNS = ("entity", "id", "name"), ("text", "description", "gloss", "comment")
"""Names of columns that are taken where none are named: the first that is there."""
WORD_COLUMNS = ("word", "words", "token", "term")
HINT = "name the columns with --description-columns ENTITY,TEXT"
_SAMPLED = 50
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
        raise DistjointError(f"{file}: no column {' or '.join(map(repr, usual))}; it has {there_are}; {hint}")
    return found


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


def separator_of(lines: Sequence[str], columns: Columns | None = None) -> str:
    """What parts the columns of a `.csv`: commas, or semicolons, tabs or bars where the first line says so.

    Of several in the first line it is the one between names of columns that are known or given; else the one that parts
    all lines alike; else the first: texts and decimal numbers hold commas.

    lines    the first ones
    columns  names that are given, or positions, which tell of no names
    """
    found = []
    lines = [line for line in lines[: 2 * _SAMPLED] if line.strip()]
    numbered = columns is not None and all(name.isdigit() for name in columns)
    known = columns or (*ENTITY_COLUMNS, *TEXT_COLUMNS)
    for separator in ",;\t|":
        fields = _rows(lines[:1], separator)[0]
        if len(fields) < (max(map(int, columns)) + 1 if columns and numbered else 2):
            continue
        names = 0 if numbered else sum(field.strip().lower() in (name.lower() for name in known) for field in fields)
        alike = len({len(row) for row in _rows(lines[:_SAMPLED], separator)}) == 1
        found.append((names, alike, -len(fields[0]), separator))
    return max(found)[-1] if found else ","


def _rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    csv.field_size_limit(sys.maxsize)  # the whole process's; by default 128 KB, which long texts exceed
    try:
        return [row for row in csv.reader((f"{line}\n" for line in lines), delimiter=separator) if row] or [[]]
    except csv.Error:  # whoever reads the file says what is wrong
        return [[]]


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
        return [field.strip() for field in next(csv.reader([source.lines[0]], delimiter=separator_of(source.lines)))]
    try:
        first = json.loads(source.lines[0])
    except (ValueError, RecursionError) as error:
        raise DistjointError(f"{file}, line 1: not JSON ({error})") from error
    return [*first] if isinstance(first, dict) else []
