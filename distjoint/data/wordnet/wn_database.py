"""Wordnets in the SQLite database that the package `wn` keeps them in (`wn.db`).

It is opened for reading alone. Only the tables that are read have to be those of a known version: of another one it
can't be known what they mean, while `wn` itself can always write WN-LMF.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from distjoint.base.errors import DistjointError
from distjoint.data.lines import open_text
from distjoint.data.packing import compression_of
from distjoint.data.wordnet.base import Synsets, Triple
from distjoint.storage import Location

MARK = b"SQLite format 3\0"
"""At the beginning of every such file."""
_WN = "lexicons"
"""The table by which a database of `wn` is known."""
_NOW = {
    _WN: "rowid specifier id label language email license version url citation logo metadata modified",
    "entries": "rowid id lexicon_rowid pos metadata",
    "forms": "rowid id lexicon_rowid entry_rowid form normalized_form script rank",
    "synsets": "rowid id lexicon_rowid ili_rowid pos lexfile_rowid metadata",
    "senses": "rowid id lexicon_rowid entry_rowid entry_rank synset_rowid synset_rank metadata",
    "definitions": "rowid lexicon_rowid synset_rowid definition language sense_rowid metadata",
    "synset_examples": "rowid lexicon_rowid synset_rowid example language metadata",
    "synset_relations": "rowid lexicon_rowid source_rowid target_rowid type_rowid metadata",
    "sense_relations": "rowid lexicon_rowid source_rowid target_rowid type_rowid metadata",
    "sense_synset_relations": "rowid lexicon_rowid source_rowid target_rowid type_rowid metadata",
    "relation_types": "rowid type",
}
"""Columns of the tables that are read, as wn 1.0 and 1.1 have them."""
_BEFORE = {
    _WN: "rowid id label language email license version url citation logo metadata modified",
    "synsets": "rowid id lexicon_rowid ili_rowid pos lexicalized lexfile_rowid metadata",
    "senses": "rowid id lexicon_rowid entry_rowid entry_rank synset_rowid synset_rank lexicalized metadata",
}
"""Columns of those that were others in wn 0.7 to 0.14."""
_LEMMAS = """
    SELECT senses.synset_rowid, forms.form FROM senses JOIN forms ON forms.entry_rowid = senses.entry_rowid
    WHERE forms.rank = 0 ORDER BY senses.synset_rank, senses.rowid"""
_GLOSSES = (
    "SELECT synset_rowid, definition FROM definitions ORDER BY rowid",
    "SELECT synset_rowid, example FROM synset_examples ORDER BY rowid",
)
_OF_TYPE = "JOIN relation_types AS types ON types.rowid = relations.type_rowid"
_SOURCE = "JOIN senses AS source ON source.rowid = relations.source_rowid"
_TARGET = "JOIN senses AS target ON target.rowid = relations.target_rowid"
_RELATIONS = (
    f"""SELECT relations.source_rowid, types.type, relations.target_rowid, relations.metadata
    FROM synset_relations AS relations {_OF_TYPE} ORDER BY relations.rowid""",
    f"""SELECT source.synset_rowid, types.type, target.synset_rowid, relations.metadata
    FROM sense_relations AS relations {_OF_TYPE} {_SOURCE} {_TARGET} ORDER BY relations.rowid""",
    f"""SELECT source.synset_rowid, types.type, relations.target_rowid, relations.metadata
    FROM sense_synset_relations AS relations {_OF_TYPE} {_SOURCE} ORDER BY relations.rowid""",
)
_SHOWN = 6


def read_database(file: Location, scratch: str | None = None) -> Synsets:
    """All synsets of the lexicons of a database, under their ids, as `lmf.read_lmf` reads them.

    scratch   folder for the copy of a file that is compressed or not on this machine; None for the system's
    raises    DistjointError naming what is damaged, no database of `wn`, or one of a version that is not read, and
              lexicons that have a synset's id in common
    """
    try:
        with _on_this_machine(file, scratch) as path, _opened(path) as database:
            _check_version(file, database)
            return _synsets(file, database)
    except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
        raise DistjointError(f"{file}: an SQLite database that is damaged or cannot be read ({error})") from error


@contextmanager
def _on_this_machine(file: Location, scratch: str | None) -> Iterator[Path]:
    """The path of a file that SQLite can open: itself, or a copy while the context lasts."""
    if file.is_local and not compression_of(file):
        yield Path(file.path)
        return
    with tempfile.NamedTemporaryFile(prefix="distjoint-wordnet-", suffix=".db", dir=scratch) as copy:
        with open_text(file) as (stream, _):
            shutil.copyfileobj(stream, copy)
        copy.flush()
        yield Path(copy.name)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.execute("PRAGMA trusted_schema = OFF")  # nothing that a file brings along is run
        yield database


def _check_version(file: Location, database: sqlite3.Connection) -> None:
    (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(" ".join(found.split()))
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if _WN not in tables or "synsets" not in tables:
        has = f"it has {', '.join(map(str, tables[:_SHOWN]))}" if tables else "it has none"
        raise DistjointError(
            f"{file}: an SQLite database, but not of the package wn, which has tables '{_WN}' and 'synsets' ({has}); "
            "write a table of triples as CSV"
        )
    there = {table: _columns(database, table) for table in _NOW}
    if there in (_NOW, _NOW | _BEFORE):
        return
    known = {table: (_NOW[table], _BEFORE.get(table, _NOW[table])) for table in _NOW}
    other = next((table for table, columns in there.items() if columns not in known[table]), _WN)  # or of two at once
    raise DistjointError(
        f"{file}: a database of the package wn in a version of its tables that is not read ('{other}' has columns "
        f"{there[other].replace(' ', ', ') or 'of no kind'}); read are those of wn 0.7 to 1.1. Write it as WN-LMF, "
        f"which is read: {_export()}"
    )


def _columns(database: sqlite3.Connection, table: str) -> str:
    return " ".join(str(name) for (name,) in database.execute("SELECT name FROM pragma_table_info(?)", (table,)))


def _export(lexicon: str = "*") -> str:
    """A command that writes lexicons as WN-LMF."""
    which = "" if lexicon == "*" else f"lexicon={lexicon!r}"
    return f"python -c \"import wn; wn.export(wn.lexicons({which}), 'wordnet.xml')\""


def _synsets(file: Location, database: sqlite3.Connection) -> Synsets:
    lexicons = [
        (number, f"{name}:{version}", language)
        for number, name, version, language in database.execute(
            "SELECT rowid, id, version, language FROM lexicons ORDER BY rowid"
        )
    ]
    ids: dict[int, str] = {}
    glosses: dict[str, list[str]] = {}
    called = {number: name for number, name, _ in lexicons}
    of: dict[str, int] = {}
    for number, name, lexicon in database.execute("SELECT rowid, id, lexicon_rowid FROM synsets ORDER BY rowid"):
        ids[number] = name = _text(file, name)
        if name in glosses:
            raise DistjointError(_shared(file, name, called.get(of[name], ""), called.get(lexicon, "")))
        glosses[name], of[name] = [], lexicon
    if not glosses:
        raise DistjointError(f"{file}: no synsets in it; wn.add or wn.download brings some")
    for query in _GLOSSES:
        for number, text in database.execute(query):
            if number in ids and text is not None and (said := _text(file, text)):
                glosses[ids[number]].append(said)
    lemmas: dict[str, list[str]] = {}
    for number, form in database.execute(_LEMMAS):
        if number in ids:
            lemmas.setdefault(ids[number], []).append(_text(file, form))
    notes = []
    if len(lexicons) > 1:
        shown = ", ".join(f"{name} ({language})" for _, name, language in lexicons[:_SHOWN])
        more = f" and {len(lexicons) - _SHOWN} more" if len(lexicons) > _SHOWN else ""
        notes = [f"Lexicons of it, all taken: {shown}{more}; {_export(lexicons[0][1])} writes one."]
    return Synsets.of(_relations(file, database, ids), lemmas, glosses, notes)


def _shared(file: Location, synset: str, first: str, second: str) -> str:
    if first == second:
        return f"{file}: damaged: the lexicon {first} has two synsets '{synset}'"
    return (
        f"{file}: its lexicons {first} and {second} both have a synset '{synset}'; write one of them as WN-LMF: "
        f"{_export(second)}"
    )


def _relations(file: Location, database: sqlite3.Connection, ids: dict[int, str]) -> Iterator[Triple]:
    for query in _RELATIONS:
        for source, kind, target, metadata in database.execute(query):
            kind = _text(file, kind)
            if kind == "other":
                kind = _kind(metadata) or kind
            yield ids.get(source, str(source)), kind, ids.get(target, str(target))


def _kind(metadata: Any) -> str:
    """The name that a relation of no usual kind has in its metadata, `dc:type` in WN-LMF."""
    try:
        found = json.loads(metadata or "{}")
    except (ValueError, TypeError, RecursionError):
        return ""
    said = found.get("type") if isinstance(found, dict) else None
    return " ".join(said.split()) if isinstance(said, str) else ""


def _text(file: Location, value: Any) -> str:
    """Text as a line can hold it. SQLite holds anything in any column."""
    if not isinstance(value, str):
        raise DistjointError(f"{file}: {value!r} in the place of text; the database is damaged")
    return " ".join(value.split())
