"""Keys of a configuration whose values are names: of a registry, or of groups of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from distjoint.registry import COUPLINGS


class Choices(Protocol):
    """What can be named: a registry, or the groups of parameters."""

    def names(self) -> tuple[str, ...]:
        """All names, in order."""


OLD, GIVEN = "old", "given"
"""What `train.freeze` calls all that a run has from another, and rows that begin with vectors of `train.init`."""


class Freezable:
    """Groups of parameters that can be frozen: those of every run, and what couplings have of their own."""

    def names(self) -> tuple[str, ...]:
        own = (group for name in COUPLINGS.names() for group in COUPLINGS[name].groups)
        return tuple(dict.fromkeys(["words", "contexts", "entities", "relations", *own, OLD, GIVEN]))


@dataclass(frozen=True)
class NameOf:
    """Constraint on a string: a name of a registry, as it is when a configuration is made or described.

    Not a Literal, because names can be added: by a user's module, by installed packages.
    """

    registry: Choices

    def choices(self) -> str:
        return ", ".join(self.registry.names())

    def check(self, name: str) -> str:
        """raises ValueError that lists the names there are"""
        if name not in self.registry.names():
            raise ValueError(f"choose {self.choices()}")
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "enum": list(self.registry.names())}
