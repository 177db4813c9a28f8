"""A module that `--plugin` could name: DistMult by another name."""

from __future__ import annotations

from distjoint.model.scorers.distmult import DistMult
from distjoint.registry import SCORERS


@SCORERS.add
class Plugged(DistMult):
    """DistMult again."""

    name = "plugged"
