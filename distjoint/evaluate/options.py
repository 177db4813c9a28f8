"""Options of an evaluation: the keywords of `evaluate` and `compare` in one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distjoint.evaluate.ranks import Ties
from distjoint.evaluate.space import VectorKind
from distjoint.storage import Options

Split = Literal["valid", "test"]


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of an evaluation; `distjoint.evaluate` says what each means."""

    link_prediction: Split | None = None
    by: tuple[str, ...] = ()
    ties: Ties = "realistic"
    sample_candidates: int | None = None
    sample_triples: int | None = None
    typed: bool = False
    classify: bool = False
    similarity: tuple[str, ...] = ()
    analogies: tuple[str, ...] = ()
    standardize: bool = True
    vectors: VectorKind | None = None
    dataset: str | None = None
    memory: str | int = "1GB"
    seed: int = 0
    storage_options: Options | None = None
