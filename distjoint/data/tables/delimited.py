"""Lines of columns: TSV, CSV, and what else parts columns by one character; with a header or without."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from distjoint.base.errors import DistjointError
from distjoint.data.columns import Chosen, TableForm, is_header
from distjoint.data.encodings import marked_wide, wide_encoding
from distjoint.data.lines import decoded, open_text
from distjoint.data.noticed import Noticed
from distjoint.data.tables.base import NotAHeaderError, TripleBatch, TripleFile, TripleFormat, note_columns
from distjoint.data.tables.drawn import refuse_drawn

SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", " ": "blanks"}
_SAMPLED = 50
_AT_ONCE = 8 << 20
_EMPTY = "Empty CSV"
"""What Arrow says of a file without lines."""


@dataclass(frozen=True)
class LineLayout:
    """How the lines of a file are laid out.

    first     fields of the first line that is no comment
    names     of columns, where there are any
    guessed   whether they are a header that only looks like one
    above     lines above the triples
    """

    separator: str
    first: list[str]
    names: tuple[str, ...] | None
    guessed: bool
    above: int


class Delimited(TripleFormat):
    """TSV and CSV, by the ending of the name; where its separator parts nothing, by what does."""

    title: ClassVar[str] = "table"

    @classmethod
    def knows(cls, source: TripleFile, form: TableForm) -> bool:
        return True

    def read(self, source: TripleFile, form: TableForm, noticed: Noticed) -> Iterator[TripleBatch]:
        if not source.begin:
            raise DistjointError(f"{source.file}: the file is empty")
        if not source.lines:
            raise DistjointError(f"{source.file}: no triples in it")
        refuse_binary(source)
        if source.cut and len(source.begin.splitlines()) < 2:
            raise DistjointError(
                f"{source.file}, line 1: longer than {len(source.begin):,} bytes; a line holds one triple of names"
            )
        refuse_drawn(source)
        layout = _layout(source, form, noticed)
        first, names = layout.first, layout.names
        try:
            chosen = source.table(len(first), names).choose(form)
        except DistjointError:
            if form.columns is None and form.weight is None and (form.relation is None or len(first) == 1):
                self._diagnose(source, layout, _wanted(form))
            raise
        if names:
            note_columns(noticed, source, chosen, names if form.columns is None else None)
        if layout.guessed:
            note_header(noticed, source, first)
        yield from self._batches(source, layout, chosen, noticed)

    def _batches(
        self, source: TripleFile, layout: LineLayout, chosen: Chosen, noticed: Noticed
    ) -> Iterator[TripleBatch]:
        if not _has_more(source, layout):
            return  # a header alone
        separator, names = layout.separator, layout.names
        quoting = '"' if separator != "\t" else False
        kinds = {f"f{k}": pa.string() for k in range(len(layout.first))}
        convert = pa_csv.ConvertOptions(
            column_types=kinds, include_columns=[f"f{k}" for k in chosen.positions], check_utf8=True
        )
        reading = pa_csv.ReadOptions(autogenerate_column_names=True, block_size=_AT_ONCE, skip_rows=layout.above)
        before = 0
        try:
            with open_text(source.file) as (stream, _):
                parsing = pa_csv.ParseOptions(delimiter=separator, quote_char=quoting)
                for table in _open(source, stream, reading, parsing, convert):
                    columns = dict(zip(chosen.positions, table.columns, strict=True))
                    if quoting:
                        _refuse_breaks(source, columns, before)
                    kept = _without_headers(source, names, chosen, columns, layout.guessed, noticed) if names else None
                    if kept is not None:
                        columns = {place: column.filter(kept) for place, column in columns.items()}
                    rows = len(next(iter(columns.values())))
                    yield TripleBatch.of(source.file, chosen, columns, rows, before, first_line=names is None)
                    before += rows
        except (pa.ArrowException, DistjointError) as error:
            if _EMPTY in str(error) and not before:
                raise DistjointError(
                    f"{source.file}, line {layout.above + 1}: a quote that is never closed; one inside quotes is "
                    "written twice"
                ) from error
            self._diagnose(source, layout, None)
            if isinstance(error, DistjointError):
                raise
            raise DistjointError(f"{source.file}: {str(error).splitlines()[0]}") from error

    @staticmethod
    def _diagnose(source: TripleFile, layout: LineLayout, wanted: int | None) -> None:
        """Find the line Arrow could not read and raise an error that shows it; slow, and only after a failure."""
        with open_text(source.file) as (stream, _):
            rest, number = b"", 0
            while True:
                block = bytes(stream.read(1 << 20))
                lines = (rest + block).split(b"\n")
                rest = lines.pop() if block else b""
                for line in lines:
                    number += 1
                    if number > layout.above or layout.names:
                        wanted = _diagnose_line(source, number, line.rstrip(b"\r"), layout.separator, wanted)
                if not block:
                    return


def fields_of(line: str, separator: str) -> list[str]:
    """The fields of one line; quotes are such where commas part columns."""
    if separator == "\t":
        return line.rstrip("\r\n").split(separator)
    return next(csv.reader([line], delimiter=separator), [])


def note_header(noticed: Noticed, source: TripleFile, fields: list[str]) -> None:
    """Say that a line that looks like a header is taken for one."""
    header = f"header '{','.join(fields)}'"
    alone, fix = f"{source.file}: {header} taken as column names", "--no-header keeps it"
    noticed.add("Files whose header is taken as column names", f"{header} of {source.file}", fix, alone=alone)


def refuse_binary(source: TripleFile) -> None:
    """raises DistjointError where a file's first bytes are no text, or in UTF-16"""
    if wide := marked_wide(source.begin) or (b"\0" in source.begin and wide_encoding(source.begin)):
        raise DistjointError(
            f"{source.file}: in {wide.upper()}, not UTF-8; convert it with 'iconv -f {wide.upper()} -t UTF-8'"
        )
    if (at := source.begin.find(b"\0")) >= 0:
        line = source.begin.count(b"\n", 0, at) + 1
        raise DistjointError(
            f"{source.file}, line {line}: a NUL byte, so it is not text; triples are TSV, CSV, Parquet, JSON Lines, "
            "arrays of NumPy or RDF"
        )


