"""What a benchmark's folder holds, and what a family of benchmarks is: folders that are laid out alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from distjoint.storage import Location


@dataclass(frozen=True)
class Benchmark:
    """Files of a benchmark in a folder.

    layout        name of the family, or `plain`
    folder        where the triples lie
    paths         split -> URL, of those that are there
    types         URL of the types of entities
    by_entities   names of the files of a split by entities that lies beside the one that is taken
    texts         URLs of files of descriptions, the one to read first
    labels        URL of the labels of entities
    left          names of files that are known and not read, and why, as a part of a sentence
    twins         names of other files of the same splits, which are not read
    """

    layout: str
    folder: str
    paths: Mapping[str, str]
    types: str | None = None
    by_entities: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    labels: str | None = None
    left: str = ""
    twins: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = [path for path in (*self.paths.values(), self.types) if path]
        names = [path.removeprefix(f"{self.folder}/") if path.startswith(f"{self.folder}/") else path for path in shown]
        layout = "" if self.layout == "plain" else f" (the layout of {self.layout})"
        beside = f"; not {', '.join(self.by_entities)}, a split by entities: name them with --triples, --valid, --test"
        left = f"; not {self.left}" * bool(self.left)
        twins = f"; not {', '.join(self.twins)}, of the same splits: --triples, --valid, --test take others"
        more = f"{beside * bool(self.by_entities)}{left}{twins * bool(self.twins)}"
        return f"{self.folder}: {', '.join(names)}{layout}{more}"


class Family(ABC):
    """A family of benchmarks whose folders are laid out in a way of their own."""

    title: ClassVar[str]

    @classmethod
    @abstractmethod
    def find(cls, folder: Location, there: Mapping[str, Location]) -> Benchmark | None:
        """The files of a benchmark of this family; None where the folder is none.

        there   what lies directly in the folder, by name
        """
