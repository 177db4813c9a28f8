"""What a trained result answers: neighbours and predictions, as lists and as tables; and the warning of chance."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from distjoint.base.arrays import Bools, Doubles, Ints
from distjoint.base.errors import DistjointError, DistjointWarning
from distjoint.evaluate.options import VectorKind

if TYPE_CHECKING:
    import pyarrow as pa

_FRAMES = 4
"""Calls between the warning and who asked: this function, the check, the public method."""

_Answer = TypeVar("_Answer", bound=Any)


@dataclass(frozen=True)
class Neighbour:
    """A neighbour: a word or an entity near another; `similarity` is a cosine."""

    name: str
    kind: VectorKind
    similarity: float
    label: str | None = None
    """An entity's label, or the word of its row, or its name by a prefix, where its name is an id."""


@dataclass(frozen=True)
class Prediction:
    """A predicted entity, which may complete a triple; a higher score is more plausible."""

    name: str
    score: float
    label: str | None = None
    known: bool | None = None
    """Whether the triple is in the dataset; None where the dataset was not read."""
    probability: float | None = None
    """How likely the triple is true where one of two is; None unless it was asked for."""


class AnswerList(list[_Answer]):
    """Neighbours or predictions, best first: a list that is also a table, a column for each field.

    kind   class of the answers
    """

    def __init__(self, kind: type[_Answer], answers: Iterable[_Answer]) -> None:
        super().__init__(answers)
        self.kind = kind

    def to_dicts(self) -> list[dict[str, Any]]:
        """A dictionary for each answer, ready for JSON."""
        return [asdict(answer) for answer in self]

    def to_arrow(self) -> pa.Table:
        """A table of Arrow."""
        import pyarrow as pa

        types = {"similarity": pa.float64(), "score": pa.float64(), "probability": pa.float64(), "known": pa.bool_()}
        schema = pa.schema([(each.name, types.get(each.name, pa.string())) for each in fields(self.kind)])
        return pa.Table.from_pylist(self.to_dicts(), schema=schema)

    def to_pandas(self) -> Any:
        """A data frame. raises DistjointError where pandas is not installed"""
        try:
            return self.to_arrow().to_pandas()
        except ImportError as error:
            raise DistjointError(f"{error}; pip install pandas, or take to_arrow()") from error


def predictions_of(
    query: int,
    places: Ints,
    scores: Doubles,
    marks: Bools | None,
    likely: Doubles | None,
    names: Sequence[str],
    readable: Callable[[int], str | None],
) -> AnswerList[Prediction]:
    """The answers to one of some questions, of their places.

    places, scores   int64[queries, k], -1 where there are no more, and float64[queries, k]
    marks            bool[queries, k]: which complete a known triple; None where no dataset tells
    likely           float64[queries, k]: probabilities; None where they were not asked for
    names, readable  of entities, or of relations, by place
    """
    return AnswerList(
        Prediction,
        [
            Prediction(
                names[at],
                float(scores[query, rank]),
                readable(at),
                None if marks is None else bool(marks[query, rank]),
                None if likely is None else float(likely[query, rank]),
            )
            for rank, at in enumerate(places[query].tolist())
            if at >= 0 and np.isfinite(scores[query, rank])
        ],
    )


def chance_notes(entities: Iterable[str], relation: str | None) -> list[str]:
    """What is to be said of vectors that are as they began.

    entities   of which no training triple speaks, nor any text that the run reads
    relation   one that no training triple has; None for none
    """
    said = [f"entity {name}: no training triple names it, and the run has read nothing about it" for name in entities]
    if relation is not None:
        said.append(f"relation {relation}: no training triple has it")
    return [f"{what}; its vector is as it began, and what it answers is chance" for what in said]


def warn_of_chance(notes: Iterable[str], frames: int = 0) -> None:
    """Warn of each of `chance_notes`.

    frames   further calls between this one and who asked
    """
    for note in notes:
        warnings.warn(note, DistjointWarning, stacklevel=_FRAMES + frames)
