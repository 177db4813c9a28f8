"""Losses on triples, one file each."""

from __future__ import annotations

from distjoint.model.losses.base import TripleLoss
from distjoint.registry import LOSSES

__all__ = ["TripleLoss", "loss_of"]


def loss_of(name: str, margin: float, temperature: float) -> TripleLoss:
    """The loss of a name, with its margin and temperature. raises UsageError for an unknown name"""
    found: TripleLoss = LOSSES[name](margin, temperature)
    return found
