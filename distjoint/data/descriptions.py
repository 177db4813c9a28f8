"""Descriptions of a graph's entities: which texts are said of whom, and what of the files is left out.

How files are read is in `records`; what the words of the texts say of the entities is in `mentions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress, Task
from distjoint.data.cases import Cases
from distjoint.data.knowledge import not_about
from distjoint.data.lines import Slice
from distjoint.data.noticed import Noticed
from distjoint.data.rdf import TEXTS, RdfReading
from distjoint.data.record_columns import Columns
from distjoint.data.records import Records, read_records
from distjoint.data.triples import Graph
from distjoint.storage import Location

_HTML = re.compile(r"</?[A-Za-z][^<>]*>|&(?:[A-Za-z]{2,8}|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});")
_SHOWN = 40


def read_descriptions(
    files: Sequence[Location],
    columns: Columns | None,
    graph: Graph,
    notes: list[str],
    progress: Progress,
    reading: RdfReading | None = None,
    encoding: str | None = None,
) -> dict[str, list[str]]:
    """Descriptions of the graph's entities: entity -> texts, from files as `records` reads them.

    notes    gets a sentence about columns that were guessed, and about each kind of description that is left out,
             merged or odd
    reading  of RDF; a file of the graph need not hold any
    encoding of files of text; None for UTF-8, or what a byte order mark says
    raises   DistjointError naming the line that is wrong, or a file without any entity of the graph
    """
    found: dict[str, list[str]] = {}
    if not files:
        return found
    read: set[str] = set()
    noticed = Noticed()
    with progress.task("reading descriptions", sum(file.size() for file in files)) as task:
        missed: dict[str, str] = {}
        for file in files:
            folder = file.url.rpartition("/")[0]
            try:
                several = read_records(Slice(file), columns, reading := reading or RdfReading(), encoding)
                notes += _read(file, several, graph, found, task, reading, noticed)
            except _NothingReadError as error:
                missed[file.url] = str(error)
            else:
                read.add(folder)
        for url, why in missed.items():  # a part of a folder may be empty where the others are not
            if url.rpartition("/")[0] not in read:
                raise DistjointError(why)
        if missed:
            notes.append(
                f"Files without descriptions of the graph's entities, skipped: {len(missed):,} "
                f"(such as {next(iter(missed))})."
            )
    notes += noticed.notes()
    return found


class _NothingReadError(DistjointError):
    """A file of which nothing was read, which is wrong only where it is not one of several parts."""


def split_names(texts: dict[str, list[str]], before: str, notes: list[str]) -> dict[str, list[str]]:
    """Take the names off texts that begin with one; returns entity -> its names.

    texts    entity -> texts; one without `before` stays whole
    before   what ends a name
    notes    gets a sentence about how many there are
    """
    names: dict[str, list[str]] = {}
    whole = Cases()
    for entity, several in texts.items():
        for place, text in enumerate(several):
            name, found, rest = text.partition(before)
            if found and name.strip():
                several[place] = rest.strip()
                names.setdefault(entity, []).append(name.strip())
            else:
                whole.add(f"{entity}: {text[:_SHOWN]}")
    example = f"; without one: {whole.count:,} (such as {whole.example})" if whole.count else ""
    notes.append(f"Names before {before!r} in descriptions: of {len(names):,} entities{example}.")
    return {entity: list(dict.fromkeys(several)) for entity, several in names.items()}


def _read(
    file: Location,
    several: Iterator[Records],
    graph: Graph,
    found: dict[str, list[str]],
    task: Task,
    reading: RdfReading,
    noticed: Noticed,
) -> list[str]:
    """Add a file's descriptions to those that are found; returns notes. noticed: gets what is said of bytes"""
    unknown = Cases("of entities that are in no triple and have no label, left out")
    empty = Cases("that hold no text")
    again = Cases("of entities that have one already, read as further text")
    html = Cases("with HTML, whose tags are read as words")
    number, guessed = 0, None
    notes: list[str] = []
    if not file.size():
        raise _NothingReadError(f"{file}: the file is empty")
    for records in several:
        for said in records.noticed:
            noticed.add(*said)
        for entity, text in records.pairs:
            number += 1
            entity = graph.cleaning.clean(entity)
            if entity not in graph.entities:
                unknown.add(entity)
            elif not text:
                empty.add(entity)
            else:
                if entity in found:
                    again.add(entity)
                if ("<" in text or "&" in text) and (tag := _HTML.search(text)):
                    html.add(f"{entity}: {tag.group()[:_SHOWN]}")
                found.setdefault(entity, []).append(text)
        guessed = records.guessed
        notes += records.notes
        task.advance(records.read)
        task.note(f"of {len(found):,} entities")
    if not number and reading.number(file):
        looked_for = ", ".join(dict.fromkeys(TEXTS.values()))
        return [f"{file} has no descriptions in '{reading.language}': looked for {looked_for}."]
    if not number:
        raise _NothingReadError(" ".join([f"{file}: no descriptions in it.", *notes]).removesuffix("."))
    if unknown.count == number and not reading.number(file):
        raise _NothingReadError(str(not_about(file.url, number, unknown.example, graph)))
    notes += [f"Descriptions in {file}: entities are {guessed[0]}, texts are {guessed[1]}."] if guessed else []
    return notes + [f"Descriptions in {file} {kind}." for kind in (unknown, empty, again, html) if kind.count]
