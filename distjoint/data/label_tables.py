"""Labels of entities in tables: Parquet, CSV and JSON Lines with a column of entities and one of labels."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq

from distjoint.base.errors import DistjointError
from distjoint.data.lines import Slice
from distjoint.data.packing import inner_name
from distjoint.data.records import ENTITY_COLUMNS, read_records
from distjoint.data.tables.base import TripleFile
from distjoint.data.tables.delimited import fields_of, refuse_binary
from distjoint.storage import Location

LABEL_COLUMNS = ("label", "name", "title", "text")
_ENDINGS = (".parquet", ".pq", ".csv", ".jsonl", ".ndjson")


def is_label_table(file: Location) -> bool:
    """Whether labels stand in a table with names of columns, by the ending of its name."""
    return inner_name(file.path).endswith(_ENDINGS)


def read_label_table(file: Location) -> dict[str, list[str]]:
    """Entity -> label, alias, alias...: those of further rows of an entity are aliases.

    raises DistjointError naming the columns there are, where none is known, or the row that is wrong
    """
    names = _names(file)
    lower = {name.lower(): name for name in reversed(names)}
    entity = next((lower[name] for name in ENTITY_COLUMNS if name in lower), None)
    label = next((lower[name] for name in LABEL_COLUMNS if name in lower and lower[name] != entity), None)
    if entity is None or label is None:
        missing = " or ".join(map(repr, ENTITY_COLUMNS if entity is None else LABEL_COLUMNS))
        raise DistjointError(f"{file}: no column {missing}; it has {', '.join(names[:20]) or 'nothing'}")
    labels: dict[str, dict[str, None]] = {}
    for records in read_records(Slice(file), (entity, label), mend=False):
        for name, text in records.pairs:
            if text:
                labels.setdefault(name, {})[text] = None
    return {name: [*texts] for name, texts in labels.items()}


def _names(file: Location) -> list[str]:
    name = inner_name(file.path)
    if name.endswith(_ENDINGS[:2]):
        try:
            with file.open_input() as stream:
                return list(pq.ParquetFile(stream).schema_arrow.names)
        except (pa.ArrowException, OSError) as error:
            raise DistjointError(f"{file}: damaged or not Parquet ({str(error).splitlines()[0]})") from error
    source = TripleFile.look(file)
    refuse_binary(source)
    if not source.lines:
        raise DistjointError(f"{file}: no labels in it")
    if name.endswith(".csv"):
        return [field.strip() for field in fields_of(source.lines[0], ",")]
    try:
        first = json.loads(source.lines[0])
    except (ValueError, RecursionError) as error:
        raise DistjointError(f"{file}, line 1: not JSON ({error})") from error
    return [*first] if isinstance(first, dict) else []
