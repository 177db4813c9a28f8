"""Writing samples to storage, partition by partition, as Parquet with page checksums.

A partition is a span of rows in one file. Small partitions share a row group, because thousands of tiny ones
cost more to read than they save; a partition of a row group's size or more begins a row group of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from distjoint.base.arrays import Ints
from distjoint.data.manifest import File
from distjoint.storage import Location
from distjoint.table.layout import Layout

GROUP_ROWS = 1 << 17
GROUP_ROWS_MOST = 1 << 20

CELLS = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("column", pa.int32(), nullable=False),
        pa.field("count", pa.float32(), nullable=False),
    ]
)
TRIPLES = pa.schema([pa.field(name, pa.int32(), nullable=False) for name in ("head", "relation", "tail")])
WEIGHTED = TRIPLES.append(pa.field("weight", pa.float32(), nullable=False))
HELD_OUT = TRIPLES.append(pa.field("unseen", pa.bool_(), nullable=False))
PAIR_SAMPLES = pa.schema(
    [
        pa.field("entity", pa.int32(), nullable=False),
        pa.field("word", pa.int32(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("how", pa.string(), nullable=False),
    ]
)

MENTION_SAMPLES = pa.schema(
    [
        pa.field("entity", pa.int32(), nullable=False),
        pa.field("word", pa.int32(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
    ]
)
NAMED_MENTION_SAMPLES = pa.schema([*MENTION_SAMPLES, pa.field("named", pa.float32(), nullable=False)])
"""Mentions, and the part of each weight that names give; datasets of 0.1.0 and before do not tell."""


@dataclass
class Written:
    """What a writer left on storage: one file, and the partitions in it.

    spans    (i, j, start, stop) of each partition that holds samples
    """

    file: File
    spans: list[tuple[int, int, int, int]] = field(default_factory=list)


class PartitionWriter:
    """Writes the partitions of one file in the order they are added."""

    def __init__(self, folder: Location, path: str, schema: pa.Schema) -> None:
        """path: relative to the dataset's folder"""
        self.folder, self.path, self.schema = folder, path, schema
        self._rows = self._held = 0
        self._groups: list[int] = []
        self._spans: list[tuple[int, int, int, int]] = []
        self._waiting: list[pa.Table] = []
        self._stack = ExitStack()
        self._hashed: HashedFile | None = None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> PartitionWriter:
        # Unwound here when the first bytes fail already, so that the error names the file.
        with ExitStack() as stack:
            self._hashed = HashedFile(stack.enter_context((self.folder / self.path).open_output()))
            writer = pq.ParquetWriter(
                self._hashed,
                self.schema,
                # Dictionaries on every column and LZ4: 5.0 bytes a cell, decoded at 110 M cells/s on one core.
                # Zstandard would make it 4.4 bytes and 53 M cells/s, and decoding must not hold up training.
                compression="lz4",
                use_dictionary=True,
                write_statistics=False,
                write_page_checksum=True,
            )
            self._writer = stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def add(self, i: int, j: int, columns: Mapping[str, NDArray[Any]]) -> None:
        """Append partition (i, j); nothing where it is empty."""
        table = pa.table([pa.array(columns[name]) for name in self.schema.names], schema=self.schema)
        if not len(table):
            return
        self._spans.append((i, j, self._rows, self._rows + len(table)))
        self._rows += len(table)
        if len(table) >= GROUP_ROWS:
            self._flush()
        self._waiting.append(table)
        self._held += len(table)
        if self._held >= GROUP_ROWS:
            self._flush()

    def __exit__(self, *error: Any) -> None:
        if error[0] is not None:
            self._stack.__exit__(*error)
            return
        with self._stack:  # an error of the last rows is named like any other
            self._flush()

    def written(self) -> Written:
        """What lies on storage now. To be called when the writer is closed."""
        assert self._hashed is not None
        groups = tuple(self._groups)
        file = File(
            path=self.path, bytes=self._hashed.bytes, rows=self._rows, checksum=self._hashed.checksum, row_groups=groups
        )
        return Written(file, self._spans)

    def _flush(self) -> None:
        if not self._held:
            return
        assert self._writer is not None
        table = pa.concat_tables(self._waiting).combine_chunks()
        # Equal row groups, none above the most a reader should have to decode at once.
        groups = -(-self._held // GROUP_ROWS_MOST)
        size = -(-self._held // groups)
        self._writer.write_table(table, row_group_size=size)
        self._groups.extend(min(size, self._held - start) for start in range(0, self._held, size))
        self._waiting, self._held = [], 0


class HashedFile:
    """A file being written that keeps its checksum, so that nothing is read back from storage for it."""

    closed = False

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream, self._digest, self.bytes = stream, xxhash.xxh3_64(), 0

    @property
    def checksum(self) -> str:
        return f"xxh3:{self._digest.hexdigest()}"

    def write(self, content: Any) -> int:
        view = memoryview(content)
        self._digest.update(view)
        self._stream.write(view)
        self.bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        return None

    def close(self) -> None:
        return None


def write_table(folder: Location, path: str, table: pa.Table) -> File:
    """Write a whole table, such as `rows.parquet`."""
    with (folder / path).open_output() as stream:
        hashed = HashedFile(stream)
        pq.write_table(table, hashed, compression="zstd", write_page_checksum=True, row_group_size=GROUP_ROWS_MOST)
    groups = tuple(min(GROUP_ROWS_MOST, len(table) - start) for start in range(0, max(len(table), 1), GROUP_ROWS_MOST))
    return File(path=path, bytes=hashed.bytes, rows=len(table), checksum=hashed.checksum, row_groups=groups)


def by_partition(layout: Layout, first: Ints, second: Ints, seed: int) -> Iterator[tuple[int, int, Ints, Ints, Ints]]:
    """Sort samples into partitions, in random order within each.

    first, second   int64[n]: the row ids of the two ends
    yields          i, j, indices of the samples, offsets of their first row in shard i, of their second in j
    """
    (shard, offset), (other, other_offset) = layout.locate(first), layout.locate(second)
    shuffled = np.random.default_rng([seed, 2]).permutation(len(first))
    partition = (shard * layout.shards + other)[shuffled]
    order = shuffled[np.argsort(partition, kind="stable")]
    sizes = np.bincount(partition, minlength=layout.shards**2)
    ends = np.cumsum(sizes)
    for number in np.flatnonzero(sizes).tolist():
        chosen = order[ends[number] - sizes[number] : ends[number]]
        yield number // layout.shards, number % layout.shards, chosen, offset[chosen], other_offset[chosen]
