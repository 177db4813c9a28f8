"""An end of a triple that is asked about. Apart from what explains it, which loads torch."""

from __future__ import annotations

from dataclasses import dataclass

from distjoint.base.arrays import Floats


@dataclass(frozen=True)
class AskedEnd:
    """An end of a triple that is asked about: an entity, or a text.

    place    of the entity, -1 for a text
    vector   float32[dim]
    text     None for an entity
    """

    place: int
    vector: Floats
    text: str | None = None