def _layout(source: TripleFile, form: TableForm, noticed: Noticed) -> LineLayout:
    comments = _comments(source)
    lines = source.lines[len(comments) :]
    separator = _separator(source, lines, form, noticed)
    first = fields_of(lines[0], separator)
    above = _above(source, len(comments))
    if comments:
        noticed.add("Lines of comment above triples, left out", f"{comments[0]!r} of {source.file}", "", len(comments))
        named = fields_of(comments[-1].lstrip("# "), separator)
        if len(named) == len(first) and form.header is None and is_header(named, form, source.partitions):
            return LineLayout(separator, named, _names(named), False, above)
    header = form.header if form.header is not None else form.by_name or is_header(first, form, source.partitions)
    guessed = header and form.header is None and not form.by_name
    return LineLayout(separator, first, _names(first) if header else None, guessed, above + header)


def _names(fields: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in fields)


def _comments(source: TripleFile) -> list[str]:
    """Lines above the triples that begin with `#` and have other columns, as SNAP has them."""
    count = next((k for k, line in enumerate(source.lines) if not line.startswith("#")), 0)
    comments, rest = source.lines[:count], source.lines[count : count + 1]
    width = rest[0].count("\t") if rest else 0
    return comments if any(line.count("\t") != width for line in comments) and "\t" in "".join(rest) else []


def _separator(source: TripleFile, lines: list[str], form: TableForm, noticed: Noticed) -> str:
    """What parts columns: by the ending of the name, unless that parts nothing and another parts all lines alike."""
    usual = "," if source.name.endswith(".csv") else "\t"
    if usual in lines[0]:
        return usual
    for separator in SEPARATORS:
        rows = [fields_of(line, separator) for line in lines[:_SAMPLED]]
        widths = {len(row) for row in rows}
        enough = len(widths) == 1 and widths.pop() >= _wanted(form)
        if enough and (separator != " " or (all(map(all, rows)) and _is_whole(rows, form))):
            noticed.add(f"Columns that {SEPARATORS[separator]} part, as the lines say, in files", str(source.file))
            return separator
    return usual


