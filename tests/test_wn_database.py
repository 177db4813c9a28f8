"""Databases of the package `wn`, made here by its schema, against the same lexicon as WN-LMF."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Dataset
from distjoint.data.wordnet.lmf import read_lmf
from distjoint.data.wordnet.wn_database import read_database
from distjoint.storage import locate

pytestmark = pytest.mark.unit

# Of wn 1.1.1's schema.sql (as wn 1.0.0's) the tables that are read; those that they refer to besides are not there.
SCHEMA = """
CREATE TABLE lexicons (
    rowid INTEGER PRIMARY KEY, specifier TEXT NOT NULL, id TEXT NOT NULL, label TEXT NOT NULL, language TEXT NOT NULL,
    email TEXT NOT NULL, license TEXT NOT NULL, version TEXT NOT NULL, url TEXT, citation TEXT, logo TEXT,
    metadata META, modified BOOLEAN CHECK( modified IN (0, 1) ) DEFAULT 0 NOT NULL,
    UNIQUE (id, version), UNIQUE (specifier));
CREATE TABLE entries (
    rowid INTEGER PRIMARY KEY, id TEXT NOT NULL, lexicon_rowid INTEGER NOT NULL REFERENCES lexicons (rowid),
    pos TEXT NOT NULL, metadata META, UNIQUE (id, lexicon_rowid));
CREATE TABLE forms (
    rowid INTEGER PRIMARY KEY, id TEXT, lexicon_rowid INTEGER NOT NULL, entry_rowid INTEGER NOT NULL,
    form TEXT NOT NULL, normalized_form TEXT, script TEXT, rank INTEGER DEFAULT 1, UNIQUE (entry_rowid, form, script));
CREATE TABLE synsets (
    rowid INTEGER PRIMARY KEY, id TEXT NOT NULL, lexicon_rowid INTEGER NOT NULL, ili_rowid INTEGER, pos TEXT,
    lexfile_rowid INTEGER, metadata META);
CREATE TABLE synset_relations (
    rowid INTEGER PRIMARY KEY, lexicon_rowid INTEGER NOT NULL, source_rowid INTEGER NOT NULL,
    target_rowid INTEGER NOT NULL, type_rowid INTEGER NOT NULL, metadata META);
CREATE TABLE definitions (
    rowid INTEGER PRIMARY KEY, lexicon_rowid INTEGER NOT NULL, synset_rowid INTEGER NOT NULL, definition TEXT,
    language TEXT, sense_rowid INTEGER, metadata META);
CREATE TABLE synset_examples (
    rowid INTEGER PRIMARY KEY, lexicon_rowid INTEGER NOT NULL, synset_rowid INTEGER NOT NULL, example TEXT,
    language TEXT, metadata META);
CREATE TABLE senses (
    rowid INTEGER PRIMARY KEY, id TEXT NOT NULL, lexicon_rowid INTEGER NOT NULL, entry_rowid INTEGER NOT NULL,
    entry_rank INTEGER DEFAULT 1, synset_rowid INTEGER NOT NULL, synset_rank INTEGER DEFAULT 1, metadata META);
CREATE TABLE sense_relations (
    rowid INTEGER PRIMARY KEY, lexicon_rowid INTEGER NOT NULL, source_rowid INTEGER NOT NULL,
    target_rowid INTEGER NOT NULL, type_rowid INTEGER NOT NULL, metadata META);
CREATE TABLE sense_synset_relations (
    rowid INTEGER PRIMARY KEY, lexicon_rowid INTEGER NOT NULL, source_rowid INTEGER NOT NULL,
    target_rowid INTEGER NOT NULL, type_rowid INTEGER NOT NULL, metadata META);
