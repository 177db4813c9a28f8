"""How the loops of `data` are compiled."""

from __future__ import annotations

from distjoint.backends.cpu.compiled import exact as jit

__all__ = ["jit"]
