"""The space of a search: which keys of the configuration vary, and over what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import yaml

from distjoint.base.errors import UsageError
from distjoint.config import Config, validate
from distjoint.recipes.load import read_tree, set_key
from distjoint.storage import Options

PRESETS = ("graph", "text", "joint")
_FORMS = "write a value, a list of choices, or {low: 1, high: 10, log: true}"
Choice = str | int | float | bool | None


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included.

    log    drawn evenly by their logarithm
    whole  integers only
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def ends(self) -> tuple[Choice, ...]:
        """The values that are tried for whether they can be."""
        return self.low, self.high

    def with_value(self, value: Any) -> Range:
        """The range as wide as a value wants, if it is a number."""
        if isinstance(value, bool) or not isinstance(value, int | float) or (self.log and value <= 0):
            return self
        return replace(self, low=min(self.low, value), high=max(self.high, value))

    def has(self, value: Any) -> bool:
        """Whether a value lies in it."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class OneOf:
    """Values to choose from."""

    values: tuple[Choice, ...]

    @property
    def ends(self) -> tuple[Choice, ...]:
        """All of them."""
        return self.values

    def with_value(self, value: Any) -> OneOf:
        """The choices with one more, unless it is there."""
        return self if self.has(value) else OneOf((value, *self.values))

    def has(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return value in self.values


@dataclass(frozen=True)
class SearchSpace:
    """What a search varies.

    name     of the preset, or URL of the file
    varied   keys to what they may be
    fixed    keys that have one value in every trial but the first
    """

    name: str
    varied: Mapping[str, Range | OneOf]
    fixed: Mapping[str, Any]

    def around(self, base: Config) -> SearchSpace:
        """The space with what the base has of each key in it, so that the base can be the first trial."""
        values = {key: value_of(base, key) for key in self.varied}
        return replace(self, varied={key: each.with_value(values[key]) for key, each in self.varied.items()})

    def first(self, base: Config) -> dict[str, Any] | None:
        """The varied settings of the base; None where it has a value that lies outside, such as none at all."""
        values = {key: value_of(base, key) for key in self.varied}
        return values if all(self.varied[key].has(value) for key, value in values.items()) else None


def read_space(name: str, options: Options | None = None) -> SearchSpace:
    """A preset or a YAML file. raises UsageError that names the key and what would be right"""
    if name in PRESETS:
        tree = yaml.safe_load((files("distjoint.tune.presets") / f"{name}.yaml").read_text("utf-8"))
    elif name.endswith((".yaml", ".yml")) or "/" in name:
        tree = read_tree(name, options)
    else:
        raise UsageError(f"--space {name}: choose {', '.join(PRESETS)}, or give a YAML file")
    varied: dict[str, Range | OneOf] = {}
    fixed: dict[str, Any] = {}
    for key, value in tree.items():
        if "." not in str(key):
            raise UsageError(f"{name}: {key}: write keys as section.key, like graph.learning_rate")
        if isinstance(value, Mapping):
            varied[key] = _range(name, key, value)
        elif isinstance(value, list):
            varied[key] = _choices(name, key, value)
        else:
            fixed[key] = value
    if not varied:
        raise UsageError(f"{name}: nothing varies; {_FORMS} for each key")
    return SearchSpace(name, varied, fixed)


def check_space(space: SearchSpace, base: Config) -> None:
    """Try each value by itself on top of the base. raises UsageError naming the first that can be in no trial

    A value that the base forbids may fit another of the space, such as a width that one scorer wants: that is let be.
    """
    for key, value in space.fixed.items():
        _try(space.name, base, {**space.fixed, key: value}, key)
    for key, each in space.varied.items():
        if key.startswith("train.") and key.partition(".")[2] in _NOT_VARIED:
            raise UsageError(f"{space.name}: {key}: cannot vary, since trials are compared by it; set it for all")
        for value in each.ends:
            _try(space.name, base, {**space.fixed, key: value}, key)


_NOT_VARIED = {
    *(
        "seed",
        "validate",
        "validate_every",
        "validation_triples",
        "validation_sets",
        "callbacks",
        "final_test",
        "epochs",
    ),
    *("keep", "init", "threads"),
}


def settled(base: Config, settings: Mapping[str, Any], source: str = "config") -> Config:
    """The base with settings on top. raises UsageError"""
    tree = base.model_dump(mode="json")
    for key, value in settings.items():
        set_key(tree, key, value)
    return validate(tree, source)


def value_of(config: Config, key: str) -> Any:
    """What a configuration has at `section.key`, or at a key below that; None where there is nothing.

    A scale that is left to its default is the number that this stands for.
    """
    if key == "model.scale" and config.model.scale is None:
        return 10.0 if config.model.cosine else 1.0
    tree: Any = config.model_dump(mode="json")
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _try(name: str, base: Config, settings: Mapping[str, Any], key: str) -> None:
    try:
        settled(base, settings, name)
    except UsageError as error:
        # A rule over several keys is of the section, not of the key: another value of the space may fit.
        if f"{key} = " in str(error) or f"unknown key '{key}'" in str(error) or "unknown key" in str(error):
            raise


def _range(name: str, key: str, value: Mapping[str, Any]) -> Range:
    where = f"{name}: {key}: {dict(value)}"
    if unknown := set(value) - {"low", "high", "log"}:
        raise UsageError(f"{where} has {sorted(map(str, unknown))[0]}; {_FORMS}")
    low, high, log = value.get("low"), value.get("high"), value.get("log", False)
    numbers = [each for each in (low, high) if isinstance(each, int | float) and not isinstance(each, bool)]
    if len(numbers) < 2 or not isinstance(log, bool):
        raise UsageError(f"{where} lacks low or high, or they are no numbers; {_FORMS}")
    low, high = numbers
    if not low < high:
        raise UsageError(f"{where}: low must lie below high")
    if log and low <= 0:
        raise UsageError(f"{where}: low must lie above 0 to be drawn by its logarithm")
    whole = all(isinstance(each, int) for each in numbers) and _is_whole(key)
    return Range(low, high, log, whole)


def _is_whole(key: str) -> bool:
    """Whether a key of the configuration is a whole number; one that there is none of is refused later."""
    section, _, name = key.partition(".")
    info = Config.model_fields.get(section)
    field = type(info.default).model_fields.get(name) if info else None
    return field is not None and "int" in str(field.annotation) and "float" not in str(field.annotation)


def _choices(name: str, key: str, value: list[Any]) -> OneOf:
    if not value or any(isinstance(each, list | Mapping) for each in value):
        raise UsageError(f"{name}: {key}: {value}: {_FORMS}")
    return OneOf(tuple(dict.fromkeys(value)))
