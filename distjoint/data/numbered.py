"""Files of numbers, with the names that these stand for in files beside them.

OpenKE's triples: a line with their count, then lines of numbers, `head tail relation`. `train2id.txt` is read as such a
file wherever it is named, with `entity2id.txt` and `relation2id.txt` beside it. LibKGE's labels, `entity_strings.del`,
are of numbers too, with the entities in `entity_ids.del`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Ints
from distjoint.base.errors import DistjointError
from distjoint.storage import Location

NUMBERED = re.compile(r"(train|valid|test)2id\.txt")
STRINGS = "entity_strings.del"
_NAMES, _IDS = ("entity2id.txt", "relation2id.txt"), "entity_ids.del"
_AT_ONCE = 1 << 20


def name_files(file: Location) -> list[Location]:
    """The files of names beside a file of numbered triples or labels; none for another file."""
    names = _NAMES if NUMBERED.fullmatch(file.name) else (_IDS,) if file.name == STRINGS else ()
    folder = replace(file, path=file.path.rpartition("/")[0], url=file.url.rpartition("/")[0] or ".")
    return [folder / name for name in names]


def read_numbered(file: Location) -> Iterator[tuple[pa.Array, pa.Array, pa.Array]]:
    """Names of heads, relations and tails, a million triples at a time.

    raises DistjointError naming file and line of what is no such triple, or where the count is another
    """
    entities, relations = (_names(place) for place in name_files(file))
    count, numbers = _numbers(file)
    if len(numbers) % 3 or len(numbers) // 3 != count:
        raise DistjointError(f"{file}: line 1 says {count:,} triples, there are {len(numbers) / 3:,.4g}; get it again")
    triples = numbers.reshape(-1, 3)
    for column, names, what in ((0, entities, "entity"), (1, entities, "entity"), (2, relations, "relation")):
        if len(bad := np.flatnonzero((triples[:, column] < 0) | (triples[:, column] >= len(names)))):
            value = triples[bad[0], column]
            raise DistjointError(
                f"{file}, line {bad[0] + 2}: {what} {value}, but {what}2id.txt numbers 0 to {len(names) - 1}; "
                "a line is 'head tail relation'"
            )
    for start in range(0, count, _AT_ONCE):
        head, tail, relation = triples[start : start + _AT_ONCE].T
        yield entities.take(pa.array(head)), relations.take(pa.array(relation)), entities.take(pa.array(tail))


def _names(file: Location) -> pa.Array:
    """Names in order of their numbers, from lines `name TAB number` below a line with their count."""
    if not file.exists():
        raise DistjointError(f"{file}: no such file; OpenKE's triples need the names that belong to their numbers")
    try:
        lines = file.read_bytes().decode().splitlines()
    except UnicodeDecodeError as error:
        raise DistjointError(f"{file}: byte {error.start} is not UTF-8") from None
    names: dict[int, str] = {}
    for at, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        name, *number = line.rsplit(None, 1)
        if not number or not number[0].isdecimal() or int(number[0]) in names:
            raise DistjointError(f"{file}, line {at}: {line[:80]!r}; expected 'name TAB number', each number once")
        names[int(number[0])] = name.strip()
    if not lines or lines[0].strip() != str(len(names)) or set(names) != set(range(len(names))):
        said = lines[0].strip()[:80] if lines else ""
        raise DistjointError(f"{file}: line 1 says {said!r}, there are {len(names)} names; they are numbered from 0")
    if len(set(names.values())) != len(names):
        raise DistjointError(f"{file}: a name is there twice; each must have one number")
    return pa.array([names[number] for number in range(len(names))], pa.string())


def _numbers(file: Location) -> tuple[int, Ints]:
    content = file.read_bytes()
    fields = content.split()
    try:
        numbers = np.array(fields).astype(np.int64) if fields else np.empty(0, np.int64)
        if not len(numbers):
            raise DistjointError(f"{file}: the file is empty")
        return int(numbers[0]), numbers[1:]
    except (ValueError, OverflowError):
        for at, line in enumerate(content.split(b"\n"), 1):
            parts = line.split()
            if parts and not (len(parts) == (1 if at == 1 else 3) and all(part.isdigit() for part in parts)):
                text = line[:80].decode(errors="replace")
                expected = "the count of triples" if at == 1 else "three numbers, 'head tail relation'"
                raise DistjointError(f"{file}, line {at}: {text!r}; expected {expected}") from None
        raise DistjointError(f"{file}: not OpenKE's numbers") from None
