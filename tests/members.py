"""What a battery must cover: the members of a registry that are the package's own, not plug-ins or a test's."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib import import_module
from itertools import product
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

from distjoint.registry import Registry

PACKAGE = "distjoint."


def names_of(registry: Registry) -> tuple[str, ...]:
    """Names of a registry's classes that are the package's own."""
    return tuple(name for name in registry.names() if registry[name].__module__.startswith(PACKAGE))


def alternating(*members: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Every combination of members, with a truth that is another for each next one: every pair with it is met too."""
    numbered = product(*(enumerate(each) for each in members))
    return [(*(one for _, one in chosen), sum(place for place, _ in chosen) % 2 == 0) for chosen in numbered]


def classes_below(base: type, room: ModuleType) -> set[type]:
    """Classes of a room that are a base class's and can be used, whether a registry has them or not."""
    for module in walk_packages(room.__path__, f"{room.__name__}."):
        import_module(module.name)

    def below(cls: type) -> set[type]:
        return {cls, *(found for sub in cls.__subclasses__() for found in below(sub))}

    usable = (cls for cls in below(base) - {base} if not inspect.isabstract(cls))
    return {cls for cls in usable if cls.__module__.startswith(f"{room.__name__}.")}


def assert_covers(battery: set[str], registry: Registry, base: type, room: ModuleType) -> None:
    """Fail unless every class of a room is in its registry under its own name, and every name in the battery."""
    names = names_of(registry)
    assert {registry[name] for name in names} == classes_below(base, room)
    assert [registry[name].name for name in names] == list(names)
    assert battery == set(names)
