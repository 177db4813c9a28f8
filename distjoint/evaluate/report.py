"""Report of an evaluation: its figures, and the result of every triple, pair and question, to compare runs on.

Saved beside the run: `evaluation.json` for people and `evaluation.safetensors` with the scores of the items.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from safetensors import SafetensorError
from safetensors.numpy import load, save

from distjoint.base.errors import DistjointError
from distjoint.evaluate.analogies import Analogies
from distjoint.evaluate.bootstrap import Interval
from distjoint.evaluate.classification import Classification
from distjoint.evaluate.link_result import Links
from distjoint.evaluate.lookup import Coverage
from distjoint.evaluate.options import VectorKind, VectorParts
from distjoint.evaluate.similarity import GroupedSimilarity, Similarity
from distjoint.evaluate.tables import (
    analogy_tables,
    as_text,
    classification_tables,
    grouped_tables,
    link_tables,
    notes_under,
    similarity_tables,
    word_note,
)
from distjoint.storage import Location

JSON = "evaluation.json"
ITEMS = "evaluation.safetensors"
FORMAT = 3


@dataclass(frozen=True)
class Report:
    """The evaluation of one run.

    run           URL of the run
    checkpoint    the checkpoint that was evaluated
    kind          whose vectors the word tests took; None where there were none
    vectors       which of them
    standardize   whether their columns were standardised
    grouped       sets whose figure is the mean of groups
    read_as       how the files of sets were read, in sentences
    chosen_on     a sentence for each set by which the run was chosen, so that its figure is no test
    """

    run: str
    checkpoint: str
    kind: VectorKind | None = None
    vectors: VectorParts = "joint"
    standardize: bool = True
    links: Links | None = None
    similarity: tuple[Similarity, ...] = ()
    grouped: tuple[GroupedSimilarity, ...] = ()
    analogies: Analogies | None = None
    classification: Classification | None = None
    read_as: tuple[str, ...] = ()
    chosen_on: tuple[str, ...] = ()

    @property
    def uncovered(self) -> list[str]:
        """Names of the word sets, if the vectors cover nothing of any of them."""
        sets = {result.name: result.covered for result in self.similarity}
        sets |= {result.name: result.covered for result in self.grouped}
        sets |= {"analogies": self.analogies.covered} if self.analogies else {}
        return [] if any(covered.any() for covered in sets.values()) else list(sets)

    def to_dict(self) -> dict[str, Any]:
        """All numbers and how they were taken, ready for JSON: what is not a number is None."""
        tree = {
            "format": FORMAT,
            "run": self.run,
            "checkpoint": self.checkpoint,
            "kind": self.kind,
            "vectors": self.vectors,
            "standardize": self.standardize,
            "link_prediction": self.links.to_dict() if self.links else None,
            "classification": self.classification.to_dict() if self.classification else None,
            "similarity": [result.to_dict() for result in self.similarity],
            "grouped": [result.to_dict() for result in self.grouped],
            "analogies": self.analogies.to_dict() if self.analogies else None,
            "read_as": list(self.read_as),
            "chosen_on": list(self.chosen_on),
        }
        cleaned: dict[str, Any] = _without_nan(tree)
        return cleaned

    @property
    def epoch(self) -> str:
        """The checkpoint in words: `epoch 5`, or `epoch 5, round 2` within the epoch after it."""
        found = re.search(r"epoch-(\d+)(?:-round-(\d+))?$", self.checkpoint)
        if found is None:
            return self.checkpoint
        return f"epoch {int(found[1])}" + (f", round {int(found[2])}" if found[2] else "")

    @property
    def word_note(self) -> str:
        """How cosines of words were taken, in a line."""
        return word_note(self.kind, self.vectors, self.standardize)

    def __rich__(self) -> RenderableType:
        """Tables of everything that was measured, each with the checkpoint in its title."""
        parts: list[RenderableType] = []
        if self.links is not None:
            parts += link_tables(self.links, self.epoch)
        if self.classification is not None:
            parts += classification_tables(self.classification, self.epoch)
        if self.similarity:
            parts += similarity_tables(self.similarity, self.epoch, self.word_note)
        for result in self.grouped:
            parts += grouped_tables(result, self.epoch, self.word_note)
        if self.analogies is not None:
            parts += analogy_tables(self.analogies, self.epoch, self.word_note)
        parts += notes_under((*self.read_as, *self.chosen_on))
        return Group(*parts)

    def __str__(self) -> str:
        return as_text(self)

    def save(self, folder: Location) -> None:
        """Write the report into the run's folder, over what it holds of earlier ones.

        What an earlier report on the same checkpoint measured, in the same way, and this one did not, is kept; so are
        exact ranks where this one has only sampled or typed ones.
        """
        try:
            earlier = Report.read(folder)
        except DistjointError:
            earlier = None  # damaged, or of another format
        self._with(earlier)._write(folder)

    def _with(self, earlier: Report | None) -> Report:
        if earlier is None or earlier.checkpoint != self.checkpoint:
            return self
        links = self.links or earlier.links
        if self.links and earlier.links and self.links.label and not earlier.links.label:
            links = earlier.links
        merged = replace(self, links=links, classification=self.classification or earlier.classification)
        if not (self.similarity or self.grouped or self.analogies):
            merged = replace(merged, kind=earlier.kind, vectors=earlier.vectors, standardize=earlier.standardize)
        if merged.word_note != earlier.word_note:
            return merged
        names = {result.name for result in self.similarity} | {result.name for result in self.grouped}
        return replace(
            merged,
            similarity=(*(each for each in earlier.similarity if each.name not in names), *self.similarity),
            grouped=(*(each for each in earlier.grouped if each.name not in names), *self.grouped),
            analogies=self.analogies or earlier.analogies,
            read_as=tuple(dict.fromkeys(earlier.read_as + self.read_as)),
            chosen_on=tuple(dict.fromkeys(earlier.chosen_on + self.chosen_on)),
        )

    def _write(self, folder: Location) -> None:
        items: dict[str, Any] = {}
        if self.links:
            items |= self.links.items()
        if self.classification:
            items |= {f"classification.{name}": getattr(self.classification, name) for name in ("truth", "taken")}
        for place, result in enumerate(self.similarity):
            items |= {f"similarity.{place}.gold": result.gold, f"similarity.{place}.cosines": result.cosines}
        for place, group in enumerate(self.grouped):
            items |= {f"grouped.{place}.gold": group.gold, f"grouped.{place}.predicted": group.predicted}
        if self.analogies:
            items["analogies.right"] = self.analogies.right
        # The items first: a JSON that stands has its items.
        (folder / ITEMS).write_bytes(save({name: np.ascontiguousarray(values) for name, values in items.items()}))
        (folder / JSON).write_bytes(json.dumps(self.to_dict(), indent=1).encode())

    @classmethod
    def read(cls, folder: Location) -> Report | None:
        """The report in a run's folder, None where there is none.

        raises DistjointError when it is damaged, or of another format
        """
        if not (folder / JSON).exists():
            return None
        try:
            tree = json.loads((folder / JSON).read_bytes())
            found = tree["format"]
            if found == FORMAT:
                return cls._from(tree, load((folder / ITEMS).read_bytes()))
        except (ValueError, KeyError, TypeError, SafetensorError) as error:
            raise DistjointError(f"{folder / JSON}: damaged ({error!r}); evaluate the run again") from error
        raise DistjointError(f"{folder / JSON}: format {found}, this distjoint reads {FORMAT}; evaluate the run again")

    @classmethod
    def _from(cls, tree: dict[str, Any], items: dict[str, Any]) -> Report:
        links = Links.of(tree["link_prediction"], items) if tree["link_prediction"] else None
        decided = tree["classification"]
        classification = decided and Classification(
            items["classification.truth"],
            items["classification.taken"],
            decided["triples_checksum"],
            decided["thresholds"],
            decided["threshold"],
            decided.get("unseen_relation", 0),
        )
        similarity = tuple(
            Similarity(
                result["name"],
                items[f"similarity.{place}.gold"],
                items[f"similarity.{place}.cosines"],
                _number(result["spearman"]),
                _interval(result),
                Coverage.of(result.get("words")),
                result.get("form", "pairs"),
            )
            for place, result in enumerate(tree["similarity"])
        )
        grouped = tuple(
            GroupedSimilarity(
                result["name"],
                result["form"],
                tuple((group["name"], group["pairs"]) for group in result["groups"]),
                items[f"grouped.{place}.gold"],
                items[f"grouped.{place}.predicted"],
                _interval(result),
                Coverage.of(result["words"]),
            )
            for place, result in enumerate(tree.get("grouped", ()))
        )
        # Before vectors had parts, `vectors` was the kind.
        chosen = {name: tree[name] for name in ("kind", "vectors")} if "kind" in tree else {"kind": tree["vectors"]}
        return cls(
            run=tree["run"],
            checkpoint=tree["checkpoint"],
            **chosen,
            standardize=tree["standardize"],
            links=links,
            similarity=similarity,
            grouped=grouped,
            analogies=tree["analogies"] and Analogies.of(tree["analogies"], items["analogies.right"]),
            classification=classification,
            read_as=tuple(tree.get("read_as", ())),
            chosen_on=tuple(tree.get("chosen_on", ())),
        )


def _interval(result: dict[str, Any]) -> Interval:
    return Interval(*(_number(end) for end in result["interval"]))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _without_nan(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
