"""Types of entities, and which entities they let stand at which end of which relation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Bools, Ints, Offsets
from distjoint.base.errors import DistjointError
from distjoint.data.alignment import fields_of_lines
from distjoint.data.cases import Cases
from distjoint.data.lines import BLOCK, Slice, open_text
from distjoint.data.noticed import Noticed
from distjoint.data.packing import inner_name
from distjoint.data.record_columns import ENTITY_COLUMNS, Columns, choose_one, column_names, is_table
from distjoint.data.records import read_records
from distjoint.storage import Location

NAME = "types.parquet"
TYPE_COLUMNS = ("type", "types", "class", "category", "kind")
_HINT = "name the columns with --type-columns ENTITY,TYPE, by number from 0 where there is no header"
_SCHEMA = pa.schema(
    [pa.field("row", pa.int64(), nullable=False), pa.field("type", pa.dictionary(pa.int32(), pa.string()))]
)


@dataclass(frozen=True)
class Domains:
    """Sets of types, and where entities of each may stand. Entities without types share the empty set.

    type_of   int32[rows]: by row id, the id of the entity's set of types; -1 where the row is no entity
    head      bool[relations, sets]: entities with this set may be the head of this relation
    tail      bool[relations, sets]: the same for the tail
    """

    type_of: Offsets
    head: Bools
    tail: Bools

    def allowed(self, relation: int, side: Literal["head", "tail"]) -> Bools:
        """bool[rows]: which rows may stand at this end of the relation; one with -1 may not."""
        sets = (self.head if side == "head" else self.tail)[relation]
        # -1 picks what is appended.
        return np.append(sets, False)[self.type_of]


def read_types(file: Location, columns: Columns | None = None, notes: list[str] | None = None) -> dict[str, list[str]]:
    """Types of entities, each once: lines `entity TAB type`; JSON, `{"entity": ["type", ...]}`; or a table.

    A table is Parquet, CSV, JSON Lines or an array of records, where a cell may be a list of types; or what `columns`
    says is one.

    columns  of entity and type, by name or by position from 0; None for those that are usually so called
    notes    gets sentences about what was guessed, or is not there
    raises   DistjointError naming the line, the column, or the entity, that is wrong
    """
    notes = [] if notes is None else notes
    content = _json(file) if inner_name(file.path).endswith(".json") else None
    types: dict[str, dict[str, None]] = {}
    if columns or is_table(file) or isinstance(content, list):
        types = _of_table(file, columns or _columns(file, content), not columns, notes)
    elif content is not None:
        for entity, names in content.items():
            if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
                raise DistjointError(f"{file}: entity {entity!r} has {str(names)[:80]}; expected a list of types")
            if entity and names:
                types[entity] = dict.fromkeys(names)
    else:
        for number, fields in fields_of_lines(file, TYPE_COLUMNS, notes):
            if len(fields) != 2 or not all(fields):
                raise DistjointError(f"{file}, line {number}: expected 'entity TAB type', found {len(fields)} columns")
            types.setdefault(fields[0], {})[fields[1]] = None
    if not types:
        raise DistjointError(f"{file}: no types in it")
    return {entity: list(names) for entity, names in types.items()}


def _of_table(file: Location, columns: Columns, guessed: bool, notes: list[str]) -> dict[str, dict[str, None]]:
    types: dict[str, dict[str, None]] = {}
    empty, again = Cases("of entities, without a type, left out"), Cases("that are there twice, read once")
    noticed = Noticed()
    for records in read_records(Slice(file), columns):
        for said in records.noticed:
            noticed.add(*said)
        for entity, name in records.pairs:
            of_it = types.setdefault(entity, {}) if name else {}
            if not name:
                empty.add(entity)
            elif name in of_it:
                again.add(f"{entity}: {name}")
            of_it[name] = None
    notes += [f"Types in {file}: entities are {columns[0]}, types are {columns[1]}."] * guessed
    notes += [f"Rows of types in {file} {kind}." for kind in (empty, again) if kind.count]
    notes += noticed.notes()
    return types


def _columns(file: Location, content: Any) -> Columns:
    """The columns of entity and type, by their names. content: of a file that is an array of JSON"""
    names = column_names(file) if content is None else list(dict.fromkeys(name for each in content for name in each))
    entity = choose_one(file, names, ENTITY_COLUMNS, None, _HINT)
    return entity, choose_one(file, [name for name in names if name != entity], TYPE_COLUMNS, None, _HINT)


def _json(file: Location) -> Any:
    """What a file of JSON holds: an object, a list of objects, or None where it is lines."""
    with open_text(file) as (stream, _):
        text = b"".join(iter(lambda: bytes(stream.read(BLOCK)), b""))
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise DistjointError(f"{file}: not JSON of types (nested too deeply)") from error
    except ValueError as error:
        raise DistjointError(f"{file}: not JSON ({error})") from error
    if isinstance(content, list) and content and all(isinstance(each, dict) for each in content):
        return content
    if not isinstance(content, dict):
        raise DistjointError(f'{file}: holds {type(content).__name__}; expected {{"entity": ["type", ...]}}')
    return content


def types_table(types: Mapping[str, list[str]], ids: Mapping[str, int], row_of: Ints) -> pa.Table:
    """types.parquet: a line for each type of each entity, in order of row, then of type.

    ids      number of each entity by name
    row_of   int64[entities]: row of each by number
    """
    pairs = sorted((int(row_of[ids[entity]]), name) for entity, names in types.items() for name in names)
    rows, names = [row for row, _ in pairs], pa.array([name for _, name in pairs], pa.string())
    return pa.table([pa.array(rows, pa.int64()), names.dictionary_encode()], schema=_SCHEMA)


def observed_domains(types: pa.Table, entities: Bools, relations: int, train: tuple[Ints, Ints, Ints]) -> Domains:
    """Domains by observation: a set of types may stand where an entity of one of its types stands in training.

    types    as `types_table` makes it
    entities bool[rows]: which rows are entities
    train    head, relation, tail: int64[n] by row id
    raises   IndexError for a row that is no entity
    """
    from scipy.sparse import csr_array  # costs a third of a second, and few datasets have types

    names = types.column("type").combine_chunks()
    names = names.dictionary_encode() if not pa.types.is_dictionary(names.type) else names
    codes, row = names.indices.to_numpy(zero_copy_only=False), types.column("row").to_numpy()
    wrong = (row < 0) | (row >= len(entities))
    wrong[~wrong] = ~entities[row[~wrong]]
    if wrong.any():
        raise IndexError(f"a row that is no entity: {row[int(np.argmax(wrong))]}")
    types_of: dict[int, list[int]] = {}
    for place, code in zip(row.tolist(), codes.tolist(), strict=True):
        types_of.setdefault(place, []).append(code)
    numbers: dict[tuple[int, ...], int] = {(): 0}  # entities without types
    type_of = np.where(entities, 0, -1).astype(np.int32)
    for place, found in types_of.items():
        type_of[place] = numbers.setdefault(tuple(sorted(found)), len(numbers))
    # The empty set counts as if it had a type of its own, so that untyped entities vouch for each other.
    member = [(number, code) for found, number in numbers.items() for code in found or (len(names.dictionary),)]
    in_set, of_type = np.array(member, np.int64).T
    shape = (len(numbers), len(names.dictionary) + 1)
    has = csr_array((np.ones(len(member), np.int64), (in_set, of_type)), shape=shape)
    head, relation, tail = train

    def side(end: Ints) -> Bools:
        ones = np.ones(len(end), np.int64)
        seen = csr_array((ones, (relation, type_of[end])), shape=(relations, len(numbers)))
        return np.asarray(((seen @ has) @ has.T).toarray() > 0)

    return Domains(type_of, side(head), side(tail))
