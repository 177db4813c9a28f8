"""distjoint: one table of vectors for the entities of a knowledge graph and the words of a text.

The public names are loaded when they are first used, so that `import distjoint` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from distjoint.version import __version__ as __version__

if TYPE_CHECKING:
    from distjoint.config import Config
    from distjoint.data.prepare import prepare
    from distjoint.errors import DistjointError, UsageError
    from distjoint.evaluate.comparison import compare
    from distjoint.evaluate.run import evaluate
    from distjoint.recipes.load import load_config
    from distjoint.results.embeddings import load
    from distjoint.train.run import train
else:
    # Here `train` and `evaluate` are functions, elsewhere rooms. Python binds a room's name in its package when it is
    # first imported, which would hide the function; so that happens now, and the names are freed for `__getattr__`.
    from distjoint import evaluate, train

    del evaluate, train

_HOMES = {
    "Config": "config",
    "DistjointError": "errors",
    "UsageError": "errors",
    "compare": "evaluate.comparison",
    "evaluate": "evaluate.run",
    "load": "results.embeddings",
    "load_config": "recipes.load",
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
    """A public name, imported from its home when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'distjoint' has no attribute {name!r}")
    value = getattr(import_module(f"distjoint.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