def _wanted(form: TableForm) -> int:
    """Columns of a triple."""
    return 3 if form.relation is None else 2


def _is_whole(rows: list[list[str]], form: TableForm) -> bool:
    """Whether several rows have no more columns than a triple, or an option says which: names may hold blanks."""
    if len(rows) < 2:
        return False
    return len(rows[0]) == _wanted(form) or form.columns is not None or form.weight is not None


def _open(
    source: TripleFile,
    stream: Any,
    reading: pa_csv.ReadOptions,
    parsing: pa_csv.ParseOptions,
    convert: pa_csv.ConvertOptions,
) -> pa_csv.CSVStreamingReader:
    """Arrow's reader. One that streams does not see a single line that has no end, so such a file is read at once."""
    try:
        return pa_csv.open_csv(stream, reading, parsing, convert)
    except pa.ArrowInvalid as error:
        if _EMPTY not in str(error):
            raise
    with open_text(source.file) as (again, _):
        content = bytes(again.read(_AT_ONCE))
    return pa_csv.open_csv(pa.BufferReader(content + b"\n"), reading, parsing, convert)


def _has_more(source: TripleFile, layout: LineLayout) -> bool:
    """Whether there is a line with something in it below what is above the triples."""
    return source.cut or any(line.strip() for line in source.all_lines[layout.above :])


def _above(source: TripleFile, comments: int) -> int:
    """Lines above the first one that is no comment and has something in it."""
    full = [number for number, line in enumerate(source.all_lines) if line.strip()]
    return full[comments]


def _without_headers(
    source: TripleFile,
    names: tuple[str, ...],
    chosen: Chosen,
    columns: dict[int, pa.Array],
    guessed: bool,
    noticed: Noticed,
) -> pa.Array | None:
    """Which rows are not the header again, as where files were put together; None for all.

    raises NotAHeaderError where the header was guessed, and a name of a column is also in it, by itself
    """
    places = [place for place in chosen.places if isinstance(place, int)]
    same = [pc.equal(pc.utf8_trim_whitespace(columns[place]), names[place]) for place in places]
    whole = some = same[0]
    for each in same[1:]:
        whole, some = pc.and_(whole, each), pc.or_(some, each)
    if not pc.any(some).as_py():
        return None
    if guessed and not pc.equal(pc.sum(whole), pc.sum(some)).as_py():
        raise NotAHeaderError
    if not pc.any(whole).as_py():
        return None
    noticed.add("Headers further down, left out", f"in {source.file}", count=pc.sum(whole).as_py())
    return pc.invert(whole)


def _refuse_breaks(source: TripleFile, columns: dict[int, pa.Array], before: int) -> None:
    """Refuse names with line breaks, by which a quote that is never closed shows."""
    for column in columns.values():
        broken = pc.match_substring(column, "\n")
        if pc.any(broken).as_py():
            at = pc.index(broken, True).as_py()
            raise DistjointError(
                f"{source.file}, triple {before + at + 1}: {column[at].as_py()[:60]!r} goes over the end of a line; a "
                "quote may never be closed (one inside quotes is written twice)"
            )


def _diagnose_line(source: TripleFile, number: int, line: bytes, separator: str, wanted: int | None) -> int | None:
    if not line:
        return wanted
    if b"\0" in line:
        raise DistjointError(f"{source.file}, line {number}: a NUL byte, so it is not text")
    text = decoded(source.file, line, number)
    fields = text.count(separator) + 1
    if wanted is not None and fields != wanted and '"' not in text:
        hint = ""
        if number == 1 and wanted == 3:
            hint = "; name the three of a triple with --triple-columns" * (fields > wanted)
            hint += "; --relation NAME says the relation of all triples" * (fields == 2)
        if number == 1 and fields == 1:
            hint = "; put tabs between its columns, or commas in a file called .csv"
        raise DistjointError(
            f"{source.file}, line {number}: {fields} column{'s' * (fields != 1)} instead of {wanted} (separated by "
            f"{SEPARATORS[separator]}) in {text[:80]!r}{hint}"
        )
    return wanted or fields
