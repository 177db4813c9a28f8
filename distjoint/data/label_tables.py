"""Labels of entities in tables: Parquet, CSV and JSON Lines with a column of entities and one of labels."""

from __future__ import annotations

from distjoint.base.errors import DistjointError
from distjoint.data.lines import Slice
from distjoint.data.noticed import Noticed
from distjoint.data.record_columns import ENTITY_COLUMNS, column_names
from distjoint.data.records import read_records
from distjoint.storage import Location

_HINT = "its first line names the columns, like 'entity,label'"
LABEL_COLUMNS = ("label", "name", "title", "text")


def read_label_table(file: Location, notes: list[str] | None = None) -> dict[str, list[str]]:
    """Entity -> label, alias, alias...: those of further rows of an entity are aliases.

    notes   gets a sentence about what parts the columns, where it is no comma
    raises DistjointError naming the columns there are, where none is known, or the row that is wrong
    """
    names = column_names(file)
    lower = {name.lower(): name for name in reversed(names)}
    entity = next((lower[name] for name in ENTITY_COLUMNS if name in lower), None)
    label = next((lower[name] for name in LABEL_COLUMNS if name in lower and lower[name] != entity), None)
    if entity is None or label is None:
        missing = " or ".join(map(repr, ENTITY_COLUMNS if entity is None else LABEL_COLUMNS))
        there_are = ", ".join(names[:20]) or "nothing"
        raise DistjointError(f"{file}: no column {missing}; it has {there_are}; {_HINT}")
    labels: dict[str, dict[str, None]] = {}
    noticed = Noticed()
    for records in read_records(Slice(file), (entity, label), mend=False):
        for said in records.noticed:
            noticed.add(*said)
        for name, text in records.pairs:
            if text:
                labels.setdefault(name, {})[text] = None
    if notes is not None:
        notes += noticed.notes()
    return {name: [*texts] for name, texts in labels.items()}
