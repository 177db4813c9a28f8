"""OGB's link prediction: `split/time/train.pt` or the like, with names in `mapping`; and WikiKG90M's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from distjoint.data.families.base import Benchmark, Family
from distjoint.data.streams import SPLITS
from distjoint.data.tables.arrays import array_shape
from distjoint.data.tables.queries import answer_files
from distjoint.storage import Location

_ENDINGS = (".npz", ".parquet", ".csv", ".csv.gz", ".pt")
"""What is not a pickle goes first: people write it beside the `.pt` that cannot be read."""


_QUERIES = {
    "valid": ("val_hr.npy", "valid_hr.npy"),
    "test": ("test_hr.npy", "test-dev_hr.npy", "test-challenge_hr.npy"),
}


class Ogb(Family):
    """ogbl-wikikg2, ogbl-biokg: the first of the splits that lie in `split`."""

    title: ClassVar[str] = "OGB"

    @classmethod
    def find(cls, folder: Location, there: Mapping[str, Location]) -> Benchmark | None:
        if "split" not in there:
            return None
        for place in there["split"].list():
            files = {item.name: item for item in place.list()}
            best = {split: [split + ending for ending in _ENDINGS if split + ending in files] for split in SPLITS}
            found = {split: files[names[0]].url for split, names in best.items() if names}
            if "train" in found:
                return Benchmark(cls.title, folder.url, found)
        return None


class WikiKG90M(Family):
    """WikiKG90M and its v2: `processed/train_hrt.npy`, `val_hr.npy` with its answers; test has none."""

    title: ClassVar[str] = "WikiKG90M"

    @classmethod
    def find(cls, folder: Location, there: Mapping[str, Location]) -> Benchmark | None:
        inside = {item.name: item for item in there["processed"].list()} if "processed" in there else there
        if "train_hrt.npy" not in inside:
            return None
        found, without = {"train": inside["train_hrt.npy"].url}, []
        for split, names in _QUERIES.items():
            for name in names:
                if name in inside and answer_files(inside[name]):
                    found.setdefault(split, inside[name].url)
                elif name in inside:
                    without.append(f"{name} ({array_shape(inside[name])[0]:,} queries)")
        left = f"{', '.join(without)}, whose answers are not there" if without else ""
        return Benchmark(cls.title, folder.url, found, left=left)
