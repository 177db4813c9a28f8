"""The manifest: what a dataset on storage consists of. Written last, so its presence makes a dataset complete.

A stream (`cooccurrence`, `triples/train`, `triples/valid`, `triples/test`, `pairs`) is a set of Parquet
files; partition (i, j) of a stream is a span of rows in one of them.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import xxhash
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from distjoint.base.errors import DistjointError
from distjoint.data.streams import FORMER_PAIRS, PAIRS
from distjoint.storage import Location
from distjoint.table.layout import Layout, Sizes

FORMAT = 1
NAME = "manifest.json"
READ_OPTIONS = ("early_weight", "gram_weight", "tokenizer")
"""Options of `prepare` that readers use; the others say how the files came to be, and where their input lay."""


class File(BaseModel):
    """One Parquet file of the dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Relative to the dataset's folder."""
    bytes: int
    rows: int
    checksum: str
    row_groups: tuple[int, ...]
    """Rows of each row group, in order."""


class Span(BaseModel):
    """Partition (i, j) of a stream: rows [start, stop) of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    i: int
    j: int
    file: int
    """Index into the manifest's files."""
    start: int
    stop: int


class Ancestor(BaseModel):
    """A dataset that another grew from.

    fingerprint   of what is in it
    dataset       where it lay
    counts        as in its manifest
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    dataset: str
    counts: Mapping[str, int]


class Manifest(BaseModel):
    """Contents of a dataset: layout, counts, options, files, and the partitions in them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    layout_sizes: Sizes
    counts: Mapping[str, int]
    """tokens, cells, triples/train, triples/valid, triples/test, relations, pairs, ..."""
    options: Mapping[str, Any]
    """The options of `prepare` that decide what is in the dataset; no credentials."""
    files: tuple[File, ...]
    streams: Mapping[str, tuple[Span, ...]]
    """Only partitions that hold samples are listed."""
    prefixes: Mapping[str, str] = {}
    """By which names are shown: prefix -> the beginning of IRIs. Written where there are any."""
    grown_from: tuple[Ancestor, ...] = ()
    """The datasets that this one grew from, oldest first, its parent last; written where there are any."""

    @model_validator(mode="before")
    @classmethod
    def _with_present_names(cls, tree: Any) -> Any:
        """Read datasets that were made before a stream was renamed."""
        if not isinstance(tree, Mapping):
            return tree
        parts = {part: tree[part] for part in ("counts", "streams") if isinstance(tree.get(part), Mapping)}
        renamed = {
            part: {PAIRS if name == FORMER_PAIRS else name: value for name, value in values.items()}
            for part, values in parts.items()
        }
        return {**tree, **renamed}

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        shards = self.layout.shards
        for name, spans in self.streams.items():
            for span in spans:
                inside = 0 <= span.i < shards and 0 <= span.j < shards and 0 <= span.file < len(self.files)
                if not inside or not 0 <= span.start < span.stop <= self.files[span.file].rows:
                    raise ValueError(f"{name}: partition ({span.i}, {span.j}) is not a part of the files listed")
        return self

    def fingerprint(self) -> str:
        """Checksum of what is in the dataset: of every file, where its partitions lie, and options that readers use.

        The same input makes the same, wherever it lay.
        """
        content = self.model_dump(mode="json", exclude={"options", "prefixes", "grown_from"})
        options = {name: self.options[name] for name in READ_OPTIONS if name in self.options}
        text = json.dumps([content, options], sort_keys=True, separators=(",", ":"))
        return f"xxh3:{xxhash.xxh3_64(text.encode()).hexdigest()}"

    @property
    def layout(self) -> Layout:
        return Layout(**self.layout_sizes.model_dump())

    def partition(self, stream: str, i: int, j: int) -> Span | None:
        """The span of a partition, or None where it is empty."""
        return self._index().get((stream, i, j))

    def samples(self, stream: str, i: int, j: int) -> int:
        span = self.partition(stream, i, j)
        return span.stop - span.start if span else 0

    def _index(self) -> dict[tuple[str, int, int], Span]:
        index: dict[tuple[str, int, int], Span] | None = self.__dict__.get("_spans")
        if index is None:
            index = {(name, span.i, span.j): span for name, spans in self.streams.items() for span in spans}
            self.__dict__["_spans"] = index
        return index

    def write(self, folder: Location) -> None:
        empty = {name for name in ("prefixes", "grown_from") if not getattr(self, name)}
        (folder / NAME).write_json(self.model_dump(mode="json", exclude=empty))

    @classmethod
    def read(cls, folder: Location) -> Manifest:
        """The manifest in a folder. raises DistjointError when there is none, or it is not of this format"""
        place = folder / NAME
        if not folder.exists():
            raise DistjointError(
                f"{folder}: no such dataset; make one with 'distjoint prepare --out {shlex.quote(str(folder))}'"
            )
        if not place.exists():
            raise DistjointError(
                f"{folder}: no {NAME}, so this is not a complete dataset; run 'distjoint prepare' again"
            )
        try:
            content = place.read_json()
            found = content.get("format") if isinstance(content, dict) else None
            if found != FORMAT:
                raise DistjointError(f"{place}: format {found}, this distjoint reads {FORMAT}; prepare it again")
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"{part}: " for part in first["loc"])
            reason = where + first["msg"].removeprefix("Value error, ")
            raise DistjointError(f"{place}: not a manifest ({reason}); prepare it again") from error
        except ValueError as error:
            raise DistjointError(f"{place}: not a manifest ({str(error).splitlines()[0]}); prepare it again") from error
