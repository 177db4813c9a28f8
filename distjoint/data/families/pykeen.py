"""PyKEEN's triples factories as they are saved: `training/numeric_triples.tsv.gz` and names by number beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from distjoint.data.families.base import Benchmark, Family
from distjoint.storage import Location

_FOLDERS = {
    "train": ("training", "training_triples"),
    "valid": ("validation", "validation_triples"),
    "test": ("testing", "testing_triples"),
}
_NAMES = ("numeric_triples.tsv.gz", "numeric_triples.tsv")


class PyKeen(Family):
    """A dataset of PyKEEN, by `to_directory_binary`, or the triples of a pipeline's result."""

    title: ClassVar[str] = "PyKEEN"

    @classmethod
    def find(cls, folder: Location, there: Mapping[str, Location]) -> Benchmark | None:
        found = {}
        for split, names in _FOLDERS.items():
            places = [there[name] for name in names if name in there]
            inside = {item.name: item.url for place in places[:1] for item in place.list()}
            if url := next((inside[name] for name in _NAMES if name in inside), None):
                found[split] = url
        alone = next((there[name].url for name in _NAMES if name in there), None)
        if not found and alone:
            found = {"train": alone}
        return Benchmark(cls.title, folder.url, found) if "train" in found else None
