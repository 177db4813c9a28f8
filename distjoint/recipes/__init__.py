"""Recipes: configurations for a benchmark's graph or for any graph, with measured results.

Each is a YAML file beside this one: a configuration as `train --config` takes it, below a header of comments that names
its graph, the published result of the setting, and the result here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from distjoint.base.errors import UsageError
from distjoint.storage import Location, locate

ANY = "any"
"""`Recipe.graph` of those that fit any graph."""
_FIELD = re.compile(r"# (Graph|Paper|Reaches): +(.+)")
_GRAPH = re.compile(
    r"(?P<graph>\S+) \((?P<entities>[\d,]+) entities, (?P<relations>[\d,]+) relations, "
    r"(?P<train>[\d,]+) training triples\)"
)


@dataclass(frozen=True)
class Recipe:
    """A configuration, and what its header says.

    title     one sentence
    graph     name of the graph it is for, or `any`
    counts    `entities`, `relations`, `train` of that graph; empty for any
    paper     source of the setting, and its published result
    reaches   result measured with distjoint
    text      the whole file
    """

    name: str
    title: str
    graph: str
    counts: Mapping[str, int]
    paper: str
    reaches: str
    text: str

    def settings(self) -> dict[str, Any]:
        """The configuration as a tree, without the keys that keep their defaults."""
        import yaml

        return dict(yaml.safe_load(self.text))

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON."""
        fields = {name: getattr(self, name) for name in ("name", "title", "graph", "paper", "reaches")}
        return {**fields, "counts": dict(self.counts), "settings": self.settings()}

    def misfit(self, counts: Mapping[str, int]) -> tuple[bool, str] | None:
        """Difference between a dataset and the recipe's graph.

        counts    of the dataset's manifest; more entities than the graph's are no difference: labels may bring some
                  that are in no triple
        returns   whether it is an error, and a sentence; None where there is no difference
        """
        theirs = {"entities": counts.get("entities", 0), "relations": counts.get("relations", 0)}
        theirs["train"] = counts.get("triples/train", 0)
        if not self.counts or theirs == self.counts:
            return None
        other = theirs["relations"] != self.counts["relations"] or theirs["entities"] < self.counts["entities"]
        if not other and theirs["train"] == self.counts["train"]:
            return None
        mine, found = (
            f"{of['entities']:,} entities, {of['relations']:,} relations and {of['train']:,} training triples"
            for of in (self.counts, theirs)
        )
        return other, f"recipe {self.name} is for {self.graph}, which has {mine}; here are {found}"


@cache
def recipes() -> Mapping[str, Recipe]:
    """All recipes by name: those for a benchmark first."""
    found = [
        _read(file.name.removesuffix(".yaml"), file.read_text("utf-8"))
        for file in files(__name__).iterdir()
        if file.name.endswith(".yaml")
    ]
    return {recipe.name: recipe for recipe in sorted(found, key=lambda r: (r.graph == ANY, r.graph, r.name))}


def find(name: str) -> Recipe:
    """The recipe of a name, or of a file, as `tune` writes one. raises UsageError that names the nearest one"""
    if name.endswith((".yaml", ".yml")) and (file := locate(name)).exists():
        return _read_file(name, file)
    if name not in recipes():
        from difflib import get_close_matches

        near = get_close_matches(name, recipes(), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UsageError(f"no recipe '{name}'; {hint}'distjoint recipes' lists them")
    return recipes()[name]


def _read_file(name: str, file: Location) -> Recipe:
    try:
        return _read(name, file.read_bytes().decode())
    except (KeyError, IndexError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--recipe {name}: a recipe begins with a comment that has its title, Graph, Paper and Reaches; give a "
            "configuration without them as --config"
        ) from error


def _read(name: str, text: str) -> Recipe:
    """Parse a recipe's file."""
    header = [line for line in text.splitlines() if line.startswith("#")]
    said = {match[1]: match[2] for line in header if (match := _FIELD.fullmatch(line))}
    graph = _GRAPH.fullmatch(said["Graph"])
    counts = {key: int(graph[key].replace(",", "")) for key in ("entities", "relations", "train")} if graph else {}
    return Recipe(
        name=name,
        title=header[0].removeprefix("# "),
        graph=graph["graph"] if graph else ANY,
        counts=counts,
        paper=said["Paper"],
        reaches=said["Reaches"],
        text=text,
    )
