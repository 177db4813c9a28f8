"""Many questions at once, from a file to a file: predictions, scores and neighbours, block by block.

A file is read twice: first its names are looked up, so that a name that is unknown is told before hours of work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Doubles, Floats, Ints
from distjoint.base.errors import UsageError
from distjoint.base.progress import Progress, Silent
from distjoint.evaluate.names import names_at
from distjoint.evaluate.options import VectorKind
from distjoint.evaluate.space import Space
from distjoint.evaluate.stored import StoredVectors
from distjoint.results.embeddings import Embeddings
from distjoint.results.files import Columns, QuestionFile, answer_file, format_of
from distjoint.results.graph import Choice
from distjoint.results.limits import Side
from distjoint.results.neighbours import Nearest
from distjoint.results.options import FileOptions
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
from distjoint.results.workers import in_order
from distjoint.storage import Location

QUERIES = 2048
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
_NEIGHBOUR = {
    "query": pa.int64(),
    "name": pa.string(),
    "kind": pa.string(),
    "rank": pa.int32(),
    "neighbour": pa.string(),
    "neighbour_kind": pa.string(),
    "similarity": pa.float64(),
    "label": pa.string(),
}


def predict_file(
    result: Embeddings,
    questions: Location,
    out: Location,
    k: int,
    choice: Choice,
    options: FileOptions | None = None,
    *,
    probabilities: bool = False,
    progress: Progress | None = None,
) -> AnswerTally:
    """Answer a file of triples that each lack an end or the relation: a line for each answer, question by question.

    questions   columns head, relation, tail, and head_text, tail_text instead of an end; one empty, or `?`
    raises      DistjointError for a triple that lacks nothing or too much, or names what is unknown
    """
    result.graph.predictor  # noqa: B018 - tells of a run without a graph
    asked, options, progress = QuestionFile(questions, TRIPLE, 3), options or FileOptions(), progress or Silent()
    _check_out(questions, out)
    tally = checked(result, asked, options.skip_unknown, progress, lacks_not_one)
    likely = _likelihood(result, probabilities)
    left = {"probability"} if likely is None else set()
    schema = pa.schema([(name, kind) for name, kind in _ANSWER.items() if name not in left])

    def answer(block: AskedBlock) -> tuple[int, list[Columns]]:
        return len(block.number), [
            _predictions(result, block.select(places), side, k, choice, likely) for side, places in by_side(block)
        ]

    blocks = asked_blocks(result, asked, _at_once(result.entities, tally.questions, options.workers))
    with answer_file(out, schema) as file, progress.task("predictions", tally.questions, "questions") as task:
        for count, answers in in_order(options.workers, blocks, answer):
            tally.answers += file.write_by(answers, "query")
            task.advance(count)
    return tally


def score_file(
    result: Embeddings,
    triples: Location,
    out: Location,
    options: FileOptions | None = None,
    *,
    probabilities: bool = False,
    progress: Progress | None = None,
) -> AnswerTally:
    """Score a file of triples: its columns head, relation and tail, and `score`, empty for a triple that is left out.

    raises   DistjointError for a triple that lacks something, or names what is unknown unless that is skipped
    """
    predictor, asked, progress = result.graph.predictor, QuestionFile(triples, TRIPLE[:3], 3), progress or Silent()
    options = options or FileOptions()
    _check_out(triples, out)
    tally = checked(result, asked, options.skip_unknown, progress, lacks_any)
    likely = _likelihood(result, probabilities)
    names = [*TRIPLE[:3], "score", *(() if likely is None else ("probability",))]
    schema = pa.schema([(name, _ANSWER[name]) for name in names])

    def answer(block: AskedBlock) -> tuple[int, int, Columns]:
        known = np.flatnonzero(~block.unknown)
        scores = predictor.scores(block.head[known], block.relation[known], block.tail[known])
        columns: Columns = {name: block.table.column(name).combine_chunks() for name in TRIPLE[:3]}
        columns["score"] = _scattered(scores, known, len(block.number))
        if likely is not None:
            columns["probability"] = _scattered(likely(scores), known, len(block.number))
        return len(block.number), len(known), columns

    blocks = asked_blocks(result, asked, AT_ONCE)
    with answer_file(out, schema) as file, progress.task("scores", tally.questions, "triples") as task:
        for count, known, columns in in_order(options.workers, blocks, answer):
            file.write(columns)
            tally.answers += known
            task.advance(count)
    return tally


def nearest_file(
    result: Embeddings,
    questions: Location,
    out: Location,
    k: int,
    options: FileOptions | None = None,
    *,
    of: VectorKind | None = None,
    kind: VectorKind | None = None,
    standardize: bool = True,
    progress: Progress | None = None,
) -> AnswerTally:
    """The neighbours of a file of names: a line for each, name by name. One that is a word and an entity is asked as
    either.

    questions   a column `name`, or lines
    of          only as this kind
    kind        only neighbours of this kind
    raises      DistjointError for an unknown name, unless it is skipped
    """
    asked, options, progress = QuestionFile(questions, ("name",), 1), options or FileOptions(), progress or Silent()
    _check_out(questions, out)
    sources = result.spaces(of)
    meetings = [result.meeting(source, kind) for source in sources]
    tally = AnswerTally(notes=ignored(asked))
    with progress.task("looking names up", None, "names") as task:
        for table in asked.batches(AT_ONCE):
            names = _names(table)
            unknown = np.asarray(np.all([source.find_all(names) < 0 for source in sources], axis=0))
            count_unknown(tally, unknown, partial(_quoted, names), task.advance)
    refuse(tally, asked.place, options.skip_unknown)

    def answer(block: tuple[int, list[str]]) -> tuple[int, list[Columns]]:
        start, names = block
        found = []
        for source, spaces in zip(sources, meetings, strict=True):
            places = source.find_all(names)
            known = np.flatnonzero(places >= 0)
            if len(known):
                nearest = source.vectors[places[known]], k, spaces, standardize
                neighbours = result.neighbours.nearest(source, places[known], *nearest)
                found.append(_neighbours(result, source, spaces, names, known, neighbours, start))
        return len(names), found

    rows = max(_at_once(source, tally.questions, options.workers) for source in sources)
    with (
        answer_file(out, pa.schema(list(_NEIGHBOUR.items()))) as file,
        progress.task("neighbours", tally.questions, "names") as task,
    ):
        for count, answers in in_order(options.workers, _named_blocks(asked, rows), answer):
            tally.answers += file.write_by(answers, "query")
            task.advance(count)
    return tally


def _named_blocks(asked: QuestionFile, rows: int) -> Iterator[tuple[int, list[str]]]:
    """The names of a file, so many at a time, and the number of the first, from 1."""
    start = 1
    for table in asked.batches(rows):
        yield start, _names(table)
        start += len(table)


def _predictions(
    result: Embeddings,
    block: AskedBlock,
    side: Side | None,
    k: int,
    choice: Choice,
    likely: Callable[[Doubles], Doubles] | None,
) -> Columns:
    """The answers to questions that lack the same."""
    graph = result.graph
    if side is None:
        places, scores, marks = graph.predict_relations(block.head, block.tail, k, choice)
    else:
        given, texts = (block.head, block.texts[0]) if side == "tail" else (block.tail, block.texts[1])
        given = np.where(given < 0, -1, given)
        vectors = _given(result, given, texts)
        places, scores, marks = graph.predict(vectors, given, block.relation, side, k, choice)
    row, rank = np.nonzero((places >= 0) & np.isfinite(scores))
    at = places[row, rank]
    columns: Columns = {name: block.table.column(name).take(pa.array(row)).combine_chunks() for name in TRIPLE[:3]}
    if side is None:
        columns["relation"] = names_at(result.relations, at)
        columns["label"] = [graph.names.readable(place) for place in at.tolist()]
    else:
        columns[side], columns["label"] = names_at(result.entities.names, at), result.every.all_readable(at)
    columns |= {"query": block.number[row], "rank": (rank + 1).astype(np.int32), "score": scores[row, rank]}
    columns["known"] = [None] * len(row) if marks is None else marks[row, rank]
    if likely is not None:
        columns["probability"] = likely(scores[row, rank])
    return columns


def _neighbours(
    result: Embeddings,
    source: Space,
    spaces: Sequence[Space],
    names: Sequence[str],
    known: Ints,
    found: Nearest,
    start: int,
) -> Columns:
    """The neighbours of some names.

    known   int64[n]: which of the names were asked for
    start   number of the first name
    """
    row, rank = np.nonzero((found.places >= 0) & np.isfinite(found.similarity))
    number, at, asked = found.space[row, rank], found.places[row, rank], known[row]
    near, kinds, labels = (np.empty(len(row), object) for _ in range(3))
    for each, space in enumerate(spaces):
        mine = np.flatnonzero(number == each)
        called = result.every.all_readable(at[mine]) if space.kind == "entity" else [None] * len(mine)
        near[mine], kinds[mine], labels[mine] = names_at(space.names, at[mine]), space.kind, called
    return {
        "query": asked + start,
        "name": [names[place] for place in asked.tolist()],
        "kind": [source.kind] * len(row),
        "rank": (rank + 1).astype(np.int32),
        "neighbour": near,
        "neighbour_kind": kinds,
        "similarity": found.similarity[row, rank],
        "label": labels,
    }


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


def _at_once(space: Space, questions: int, workers: int) -> int:
    """How many questions are a block: enough blocks for all workers, and few readings of a table in its files."""
    if not isinstance(space.vectors, StoredVectors):
        return QUERIES
    return max(QUERIES, min(_STORED_QUERIES, -(-questions // workers)))


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
