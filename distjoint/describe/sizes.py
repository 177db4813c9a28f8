"""Sizes of a dataset: how many of everything, and what it takes on storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from distjoint.data.dataset import Dataset
from distjoint.data.streams import COOCCURRENCE, MENTIONS, PAIRS
from distjoint.describe.page import Chapter, Figures, Value


@dataclass(frozen=True)
class DatasetSizes:
    """Sizes of a dataset.

    dataset       its URL
    fingerprint   of what is in it
    rows          of the table: words alone, n-grams of names, aligned (an entity and a word), entities alone
    shards, tiles, bytes, files
    samples       stream -> samples: `triples/train`, `cooccurrence`, `pairs`, `mentions`
    relations     how many
    weighted, typed   whether training triples have weights, and entities types
    grown         how often it grew
    """

    dataset: str
    fingerprint: str
    rows: Mapping[str, int]
    shards: int
    tiles: int
    bytes: int
    files: int
    samples: Mapping[str, int]
    relations: int
    weighted: bool
    typed: bool
    grown: int

    @classmethod
    def of(cls, data: Dataset) -> DatasetSizes:
        """By its manifest alone."""
        layout, manifest = data.layout, data.manifest
        rows = {
            "words alone": layout.words - layout.grams,
            "n-grams of names": layout.grams,
            "aligned": layout.aligned,
            "entities alone": layout.entities,
        }
        samples = {
            name: sum(span.stop - span.start for span in spans) for name, spans in manifest.streams.items() if spans
        }
        return cls(
            dataset=data.folder.url,
            fingerprint=manifest.fingerprint(),
            rows={name: count for name, count in rows.items() if count},
            shards=layout.shards,
            tiles=layout.tiles,
            bytes=sum(file.bytes for file in manifest.files),
            files=len(manifest.files),
            samples=samples,
            relations=len(data.relations()),
            weighted=data.is_weighted,
            typed=data.has_types,
            grown=len(manifest.grown_from),
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def chapter(self) -> Chapter:
        called = {COOCCURRENCE: "co-occurrence counts", PAIRS: "pairs, entity and word apart", MENTIONS: "mentions"}
        rows: list[Sequence[Value]] = [(f"rows: {name}", count) for name, count in self.rows.items()]
        for name, count in self.samples.items():
            kind, _, split = name.partition("/")
            rows.append((called.get(name, f"{kind}: {split.replace('_', ' ')}"), count))
        if self.relations:
            rows.append(("relations", self.relations))
        rows += [("bytes on storage", self.bytes), ("files", self.files), ("shards", self.shards)]
        more = [
            "Training triples have weights." * self.weighted,
            "Entities have types." * self.typed,
            f"It grew from another dataset, {self.grown} times by now." * bool(self.grown),
        ]
        return Chapter(
            "Sizes", [sentence for sentence in more if sentence], [Figures(self.dataset, ("of", "count"), rows)]
        )
