"""Callbacks: what is told how a run goes. Those of every run, those that the configuration names, and a caller's own.

All of them run in the process that called `train`: with Ray workers the first worker tells it of each epoch and
each checkpoint, and waits for the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from distjoint.base.errors import UsageError
from distjoint.config import Config
from distjoint.registry import CALLBACKS
from distjoint.train.callbacks.base import Callback, Stop, TrainingRun

__all__ = ["OF_EVERY_RUN", "Callback", "Stop", "TrainingRun", "callbacks_of"]

OF_EVERY_RUN = ("progress", "early_stopping")
"""Names of the callbacks that need not be named."""


def callbacks_of(config: Config, given: Sequence[object] | Callback = ()) -> list[Callback]:
    """The callbacks of a run, in the order in which they are told.

    given    a caller's own
    raises   UsageError for a name that there is none of, for one whose package is missing, and for what is no callback
    """
    given = [given] if isinstance(given, Callback) else given
    made: list[object] = [CALLBACKS[name]() for name in dict.fromkeys([*OF_EVERY_RUN, *config.train.callbacks])]
    for place, each in enumerate([*made, *given]):
        if not isinstance(each, Callback):
            where = f"callbacks[{place - len(made)}]" if place >= len(made) else "train.callbacks"
            what = f"the class {each.__name__}, not an object" if isinstance(each, type) else repr(each)
            raise UsageError(f"{where} is {what}; give an object of a class below distjoint.Callback")
    return [each for each in [*made, *given] if isinstance(each, Callback)]
