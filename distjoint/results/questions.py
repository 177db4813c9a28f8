"""Questions from a file: their names looked up, and what is wrong or unknown told before anything is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Bools, Ints
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress
from distjoint.results.embeddings import Embeddings
from distjoint.results.files import QuestionFile
from distjoint.results.limits import Side
from distjoint.storage import Location

AT_ONCE = 1 << 16
"""Questions whose names are looked up at a time."""
TRIPLE = ("head", "relation", "tail", "head_text", "tail_text")


@dataclass
class AnswerTally:
    """What a file of questions came to.

    questions, answers   how many there were
    unknown              questions that name what the run does not know, and were left out
    example              one of them
    chance               questions about entities or relations that training did not reach: their answers are chance
    notes                what else is to be said
    """

    questions: int = 0
    answers: int = 0
    unknown: int = 0
    example: str = ""
    chance: int = 0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class AskedBlock:
    """Some questions, with names as places: -1 for one that is unknown, -2 where none is given.

    number   int64[n]: of each question, from 1
    texts    of its head and tail
    """

    number: Ints
    table: pa.Table
    head: Ints
    relation: Ints
    tail: Ints
    texts: tuple[Sequence[str | None], Sequence[str | None]]

    @property
    def unknown(self) -> Bools:
        """bool[n]"""
        return np.asarray((self.head == -1) | (self.relation == -1) | (self.tail == -1))

    def select(self, places: Ints) -> AskedBlock:
        at = places.tolist()
        heads, tails = ([text[place] for place in at] for text in self.texts)
        ends = self.head[places], self.relation[places], self.tail[places]
        return AskedBlock(self.number[places], self.table.take(pa.array(places)), *ends, (heads, tails))


def asked_blocks(result: Embeddings, asked: QuestionFile, rows: int) -> Iterator[AskedBlock]:
    """The questions of a file, so many at a time, their names looked up."""
    start = 1
    for table in asked.batches(rows):
        yield _block(result, table, start)
        start += len(table)


def _block(result: Embeddings, table: pa.Table, start: int) -> AskedBlock:
    texts = [
        table.column(name).to_pylist() if name in table.column_names else [None] * len(table) for name in TRIPLE[3:]
    ]
    head, tail = (_places(result, table.column(name).to_pylist()) for name in ("head", "tail"))
    known: dict[str | None, int] = {None: -2}
    names = table.column("relation").to_pylist()
    for name in set(names) - {None}:
        number = result.graph.find_relation(name)
        known[name] = -1 if number is None else number
    relation = np.array([known[name] for name in names], np.int64)
    return AskedBlock(np.arange(start, start + len(table)), table, head, relation, tail, (texts[0], texts[1]))


def _places(result: Embeddings, names: Sequence[str | None]) -> Ints:
    """int64[n]: places of entities; -1 for an unknown one, -2 for none."""
    there = [name is not None for name in names]
    found = np.full(len(names), -2, np.int64)
    if any(there):
        found[np.array(there)] = result.spaces("entity")[0].find_all([name for name in names if name is not None])
    return found


def by_side(block: AskedBlock) -> Iterator[tuple[Side | None, Ints]]:
    """The questions whose names are known, by what they lack: an end, or the relation (None)."""
    known = ~block.unknown
    lacks_head, lacks_tail = _lack(block, 0), _lack(block, 1)
    sides: tuple[tuple[Side | None, Bools], ...] = (
        ("tail", lacks_tail),
        ("head", lacks_head),
        (None, block.relation == -2),
    )
    for side, lacking in sides:
        if len(places := np.flatnonzero(known & lacking)):
            yield side, places


def _lack(block: AskedBlock, end: int) -> Bools:
    told = np.array([text is not None for text in block.texts[end]], np.bool_)
    return np.asarray(((block.head, block.tail)[end] == -2) & ~told)


def lacks_not_one(block: AskedBlock) -> Bools:
    """bool[n]: questions that lack not exactly one of three, have an end twice, or lack a relation between texts."""
    told = [np.array([text is not None for text in texts], np.bool_) for texts in block.texts]
    no_relation = block.relation == -2
    missing = _lack(block, 0).astype(int) + _lack(block, 1) + no_relation
    twice = (told[0] & (block.head != -2)) | (told[1] & (block.tail != -2))
    return np.asarray((missing != 1) | twice | (no_relation & (told[0] | told[1])))


def lacks_any(block: AskedBlock) -> Bools:
    """bool[n]: questions that lack an end or the relation."""
    return np.asarray((block.head == -2) | (block.relation == -2) | (block.tail == -2))


def checked(
    result: Embeddings, asked: QuestionFile, skip: bool, progress: Progress, wrong: Callable[[AskedBlock], Bools]
) -> AnswerTally:
    """The questions of a file, counted. raises DistjointError for one that is wrong, or unknown unless skipped"""
    tally = AnswerTally(notes=ignored(asked))
    with progress.task("looking names up", None, "questions") as task:
        for block in asked_blocks(result, asked, AT_ONCE):
            if len(bad := np.flatnonzero(wrong(block))):
                row = {name: value[0] for name, value in block.table.slice(int(bad[0]), 1).to_pydict().items()}
                said = ", ".join(f"{name} {value!r}" for name, value in row.items() if value is not None) or "nothing"
                needed = "head, relation and tail" if wrong is lacks_any else "exactly two of head, relation and tail"
                raise DistjointError(f"{asked.place}, question {block.number[bad[0]]}: has {said}; give {needed}")
            count_unknown(tally, block.unknown, partial(_culprit, result, block), task.advance)
            tally.chance += _by_chance(result, block)
    refuse(tally, asked.place, skip)
    if tally.chance:
        tally.notes.append(
            f"{tally.chance:,} questions are about an entity or a relation that no training triple names, nor any text "
            "that the run reads; their answers are chance"
        )
    return tally


def _by_chance(result: Embeddings, block: AskedBlock) -> int:
    """How many questions name what training did not reach."""
    graph = result.graph
    found = (block.relation >= 0) & ~graph.relation_trained[np.maximum(block.relation, 0)]
    for end in (block.head, block.tail):
        named = np.flatnonzero(end >= 0)
        found[named] |= ~graph.plausible(end[named])
    return int((found & ~block.unknown).sum())


def _culprit(result: Embeddings, block: AskedBlock, row: int) -> str:
    """The first name of a question that is unknown, and names like it."""
    for name, places in (("head", block.head), ("relation", block.relation), ("tail", block.tail)):
        if places[row] == -1:
            given = block.table.column(name)[row].as_py()
            near = [] if name == "relation" else result.entities.similar_names(given)
            return f"{name} '{given}'" + (f"; did you mean {', '.join(near)}?" if near else "")
    return ""


def count_unknown(
    tally: AnswerTally, unknown: Bools, name_of: Callable[[int], str], advance: Callable[[float], Any]
) -> None:
    """Count some questions, and those that name what is unknown, with the first as an example."""
    if unknown.any() and not tally.example:
        row = int(np.flatnonzero(unknown)[0])
        tally.example = f"question {tally.questions + row + 1}: {name_of(row)}"
    tally.questions += len(unknown)
    tally.unknown += int(unknown.sum())
    advance(len(unknown))


def refuse(tally: AnswerTally, place: Location, skip: bool) -> None:
    """Raise DistjointError where names are unknown that are not to be skipped, or none is left."""
    if not tally.unknown:
        return
    said = f"{tally.unknown:,} of {tally.questions:,} questions name what the run does not know ({tally.example})"
    if not skip:
        raise DistjointError(f"{place}: {said}; mend them, or leave them out with --skip-unknown")
    if tally.unknown == tally.questions:
        raise DistjointError(f"{place}: {said}: none is left")
    tally.notes.append(f"{said}; left out")


def ignored(asked: QuestionFile) -> list[str]:
    """What is to be said of a header, of columns that are not read, and of what parts them."""
    notes = []
    names_alone = len(asked.columns) == 1
    if asked.renamed or (asked.header and names_alone):
        notes.append(f"{asked.place}: its first line, '{asked.header}', is taken for a header")
    if asked.ignored and not (asked.header and names_alone):
        notes.append(f"{asked.place}: columns {', '.join(asked.ignored[:5])} are not read")
    if asked.marked:
        notes.append(f"{asked.place}: columns lie between '{asked.marked}', as its first line says")
    return notes
