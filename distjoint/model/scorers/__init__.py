"""Scorers of triples, one a file. `scorer(name)` gives the one that a configuration names; base.py has their form."""

from __future__ import annotations

from functools import cache

from distjoint.model.scorers.base import NO_DENSE, Dense, Scorer
from distjoint.registry import SCORERS

__all__ = ["NO_DENSE", "Dense", "Scorer", "scorer"]


def scorer(name: str) -> Scorer:
    """The scorer of a name. raises UsageError for an unknown one, with those there are"""
    return _instance(SCORERS[name])


@cache
def _instance(kind: type[Scorer]) -> Scorer:
    return kind()
