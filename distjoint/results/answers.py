"""What a trained result answers: neighbours and predictions, as lists and as tables; and the warning of chance."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

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


def warn_of_chance(entities: Iterable[str], relation: str | None, frames: int = 0) -> None:
    """Warn that vectors are as they began.

    entities   of which no training triple speaks, nor any text that the run reads
    relation   one that no training triple has; None for none
    frames     further calls between this one and who asked
    """
    said = [f"entity {name}: no training triple names it, and the run has read nothing about it" for name in entities]
    if relation is not None:
        said.append(f"relation {relation}: no training triple has it")
    for what in said:
        warnings.warn(
            f"{what}; its vector is as it began, and what it answers is chance",
            DistjointWarning,
            stacklevel=_FRAMES + frames,
        )
