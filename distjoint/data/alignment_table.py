"""Pairs of entity and word in a table: Parquet, CSV or JSON Lines with columns `entity` and `word`.

As `distjoint describe --alignment FILE` writes it, so that an alignment can be reviewed and given back. A column
`shares_row` says of each pair whether its entity and word share a row; without it that is decided as for a list of
pairs. A column `weight` is taken for the pairs that share none. Other columns are for the reader.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from distjoint.base.errors import DistjointError
from distjoint.data.lines import open_text
from distjoint.data.packing import inner_name
from distjoint.data.record_columns import ENTITY_COLUMNS, WORD_COLUMNS, choose_one, column_names
from distjoint.storage import Location

SHARES_ROW, WEIGHT = "shares_row", "weight"
_HINT = "its columns are 'entity' and 'word', as 'distjoint describe --alignment' writes them"
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


@dataclass(frozen=True)
class NamedPair:
    """An entity and a word that are the same thing, by name.

    shares   whether they share a row; None where the file leaves that to the rules
    weight   of a pair that shares none; None where the file says nothing
    """

    entity: str
    word: str
    shares: bool | None = None
    weight: float | None = None


def read_pair_table(file: Location) -> list[NamedPair]:
    """The pairs of a table, in order.

    raises DistjointError naming the row, column and value that is wrong, and where the file holds no pairs
    """
    table = _table(file)
    names = table.column_names
    entity, word = (
        choose_one(file, names, ENTITY_COLUMNS, None, _HINT),
        choose_one(file, names, WORD_COLUMNS, None, _HINT),
    )
    columns: list[list[Any]] = [table.column(name).cast(pa.string()).to_pylist() for name in (entity, word)]
    shares = [None] * len(table)
    if SHARES_ROW in names:
        shares = _read(file, SHARES_ROW, table.column(SHARES_ROW).to_pylist(), _truth)
    weights = [None] * len(table)
    if WEIGHT in names:
        weights = _read(file, WEIGHT, table.column(WEIGHT).to_pylist(), _weight)
    pairs = [NamedPair(*each) for each in zip(*columns, shares, weights, strict=True)]
    for number, pair in enumerate(pairs, 1):
        if not pair.entity or not pair.word:
            raise DistjointError(
                f"{file}, row {number}: entity {pair.entity!r}, word {pair.word!r}; both must be there"
            )
    if not pairs:
        raise DistjointError(f"{file}: no pairs in it")
    return pairs


def _table(file: Location) -> pa.Table:
    name = inner_name(file.path)
    try:
        if name.endswith((".parquet", ".pq")):
            return pq.read_table(pa.BufferReader(file.read_bytes()), page_checksum_verification=True)
        with open_text(file) as (stream, _):
            content = pa.BufferReader(bytes(stream.read()))
        if not name.endswith(".csv"):
            return pa_json.read_json(content)
        # All as text: an entity's id `007` is no number.
        types = dict.fromkeys(column_names(file), pa.string())
        return pa_csv.read_csv(
            content,
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )
    except (pa.ArrowException, OSError) as error:
        raise DistjointError(f"{file}: no table of pairs ({str(error).splitlines()[0]}); {_HINT}") from error


def _read(file: Location, column: str, values: list[Any], meaning: Callable[[Any], Any]) -> list[Any]:
    found = []
    for number, value in enumerate(values, 1):
        try:
            found.append(meaning(value))
        except ValueError as error:
            raise DistjointError(f"{file}, row {number}: column '{column}' holds {value!r}; {error}") from None
    return found


def _truth(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    if (found := _TRUTHS.get(str(value).strip().lower())) is None:
        raise ValueError("it must be true or false")
    return found


def _weight(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise ValueError("it must be a number above 0")
    return weight