CREATE TABLE relation_types (rowid INTEGER PRIMARY KEY, type TEXT NOT NULL, UNIQUE (type));
"""
AS_BEFORE = (  # wn 0.7 to 0.14
    ("    rowid INTEGER PRIMARY KEY, specifier TEXT NOT NULL, id", "    rowid INTEGER PRIMARY KEY, id"),
    (", UNIQUE (specifier)", ""),
    ("    lexfile_rowid INTEGER,", "    lexicalized BOOLEAN DEFAULT 1 NOT NULL, lexfile_rowid INTEGER,"),
    ("synset_rank INTEGER DEFAULT 1,", "synset_rank INTEGER DEFAULT 1, lexicalized BOOLEAN DEFAULT 1 NOT NULL,"),
)
LMF = """<?xml version="1.0" encoding="UTF-8"?>
<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">
 <Lexicon id="x" label="X" language="en" email="a@b" license="l" version="1">
  <LexicalEntry id="x-dog-n"><Lemma writtenForm="dog" partOfSpeech="n"/><Form writtenForm="dogs"/>
   <Sense id="s-dog" synset="x-1"/><Sense id="s-dog2" synset="x-3"/></LexicalEntry>
  <LexicalEntry id="x-hound-n"><Lemma writtenForm="Canis  familiaris" partOfSpeech="n"/>
   <Sense id="s-hound" synset="x-1"><SenseRelation relType="derivation" target="s-pack"/>
    <SenseRelation relType="antonym" target="s-dog"/><SenseRelation relType="domain_topic" target="x-2"/>
    <Example>not of the synset</Example></Sense></LexicalEntry>
  <LexicalEntry id="x-pack-n"><Lemma writtenForm="b\u00fcndel" partOfSpeech="n"/>
   <Sense id="s-pack" synset="x-2"/></LexicalEntry>
  <Synset id="x-1" ili="i1" partOfSpeech="n" members="s-hound s-dog">
   <Definition>a domestic\tanimal &amp; friend</Definition>
   <SynsetRelation relType="hypernym" target="x-3"/><SynsetRelation relType="mero_part" target="x-2"/>
   <Example>the dog\nbarked</Example></Synset>
  <Synset id="x-2" ili="" partOfSpeech="n"><SynsetRelation relType="holo_part" target="x-1"/></Synset>
  <Synset id="x-3" ili="" partOfSpeech="n"><SynsetRelation relType="hyponym" target="x-1"/>
   <SynsetRelation relType="other" dc:type="likes" target="x-2"/></Synset>
 </Lexicon>
