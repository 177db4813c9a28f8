"""Many questions at once, from a file to a file: predictions, scores and neighbours, block by block.

A file is read twice: first its names are looked up, so that a name that is unknown is told before hours of work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Doubles, Floats, Ints
from distjoint.base.errors import UsageError
from distjoint.base.progress import Progress, Silent
from distjoint.evaluate.options import VectorKind
from distjoint.evaluate.space import Space
from distjoint.evaluate.stored import StoredVectors
from distjoint.results.embeddings import Embeddings
from distjoint.results.files import AnswerFile, QuestionFile, answer_file, format_of
from distjoint.results.graph import Choice
from distjoint.results.limits import Side
from distjoint.results.questions import (
    AT_ONCE,
    TRIPLE,
    AnswerTally,
    AskedBlock,
    asked_blocks,
    by_side,
    checked,
    count_unknown,
    ignored,
    lacks_any,
    lacks_not_one,
    refuse,
)
from distjoint.storage import Location

_QUERIES = 2048
"""Queries that meet a block of candidates in memory at a time."""
_STORED_QUERIES = 1 << 15
"""The same where each time the table is read from its files."""
_ANSWER = {
    "query": pa.int64(),
    "head": pa.string(),
    "relation": pa.string(),
    "tail": pa.string(),
    "rank": pa.int32(),
    "score": pa.float64(),
    "probability": pa.float64(),
    "label": pa.string(),
    "known": pa.bool_(),
}


def predict_file(
    result: Embeddings,
    questions: Location,
    out: Location,
    k: int,
    choice: Choice,
    *,
    probabilities: bool = False,
    skip_unknown: bool = False,
    progress: Progress | None = None,
) -> AnswerTally:
    """Answer a file of triples that each lack an end or the relation: a line for each answer.

    questions   columns head, relation, tail, and head_text, tail_text instead of an end; one empty, or `?`
    raises      DistjointError for a triple that lacks nothing or too much, or names what is unknown
    """
    result.graph.predictor  # noqa: B018 - tells of a run without a graph
    asked, progress = QuestionFile(questions, TRIPLE, 3), progress or Silent()
    _check_out(questions, out)
    tally = checked(result, asked, skip_unknown, progress, lacks_not_one)
    likely = _likelihood(result, probabilities)
    left = {"probability"} if likely is None else set()
    schema = pa.schema([(name, kind) for name, kind in _ANSWER.items() if name not in left])
    with answer_file(out, schema) as file, progress.task("predictions", tally.questions, "questions") as task:
        for block in asked_blocks(result, asked, _at_once(result.entities)):
            for side, places in by_side(block):
                part = block.select(places)
                chance = None if likely is None else likely
                tally.answers += _write_predictions(result, part, side, k, choice, chance, file)
            task.advance(len(block.number))
    return tally


def score_file(
    result: Embeddings,
    triples: Location,
    out: Location,
    *,
    probabilities: bool = False,
    skip_unknown: bool = False,
    progress: Progress | None = None,
) -> AnswerTally:
    """Score a file of triples: its columns head, relation and tail, and `score`, empty for a triple that is left out.

    raises   DistjointError for a triple that lacks something, or names what is unknown unless that is skipped
    """
    predictor, asked, progress = result.graph.predictor, QuestionFile(triples, TRIPLE[:3], 3), progress or Silent()
    _check_out(triples, out)
    tally = checked(result, asked, skip_unknown, progress, lacks_any)
    likely = _likelihood(result, probabilities)
    names = [*TRIPLE[:3], "score", *(() if likely is None else ("probability",))]
    schema = pa.schema([(name, _ANSWER[name]) for name in names])
    with answer_file(out, schema) as file, progress.task("scores", tally.questions, "triples") as task:
        for block in asked_blocks(result, asked, AT_ONCE):
            known = np.flatnonzero(~block.unknown)
            scores = predictor.scores(block.head[known], block.relation[known], block.tail[known])
            columns = {name: block.table.column(name).combine_chunks() for name in TRIPLE[:3]}
            columns["score"] = _scattered(scores, known, len(block.number))
            if likely is not None:
                columns["probability"] = _scattered(likely(scores), known, len(block.number))
            file.write(columns)
            tally.answers += len(known)
            task.advance(len(block.number))
    return tally


def nearest_file(
    result: Embeddings,
    questions: Location,
    out: Location,
    k: int,
    *,
    of: VectorKind | None = None,
    kind: VectorKind | None = None,
    standardize: bool = True,
    skip_unknown: bool = False,
    progress: Progress | None = None,
) -> AnswerTally:
    """The neighbours of a file of names: a line for each. A name that is a word and an entity is asked as either.

    questions   a column `name`, or lines
    of          only as this kind
    kind        only neighbours of this kind
    raises      DistjointError for an unknown name, unless it is skipped
    """
    asked, progress = QuestionFile(questions, ("name",), 1), progress or Silent()
    _check_out(questions, out)
    sources = result.spaces(of)
    meetings = [result.meeting(source, kind) for source in sources]

    tally = AnswerTally(notes=ignored(asked))
    with progress.task("looking names up", None, "names") as task:
        for table in asked.batches(AT_ONCE):
            names = _names(table)
            unknown = np.asarray(np.all([source.find_all(names) < 0 for source in sources], axis=0))
            count_unknown(tally, unknown, partial(_quoted, names), task.advance)
    refuse(tally, asked.place, skip_unknown)
    types = {"query": pa.int64(), "name": pa.string(), "kind": pa.string(), "rank": pa.int32()}
    types |= {"neighbour": pa.string(), "neighbour_kind": pa.string(), "similarity": pa.float64(), "label": pa.string()}
    start, rows = 0, max(_at_once(source) for source in sources)
    with (
        answer_file(out, pa.schema(list(types.items()))) as file,
        progress.task("neighbours", tally.questions, "names") as task,
    ):
        for table in asked.batches(rows):
            names = _names(table)
            for source, spaces in zip(sources, meetings, strict=True):
                places = source.find_all(names)
                known = np.flatnonzero(places >= 0)
                found = (names, known, places[known], start)
                tally.answers += _write_neighbours(result, source, spaces, *found, k, standardize, file)
            start += len(table)
            task.advance(len(table))
    return tally


def _write_predictions(
    result: Embeddings,
    block: AskedBlock,
    side: Side | None,
    k: int,
    choice: Choice,
    likely: Callable[[Doubles], Doubles] | None,
    file: AnswerFile,
) -> int:
    """Write the answers to questions that lack the same, and return how many there are."""
    graph, answers = result.graph, result.entities.names
    if side is None:
        places, scores, marks = graph.predict_relations(block.head, block.tail, k, choice)
        answers = result.relations
    else:
        given, texts = (block.head, block.texts[0]) if side == "tail" else (block.tail, block.texts[1])
        given = np.where(given < 0, -1, given)
        vectors = _given(result, given, texts)
        places, scores, marks = graph.predict(vectors, given, block.relation, side, k, choice)
    row, rank = np.nonzero((places >= 0) & np.isfinite(scores))
    at = places[row, rank]
    named = [answers[place] for place in at.tolist()]
    columns: dict[str, Any] = {
        name: block.table.column(name).take(pa.array(row)).combine_chunks() for name in TRIPLE[:3]
    }
    columns["relation" if side is None else side] = named
    columns |= {"query": block.number[row], "rank": (rank + 1).astype(np.int32), "score": scores[row, rank]}
    columns["label"] = [(graph.names if side is None else result.every).readable(place) for place in at.tolist()]
    columns["known"] = [None] * len(row) if marks is None else marks[row, rank]
    if likely is not None:
        columns["probability"] = likely(scores[row, rank])
    file.write(columns)
    return len(row)


def _write_neighbours(
    result: Embeddings,
    source: Space,
    spaces: Sequence[Space],
    names: Sequence[str],
    known: Ints,
    places: Ints,
    start: int,
    k: int,
    standardize: bool,
    file: AnswerFile,
) -> int:
    if not len(known):
        return 0
    found = result.neighbours.nearest(source, places, source.vectors[places], k, spaces, standardize)
    row, rank = np.nonzero((found.places >= 0) & np.isfinite(found.similarity))
    pairs = list(zip(found.space[row, rank].tolist(), found.places[row, rank].tolist(), strict=True))
    asked = known[row]
    columns: dict[str, Any] = {
        "query": asked + start + 1,
        "name": [names[place] for place in asked.tolist()],
        "kind": [source.kind] * len(row),
        "rank": (rank + 1).astype(np.int32),
        "neighbour": [spaces[number].names[at] for number, at in pairs],
        "neighbour_kind": [spaces[number].kind for number, _ in pairs],
        "similarity": found.similarity[row, rank],
        "label": [result.label(spaces[number], at) for number, at in pairs],
    }
    file.write(columns)
    return len(row)


def _given(result: Embeddings, given: Ints, texts: Sequence[str | None]) -> Floats:
    """float32[n, dim]: vectors of entities, or of texts where there is no entity."""
    vectors = np.empty((len(given), result.entities.vectors.shape[1]), np.float32)
    named = np.flatnonzero(given >= 0)
    vectors[named] = result.entities.vectors[given[named]]
    for row in np.flatnonzero(given < 0).tolist():
        vectors[row] = result.text_vector(texts[row] or "")
    return vectors


def _likelihood(result: Embeddings, wanted: bool) -> Callable[[Doubles], Doubles] | None:
    return result.graph.calibration.probability if wanted else None


def _scattered(values: Doubles, places: Ints, count: int) -> pa.Array:
    """float64[n] with nulls where there is no value."""
    found, there = np.zeros(count), np.zeros(count, np.bool_)
    found[places], there[places] = values, True
    return pa.array(found, mask=~there)


def _at_once(space: Space) -> int:
    return _STORED_QUERIES if isinstance(space.vectors, StoredVectors) else _QUERIES


def _check_out(questions: Location, out: Location) -> None:
    """Raise UsageError for a place where no answers can be written."""
    format_of(out)
    if out.absolute == questions.absolute:
        raise UsageError(f"{out}: holds the questions; give another file for the answers")
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; give the name of a file")


def _names(table: pa.Table) -> list[str]:
    return ["" if name is None else name for name in table.column("name").to_pylist()]


def _quoted(names: Sequence[str], row: int) -> str:
    return f"'{names[row]}'"
