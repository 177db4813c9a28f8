"""Texts in tables: Parquet, and Arrow files as the library `datasets` writes them; each row is a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from distjoint.base.errors import DistjointError
from distjoint.data.lines import Block, Said
from distjoint.data.tables.base import is_text
from distjoint.storage import Location

ARROW = (".arrow", ".feather")
TABLES = (".parquet", ".pq", *ARROW)
_AT_ONCE = 256


def table_blocks(file: Location, column: str) -> Iterator[Block]:
    """The texts of a column, block by block. Rows without one are left out and noticed.

    raises DistjointError naming the column that is not there or holds no text, and a file that is damaged
    """
    empty, example, row, before = 0, "", 0, 0
    try:
        with file.open_input() as stream:
            for batch, share in _batches(file, stream, column):
                batch.validate(full=True)  # what is read of damaged offsets would be any memory
                texts: list[str | None] = pc.cast(batch, pa.large_string()).to_pylist()
                if None in texts:
                    empty, example = (
                        empty + texts.count(None),
                        example or f"row {row + texts.index(None) + 1:,} of {file}",
                    )
                row, read = row + len(texts), int(share * (row + len(texts)))
                yield Block(file, documents([text for text in texts if text]), read - before, last=False)
                before = read
    except UnicodeDecodeError as error:
        raise DistjointError(f"{file}: column '{column}' holds bytes that are not UTF-8 past row {row:,}") from error
    except (pa.ArrowException, OSError) as error:
        if "UTF8" in str(error):
            raise DistjointError(
                f"{file}: column '{column}' holds bytes that are not UTF-8 past row {row:,}"
            ) from error
        raise DistjointError(f"{file}: damaged or not {_kind(file)} ({str(error).splitlines()[0]})") from error
    yield Block(file, b"\n", 0, last=True, noticed=(without_text(empty, example),) * bool(empty))


def without_text(count: int, example: str) -> Said:
    """What is said of records that have no text."""
    return "Records without text, left out", example, "", count


def documents(texts: Sequence[str]) -> bytes:
    """Records as lines: a newline inside a record does not end its document."""
    return ("\n".join(text.replace("\n", " ") for text in texts) + "\n").encode("utf-8", errors="replace")


def _kind(file: Location) -> str:
    return "Arrow" if file.path.lower().endswith(ARROW) else "Parquet"


def _batches(file: Location, stream: Any, column: str) -> Iterator[tuple[Any, float]]:
    """A column piece by piece, with the stored bytes that a row takes."""
    if _kind(file) == "Parquet":
        source = pq.ParquetFile(stream, page_checksum_verification=True)
        _check(file, source.schema_arrow, column)
        share = file.size() / max(source.metadata.num_rows, 1)
        for batch in source.iter_batches(batch_size=_AT_ONCE, columns=[column]):
            yield batch.column(0), share
        return
    begin = bytes(stream.read(6))
    stream.seek(0)
    if begin == b"ARROW1":
        whole = pa.ipc.open_file(stream)
        _check(file, whole.schema, column)
        batches: Iterator[Any] = (whole.get_batch(k) for k in range(whole.num_record_batches))
    else:
        batches = stream_of = pa.ipc.open_stream(stream)
        _check(file, stream_of.schema, column)
    for batch in batches:
        for start in range(0, batch.num_rows, _AT_ONCE):
            yield batch.column(column).slice(start, _AT_ONCE), 0.0


def _check(file: Location, schema: Any, column: str) -> None:
    if column not in schema.names:
        raise DistjointError(
            f"{file}: no column '{column}', it has {', '.join(schema.names)}; name the text's with --text-column"
        )
    kind = schema.field(column).type
    if not is_text(kind):
        raise DistjointError(f"{file}: column '{column}' holds {kind}, not text")