</LexicalResource>
"""
ROWS: dict[str, list[dict[str, object]]] = {  # what wn 1.1.1 writes of it
    "lexicons": [{"specifier": "x:1", "id": "x", "label": "X", "language": "en", "version": "1"}],
    "entries": [{"id": f"x-{name}-n", "pos": "n"} for name in ("dog", "hound", "pack")],
    "forms": [
        {"entry_rowid": 1, "form": "dog", "rank": 0},
        {"entry_rowid": 1, "form": "dogs", "rank": 1},
        {"entry_rowid": 2, "form": "Canis  familiaris", "normalized_form": "canis  familiaris", "rank": 0},
        {"entry_rowid": 3, "form": "b\u00fcndel", "normalized_form": "bundel", "rank": 0},
    ],
    "synsets": [{"id": f"x-{number}", "pos": "n"} for number in (1, 2, 3)],
    "senses": [
        {"id": "s-dog", "entry_rowid": 1, "synset_rowid": 1, "synset_rank": 1},
        {"id": "s-dog2", "entry_rowid": 1, "synset_rowid": 3, "synset_rank": 127},
        {"id": "s-hound", "entry_rowid": 2, "synset_rowid": 1, "synset_rank": 0},
        {"id": "s-pack", "entry_rowid": 3, "synset_rowid": 2, "synset_rank": 127},
    ],
    "definitions": [{"synset_rowid": 1, "definition": "a domestic\tanimal & friend"}],
    "synset_examples": [{"synset_rowid": 1, "example": "the dog\nbarked"}],
    "relation_types": [
        {"type": name}
        for name in (
            *("antonym", "derivation", "domain_topic", "holo_part"),
            *("hypernym", "hyponym", "mero_part", "other"),
        )
    ],
    "synset_relations": [
        {"source_rowid": 1, "target_rowid": 3, "type_rowid": 5},
        {"source_rowid": 1, "target_rowid": 2, "type_rowid": 7},
        {"source_rowid": 2, "target_rowid": 1, "type_rowid": 4},
        {"source_rowid": 3, "target_rowid": 1, "type_rowid": 6},
        {"source_rowid": 3, "target_rowid": 2, "type_rowid": 8, "metadata": b'{"type": "likes"}'},
    ],
    "sense_relations": [
        {"source_rowid": 3, "target_rowid": 4, "type_rowid": 2},
        {"source_rowid": 3, "target_rowid": 1, "type_rowid": 1},
    ],
    "sense_synset_relations": [{"source_rowid": 3, "target_rowid": 2, "type_rowid": 3}],
}
REQUIRED = {"lexicon_rowid": 1, "email": "a@b", "license": "l"}


def make(path: Path, *further: str, replaced: Iterable[tuple[str, str]] = (), language: str = "en") -> str:
    """A database of the lexicon. further: statements of SQL; replaced: in those of the schema"""
    schema = SCHEMA
    for old, new in replaced:
        assert old in schema
        schema = schema.replace(old, new)
    database = sqlite3.connect(path)
    database.executescript(schema)
    for table, rows in ROWS.items():
        there = {name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")}
        for row in rows:
            values = {name: value for name, value in (REQUIRED | row).items() if name in there}
            names = ", ".join(values)
            database.execute(
                f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))})", [*values.values()]
            )
    for statement in further:
        database.execute(statement)
    database.commit()
    database.close()
    return str(path)


@pytest.mark.parametrize("replaced", [(), AS_BEFORE])
def test_a_database_of_wn_gives_what_wn_lmf_gives(replaced: Iterable[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(LMF)
    as_xml = read_lmf(locate(str(tmp_path / "x.xml")))
    found = read_database(locate(make(tmp_path / "x y?#.db", replaced=replaced)))
    assert found == as_xml
    assert [*found.names.items()] == [*as_xml.names.items()]
    assert ("x-3", "likes", "x-2") in found.triples and found.names["x-1"] == ["Canis familiaris", "dog"]


def test_prepare_makes_one_dataset_of_either_form(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(LMF)
    (tmp_path / "folder").mkdir()
    make(tmp_path / "folder" / "wn.db")
    of_xml, of_database = (
        distjoint.prepare(str(tmp_path / f"out-{name}"), graph=str(tmp_path / name), align="none", shards=1)
        for name in ("x.xml", "folder")
    )
    assert of_database.counts == of_xml.counts
    assert "wn.db: a wordnet (a database of the package wn) of 3 synsets" in of_database.notes[0]
    rows, same = (Dataset.open(str(tmp_path / f"out-{name}")).rows().to_pydict() for name in ("x.xml", "folder"))
    assert rows == same


def test_a_compressed_database_is_unpacked_into_the_scratch_folder_while_it_is_read(tmp_path: Path) -> None:
    content = Path(make(tmp_path / "wn.db")).read_bytes()
    (tmp_path / "packed.db").write_bytes(gzip.compress(content))
    found = read_database(locate(str(tmp_path / "packed.db")), str(tmp_path))
    assert found == read_database(locate(str(tmp_path / "wn.db")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.db", "wn.db"]
    assert (tmp_path / "wn.db").read_bytes() == content


def test_all_lexicons_are_taken_and_said_unless_they_share_a_synset(tmp_path: Path) -> None:
    second = "INSERT INTO lexicons VALUES (2,'x:2','x','X','fr','e','l','2',NULL,NULL,NULL,NULL,0)"
    further = "INSERT INTO synsets VALUES (9,'{}',2,NULL,'n',NULL,NULL)"
    found = read_database(locate(make(tmp_path / "a.db", second, further.format("y-1"))))
    assert "y-1" in found.names
    assert found.notes[-1].startswith("Lexicons of it, all taken: x:1 (en), x:2 (fr); python -c ")
    with pytest.raises(DistjointError, match=r"x:1 and x:2 both have a synset 'x-1'; .*lexicons\(lexicon='x:2'\)"):
        read_database(locate(make(tmp_path / "b.db", second, further.format("x-1"))))


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (
            "ALTER TABLE forms ADD COLUMN level",
            r"version of its tables that is not read \('forms' has .*, level\); .*wn\.export",
        ),
        ("DROP TABLE relation_types", r"'relation_types' has columns of no kind\); read are those of wn 0\.7 to 1\.1"),
        ("DROP TABLE lexicons", r"not of the package wn, which has tables 'lexicons' and 'synsets' \(it has entries, "),
        ("DELETE FROM synsets", r"no synsets in it"),
        ("UPDATE forms SET form = x'ff'", r"b'\\xff' in the place of text"),
        ("UPDATE forms SET form = CAST(x'ff' AS TEXT)", r"damaged or cannot be read \(Could not decode to UTF-8"),
        ("INSERT INTO synsets VALUES (9,'x-1',1,NULL,'n',NULL,NULL)", r"the lexicon x:1 has two synsets 'x-1'"),
        ("DELETE FROM relation_types", r"a wordnet without a relation between two synsets"),
    ],
)
def test_what_is_no_such_database_is_named(further: str, message: str, tmp_path: Path) -> None:
    path = make(tmp_path / "wn.db", further)
    with pytest.raises(DistjointError, match=message) as caught:
        distjoint.prepare(str(tmp_path / "out"), graph=path)
    assert path in str(caught.value)


def test_a_damaged_database_is_refused_or_read_the_same(tmp_path: Path) -> None:
    content = Path(make(tmp_path / "wn.db")).read_bytes()
    whole = read_database(locate(str(tmp_path / "wn.db")))
    place = tmp_path / "damaged.db"
    refused = 0
    for at in range(16, len(content), 977):
        for damaged in (content[:at], content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]):
            place.write_bytes(damaged)
            try:
                found = read_database(locate(str(place)))
                assert len(found.names) == len(whole.names)
            except DistjointError as error:
                assert str(place) in str(error)
                refused += 1
    assert refused > len(content) // 977
