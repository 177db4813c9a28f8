"""The version of distjoint, apart from the package's `__init__` so that every room can tell it."""

from __future__ import annotations

__version__ = "0.1.0"
