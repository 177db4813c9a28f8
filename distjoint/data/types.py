"""Types of entities, and which entities they let stand at which end of which relation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Bools, Ints, Offsets
from distjoint.base.errors import DistjointError
from distjoint.storage import Location

NAME = "types.parquet"
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


def read_types(file: Location) -> dict[str, list[str]]:
    """Types of entities, each once, from lines `entity TAB type`, or from JSON: `{"entity": ["type", ...]}`.

    raises DistjointError naming the line, or the entity, that is wrong
    """
    from distjoint.data.alignment import fields_of_lines  # with numba, which a second is; types are read once

    types: dict[str, dict[str, None]] = {}
    if file.path.endswith(".json"):
        for entity, names in _json(file).items():
            if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
                raise DistjointError(f"{file}: entity {entity!r} has {str(names)[:80]}; expected a list of types")
            if entity and names:
                types[entity] = dict.fromkeys(names)
    else:
        for number, fields in fields_of_lines(file):
            if len(fields) != 2 or not all(fields):
                raise DistjointError(f"{file}, line {number}: expected 'entity TAB type', found {len(fields)} columns")
            types.setdefault(fields[0], {})[fields[1]] = None
    if not types:
        raise DistjointError(f"{file}: no types in it")
    return {entity: list(names) for entity, names in types.items()}


def _json(file: Location) -> dict[str, object]:
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise DistjointError(f"{file}: not JSON ({error})") from error
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


def observed_domains(types: pa.Table, rows: int, words: int, relations: int, train: tuple[Ints, Ints, Ints]) -> Domains:
    """Domains by observation: a set of types may stand where an entity of one of its types stands in training.

    types    as `types_table` makes it
    words    rows below this number are no entities
    train    head, relation, tail: int64[n] by row id
    raises   IndexError for a row outside [0, rows)
    """
    from scipy.sparse import csr_array  # costs a third of a second, and few datasets have types

    names = types.column("type").combine_chunks()
    names = names.dictionary_encode() if not pa.types.is_dictionary(names.type) else names
    codes, row = names.indices.to_numpy(zero_copy_only=False), types.column("row").to_numpy()
    if len(row) and (row.min() < words or row.max() >= rows):
        raise IndexError(f"a row that is no entity: {row.min()} or {row.max()}")
    types_of: dict[int, list[int]] = {}
    for place, code in zip(row.tolist(), codes.tolist(), strict=True):
        types_of.setdefault(place, []).append(code)
    numbers: dict[tuple[int, ...], int] = {(): 0}  # entities without types
    type_of = np.full(rows, -1, np.int32)
    type_of[words:] = 0
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
