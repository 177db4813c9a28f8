"""OpenKE's triples: a line with their count, then lines of numbers, `head tail relation`."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Ints
from distjoint.base.errors import DistjointError
from distjoint.data.columns import TableForm
from distjoint.data.lines import open_text
from distjoint.data.noticed import Noticed
from distjoint.data.tables.base import TripleBatch, TripleFile, TripleFormat
from distjoint.data.tables.dictionaries import NUMBERED, OPENKE, Dictionary, name_files, read_dictionary
from distjoint.storage import Location

_AT_ONCE = 1 << 20


class OpenKE(TripleFormat):
    """`train2id.txt` and the like, wherever they are named, with `entity2id.txt` and `relation2id.txt` beside them."""

    title: ClassVar[str] = "OpenKE"

    @classmethod
    def knows(cls, source: TripleFile, form: TableForm) -> bool:
        return form.columns is None and NUMBERED.fullmatch(source.file.name) is not None

    def read(self, source: TripleFile, form: TableForm, noticed: Noticed) -> Iterator[TripleBatch]:
        file = source.file
        whats = zip(name_files(file), ("entity", "relation"), strict=True)
        entities, relations = (read_dictionary(place, what, strict=True) for place, what in whats)
        assert entities and relations
        count, numbers = _numbers(file)
        if count != len(numbers) // 3:
            there = f"line 1 says {count:,} triples, there are {len(numbers) // 3:,}"
            raise DistjointError(f"{file}: {there}; get it again, or mend line 1")
        triples = numbers.reshape(-1, 3)
        for column, dictionary in ((0, entities), (1, entities), (2, relations)):
            _check(file, triples[:, column], dictionary)
        entity_names, relation_names = (_array(dictionary) for dictionary in (entities, relations))
        for start in range(0, count, _AT_ONCE):
            head, tail, relation = (pa.array(column) for column in triples[start : start + _AT_ONCE].T)
            ends = entity_names.take(head), relation_names.take(relation), entity_names.take(tail)
            yield TripleBatch(*ends, named=True)


def _array(dictionary: Dictionary) -> pa.Array:
    return pa.array([dictionary.names[number] for number in range(len(dictionary.names))], pa.string())


def _check(file: Location, numbers: Ints, dictionary: Dictionary) -> None:
    count = len(dictionary.names)
    if len(bad := np.flatnonzero((numbers < 0) | (numbers >= count))):
        what = dictionary.what
        other = OPENKE[what == "relation"]
        raise DistjointError(
            f"{file}, line {bad[0] + 2}: {what} {numbers[bad[0]]}, but {other} numbers 0 to {count - 1}; "
            "a line is 'head tail relation'"
        )


def _numbers(file: Location) -> tuple[int, Ints]:
    """The count of the first line, and the numbers of all lines below it, three a line."""
    with open_text(file) as (stream, _):
        content = b"".join(iter(lambda: bytes(stream.read(1 << 24)), b""))
    content = content.removeprefix(BOM_UTF8)
    fields = content.split()
    if not fields:
        raise DistjointError(f"{file}: the file is empty")
    first = content.lstrip().partition(b"\n")[0].split()
    try:
        numbers = np.array(fields).astype(np.int64)
        if len(first) == 1 and len(numbers) % 3 == 1:
            return int(numbers[0]), numbers[1:]
    except (ValueError, OverflowError):
        pass
    raise _wrong_line(file, content)


def _wrong_line(file: Location, content: bytes) -> DistjointError:
    """The error of the first line that is not what it must be."""
    counted = False
    for at, line in enumerate(content.split(b"\n"), 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != (3 if counted else 1) or not all(part.isdigit() for part in parts):
            text = line[:80].decode(errors="replace")
            expected = "three numbers, 'head tail relation'" if counted else "the count of the triples below it"
            return DistjointError(f"{file}, line {at}: {text!r}; expected {expected}")
        counted = True
    return DistjointError(f"{file}: not OpenKE's numbers")
