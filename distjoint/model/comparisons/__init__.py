"""Comparisons of a query with candidates: dot product, cosine, distances. One file each."""

from __future__ import annotations

from distjoint.model.comparisons.base import Comparison
from distjoint.model.comparisons.parts import CosineOfParts
from distjoint.model.scorers import Scorer
from distjoint.registry import COMPARISONS

__all__ = ["Comparison", "comparison_of"]


def comparison_of(scorer: Scorer, cosine: bool, norm: int, scale: float | None) -> Comparison:
    """The comparison of a run: by cosine where wanted, else the scorer's own, by the distance of a norm.

    scale   factor on scores; None for the comparison's default
    """
    name = "manhattan" if norm == 1 and scorer.compare == "distance" else scorer.compare
    if cosine and scorer.parts > 1:
        return CosineOfParts(scale, scorer.parts)
    found: Comparison = COMPARISONS["cosine" if cosine else name](scale)
    return found
