"""Reader of a prepared dataset: its manifest, its names, and partition by partition its samples.

What `train` and `evaluate` see of the data. Nothing damaged is read as if it were whole: files that are read at once
are compared with their checksum in the manifest; of the others each page with its own, and the footer, which has
none, with the manifest and with where the pages lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from distjoint.base.arrays import Bools, Floats, Ints, Offsets
from distjoint.base.errors import DistjointError
from distjoint.data.manifest import NAME, File, Manifest, Span
from distjoint.data.partition import CELLS, HELD_OUT, NAMED_MENTION_SAMPLES, PAIR_SAMPLES, WEIGHTED
from distjoint.data.streams import COOCCURRENCE, PAIRS, triples_of
from distjoint.data.types import NAME as TYPES
from distjoint.data.types import Domains, observed_domains
from distjoint.storage import Location, Options, locate

_ENDS = ("head", "relation", "tail")
_SCHEMAS = (CELLS, HELD_OUT, WEIGHTED, PAIR_SAMPLES, NAMED_MENTION_SAMPLES)
_TYPES = {field.name: field.type for schema in _SCHEMAS for field in schema}


@dataclass(frozen=True)
class Triples:
    """Triples by row.

    head, tail   int64[n]: row ids, or offsets within a shard for a partition
    relation     int64[n]
    weight       float32[n] of training triples, with a mean of 1 over all; None where they have none
    """

    head: Ints
    relation: Ints
    tail: Ints
    weight: Floats | None = None

    def __len__(self) -> int:
        return len(self.head)

    @classmethod
    def together(cls, *parts: Triples) -> Triples:
        """All of them, one part after the other, without their weights; none of none."""
        none = np.empty(0, np.int64)
        head, relation, tail = (np.concatenate([none, *(getattr(part, end) for part in parts)]) for end in _ENDS)
        return cls(head, relation, tail)

    def select(self, which: NDArray[Any] | slice) -> Triples:
        """Those at some places, or where a mask is true."""
        weight = None if self.weight is None else self.weight[which]
        return Triples(self.head[which], self.relation[which], self.tail[which], weight)

    def drawn(self, count: int | None, seed: int) -> Triples:
        """So many of them, each as likely, in the same order; all where there are no more, or `count` is None."""
        if count is None or count >= len(self):
            return self
        return self.select(np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False)))


@dataclass(frozen=True)
class Cells:
    """Co-occurrence counts of one partition, tile by tile, in random order inside a tile.

    row, column   int32[n]: offsets within shard i and shard j
    count         float32[n], > 0
    """

    row: Offsets
    column: Offsets
    count: Floats

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class PairSamples:
    """Pairs of an entity and a word that are the same thing and share no row, of one partition.

    entity, word   int32[n]: offsets within shard i and shard j
    weight         float32[n]: 1, or 1 / n for a name that n entities bear
    """

    entity: Offsets
    word: Offsets
    weight: Floats

    def __len__(self) -> int:
        return len(self.entity)


class Dataset:
    """A prepared dataset at a URL."""

    def __init__(self, folder: Location, manifest: Manifest) -> None:
        self.folder, self.manifest, self.layout = folder, manifest, manifest.layout
        self._footers: dict[int, pq.FileMetaData] = {}

    @classmethod
    def open(cls, url: str | Location, options: Options | None = None) -> Dataset:
        """The dataset at a URL. raises DistjointError where there is no complete one"""
        folder = locate(url, options)
        return cls(folder, Manifest.read(folder))

    def checksum(self) -> str:
        """The manifest's checksum, which stands for the dataset's."""
        return (self.folder / NAME).checksum()

    def file(self, name: str) -> bytes:
        """The bytes of one of the dataset's files. raises DistjointError when they are not what the manifest says"""
        place, content = self.folder / name, (self.folder / name).read_bytes()
        for file in self.manifest.files:
            if file.path == name and f"xxh3:{xxhash.xxh3_64(content).hexdigest()}" != file.checksum:
                raise DistjointError(f"{place}: damaged: not the checksum that {NAME} says; prepare it again")
        return content

    def rows(self, columns: list[str] | None = None) -> pa.Table:
        """rows.parquet: row, entity, label, word, count, degree, gram where there are any; in order of row id."""
        return self.read("rows.parquet", columns)

    def relations(self) -> pa.Table:
        """relations.parquet: id, name, frequency (in train), label where there are any; in order of id."""
        return self.read("relations.parquet", None)

    def cells(self, i: int, j: int) -> Cells:
        """The co-occurrence counts between shard i (rows) and shard j (columns).

        raises DistjointError for a row outside its shard, and for a count that is not above zero: its logarithm
        would not be a number
        """
        table = self._partition(COOCCURRENCE, i, j, ("row", "column", "count"))
        if table is None:
            return Cells(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
        cells = Cells(_array(table, "row"), _array(table, "column"), _array(table, "count"))
        rows, columns = self.layout.shard_rows(i), self.layout.shard_rows(j)
        self._check(COOCCURRENCE, i, j, {"row": (cells.row, rows), "column": (cells.column, columns)})
        count = cells.count
        if not (count.min() > 0 and count.max() < np.inf):  # the least and the most are NaN where any is
            self._refuse(COOCCURRENCE, i, j, "count", count, (count > 0) & (count < np.inf), "be finite and > 0")
        return cells

    @property
    def tells_names(self) -> bool:
        """Whether mentions say which part of their weight names give."""
        return "named" in self.manifest.counts

    @property
    def is_weighted(self) -> bool:
        """Whether training triples have weights."""
        return bool(self.manifest.counts.get("weighted"))

    def triples(self, i: int, j: int, split: str = "train") -> Triples:
        """The triples whose head lies in shard i and whose tail in shard j; offsets within the shards.

        raises DistjointError for an end outside its shard, and for a weight that is not above zero
        """
        weighted = split == "train" and self.is_weighted
        table = self._partition(triples_of(split), i, j, (*_ENDS, *("weight",) * weighted))
        if table is None:
            return Triples.together()
        head, relation, tail = (_array(table, name).astype(np.int64) for name in _ENDS)
        triples = Triples(head, relation, tail)
        if weighted:
            weight: Floats = _array(table, "weight")
            if not (weight.min() > 0 and weight.max() < np.inf):
                good = (weight > 0) & (weight < np.inf)
                self._refuse(triples_of(split), i, j, "weight", weight, good, "be finite and > 0")
            triples = replace(triples, weight=weight)
        heads, tails = self.layout.shard_rows(i), self.layout.shard_rows(j)
        limits = {"head": (triples.head, heads), "tail": (triples.tail, tails)}
        if "relations" in self.manifest.counts:
            limits["relation"] = triples.relation, self.manifest.counts["relations"]
        self._check(triples_of(split), i, j, limits)
        return triples

    def samples(self, stream: str, i: int, j: int, columns: Mapping[str, int | None]) -> dict[str, NDArray[Any]]:
        """Columns of partition (i, j) of any stream, by name; none where it is empty.

        columns   for each what its values must lie below, as the rows of a shard; None for what is no index
        """
        table = self._partition(stream, i, j, tuple(columns))
        if table is None:
            return {}
        found = {name: _array(table, name).copy() for name in columns}
        limits = {name: (found[name], limit) for name, limit in columns.items() if limit is not None}
        self._check(stream, i, j, limits)
        return found

    def pairs(self, i: int, j: int) -> PairSamples:
        """The pairs whose entity lies in shard i and whose word in shard j."""
        limits = {"entity": self.layout.shard_rows(i), "word": self.layout.shard_rows(j), "weight": None}
        found = self.samples(PAIRS, i, j, limits)
        if not found:
            return PairSamples(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
        return PairSamples(**found)

    def _check(self, stream: str, i: int, j: int, limits: dict[str, tuple[NDArray[Any], int]]) -> None:
        """Refuse indices outside [0, limit): a compiled loop would read and write anywhere."""
        for column, (values, limit) in limits.items():
            if values.min() < 0 or values.max() >= limit:
                good = (values >= 0) & (values < limit)
                self._refuse(stream, i, j, column, values, good, f"lie between 0 and {limit - 1}")

    def _refuse(
        self, stream: str, i: int, j: int, column: str, values: NDArray[Any], good: Bools, rule: str
    ) -> NoReturn:
        """Name the first value of a partition that is not good."""
        span = self.manifest.partition(stream, i, j)
        assert span is not None, "an empty partition has no bad value"
        file, at = self.manifest.files[span.file], int(np.flatnonzero(~good)[0])
        group = int(np.searchsorted(np.cumsum(file.row_groups), span.start + at, side="right"))
        raise DistjointError(
            f"{self.folder / file.path}, row group {group}: column '{column}' holds {values[at]}; it must {rule}"
        )

    def split(self, split: str) -> Triples:
        """All triples of a split by row id: what evaluation ranks and filters with.

        split   `train`, `valid`, `test`, or `valid_negatives`, `test_negatives`; empty where the dataset has none
        """
        parts: list[Triples] = []
        ids = [self.layout.rows_of(shard) for shard in range(self.layout.shards)]
        for span in self.manifest.streams.get(triples_of(split), ()):
            triples = self.triples(span.i, span.j, split)
            parts.append(Triples(ids[span.i][triples.head], triples.relation, ids[span.j][triples.tail]))
        return Triples.together(*parts)

    @property
    def has_types(self) -> bool:
        """Whether types of entities are known."""
        return any(file.path == TYPES for file in self.manifest.files)

    def domains(self) -> Domains | None:
        """Where entities may stand by their types, as observed in training; None where no types are known.

        raises DistjointError when types.parquet is damaged
        """
        if not self.has_types:
            return None
        table = self.read(TYPES, None)
        with _reading(self.folder / TYPES):
            if not {"row", "type"} <= set(table.column_names):
                raise pa.ArrowInvalid("its columns are not row, type")
            train, relations = self.split("train"), self.manifest.counts["relations"]
            ends = (train.head, train.relation, train.tail)
            return observed_domains(table, self.layout.is_entity(np.arange(self.layout.rows)), relations, ends)

    def _partition(self, stream: str, i: int, j: int, columns: tuple[str, ...]) -> pa.Table | None:
        span = self.manifest.partition(stream, i, j)
        return None if span is None else self.read_span(span, list(columns))

    def read_span(self, span: Span, columns: list[str]) -> pa.Table:
        """The rows of a span, reading only the row groups that hold them."""
        file = self.manifest.files[span.file]
        ends = np.cumsum(file.row_groups)
        first = int(np.searchsorted(ends, span.start, side="right"))
        last = int(np.searchsorted(ends, span.stop, side="left"))
        skipped = int(ends[first - 1]) if first else 0
        place = self.folder / file.path
        groups = list(range(first, last + 1))
        with _reading(place), place.open_input(ranges=True) as stream:
            # On a store, a few columns are one request where they are read ahead, and one each where they are not.
            parquet = pq.ParquetFile(
                stream,
                metadata=self._footers.get(span.file),
                page_checksum_verification=True,
                pre_buffer=not place.is_local,
            )
            if span.file not in self._footers:
                self._footers[span.file] = _checked(parquet.metadata, file, stream.size())
            table = parquet.read_row_groups(groups, columns=columns, use_threads=False)
            for name in columns:
                if table.field(name).type != _TYPES[name]:
                    raise pa.ArrowInvalid(f"column '{name}' is {table.field(name).type}, not {_TYPES[name]}")
        found = table.slice(span.start - skipped, span.stop - span.start)
        if len(found) != span.stop - span.start:
            raise DistjointError(f"{place}: holds fewer rows than the manifest says; prepare it again")
        return found

    def read(self, name: str, columns: list[str] | None) -> pa.Table:
        place = self.folder / name
        with _reading(place):
            return pq.read_table(pa.BufferReader(self.file(name)), columns=columns, page_checksum_verification=True)


def _checked(footer: pq.FileMetaData, file: File, size: int) -> pq.FileMetaData:
    """The footer of a Parquet file, when it says what the manifest says and its columns fill the file.

    raises ArrowInvalid otherwise: a damaged footer must not send a reader to another page, which is whole too
    """
    groups = [footer.row_group(k) for k in range(footer.num_row_groups)]
    if tuple(group.num_rows for group in groups) != file.row_groups:
        raise pa.ArrowInvalid("its row groups are not those of the manifest")
    end = 4  # "PAR1"
    for group in groups:
        for column in (group.column(k) for k in range(group.num_columns)):
            if column.num_values != group.num_rows or end != (column.dictionary_page_offset or column.data_page_offset):
                raise pa.ArrowInvalid("its footer is at odds with its pages")
            end += column.total_compressed_size
    if end + footer.serialized_size + 8 != size:
        raise pa.ArrowInvalid("its footer is at odds with its pages")
    return footer


@contextmanager
def _reading(place: Location) -> Iterator[None]:
    """Errors of reading Parquet as a DistjointError that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, IndexError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DistjointError(f"{place}: damaged or not Parquet ({reason}); prepare it again") from error


def _array(table: pa.Table, name: str) -> NDArray[Any]:
    return table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
