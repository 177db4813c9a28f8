"""Couplings: how graph and text are bound. One file each; what others need to know of one they ask it."""

from __future__ import annotations

from distjoint.couplings.base import Coupling
from distjoint.registry import COUPLINGS

__all__ = ["Coupling", "coupling_of"]


def coupling_of(name: str) -> Coupling:
    """The coupling of a name. raises UsageError for an unknown one, with those there are"""
    found: Coupling = COUPLINGS[name]()
    return found
