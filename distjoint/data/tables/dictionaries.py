"""Files of names beside files of numbers: which number stands for which name, in either order of the columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from distjoint.base.errors import DistjointError
from distjoint.data.lines import decoded, open_text
from distjoint.data.noticed import Noticed
from distjoint.data.packing import inner_name
from distjoint.storage import Location

NUMBERED = re.compile(r"(train|valid|test)2id\.txt")
STRINGS = "entity_strings.del"
OPENKE = ("entity2id.txt", "relation2id.txt")
_DEL = ("entity_ids.del", "relation_ids.del")
_PAIRS = (
    ("entities.dict", "relations.dict"),
    _DEL,
    ("entity_to_id.tsv.gz", "relation_to_id.tsv.gz"),
    ("entity_to_id.tsv", "relation_to_id.tsv"),
    ("entities.tsv", "relations.tsv"),
    OPENKE,
)
"""Of KnowledgeGraphEmbedding and DGL-KE, LibKGE, PyKEEN, DGL-KE for data of one's own, and ICEWS."""
_OGB = ("../../mapping/nodeidx2entityid.csv.gz", "../../mapping/reltype2relid.csv.gz")
_OF_OGB = re.compile(r"(train|valid|test)\.(pt|npz|csv\.gz)")
_FOLDERS = ("", "base", "../base")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class Dictionary:
    """Names by number, of a file. what: `entity` or `relation`"""

    file: Location
    what: str
    names: dict[int, str]

    def translate(self, source: Location, values: Sequence[str], always: bool, noticed: Noticed) -> list[str]:
        """Names of what is in a file of triples; as they are where they are names already.

        values   distinct, clean
        always   whether they are numbers in any case
        raises   DistjointError naming one that is neither number nor name
        """
        numbers = [_NUMBER.fullmatch(value) for value in values]
        known = set(self.names.values())
        if not always and not all(numbers):
            if unknown := [value for value in values if value not in known]:
                noticed.add(f"Names of {source} that are not in {self.file.name}", unknown[0], count=len(unknown))
            return list(values)
        wrong = next((value for value in values if not _is_in(value, self.names)), None)
        if not always and all(value in known for value in values):
            if wrong is None:
                noticed.add(
                    f"Values that are numbers and names of {self.file.name}, read as names in files", str(source)
                )
            return list(values)
        if wrong is not None:
            raise DistjointError(
                f"{source}: {self.what} {wrong[:80]!r} is not in {self.file.name}, which numbers {_range(self.names)}; "
                "--triple-columns says which columns are head, relation, tail, '--format table' reads numbers as names"
            )
        noticed.add(f"Numbers read as names of {self.file.name} in files", str(source), "'--format table' keeps them")
        return [self.names[int(value)] for value in values]


def name_files(file: Location) -> list[Location]:
    """The files of names beside a file of triples, or of labels, by number: of entities, of relations where needed."""
    if NUMBERED.fullmatch(file.name):
        return [beside(file, name) for name in OPENKE]
    if file.name == STRINGS:
        return [beside(file, _DEL[0])]
    there = {below: {place.name for place in beside(file, below or ".").list()} for below in _FOLDERS[:1]}
    for pair in _PAIRS:
        if file.name in pair:
            return []
        if set(pair) <= there[""]:
            return [beside(file, name) for name in pair]
    elsewhere = [tuple(f"{below}/{name}" for name in pair) for below in _FOLDERS[1:] for pair in _PAIRS[2:4]]
    looked = elsewhere if file.name.startswith("numeric_triples") else [_OGB] if _OF_OGB.fullmatch(file.name) else []
    for names in looked:
        places = [beside(file, name) for name in names]
        if all(place.exists() for place in places):
            return places
    return []


def beside(file: Location, name: str) -> Location:
    """A file in the folder of another, or below or above it."""
    folder = replace(file, path=file.path.rpartition("/")[0], url=file.url.rpartition("/")[0] or ".")
    for part in name.split("/"):
        if part == "..":
            folder = replace(folder, path=folder.path.rpartition("/")[0], url=f"{folder.url}/..")
        elif part != ".":
            folder = folder / part
    return folder


