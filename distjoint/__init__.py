"""distjoint: one table of vectors for the entities of a knowledge graph and the words of a text.

`train`, `plan`, `tune`, `evaluate` and `describe` are functions here, and rooms. They are imported at once, because
Python binds a room's name in its package when it first imports it, which would hide the function; they are light. The
other public names are loaded when they are first used, so that `import distjoint` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from distjoint.base.errors import DistjointError, UsageError
from distjoint.describe import describe
from distjoint.evaluate import compare, evaluate
from distjoint.plan import plan
from distjoint.train import train
from distjoint.tune import tune
from distjoint.version import __version__ as __version__

if TYPE_CHECKING:
    from distjoint.config import Config
    from distjoint.data.prepare import prepare
    from distjoint.recipes.load import load_config
    from distjoint.results.embeddings import load
    from distjoint.train.callbacks.base import Callback, Stop

_HOMES = {
    "Callback": "train.callbacks.base",
    "Config": "config",
    "load": "results.embeddings",
    "load_config": "recipes.load",
    "prepare": "data.prepare",
    "Stop": "train.callbacks.base",
}

__all__ = [
    "Callback",
    "Config",
    "DistjointError",
    "Stop",
    "UsageError",
    "compare",
    "describe",
    "evaluate",
    "load",
    "load_config",
    "plan",
    "prepare",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    """A public name, imported from its home when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'distjoint' has no attribute {name!r}")
    value = getattr(import_module(f"distjoint.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
