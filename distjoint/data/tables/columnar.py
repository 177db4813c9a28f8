"""Tables with a schema: Parquet, and Arrow's own files, as Spark, pandas, Polars and Hugging Face write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from distjoint.base.errors import DistjointError
from distjoint.data.columns import Chosen, TableForm
from distjoint.data.noticed import Noticed
from distjoint.data.tables.base import TripleBatch, TripleFile, TripleFormat, note_columns

_AT_ONCE = 1 << 17


class ParquetTable(TripleFormat):
    """Parquet, by its first bytes or its ending."""

    title: ClassVar[str] = "Parquet"

    @classmethod
    def knows(cls, source: TripleFile, form: TableForm) -> bool:
        return source.begin.startswith(b"PAR1") or source.name.endswith((".parquet", ".pq"))

    def read(self, source: TripleFile, form: TableForm, noticed: Noticed) -> Iterator[TripleBatch]:
        if not source.begin:
            raise DistjointError(f"{source.file}: the file is empty")
        with reading(source, self.title), source.file.open_input() as stream:
            table = pq.ParquetFile(stream, page_checksum_verification=True)
            names = tuple(table.schema_arrow.names)
            chosen = _chosen(source, form, names, noticed)
            wanted = [names[place] for place in chosen.positions]
            yield from _batches(source, chosen, table.iter_batches(_AT_ONCE, columns=wanted), names)


class ArrowTable(TripleFormat):
    """Files and streams of Arrow's IPC, Feather among them."""

    title: ClassVar[str] = "Arrow"

    @classmethod
    def knows(cls, source: TripleFile, form: TableForm) -> bool:
        return source.begin.startswith((b"ARROW1", b"\xff\xff\xff\xff"))

    def read(self, source: TripleFile, form: TableForm, noticed: Noticed) -> Iterator[TripleBatch]:
        with reading(source, self.title), source.file.open_input() as stream:
            if source.begin.startswith(b"ARROW1"):
                table = pa.ipc.open_file(stream)
                batches = (table.get_batch(k) for k in range(table.num_record_batches))
            else:
                table = batches = pa.ipc.open_stream(stream)
            names = tuple(table.schema.names)
            yield from _batches(source, _chosen(source, form, names, noticed), batches, names)


@contextmanager
def reading(source: TripleFile, title: str) -> Iterator[None]:
    """Errors of Arrow as a DistjointError that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DistjointError(f"{source.file}: damaged or not {title} ({reason})") from error


def _chosen(source: TripleFile, form: TableForm, names: tuple[str, ...], noticed: Noticed) -> Chosen:
    chosen = source.table(len(names), names).choose(form)
    note_columns(noticed, source, chosen, names if form.columns is None else None)
    return chosen


def _batches(
    source: TripleFile, chosen: Chosen, batches: Iterator[pa.RecordBatch], names: tuple[str, ...]
) -> Iterator[TripleBatch]:
    before = 0
    for batch in batches:
        # A Parquet reader gives the columns in the order of the file, and only those that were asked for.
        columns = {place: batch.column(batch.schema.names.index(names[place])) for place in chosen.positions}
        yield TripleBatch.of(source.file, chosen, columns, batch.num_rows, before)
        before += batch.num_rows
