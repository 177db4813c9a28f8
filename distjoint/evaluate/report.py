"""What an evaluation found, with what every triple, pair and question got, so that runs can be compared on them.

Saved beside the run: `evaluation.json` for people and `evaluation.safetensors` with the scores of the items.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import RenderableType
from safetensors import SafetensorError
from safetensors.numpy import load, save

from distjoint.errors import DistjointError
from distjoint.evaluate.analogies import Analogies
from distjoint.evaluate.bootstrap import Interval
from distjoint.evaluate.ranking import LinkPrediction
from distjoint.evaluate.similarity import Similarity
from distjoint.evaluate.space import Kind
from distjoint.storage import Location

JSON = "evaluation.json"
ITEMS = "evaluation.safetensors"
FORMAT = 1

TIES = "ties at their mean rank"
FILTER = "filtered by train, valid and test"
CANDIDATES = "entities of train, valid and test"


@dataclass(frozen=True)
class Links:
    """Link prediction on a split.

    triples   stands for the triples: the same for the same triples by name, which are ranked in order of name
    """

    split: str
    ranks: LinkPrediction
    triples: str

    def to_dict(self) -> dict[str, Any]:
        policy = {"split": self.split, "ranked_against": CANDIDATES, "filter": FILTER, "ties": TIES}
        return {**policy, "triples_checksum": self.triples, **self.ranks.metrics()}


@dataclass(frozen=True)
class Report:
    """The evaluation of one run.

    run           URL of the run
    checkpoint    the checkpoint that was evaluated
    vectors       which vectors of a row the word tests took
    standardize   whether their columns were standardised
    """

    run: str
    checkpoint: str
    vectors: Kind | None = None
    standardize: bool = True
    links: Links | None = None
    similarity: tuple[Similarity, ...] = ()
    analogies: Analogies | None = None

    @property
    def uncovered(self) -> list[str]:
        """Names of the word sets, if the vectors cover nothing of any of them."""
        sets = {result.name: result.covered for result in self.similarity}
        sets |= {"analogies": self.analogies.covered} if self.analogies else {}
        return [] if any(covered.any() for covered in sets.values()) else list(sets)

    def to_dict(self) -> dict[str, Any]:
        """All numbers and how they were taken, ready for JSON: what is not a number is None."""
        tree = {
            "format": FORMAT,
            "run": self.run,
            "checkpoint": self.checkpoint,
            "vectors": self.vectors,
            "standardize": self.standardize,
            "link_prediction": self.links.to_dict() if self.links else None,
            "similarity": [result.to_dict() for result in self.similarity],
            "analogies": self.analogies.to_dict() if self.analogies else None,
        }
        cleaned: dict[str, Any] = _without_nan(tree)
        return cleaned

    def __rich__(self) -> RenderableType:
        from distjoint.evaluate.tables import report_tables

        return report_tables(self)

    def save(self, folder: Location) -> None:
        """Write the report into the run's folder, over what it holds of earlier ones.

        What an earlier report on the same checkpoint measured, in the same way, and this one did not, is kept.
        """
        self._with(Report.read(folder))._write(folder)

    def _with(self, earlier: Report | None) -> Report:
        if earlier is None or earlier.checkpoint != self.checkpoint:
            return self
        merged = replace(self, links=self.links or earlier.links)
        if not (self.similarity or self.analogies):
            merged = replace(merged, vectors=earlier.vectors, standardize=earlier.standardize)
        if (merged.vectors, merged.standardize) != (earlier.vectors, earlier.standardize):
            return merged
        names = {result.name for result in self.similarity}
        kept = tuple(result for result in earlier.similarity if result.name not in names)
        return replace(merged, similarity=kept + self.similarity, analogies=self.analogies or earlier.analogies)

    def _write(self, folder: Location) -> None:
        items: dict[str, Any] = {}
        if self.links:
            ranks = self.links.ranks
            items |= {"links.head": ranks.head, "links.tail": ranks.tail, "links.unseen": ranks.unseen}
        for place, result in enumerate(self.similarity):
            items |= {f"similarity.{place}.gold": result.gold, f"similarity.{place}.cosines": result.cosines}
        if self.analogies:
            items["analogies.right"] = self.analogies.right
        # The items first: a JSON that stands has its items.
        (folder / ITEMS).write_bytes(save({name: np.ascontiguousarray(values) for name, values in items.items()}))
        (folder / JSON).write_bytes(json.dumps(self.to_dict(), indent=1).encode())

    @classmethod
    def read(cls, folder: Location) -> Report | None:
        """The report in a run's folder, None where there is none. raises DistjointError when it is damaged"""
        if not (folder / JSON).exists():
            return None
        try:
            tree = json.loads((folder / JSON).read_bytes())
            return cls._from(tree, load((folder / ITEMS).read_bytes()))
        except (ValueError, KeyError, TypeError, SafetensorError) as error:
            raise DistjointError(f"{folder / JSON}: damaged ({error!r}); evaluate the run again") from error

    @classmethod
    def _from(cls, tree: dict[str, Any], items: dict[str, Any]) -> Report:
        links = tree["link_prediction"] and Links(
            tree["link_prediction"]["split"],
            LinkPrediction(
                items["links.head"],
                items["links.tail"],
                items["links.unseen"],
                tree["link_prediction"]["candidates"],
            ),
            tree["link_prediction"]["triples_checksum"],
        )
        similarity = tuple(
            Similarity(
                result["name"],
                items[f"similarity.{place}.gold"],
                items[f"similarity.{place}.cosines"],
                _number(result["spearman"]),
                Interval(*(_number(end) for end in result["interval"])),
            )
            for place, result in enumerate(tree["similarity"])
        )
        sections = tree["analogies"] and tuple(
            (part["name"], part["questions"]) for part in tree["analogies"]["sections"]
        )
        analogies = Analogies(sections, items["analogies.right"]) if sections else None
        return cls(tree["run"], tree["checkpoint"], tree["vectors"], tree["standardize"], links, similarity, analogies)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _without_nan(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
