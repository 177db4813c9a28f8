"""Strategies for candidates: what the target of a query is scored against."""

from __future__ import annotations

from distjoint.registry import CANDIDATES
from distjoint.train.candidates.base import Candidates, Step

__all__ = ["Candidates", "Step", "candidates_of"]


def candidates_of(name: str) -> type[Candidates]:
    """The strategy of a name. raises UsageError for an unknown one"""
    found: type[Candidates] = CANDIDATES[name]
    return found
