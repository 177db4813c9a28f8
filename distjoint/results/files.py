"""Tables of questions and of answers in files: TSV, CSV, Parquet and JSON Lines, read and written by blocks.

What a file is, its name says; it may be packed by gzip, bzip2 or zstd. Lines of TSV are cut at tabs and nowhere else:
no name is misread for a quotation mark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.columns import PARTS, roles
from distjoint.data.encodings import marked_wide, wide_encoding
from distjoint.results.exports.base import open_whole
from distjoint.storage import Location

FORMATS: Mapping[str, tuple[str, ...]] = {
    "tsv": ("tsv", "txt", "tab"),
    "csv": ("csv",),
    "parquet": ("parquet", "pq"),
    "jsonl": ("jsonl", "ndjson", "json"),
}
Columns = dict[str, Any]
"""Some answers by column: arrays of numpy or Arrow, or lists, of one length."""
_PACKED = {"gz": "gzip", "bz2": "bz2", "zst": "zstd"}
_MISSING = ["", "?"]
_OTHERS = ";|"
"""What parts columns where the mark of the ending parts nothing."""
_HEAD = 1 << 20
"""Bytes within which the first line of a file must end."""


def format_of(place: Location) -> tuple[str, str | None]:
    """The format of a file and how it is packed, by its name. raises UsageError for another ending"""
    parts = place.name.lower().split(".")
    packed = _PACKED.get(parts[-1])
    ending = parts[-2 if packed and len(parts) > 1 else -1]
    for form, known in FORMATS.items():
        if ending in known:
            if form == "parquet" and packed:
                raise UsageError(f"{place}: Parquet is packed inside; give it without .{parts[-1]}")
            return form, packed
    endings = [f".{each}" for all_of_one in FORMATS.values() for each in all_of_one]
    raise UsageError(f"{place}: the ending says the format; give one of {', '.join(endings)}")


@dataclass(frozen=True)
class QuestionFile:
    """A file of questions.

    columns   those that are read, in the order in which a TSV or CSV without a header line has them; all of strings
    """

    place: Location
    columns: tuple[str, ...]
    unnamed: int
    """How many of the first columns a file without a header line has."""

    def batches(self, rows: int) -> Iterator[pa.Table]:
        """The questions, so many at a time: columns of strings, null where nothing is said; those absent are all null.

        raises   DistjointError for a file that is missing, empty, or not of its format
        """
        held: list[pa.Table] = []
        count, total = 0, 0
        try:
            for table in self._tables():
                held.append(self._of_columns(table))
                count, total = count + len(table), total + len(table)
                while count >= rows:
                    whole = pa.concat_tables(held)
                    yield whole.slice(0, rows)
                    held, count = [whole.slice(rows)], count - rows
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise DistjointError(f"{self.place}: after {total:,} lines: {str(error).splitlines()[0]}") from error
        if not total:
            raise DistjointError(f"{self.place}: no questions in it")
        if count:
            yield pa.concat_tables(held)

    @cached_property
    def ignored(self) -> list[str]:
        """Columns of the file that are not read."""
        return [name for name in self._names if name not in self.columns]

    @cached_property
    def header(self) -> str | None:
        """The first line where it is taken for a header; None for a format that has none."""
        if format_of(self.place)[0] in ("parquet", "jsonl") or not self._has_header:
            return None
        return ", ".join(self._first)

    @property
    def renamed(self) -> bool:
        """Whether the header has other names for the columns of a triple, such as subject."""
        return bool(self.header) and self._names != self._first

    @property
    def marked(self) -> str | None:
        """What parts columns where it is not what the ending says; None where it is, or the format has none."""
        if format_of(self.place)[0] in ("parquet", "jsonl"):
            return None
        return self.between if self.between in _OTHERS else None

    @cached_property
    def between(self) -> str:
        """What parts the columns of a TSV or CSV: as its ending says; another mark where that parts nothing."""
        usual = "\t" if format_of(self.place)[0] == "tsv" else ","
        if len(self.columns) == 1 or usual in self._line:
            return usual
        return next((mark for mark in _OTHERS if len(_cut(self._line, mark)) >= self.unnamed), usual)

    @cached_property
    def _names(self) -> list[str]:
        form, _ = format_of(self.place)
        if form == "parquet":
            with self._opened() as stream:
                try:
                    return list(pq.read_schema(stream).names)
                except pa.ArrowException as error:
                    raise DistjointError(f"{self.place}: damaged or not Parquet ({error})") from error
        if form == "jsonl":
            return []
        first = self._first
        if self._has_header:
            found = {place: part for part, place in roles(first).items()}
            return [name if name in self.columns else found.get(place, name) for place, name in enumerate(first)]
        if len(first) != self.unnamed:
            wanted = f"{self.unnamed} ({', '.join(self.columns[: self.unnamed])})"
            raise DistjointError(
                f"{self.place}, line 1: {len(first)} column{'s' * (len(first) != 1)} and no header; give {wanted}, "
                f"or a header line of {', '.join(self.columns)}"
            )
        return list(self.columns[: self.unnamed])

    @cached_property
    def _has_header(self) -> bool:
        """Whether the first line of a TSV or CSV has names of columns, or all of a triple as tables call them."""
        # One alone may be a name: `head part_of body` is a triple.
        if sum(name in self.columns for name in self._first) >= min(2, len(self.columns)):
            return True
        return len(self.columns) >= len(PARTS) and len(set(roles(self._first).values())) == len(PARTS)

    @cached_property
    def _first(self) -> list[str]:
        """The fields of the first line of a TSV or CSV."""
        return _cut(self._line, self.between)

    @cached_property
    def _line(self) -> str:
        """The first line of a TSV or CSV."""
        with self._opened() as stream:
            start = stream.read(_HEAD)
        line = start.split(b"\n", 1)[0].rstrip(b"\r").removeprefix(b"\xef\xbb\xbf")
        if not start:
            raise DistjointError(f"{self.place}: no questions in it")
        if wide := marked_wide(start) or (b"\0" in line and wide_encoding(start)):
            convert = f"convert it with 'iconv -f {wide.upper()} -t UTF-8'"
            raise DistjointError(f"{self.place}: in {wide.upper()}, not UTF-8; {convert}")
        if len(line) == _HEAD:
            raise DistjointError(f"{self.place}: its first line has no end within {_HEAD:,} bytes")
        try:
            return str(line.decode())
        except UnicodeDecodeError as error:
            raise DistjointError(f"{self.place}, line 1: not UTF-8 ({error.reason})") from error

    def _tables(self) -> Iterator[pa.Table]:
        form, _ = format_of(self.place)
        with self._opened() as stream:
            if form == "parquet":
                present = [name for name in self.columns if name in self._names]
                for batch in pq.ParquetFile(stream).iter_batches(columns=present):
                    yield pa.Table.from_batches([batch])
                return
            if form == "jsonl":
                self._refuse_array()
                schema = pa.schema([(name, pa.string()) for name in self.columns])
                options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
                reader = pajson.open_json(stream, parse_options=options)
            else:
                names = self._names
                separator, quote = self.between, False if self.between == "\t" else '"'
                reader = pacsv.open_csv(
                    stream,
                    pacsv.ReadOptions(column_names=names, skip_rows=int(self._has_header)),
                    pacsv.ParseOptions(delimiter=separator, quote_char=quote, double_quote=bool(quote)),
                    pacsv.ConvertOptions(
                        column_types={name: pa.string() for name in names},
                        null_values=_MISSING,
                        strings_can_be_null=True,
                    ),
                )
            for batch in reader:
                yield pa.Table.from_batches([batch])

    def _refuse_array(self) -> None:
        with self._opened() as stream:
            if stream.read(_HEAD).lstrip().startswith(b"["):
                raise DistjointError(f"{self.place}: one JSON array; write JSON Lines, a line for each of its objects")

    def _of_columns(self, table: pa.Table) -> pa.Table:
        """The columns that are read, as strings."""
        found = []
        for name in self.columns:
            if name not in table.column_names:
                found.append(pa.chunked_array([pa.nulls(len(table), pa.string())]))
                continue
            column = table.column(name)
            if pa.types.is_nested(column.type):
                raise DistjointError(f"{self.place}: column '{name}' holds {column.type}; it must be names")
            column = column.cast(pa.string())
            found.append(pc.if_else(pc.is_in(column, pa.array(_MISSING)), None, column))
        return pa.table(found, names=list(self.columns))

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        if not self.place.exists():
            raise DistjointError(f"{self.place}: no such file")
        form, packed = format_of(self.place)
        with self.place.open_input(ranges=form == "parquet") as stream:
            yield pa.CompressedInputStream(stream, packed) if packed else stream


def _cut(line: str, between: str) -> list[str]:
    """The fields of a line; quotes are such where no tabs part columns."""
    if between == "\t":
        return line.split("\t")
    import csv

    return next(csv.reader([line], delimiter=between), [""])


class AnswerFile:
    """A file of answers that is being written."""

    def __init__(self, stream: Any, form: str, schema: pa.Schema) -> None:
        self._stream, self._form, self._schema = stream, form, schema
        self._writer = pq.ParquetWriter(stream, schema, compression="zstd") if form == "parquet" else None
        if form in ("tsv", "csv"):
            self._lines([schema.names])

    def write(self, columns: Columns) -> None:
        """Write some answers: a column for each field of the schema."""
        self._write(self._table(columns))

    def write_by(self, parts: Sequence[Columns], column: str) -> int:
        """Write parts in the order of a column, as they come where that is equal; returns how many lines there are."""
        if not parts:
            return 0
        table = pa.concat_tables(map(self._table, parts)).combine_chunks()
        # Arrow's sort keeps no order of what is equal.
        order = np.argsort(np.from_dlpack(table.column(column).combine_chunks()), kind="stable")
        self._write(table.take(pa.array(order)))
        return len(table)

    def _table(self, columns: Columns) -> pa.Table:
        arrays = []
        for each in self._schema:
            column = columns[each.name]
            arrays.append(column if isinstance(column, pa.Array) else pa.array(column, each.type))
        return pa.table(arrays, schema=self._schema)

    def _write(self, table: pa.Table) -> None:
        if self._writer is not None:
            self._writer.write_table(table)
        elif self._form == "jsonl":
            rows = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in table.to_pylist())
            self._stream.write("".join(f"{row}\n" for row in rows).encode())
        else:
            texts = [pc.fill_null(column.cast(pa.string()), "").to_pylist() for column in table.columns]
            self._lines(zip(*texts, strict=True))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _lines(self, rows: Any) -> None:
        if self._form == "tsv":
            for row in rows:
                if any("\t" in field or "\n" in field for field in row):
                    raise DistjointError(f"{row!r}: a name holds a tab or the end of a line; write .parquet or .csv")
                self._stream.write(("\t".join(row) + "\n").encode())
            return
        import csv
        import io

        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._stream.write(text.getvalue().encode())


@contextmanager
def answer_file(out: Location, schema: pa.Schema) -> Iterator[AnswerFile]:
    """A file of answers, that is there when all is written and not before.

    raises   UsageError for an ending that is of no format
    """
    form, packed = format_of(out)
    with open_whole(out) as stream:
        target = pa.CompressedOutputStream(stream, packed) if packed else stream
        file = AnswerFile(target, form, schema)
        yield file
        file.close()
        if packed:
            target.close()


def read_names(place: Location, column: str) -> Sequence[str]:
    """All names of a file: a line each, or a column of that name. raises DistjointError for an empty file"""
    found: list[str] = []
    for table in QuestionFile(place, (column,), 1).batches(1 << 16):
        found += [name for name in table.column(column).to_pylist() if name is not None]
    return found
