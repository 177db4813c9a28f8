"""Tables about entities in `.csv`, whatever parts their columns: labels, types, descriptions."""

from __future__ import annotations

from pathlib import Path

import pytest

from distjoint.base.errors import DistjointError
from distjoint.data.alignment import read_labels
from distjoint.data.lines import Slice
from distjoint.data.record_columns import Columns
from distjoint.data.records import read_records
from distjoint.data.types import read_types
from distjoint.storage import Location, locate

pytestmark = pytest.mark.unit


@pytest.fixture
def file(tmp_path: Path) -> Location:
    return locate(str(tmp_path / "a.csv"))


def pairs(file: Location, content: str, columns: Columns | None = None) -> list[tuple[str, str]]:
    file.write_bytes(content.encode())
    return [pair for records in read_records(Slice(file), columns) for pair in records.pairs]


@pytest.mark.parametrize(
    ("content", "columns", "expected"),
    [
        ("entity;text\na;one, two\n", None, [("a", "one, two")]),
        ("entity|text\r\na|one, two\r\n", None, [("a", "one, two")]),
        ('entity\ttext\na\tone; "two"\n', None, [("a", 'one; "two"')]),
        ('entity;text\na;"one; ""two"",\nthree"\n', None, [("a", 'one; "two",\nthree')]),
        ("id;weight, in kg;text\na;1,5;one\n", None, [("a", "one")]),
        ("Gewicht, kg;wer;was\n1,5;a;one\n", ("wer", "was"), [("a", "one")]),
        ("a;one, two\nb;three\n", ("0", "1"), [("a", "one, two"), ("b", "three")]),
        ("a;1,5\nb;2,5\n", ("0", "1"), [("a", "1,5"), ("b", "2,5")]),
        ("1,5;a;one\n2,5;b;two\n", ("1", "2"), [("a", "one"), ("b", "two")]),
        ("entity,text\na,one; two\n", None, [("a", "one; two")]),
        ("a,one; two\n", ("0", "1"), [("a", "one; two")]),
        ('"a;b",one\n', ("0", "1"), [("a;b", "one")]),
        ("a;b,one\nc,two\n", ("0", "1"), [("a;b", "one"), ("c", "two")]),
    ],
)
def test_the_first_line_says_what_parts_columns(
    content: str, columns: Columns | None, expected: list[tuple[str, str]], file: Location
) -> None:
    assert pairs(file, content, columns) == expected


def test_a_row_of_another_number_of_columns_is_named_by_its_line(file: Location) -> None:
    with pytest.raises(
        DistjointError, match=r"a\.csv, line 5: 3 columns, the first line has 2; a text with semicolons"
    ):
        pairs(file, 'entity;text\na;"one\ntwo"\n\nb;three;four\n')


def test_labels_and_types_are_read_alike_and_it_is_said(file: Location) -> None:
    notes: list[str] = []
    file.write_bytes("Id;Höhe;Label\na;1,5;Anna, the first\na;2,5;Ann\n".encode())
    assert read_labels(file, notes) == {"a": ["Anna, the first", "Ann"]}
    assert notes == [f"Columns that semicolons part, as the first line says, in files: 1 (such as {file})."]
    notes.clear()
    file.write_bytes(b"entity|type\na|person, living\nb|city\n")
    assert read_types(file, None, notes) == {"a": ["person, living"], "b": ["city"]}
    assert any(note.startswith("Columns that bars part, as the first line says, in files: 1") for note in notes)
    assert read_types(file, ("0", "1"))["b"] == ["city"]
