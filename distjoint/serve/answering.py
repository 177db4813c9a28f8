"""Questions of the server put to a run: several of one kind at a time, each with an answer or an error of its own.

Questions that differ only in their names meet the table together, in one reading of it. A replica answers one request
at a time: what a run keeps between questions is not made for several threads, and the products use all its cores.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

import numpy as np

from distjoint.base.arrays import Bools, Doubles, Floats, Ints
from distjoint.base.errors import DistjointError, UsageError
from distjoint.evaluate.space import Space
from distjoint.evaluate.stored import StoredVectors
from distjoint.results.answers import predictions_of
from distjoint.results.embeddings import Embeddings
from distjoint.results.ends import AskedEnd
from distjoint.results.limits import Side
from distjoint.serve.limits import RequestLimits
from distjoint.serve.questions import (
    AskedOne,
    ExplainAnswer,
    ExplainQuestion,
    Health,
    NeighboursAnswer,
    NeighboursQuestion,
    PredictAnswer,
    PredictQuestion,
    ScoreAnswer,
    ScoreQuestion,
    TripleQuestion,
    VectorAnswer,
    VectorQuestion,
)
from distjoint.version import __version__

Answered = TypeVar("Answered")
Resolved = TypeVar("Resolved")
Asked = TypeVar("Asked", bound=AskedOne)
_Triple = tuple[AskedEnd, int, AskedEnd]
_Named = tuple[Sequence[str], Callable[[int], str | None]]
"""Names of answers, and what people may read instead, by place."""


@dataclass(frozen=True)
class _Near:
    """A question for neighbours, looked up.

    place    in its space, -1 for a text
    vector   float32[dim]
    """

    space: Space
    place: int
    vector: Floats
    name: str | None
    notes: list[str]


@dataclass(frozen=True)
class _Lacking:
    """A triple that lacks something, looked up.

    side       what is predicted: an end, or the relation (None)
    given      place of the given end, -1 for a text; of the head, where the relation is predicted
    other      place of the tail, where the relation is predicted
    relation   its number, -1 where it is predicted
    vector     float32[dim]: of the given end
    """

    side: Side | None
    given: int
    other: int
    relation: int
    vector: Floats
    notes: list[str]


class Answering:
    """A run that answers requests, one after another.

    limits   of questions
    """

    def __init__(self, result: Embeddings, limits: RequestLimits) -> None:
        self.result, self.limits = result, limits
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Do what the first questions would wait for: indexes of names, vectors of length one, known triples."""
        result = self.result
        for space in result.spaces(None):
            if len(space):
                space.find(space.names[0])
            if not isinstance(space.vectors, StoredVectors):
                result.neighbours.within(space, space.kind == "word")
        if result.relations:
            result.graph.predictor  # noqa: B018 - makes it
            try:
                result.graph.triples("all")
            except DistjointError:
                return  # those who need the dataset are told

    def health(self) -> Health:
        result = self.result
        return Health(
            version=__version__,
            run=PurePosixPath(result.run.folder.absolute).name,
            words=len(result.words),
            entities=len(result.entities),
            relations=len(result.relations),
            dim=result.dim,
            coupling=result.trained.coupling.name,
        )

    def neighbours(self, questions: Sequence[NeighboursQuestion]) -> list[NeighboursAnswer | DistjointError]:
        """The neighbours of names and texts."""
        return self._answered(
            questions,
            self._look_near,
            lambda question, near: (near.space.kind, question.kind, question.k, question.standardize),
            self._near,
        )

    def predict(self, questions: Sequence[PredictQuestion]) -> list[PredictAnswer | DistjointError]:
        """What completes triples."""
        own = ("head", "relation", "tail", "head_text", "tail_text")

        def alike(question: PredictQuestion, lacking: _Lacking) -> tuple[Any, ...]:
            return lacking.side, question.model_dump_json(exclude=set(own))

        return self._answered(questions, self._look_up, alike, self._predicted)

    def vector(self, questions: Sequence[VectorQuestion]) -> list[VectorAnswer | DistjointError]:
        """Vectors of names and texts."""

        def answer(question: VectorQuestion) -> VectorAnswer:
            near = self._vector_of(question.name, question.text, question.kind)
            return VectorAnswer(kind=near.space.kind, vector=near.vector.tolist(), notes=near.notes)

        return self._one_by_one(questions, answer)

    def score(self, questions: Sequence[ScoreQuestion]) -> list[ScoreAnswer | DistjointError]:
        """Scores of triples."""
        return self._answered(questions, self._triple, lambda question, _: question.probabilities, self._scored)

    def explain(self, questions: Sequence[ExplainQuestion]) -> list[ExplainAnswer | DistjointError]:
        """Why triples have their scores."""

        def answer(question: ExplainQuestion) -> ExplainAnswer:
            head, relation, tail = self._triple(question)
            found = self.result.explained((head, tail), relation, question.top)
            return ExplainAnswer(explanation=found, notes=self._notes(head, relation, tail))

        return self._one_by_one(questions, answer)

    def _one_by_one(
        self, questions: Sequence[Asked], answer: Callable[[Asked], Answered]
    ) -> list[Answered | DistjointError]:
        return self._answered(questions, lambda each: each, lambda each, _: id(each), lambda one, _: [answer(one[0])])

    def _answered(
        self,
        questions: Sequence[Asked],
        look_up: Callable[[Asked], Resolved],
        alike: Callable[[Asked, Resolved], Any],
        answer: Callable[[Sequence[Asked], Sequence[Resolved]], Sequence[Answered]],
    ) -> list[Answered | DistjointError]:
        """An answer or an error for each question, in their order.

        alike    questions for which this is equal are answered together
        raises   TooLargeError for too many questions
        """
        self.limits.check_batch(questions)
        found: dict[int, Answered | DistjointError] = {}
        groups: dict[Any, list[tuple[int, Resolved]]] = defaultdict(list)
        with self._lock:
            for number, question in enumerate(questions):
                try:
                    self.limits.check(question)
                    resolved = look_up(question)
                    groups[alike(question, resolved)].append((number, resolved))
                except DistjointError as error:
                    found[number] = error
            for members in groups.values():
                numbers = [number for number, _ in members]
                try:
                    answers = answer([questions[number] for number in numbers], [each for _, each in members])
                    found.update(zip(numbers, answers, strict=True))
                except DistjointError as error:
                    found.update(dict.fromkeys(numbers, error))
        return [found[number] for number in range(len(questions))]

    def _vector_of(self, name: str | None, text: str | None, kind: Any) -> _Near:
        if (name is None) == (text is None):
            raise UsageError("give a name, or a text: what an entity is, in words")
        result = self.result
        if text is not None:
            if kind == "word":
                raise UsageError("a text has the vector of an entity, and none of a word")
            return _Near(result.spaces("entity")[0], -1, result.text_vector(text), None, [])
        space, place = result.find(name or "", kind)
        notes = result.graph.notes(None, [place]) if space.kind == "entity" else []
        return _Near(space, place, space.vectors[place], name, notes)

    def _look_near(self, question: NeighboursQuestion) -> _Near:
        near = self._vector_of(question.name, question.text, question.of)
        self.result.meeting(near.space, question.kind, near.name)  # tells of kinds that cannot be compared
        return near

    def _near(self, questions: Sequence[NeighboursQuestion], asked: Sequence[_Near]) -> list[NeighboursAnswer]:
        result, source, question = self.result, asked[0].space, questions[0]
        spaces = result.meeting(source, question.kind, asked[0].name)
        places, vectors = np.array([each.place for each in asked]), np.stack([each.vector for each in asked])
        found = result.neighbours.nearest(source, places, vectors, question.k, spaces, question.standardize)
        return [
            NeighboursAnswer(of=source.kind, neighbours=result.listed(found, spaces, query), notes=each.notes)
            for query, each in enumerate(asked)
        ]

    def _look_up(self, question: PredictQuestion) -> _Lacking:
        result = self.result
        result.graph.predictor  # noqa: B018 - tells of a run without a graph
        heads, tails = (question.head, question.head_text), (question.tail, question.tail_text)
        told = [sum(each is not None for each in end) for end in (heads, tails)]
        if max(told) > 1 or sum(told) + (question.relation is not None) != 2:
            raise UsageError("give a relation and one end, head or tail, or both ends; what is left out is predicted")
        if question.types and question.type:
            raise UsageError("types takes the types of training, type those that you name; give one of the two")
        if question.relation is None:
            if question.head is None or question.tail is None:
                raise UsageError("a relation is predicted between two entities; a text needs a relation")
            head, tail = (result.find(name, "entity")[1] for name in (question.head, question.tail))
            return _Lacking(None, head, tail, -1, np.empty(0, np.float32), result.graph.notes(None, [head, tail]))
        side: Side = "tail" if told[1] == 0 else "head"
        name, text = heads if side == "tail" else tails
        relation = result.graph.names.find(question.relation)
        given = -1 if name is None else result.find(name, "entity")[1]
        vector = result.text_vector(text or "") if name is None else result.entities.vectors[given]
        notes = result.graph.notes(relation, [given] if given >= 0 else [])
        return _Lacking(side, given, -1, relation, vector, notes)

    def _predicted(self, questions: Sequence[PredictQuestion], asked: Sequence[_Lacking]) -> list[PredictAnswer]:
        result, graph, question, side = self.result, self.result.graph, questions[0], asked[0].side
        types = question.type or question.types
        choice = result.choice(question.known, question.filter, question.own_end, question.candidates, types)
        given = np.array([each.given for each in asked])
        found: tuple[Ints, Doubles, Bools | None]
        if side is None:
            named: _Named = result.relations, graph.names.readable
            found = graph.predict_relations(given, np.array([each.other for each in asked]), question.k, choice)
        else:
            named = result.entities.names, result.every.readable
            vectors, relations = np.stack([each.vector for each in asked]), np.array([each.relation for each in asked])
            found = graph.predict(vectors, given, relations, side, question.k, choice)
        likely = graph.calibration.probability(found[1]) if question.probabilities else None
        return [
            PredictAnswer(predictions=predictions_of(query, *found, likely, *named), notes=each.notes)
            for query, each in enumerate(asked)
        ]

    def _triple(self, question: TripleQuestion) -> _Triple:
        """Head, number of the relation, tail."""
        result = self.result
        result.graph.predictor  # noqa: B018 - tells of a run without a graph
        relation = result.graph.names.find(question.relation)
        head = result.end("head", question.head, question.head_text)
        return head, relation, result.end("tail", question.tail, question.tail_text)

    def _notes(self, head: AskedEnd, relation: int, tail: AskedEnd) -> list[str]:
        return self.result.graph.notes(relation, [end.place for end in (head, tail) if end.place >= 0])

    def _scored(self, questions: Sequence[ScoreQuestion], asked: Sequence[_Triple]) -> list[ScoreAnswer]:
        graph = self.result.graph
        heads = np.stack([head.vector for head, _, _ in asked])
        tails = np.stack([tail.vector for _, _, tail in asked])
        scores = graph.predictor.scores_of(heads, np.array([relation for _, relation, _ in asked]), tails)
        likely = graph.calibration.probability(scores) if questions[0].probabilities else None
        return [
            ScoreAnswer(
                score=float(scores[query]),
                probability=None if likely is None else float(likely[query]),
                notes=self._notes(*each),
            )
            for query, each in enumerate(asked)
        ]
