"""Parquet: one table of columns name, kind and vector, for programs that read tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from distjoint.results.exports.base import Export, NamedVectors, blocks, open_whole, row_offsets
from distjoint.storage import Location

_SCHEMA = pa.schema([("name", pa.string()), ("kind", pa.string()), ("vector", pa.list_(pa.float32()))])


class Parquet(Export):
    """Columns name, kind (`word`, `entity`, `relation`, ...) and vector, a list of float32; a row for each vector.

    What the vectors are is JSON in the file's metadata, `distjoint`.
    """

    name: ClassVar[str] = "parquet"
    holds_model: ClassVar[bool] = True

    def write(self, spaces: Sequence[NamedVectors], out: Location) -> None:
        schema = _SCHEMA.with_metadata({"distjoint": json.dumps(self.about)} if self.about else None)
        with (
            open_whole(out) as stream,
            pq.ParquetWriter(stream, schema, compression="zstd", write_page_checksum=True) as writer,
        ):
            for space in spaces:
                for names, vectors in blocks(space):
                    lists = pa.ListArray.from_arrays(row_offsets(vectors), vectors.ravel())
                    kinds = pa.array([space.kind] * len(vectors))
                    writer.write_batch(pa.record_batch([pa.array(names), kinds, lists], schema=schema))
