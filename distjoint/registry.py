"""The ideas that a configuration can name, and the class behind each name: one line an idea.

A class is imported when its name is first looked up, so this file imports nothing. Other packages add classes by an
entry point of the group `distjoint.scorers` (or `.losses`, ...), a module of a user's own by `SCORERS.add(Mine)`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from distjoint.base.errors import UsageError

_Member = TypeVar("_Member", bound=Callable[..., Any])


class Registry:
    """Classes by name.

    kind      what they are, in the singular: `scorer`
    members   where each class of this package lives: name to `module:Class`, the module relative to distjoint
    """

    def __init__(self, kind: str, group: str, members: Mapping[str, str]) -> None:
        self.kind, self.group = kind, group
        self._places = {name: f"distjoint.{place}" for name, place in members.items()}
        self._added: dict[str, Any] = {}

    def names(self) -> tuple[str, ...]:
        """All names that can be looked up: this package's, then added ones, then installed packages'."""
        return tuple(dict.fromkeys([*self._places, *self._added, *self._installed()]))

    def __contains__(self, name: object) -> bool:
        return name in self._places or name in self._added or name in self._installed()

    def __getitem__(self, name: str) -> Any:
        """The class of a name. raises UsageError for an unknown one, with those there are"""
        if name in self._added:
            return self._added[name]
        if name in self._places:
            module, _, attribute = self._places[name].partition(":")
            return getattr(import_module(module), attribute)
        if name in (installed := self._installed()):
            return installed[name].load()
        raise UsageError(f"{self.kind} '{name}': choose {', '.join(self.names())}")

    def add(self, member: _Member) -> _Member:
        """Make a class known by its `name`, a function by its own; usable as a decorator.

        What is defined once more, as in a notebook, takes the place of the earlier one.

        raises   UsageError where the name is another's
        """
        name: str = getattr(member, "name", member.__name__)
        known = self._added.get(name, member)
        again = (known.__module__, known.__qualname__) == (member.__module__, member.__qualname__)
        if name in self._places or not again:
            raise UsageError(f"{self.kind} '{name}' of {member.__module__}: the name is taken; give it another")
        self._added[name] = member
        return member

    def remove(self, name: str) -> None:
        """Forget a class that was added by hand, if there is one."""
        self._added.pop(name, None)

    def modules(self) -> set[str]:
        """The modules whose classes were added by hand: what another process must import to know them too."""
        return {member.__module__ for member in self._added.values()}

    def _installed(self) -> Mapping[str, Any]:
        return _entry_points(f"distjoint.{self.group}", _where())


@lru_cache(maxsize=16)
def _entry_points(group: str, where: object) -> dict[str, EntryPoint]:
    """What installed packages have in a group: read once for each state of where they are, since it takes 10 ms."""
    return {entry.name: entry for entry in entry_points(group=group)}


def _where() -> tuple[tuple[str, int], ...]:
    """Where packages are looked for, and when each place last changed."""
    found = []
    for place in sys.path:
        with suppress(OSError):
            # Not by Path, which takes seven times as long: this is asked for each look at a name.
            found.append((place, os.stat(place or ".").st_mtime_ns))  # noqa: PTH116
    return tuple(found)


SCORERS = Registry(
    "scorer",
    "scorers",
    {
        "transe": "model.scorers.transe:TransE",
        "distmult": "model.scorers.distmult:DistMult",
        "complex": "model.scorers.complex:ComplEx",
        "rotate": "model.scorers.rotate:RotatE",
        "rescal": "model.scorers.rescal:RESCAL",
        "quate": "model.scorers.quate:QuatE",
    },
)
LOSSES = Registry(
    "loss",
    "losses",
    {
        "softmax": "model.losses.softmax:Softmax",
        "logistic": "model.losses.logistic:Logistic",
        "margin": "model.losses.margin:Margin",
        "adversarial": "model.losses.adversarial:Adversarial",
    },
)
COMPARISONS = Registry(
    "comparison",
    "comparisons",
    {
        "dot": "model.comparisons.dot:Dot",
        "cosine": "model.comparisons.cosine:Cosine",
        "cosine_of_parts": "model.comparisons.parts:CosineOfParts",
        "distance": "model.comparisons.distance:Distance",
        "manhattan": "model.comparisons.manhattan:Manhattan",
    },
)
OPTIMIZERS = Registry(
    "optimizer",
    "optimizers",
    {
        "adagrad": "optim.adagrad:AdaGrad",
        "adam": "optim.adam:Adam",
    },
)
COUPLINGS = Registry(
    "coupling",
    "couplings",
    {
        "none": "couplings.separate:Separate",
        "tie": "couplings.tie:Tie",
        "dual": "couplings.dual:Dual",
        "described": "couplings.described:Described",
        "fields": "couplings.fields:Fields",
        "soft": "couplings.soft:Soft",
        "project": "couplings.project:Project",
    },
)
CANDIDATES = Registry(
    "candidates",
    "candidates",
    {
        "sampled": "train.candidates.sampled:Sampled",
        "1vsall": "train.candidates.everything:OneVersusAll",
        "kvsall": "train.candidates.everything:KVersusAll",
    },
)
SOURCES = Registry(
    "source",
    "sources",
    {  # in the order in which they train
        "cells": "train.sources.cells:CellSource",
        "mentions": "train.sources.mentions:MentionSource",
        "triples": "train.sources.triples:TripleSource",
        "pairs": "train.sources.pairs:PairSource",
    },
)
EXPORTS = Registry(
    "export format",
    "exports",
    {
        "glove": "results.exports.text:GloVe",
        "word2vec": "results.exports.text:Word2Vec",
        "parquet": "results.exports.parquet:Parquet",
        "safetensors": "results.exports.safetensors:Safetensors",
        "projector": "results.exports.projector:Projector",
        "usearch": "results.exports.usearch:USearch",
        "huggingface": "results.exports.huggingface:HuggingFace",
    },
)
TOKENIZERS = Registry(
    "tokenizer",
    "tokenizers",
    {
        "uax29": "data.tokenizers.uax29:Uax29",
        "whitespace": "data.tokenizers.whitespace:Whitespace",
        "icu": "data.tokenizers.icu:Icu",
        "unicode": "data.tokenizers.unicode:Unicode",
    },
)
CALLBACKS = Registry(
    "callback",
    "callbacks",
    {
        "progress": "train.callbacks.progress:ShownProgress",
        "early_stopping": "train.callbacks.early_stopping:EarlyStopping",
        "tensorboard": "train.callbacks.tensorboard:TensorBoard",
        "mlflow": "train.callbacks.mlflow:MLflow",
        "wandb": "train.callbacks.wandb:WandB",
        "ray_tune": "train.callbacks.ray_tune:RayTune",
    },
)
ALL = (SCORERS, LOSSES, COMPARISONS, OPTIMIZERS, COUPLINGS, CANDIDATES, SOURCES, EXPORTS, TOKENIZERS, CALLBACKS)


def load_plugins(modules: Iterable[str]) -> None:
    """Import modules that add classes of their own. raises UsageError for one that cannot be imported"""
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise UsageError(f"--plugin {module}: cannot be imported ({error}); give a module on PYTHONPATH") from error


def plugin_modules() -> list[str]:
    """The modules that have added classes here, for other processes to import."""
    return sorted(set().union(*(registry.modules() for registry in ALL)))
