"""Strategies for candidates: what the target of a query is scored against."""

from __future__ import annotations

from distjoint.registry import CANDIDATES
from distjoint.train.candidates.base import CandidateStrategy, Step

__all__ = ["CandidateStrategy", "Step", "candidates_of"]


def candidates_of(name: str) -> type[CandidateStrategy]:
    """The strategy of a name. raises UsageError for an unknown one"""
    found: type[CandidateStrategy] = CANDIDATES[name]
    return found
