"""Parquet: one table of columns name, kind and vector, for programs that read tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from distjoint.evaluate.space import Space
from distjoint.results.exports.base import Export, blocks, open_whole, row_offsets
from distjoint.storage import Location

_SCHEMA = pa.schema([("name", pa.string()), ("kind", pa.string()), ("vector", pa.list_(pa.float32()))])


class Parquet(Export):
    """Columns name, kind (`word` or `entity`) and vector, a list of float32; a row for each vector."""

    name: ClassVar[str] = "parquet"

    def write(self, spaces: Sequence[Space], out: Location) -> None:
        with (
            open_whole(out) as stream,
            pq.ParquetWriter(stream, _SCHEMA, compression="zstd", write_page_checksum=True) as writer,
        ):
            for space in spaces:
                for names, vectors in blocks(space):
                    lists = pa.ListArray.from_arrays(row_offsets(vectors), vectors.ravel())
                    kinds = pa.array([space.kind] * len(vectors))
                    writer.write_batch(pa.record_batch([pa.array(names), kinds, lists], schema=_SCHEMA))
