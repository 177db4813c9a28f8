"""Triples in JSON: an object a line with a field of each end, or an array of three; or one array of those."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, ClassVar

import pyarrow as pa

from distjoint.base.errors import DistjointError
from distjoint.data.columns import Chosen, TableForm
from distjoint.data.lines import Slice, decoded, line_blocks, open_text
from distjoint.data.noticed import Noticed
from distjoint.data.tables.base import TripleBatch, TripleFile, TripleFormat, note_columns

_AT_ONCE = 4096
_ENDINGS = (".jsonl", ".ndjson", ".json")
_EXPECTED = '{"head": ..., "relation": ..., "tail": ...} or [head, relation, tail]'


class JsonLines(TripleFormat):
    """JSON, by the ending of the name or the first line."""

    title: ClassVar[str] = "JSON"

    @classmethod
    def knows(cls, source: TripleFile, form: TableForm) -> bool:
        if source.name.endswith(_ENDINGS):
            return True
        first = source.lines[0].strip() if source.lines else ""
        if not (first.startswith('{"') and first.endswith("}")):
            return False
        try:
            return isinstance(json.loads(first), dict)
        except (ValueError, RecursionError):
            return False

    def read(self, source: TripleFile, form: TableForm, noticed: Noticed) -> Iterator[TripleBatch]:
        if not source.begin:
            raise DistjointError(f"{source.file}: the file is empty")
        records = _records(source)
        first = list(islice(records, 256))  # a record may lack a field that is null
        if not first:
            return
        names = _fields(source, first)
        chosen = source.table(len(names) if names else len(first[0][1]), names).choose(form)
        note_columns(noticed, source, chosen, names if form.columns is None else None)
        every, before = chain(first, records), 0
        while some := list(islice(every, _AT_ONCE)):
            columns = {place: _column(source, some, names, place, place == chosen.weight) for place in _used(chosen)}
            yield TripleBatch.of(source.file, chosen, columns, len(some), before)
            before += len(some)


def _used(chosen: Chosen) -> list[int]:
    return chosen.positions


def _records(source: TripleFile) -> Iterator[tuple[str, Any]]:
    """Where each record stands, and what it is."""
    if source.name.endswith(".json") and _is_whole(source):
        yield from _of_whole(source)
        return
    number = 0
    for block in line_blocks(Slice(source.file)):
        for line in block.text.split(b"\n")[:-1]:
            number += 1
            if line.strip():
                place = f"{source.file}, line {number}"
                yield place, _parsed(place, decoded(source.file, line, number))


def _is_whole(source: TripleFile) -> bool:
    """Whether a file is one array rather than lines."""
    first = source.lines[0].strip() if source.lines else ""
    if not first.startswith("["):
        return False
    try:
        return not (isinstance(found := json.loads(first), list) and found and not isinstance(found[0], list | dict))
    except (ValueError, RecursionError):
        return True


def _of_whole(source: TripleFile) -> Iterator[tuple[str, Any]]:
    with open_text(source.file) as (stream, _):
        content = b"".join(iter(lambda: bytes(stream.read(1 << 24)), b""))
    value = _parsed(str(source.file), decoded(source.file, content.removeprefix(b"\xef\xbb\xbf"), 1))
    if not isinstance(value, list):
        raise DistjointError(f"{source.file}: not an array of triples; each is {_EXPECTED}")
    for number, record in enumerate(value, 1):
        yield f"{source.file}, triple {number}", record


def _parsed(place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DistjointError(f"{place}: not JSON ({error})") from error


def _fields(source: TripleFile, records: list[tuple[str, Any]]) -> tuple[str, ...] | None:
    """Fields of objects, or None where records are arrays."""
    place, first = records[0]
    if isinstance(first, list):
        return None
    if not isinstance(first, dict):
        raise DistjointError(f"{place}: {json.dumps(first)[:60]} is no triple; it is {_EXPECTED}")
    return tuple(dict.fromkeys(name for _, record in records if isinstance(record, dict) for name in record))


def _column(
    source: TripleFile, records: list[tuple[str, Any]], names: tuple[str, ...] | None, place: int, weight: bool
) -> pa.Array:
    found = []
    for where, record in records:
        if names is not None and isinstance(record, dict):
            value = record.get(names[place])
        elif names is None and isinstance(record, list) and len(record) > place:
            value = record[place]
        else:
            raise DistjointError(f"{where}: {json.dumps(record)[:60]} is no triple; it is {_EXPECTED}")
        if weight and isinstance(value, float):
            value = repr(value)
        if isinstance(value, bool | float | list | dict):
            raise DistjointError(f"{where}: {json.dumps(value)[:60]} is no name; names are text or whole numbers")
        found.append(None if value is None else str(value).encode(errors="replace").decode())
    return pa.array(found, pa.string())
