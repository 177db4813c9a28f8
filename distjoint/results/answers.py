"""What a trained result answers: the best of some candidates, and the warning that an answer means nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distjoint.base.arrays import Ints
from distjoint.base.errors import DistjointWarning
from distjoint.evaluate.options import VectorKind

_FRAMES = 4
"""Calls between the warning and who asked: this function, the check, the public method."""


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


def warn_of_chance(entities: Iterable[str], relation: str | None) -> None:
    """Warn that vectors are as they began.

    entities   of which no training triple speaks, nor any text that the run reads
    relation   one that no training triple has; None for none
    """
    said = [f"entity {name}: no training triple names it, and the run has read nothing about it" for name in entities]
    if relation is not None:
        said.append(f"relation {relation}: no training triple has it")
    for what in said:
        warnings.warn(
            f"{what}; its vector is as it began, and what it answers is chance", DistjointWarning, stacklevel=_FRAMES
        )


def largest(values: NDArray[np.floating], k: int) -> Ints:
    """int64[<= k]: places of the greatest finite values, greatest first, equal ones in order."""
    k = min(k, len(values))
    # Everything that reaches the k-th value is sorted, so that ties at the end fall in order too.
    reached = np.flatnonzero(values >= np.partition(values, len(values) - k)[len(values) - k])
    top = reached[np.argsort(-values[reached], kind="stable")][:k]
    return np.asarray(top[np.isfinite(values[top])], np.int64)