def read_dictionary(file: Location, what: str, strict: bool = False) -> Dictionary | None:
    """The names in a file of numbers and names; None where neither of its columns is one of numbers.

    strict   whether it must begin with a line of its count, and number from 0 without gaps, as OpenKE's does
    raises   DistjointError naming the line that is wrong
    """
    lines = _lines(file)
    counted = bool(lines) and len(lines[0][1]) == 1 and bool(_NUMBER.fullmatch(lines[0][1][0]))
    count = int(lines[0][1][0]) if counted else None
    rows = lines[1:] if counted else lines
    if strict and not counted:
        raise DistjointError(f"{file}, line 1: expected the count of the names below it")
    if wrong := next((row for row in rows if len(row[1]) != 2), None):
        raise DistjointError(f"{file}, line {wrong[0]}: {' '.join(wrong[1])[:80]!r}; expected 'name TAB number'")
    if rows and not any(_NUMBER.fullmatch(field) for field in rows[0][1]):
        rows = rows[1:]  # a header
    column = 1 if strict else _column_of_numbers([fields for _, fields in rows])
    if column is None:
        return None
    names: dict[int, str] = {}
    for line, fields in rows:
        if not _NUMBER.fullmatch(fields[column]):
            raise DistjointError(
                f"{file}, line {line}: {fields[column][:80]!r} is no number; expected 'name TAB number'"
            )
        number, name = int(fields[column]), fields[1 - column]
        if number in names:
            raise DistjointError(f"{file}, line {line}: number {number} is there already, for {names[number]!r}")
        names[number] = name
    if strict:
        _check(file, names, count, [line for line, _ in rows])
    _refuse_repeated(file, names)
    return Dictionary(file, what, names)


def _lines(file: Location) -> list[tuple[int, list[str]]]:
    """Numbers and fields of the lines with something in them, parted by tabs, or by the last blank without any."""
    if not file.exists():
        raise DistjointError(f"{file}: no such file; numbers of triples need the names that belong to them")
    with open_text(file) as (stream, _):
        content = b"".join(iter(lambda: bytes(stream.read(1 << 24)), b""))
    found, commas = [], inner_name(file.name).endswith(".csv")
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        text = decoded(file, line, number).strip("\r\n ")
        if text.strip():
            separator = "," if commas else "\t"
            fields = text.split(separator) if separator in text else text.rsplit(None, 1)
            found.append((number, [field.strip() for field in fields]))
    return found


def _column_of_numbers(rows: Sequence[Sequence[str]]) -> int | None:
    """Which column has the numbers; where both have, the one that counts up from the first line."""
    able = [k for k in (0, 1) if all(_NUMBER.fullmatch(row[k]) for row in rows)]
    if len(able) == 2:
        counting = [k for k in able if [int(row[k]) for row in rows] == list(range(len(rows)))]
        return counting[0] if counting else 0
    if able:
        return able[0]
    mostly = [k for k in (0, 1) if sum(bool(_NUMBER.fullmatch(row[k])) for row in rows) > 0.9 * len(rows)]
    return mostly[0] if mostly else None


def _check(file: Location, names: dict[int, str], count: int | None, lines: list[int]) -> None:
    """raises DistjointError where a file of OpenKE is not numbered from 0 without gaps, or has another count"""
    if count != len(names):
        raise DistjointError(f"{file}: line 1 says {count:,} names, there are {len(names):,}; get it again")
    for (number, name), line in zip(names.items(), lines, strict=True):
        if number >= len(names):
            missing = next(k for k in range(len(names)) if k not in names)
            from_one = set(names) == set(range(1, len(names) + 1))
            how = "these begin with 1: take 1 from each" if from_one else f"none has {missing}: number them anew"
            raise DistjointError(
                f"{file}, line {line}: {name!r} has number {number}, but {len(names):,} names are numbered from 0 to "
                f"{len(names) - 1:,}; {how}, here and in the triples"
            )


def _refuse_repeated(file: Location, names: dict[int, str]) -> None:
    first: dict[str, int] = {}
    for number, name in names.items():
        if not name:
            raise DistjointError(f"{file}: number {number} has no name")
        if first.setdefault(name, number) != number:
            raise DistjointError(f"{file}: {name!r} has two numbers, {first[name]} and {number}; each must have one")


def _is_in(value: str, names: dict[int, str]) -> bool:
    return _NUMBER.fullmatch(value) is not None and int(value) in names


def _range(names: dict[int, str]) -> str:
    return f"{min(names)} to {max(names)}" if names else "nothing"
