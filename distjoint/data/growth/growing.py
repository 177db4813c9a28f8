"""A growth step by step, as `prepare` asks for it; what each step does is in the modules beside this one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import xxhash

from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress
from distjoint.data.alignment import Alignment
from distjoint.data.dataset import Dataset
from distjoint.data.growth.additions import (
    fresh_entities,
    notes_on_rows_apart,
    with_alignment,
    with_knowledge,
    with_mentions,
)
from distjoint.data.growth.before import Before
from distjoint.data.knowledge import Knowledge
from distjoint.data.manifest import Ancestor, Manifest
from distjoint.data.mentions import Mentions
from distjoint.data.request import PrepareOptions
from distjoint.data.rows import Rows
from distjoint.data.text import Text
from distjoint.storage import Location
from distjoint.table.layout import MOST_TILE_ROWS, TILE_ROWS

_BLOCK = 1 << 22
_SLOW = 8
"""Times the rows of a tile at which it no longer fits a CPU's cache."""
SUMMED = ("documents", "text_tokens", "names")
"""Counts of a text that are those of both texts."""


class Growing:
    """What `prepare` does otherwise where a dataset grows.

    data     the dataset that grows
    notes    gets sentences about what was added, and what could not be as in a dataset made at once
    """

    def __init__(self, data: Dataset, options: PrepareOptions, notes: list[str]) -> None:
        self.before, self.options, self.notes = Before(data), options, notes
        self.earlier = self.before.knowledge(options.nfc)
        self._spoken = False

    @property
    def data(self) -> Dataset:
        return self.before.data

    def knowledge(self, new: Knowledge) -> Knowledge:
        """Both graphs as one. new: read onto `earlier`"""
        return with_knowledge(self.earlier, new, self.notes)

    def alignment(self, found: Alignment, entities: Sequence[str], words: Sequence[str]) -> Alignment:
        """The alignment of before with what is new of another."""
        both = with_alignment(self.before, found, entities, words)
        self.notes += notes_on_rows_apart(self.before, both, entities, words)
        return both

    def mentions(
        self,
        names: Sequence[Iterable[str]],
        texts: Sequence[Iterable[str]],
        numbers: Mapping[str, int],
        described: Iterable[str],
        alignment: Alignment,
        words: Sequence[str],
    ) -> Mentions:
        """What is said of all entities, weighed together.

        names, texts   of each entity
        numbers        of entities by name
        described      those that have texts
        """
        before = self.before.mentions()
        fresh = fresh_entities(self.before, described, numbers, np.unique(before.entity))
        if anew := len(np.unique(before.entity[fresh[before.entity]])):
            self.notes.append(f"Entities of before that are described anew, and by that alone: {anew:,}.")
        found = with_mentions(before, len(self.before.of_word), fresh, names, texts, alignment, words, self.options)
        self._spoken = bool(fresh[before.entity].any() or fresh[found.entity].any())
        return found

    def is_nothing(self, rows: Rows, text: Text, known: Knowledge, alignment: Alignment) -> bool:
        """Whether nothing at all was added."""
        earlier, graph = self.earlier, known.graph
        sizes = [{split: len(found) for split, found in each.splits.items()} for each in (earlier.graph, graph)]
        return (
            rows.layout(1) == self.data.layout
            and text.tokens is None
            and sizes[0] == sizes[1]
            and len(graph.relations) == len(self.before.relations)
            and (known.labels or {}) == (earlier.labels or {})
            and known.relation_labels == earlier.relation_labels
            and (known.types or {}) == (earlier.types or {})
            and len(alignment.samples) == len(self.before.alignment().samples)
            and not self._spoken
        )

    def check(self, rows: Rows) -> None:
        """Say what was added. raises DistjointError where tiles would hold too many rows"""
        old, new = self.data.layout, rows.layout(1)
        most = int(new.tile_kinds[:, :2].sum(1).max())
        if most > MOST_TILE_ROWS:
            raise DistjointError(
                f"{self.data.folder}: its tiles would grow to {most:,} rows with a word, more than {MOST_TILE_ROWS:,}; "
                "prepare all of it anew, which makes more tiles"
            )
        words, entities = new.vocabulary - old.vocabulary, new.with_entity - old.with_entity
        self.notes.append(
            f"Grown from {self.data.folder}: after {old.rows:,} rows of before {new.rows - old.rows:,} new ones "
            f"({words:,} words, {entities:,} entities, {new.aligned - old.aligned:,} of them both, "
            f"{new.grams - old.grams:,} n-grams)."
        )
        if most > _SLOW * TILE_ROWS:
            self.notes.append(
                f"Tiles have up to {most:,} rows with a word by now; about {TILE_ROWS:,} train fastest, as a dataset "
                "that is prepared anew has."
            )

    def copy(self, folder: Location, options: PrepareOptions) -> Manifest:
        """Write the dataset of before once more, as one that grew by nothing."""
        manifest = self.data.manifest
        for file in manifest.files:
            place, digest = self.data.folder / file.path, xxhash.xxh3_64()
            if "/" in file.path:
                (folder / file.path.rpartition("/")[0]).make_dir()
            with place.open_input() as source, (folder / file.path).open_output() as out:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    out.write(block)
            if f"xxh3:{digest.hexdigest()}" != file.checksum:
                raise DistjointError(f"{place}: damaged: not the checksum that the manifest says; prepare it again")
        update = {"options": options.record(), "grown_from": self.ancestors()}
        return manifest.model_copy(update=update)

    def ancestors(self) -> tuple[Ancestor, ...]:
        """The datasets that the new one grew from, this one last."""
        manifest = self.data.manifest
        this = Ancestor(
            fingerprint=manifest.fingerprint(), dataset=self.data.folder.absolute, counts=dict(manifest.counts)
        )
        return (*manifest.grown_from, this)

    def counts(self, counts: dict[str, int]) -> dict[str, int]:
        """Counts of the new text with those of before."""
        return {name: n + self.data.manifest.counts.get(name, 0) * (name in SUMMED) for name, n in counts.items()}


def begin(data: Dataset, options: PrepareOptions, notes: list[str], progress: Progress) -> Growing:
    """Read what a dataset has."""
    with progress.task("reading the dataset that grows") as task:
        growing = Growing(data, options, notes)
        task.note(f"{data.layout.rows:,} rows")
    return growing
