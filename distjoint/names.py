"""Keys of a configuration whose values are names: of a registry, or of groups of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from distjoint.registry import COUPLINGS


class Choices(Protocol):
    """What can be named: a registry, or the groups of parameters."""

    def names(self) -> tuple[str, ...]:
        """All names, in order."""


OLD, GIVEN = "old", "given"
"""What `train.freeze` calls all that a run has from another, and rows that begin with vectors of `train.init`."""


RECORDED = {"recorded": True}
"""Context of validation: the tree is that of a run, whose names and their classes were checked when it was trained.

So a run is opened without the classes that its names stand for, and without torch, which they bring.
"""

OF_LINKS = (
    *("mrr", "hits@1", "hits@3", "hits@10"),
    *("unseen_mrr", "unseen_hits@1", "unseen_hits@3", "unseen_hits@10"),
)
"""What `train.validate` calls figures of link prediction on the valid split, and on its triples with an unseen end."""


class Freezable:
    """Groups of parameters that can be frozen: those of every run, and what couplings have of their own."""

    def names(self) -> tuple[str, ...]:
        own = (group for name in COUPLINGS.names() for group in COUPLINGS[name].groups)
        return tuple(dict.fromkeys(["words", "contexts", "entities", "relations", *own, OLD, GIVEN]))


@dataclass(frozen=True)
class NameOf:
    """Constraint on a string: a name of a registry, as it is when a configuration is made or described.

    Not a Literal, because names can be added: by a user's module, by installed packages.

    opened   whether a run that is opened must know the name too; not one that its vectors do not depend on
    """

    registry: Choices
    opened: bool = True

    def choices(self) -> str:
        return ", ".join(self.registry.names())

    def check(self, name: str, info: ValidationInfo) -> str:
        """raises ValueError that lists the names there are"""
        if name not in self.registry.names() and (self.opened or info.context != RECORDED):
            raise ValueError(f"choose {self.choices()}")
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "enum": list(self.registry.names())}
