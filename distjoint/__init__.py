"""distjoint: one table of vectors for the entities of a knowledge graph and the words of a text.

The public names are loaded when they are first used, so that `import distjoint` costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distjoint.config import Config, load_config
    from distjoint.data.prepare import prepare
    from distjoint.errors import DistjointError, UsageError
    from distjoint.evaluate import compare, evaluate
    from distjoint.results.embeddings import load
    from distjoint.train.run import train

__version__ = "0.1.0"

_HOMES = {
    "Config": "config",
    "DistjointError": "errors",
    "UsageError": "errors",
    "compare": "evaluate",
    "evaluate": "evaluate",
    "load": "results.embeddings",
    "load_config": "config",
    "prepare": "data.prepare",
    "train": "train.run",
}

__all__ = [
    "Config",
    "DistjointError",
    "UsageError",
    "compare",
    "evaluate",
    "load",
    "load_config",
    "prepare",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'distjoint' has no attribute {name!r}")
    value = getattr(import_module(f"distjoint.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


class _Package(ModuleType):
    """`train` and `evaluate` are functions here, and rooms. Importing a room must not hide its function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
