"""Scorers of triples, one a file. `scorer(name)` gives the one that a configuration names; base.py has their form."""

from __future__ import annotations

from functools import cache

from distjoint.model.scorers.base import NO_DENSE, Dense, Scorer
from distjoint.model.scorers.weighed import Weighed
from distjoint.registry import SCORERS

__all__ = ["NO_DENSE", "Dense", "Scorer", "scorer"]


def scorer(name: str, parts: int = 1) -> Scorer:
    """The scorer of a name.

    parts    vectors that an entity is, side by side; each relation weighs them where there are several
    raises   UsageError for an unknown name, with those there are
    """
    found = _instance(SCORERS[name])
    return found if parts == 1 else Weighed(found, parts)


@cache
def _instance(kind: type[Scorer]) -> Scorer:
    return kind()
