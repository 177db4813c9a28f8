"""Wikidata5M: two splits, transductive and inductive, a text of each entity, and aliases in a folder of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from distjoint.data.families.base import Benchmark, Family
from distjoint.data.packing import inner_name
from distjoint.data.streams import SPLITS
from distjoint.storage import Location

_SPLITS = ("transductive", "inductive")
_TEXT, _ALIASES = "wikidata5m_text.txt", "wikidata5m_entity.txt"
_BESIDE = ("wikidata5m_alias", "wikidata5m_text")


class Wikidata5M(Family):
    """`wikidata5m_transductive_train.txt` and the like; the transductive split where both are there."""

    title: ClassVar[str] = "Wikidata5M"

    @classmethod
    def find(cls, folder: Location, there: Mapping[str, Location]) -> Benchmark | None:
        inside = dict(there)
        for name in (*_BESIDE, *(f"wikidata5m_{kind}" for kind in _SPLITS)):
            if name in there and there[name].is_dir():
                inside = {**{item.name: item for item in there[name].list()}, **inside}
        files = {inner_name(name): place for name, place in inside.items()}
        found = {
            kind: {split: files[name].url for split in SPLITS if (name := f"wikidata5m_{kind}_{split}.txt") in files}
            for kind in _SPLITS
        }
        taken = next((kind for kind in _SPLITS if "train" in found[kind]), None)
        if taken is None:
            return None
        others = [url.rpartition("/")[2] for kind in _SPLITS if kind != taken for url in found[kind].values()]
        left = f"{', '.join(others)}, another split: name them with --triples, --valid, --test" if others else ""
        texts = (files[_TEXT].url,) if _TEXT in files else ()
        labels = files[_ALIASES].url if _ALIASES in files else None
        return Benchmark(cls.title, folder.url, found[taken], texts=texts, labels=labels, left=left)
