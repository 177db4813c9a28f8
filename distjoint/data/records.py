"""Descriptions of entities as they stand in files: pairs of an entity and a text, from every format.

Lines `entity TAB text`, CSV, TSV with a header, Parquet, JSON lines, JSON and RDF. `descriptions` takes those of a
graph's entities, `corpus` the texts of all, so both read the same. A file is read in batches; JSON that is one object
or one array is read whole, and so is a record of CSV.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from distjoint.base.errors import DistjointError
from distjoint.data.damage import mended
from distjoint.data.lines import BLOCK, Block, Said, Slice, decoded, text_blocks, whole_lines
from distjoint.data.packing import inner_name
from distjoint.data.rdf import RdfReading, recognise, texts_of
from distjoint.data.record_columns import (
    HINT,
    TEXT_COLUMNS,
    Columns,
    by_position,
    choose,
    choose_one,
    is_pair_header,
    separator_of,
)
from distjoint.data.tables.base import is_text
from distjoint.data.tables.delimited import SEPARATORS
from distjoint.storage import Location

_PARQUET, _JSON_LINES, _JSON = (".parquet", ".pq"), (".jsonl", ".ndjson"), ".json"
_AT_ONCE = 256

Pair = tuple[str, str]


@dataclass(frozen=True)
class Records:
    """Some records of a file.

    pairs     entity and text; the text is empty where there is none
    read      bytes of the file, as stored, consumed for them
    guessed   columns they are from, where none were named and the format has columns
    notes     sentences about what was left out of the file so far
    noticed   what is to be said of the bytes
    """

    pairs: list[Pair]
    read: int
    guessed: Columns | None = None
    notes: Sequence[str] = ()
    noticed: Sequence[Said] = ()


@dataclass(frozen=True)
class _Text:
    """A file of text, or lines of one. See `read_records`."""

    part: Slice
    encoding: str | None
    mend: bool

    def blocks(self) -> Iterator[Block]:
        blocks = text_blocks(self.part, self.encoding)
        return mended(blocks, self.encoding) if self.mend else blocks


def read_records(
    part: Slice,
    columns: Columns | None,
    reading: RdfReading | None = None,
    encoding: str | None = None,
    mend: bool = True,
) -> Iterator[Records]:
    """The records of a file of descriptions, in order; its format is told by its ending, RDF by its content too.

    part     all of the file, or where `has_plain_lines` some of its lines
    columns  None: those that `ENTITY_COLUMNS` and `TEXT_COLUMNS` list; a file of lines has no header then
    reading  of RDF
    encoding of what is text; None for UTF-8, or what a byte order mark says
    mend     whether a few bytes that are no text are noticed and read as U+FFFD and blanks, as in a corpus
    raises   DistjointError naming the line, record or column that is wrong; lines count from where the part begins
    """
    name, text = inner_name(part.file.path), _Text(part, encoding, mend)
    reading = reading or RdfReading()
    if part.stop is None and (rdf := recognise(part.file, reading)):
        return (Records(pairs, read, notes=notes) for pairs, read, notes in texts_of(rdf, reading))
    if name.endswith(_PARQUET):
        return _parquet(part.file, columns)
    if name.endswith(_JSON_LINES):
        return _json_lines(text, columns)
    if name.endswith(_JSON):
        return _json(text, columns)
    if name.endswith(".csv") or columns:
        return _delimited(text, name.endswith(".csv"), columns)
    return _tabbed(text)


def has_plain_lines(file: Location, columns: Columns | None, reading: RdfReading | None = None) -> bool:
    """Whether a file that is not compressed is lines `entity TAB text`, which can be read from anywhere in it."""
    if columns or inner_name(file.path).endswith((*_PARQUET, *_JSON_LINES, _JSON, ".csv")):
        return False
    return recognise(file, reading or RdfReading()) is None


def read_json_object(file: Location) -> list[tuple[str, Any]]:
    """What a JSON file says of each entity: of `{"entity": value, ...}` the pairs, in order; objects as dictionaries.

    raises DistjointError naming what is no such file
    """
    value = _parsed(_Text(Slice(file), None, mend=False))[0]
    if not isinstance(value, tuple):
        raise DistjointError(f'{file}: not one object of JSON; expected {{"entity": ..., ...}}')
    return [(_clean(entity), _plain(of_it)) for entity, of_it in value]


class _Lines:
    """Lines of a slice, as text without their ends. number: of the last one"""

    def __init__(self, text: _Text) -> None:
        self.file, self.number = text.part.file, 0
        self._text, self._read, self._noticed = text, 0, list[Said]()

    def __iter__(self) -> Iterator[str]:
        for block in whole_lines(self._text.blocks()):
            self._read += block.read
            self._noticed += block.noticed
            _refuse_nul(self.file, block.text, self.number)
            for line in block.text.split(b"\n")[:-1]:
                self.number += 1
                yield decoded(self.file, line, self.number).rstrip("\r")

    def records(self, pairs: list[Pair], guessed: Columns | None) -> Records:
        """Some records, with what was read for them and noticed since the last ones."""
        read, noticed = self._read, self._noticed
        self._read, self._noticed = 0, []
        return Records(pairs, read, guessed, noticed=noticed)

    def say(self, what: str, example: str) -> None:
        """Notice something in the last line."""
        self._noticed.append((what, example, "", 1))

    def error(self, what: str) -> DistjointError:
        """What is wrong with the last line."""
        return DistjointError(f"{self.file}, line {self.number}: {what}")


def _refuse_nul(file: Location, content: bytes, lines: int) -> None:
    """Tell a binary file from text. lines: how many come before the content"""
    if (at := content.find(b"\0")) >= 0:
        line = lines + content.count(b"\n", 0, at) + 1
        raise DistjointError(
            f"{file}, line {line}: a NUL byte, so it is not text; descriptions are "
            "lines 'entity TAB text' in UTF-8, .csv, .parquet, .jsonl or .json, as the file's name ends"
        )


def _batches(pairs: Iterable[Pair], lines: _Lines, guessed: Columns | None = None) -> Iterator[Records]:
    batch: list[Pair] = []
    size = 0
    for pair in pairs:
        batch.append(pair)
        size += len(pair[1])
        if len(batch) == _AT_ONCE or size >= BLOCK:
            yield lines.records(batch, guessed)
            batch, size = [], 0
    yield lines.records(batch, guessed)


def _tabbed(text: _Text) -> Iterator[Records]:
    lines = _Lines(text)

    def pairs() -> Iterator[Pair]:
        for line in lines:
            entity, tab, said = line.partition("\t")
            if not line.strip():
                continue
            if not tab or not entity.strip():
                raise lines.error("expected 'entity TAB text'")
            if lines.number == 1 and not text.part.start and is_pair_header((entity, said), TEXT_COLUMNS):
                lines.say("First lines of descriptions taken for headers", f"{entity}, {said} of {lines.file}")
                continue
            yield entity.strip(), said.replace("\t", " ").strip()

    return _batches(pairs(), lines)


def _delimited(source: _Text, quoted: bool, columns: Columns | None) -> Iterator[Records]:
    """Rows of CSV; where it is not quoted, of lines with tabs."""
    lines, separator = _Lines(source), "\t"
    if quoted:
        separator = separator_of(next(whole_lines(source.blocks())).text.decode(errors="replace").split("\n"), columns)
    rows = _rows(lines, separator, quoted)
    if (first := next(rows, None)) is None:
        return
    numbered = columns is not None and all(name.isdigit() for name in columns)
    if quoted and separator != ",":
        lines.say(f"Columns that {SEPARATORS[separator]} part, as the first line says, in files", str(lines.file))
    names = [str(place) for place in range(len(first[1]))] if numbered else [name.strip() for name in first[1]]
    entity, text = (names.index(name) for name in choose(lines.file, names, columns))

    def pairs() -> Iterator[Pair]:
        for number, row in chain([first] if numbered else [], rows):
            if len(row) != len(names):
                raise DistjointError(
                    f"{lines.file}, line {number}: {len(row)} columns, the first line has {len(names)}"
                    + f"; a text with {SEPARATORS[separator]} wants quotes" * quoted
                )
            if not row[entity].strip():
                raise DistjointError(f"{lines.file}, line {number}: the column of entities is empty")
            yield row[entity].strip(), row[text].strip()

    yield from _batches(pairs(), lines, None if columns else (names[entity], names[text]))


def _rows(lines: _Lines, separator: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, each with the number of the line where it begins."""
    csv.field_size_limit(sys.maxsize)  # the whole process's; by default 128 KB, which long texts exceed
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=separator, quoting=quoting, strict=True)
    while True:
        begun = lines.number + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DistjointError(
                f"{lines.file}, line {begun}: not CSV ({error}); a quote inside quotes is written twice"
            ) from None
        if row is None:
            return
        if any(field.strip() for field in row):
            yield begun, row


def _json_lines(text: _Text, columns: Columns | None) -> Iterator[Records]:
    lines = _Lines(text)

    def values() -> Iterator[tuple[str, Any]]:
        for line in lines:
            if line.strip():
                try:
                    yield f"line {lines.number}", json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise lines.error(f"not JSON ({error})") from error

    pairs, guessed = _of_objects(lines.file, values(), columns)
    return _batches(pairs, lines, guessed)


def _json(text: _Text, columns: Columns | None) -> Iterator[Records]:
    """An object `{entity: text}`, an array of records, or lines with a record each."""
    value, blocks = _parsed(text)
    file = text.part.file
    if value is None:
        yield from _json_lines(text, columns)
        return
    if isinstance(value, tuple):
        pairs, guessed = _of_entities(file, value, columns)
    elif isinstance(value, list):
        numbered = ((f"record {number}", _plain(each)) for number, each in enumerate(value, 1))
        pairs, guessed = _of_objects(file, numbered, columns)
    else:
        raise DistjointError(f'{file}: holds {_kind(value)}; expected {{"entity": "text", ...}}')
    read, noticed = sum(block.read for block in blocks), [said for block in blocks for said in block.noticed]
    yield Records(list(pairs), read, guessed, noticed=noticed)


def _parsed(text: _Text) -> tuple[Any, list[Block]]:
    """The value of a JSON file, objects as tuples of pairs, so that none is lost; None where it is lines of JSON.

    returns   the value, and the text that it is
    """
    blocks, file = list(text.blocks()), text.part.file
    content = b"".join(block.text for block in blocks)
    _refuse_nul(file, content, 0)
    try:
        value = json.loads(decoded(file, content, 1), object_pairs_hook=tuple)
    except RecursionError as error:
        raise DistjointError(f"{file}: not JSON of entities and texts (nested too deeply)") from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return None, blocks
        raise DistjointError(f"{file}, line {error.lineno}: not JSON ({error.msg})") from error
    return value, blocks


def _plain(value: Any) -> Any:
    return {key: _plain(of_it) for key, of_it in value} if isinstance(value, tuple) else value


def _clean(text: str) -> str:
    """A string of JSON or Parquet as a line could hold it: no half of a surrogate pair, no NUL."""
    return text.replace("\0", " ").encode(errors="replace").decode().strip()


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, tuple | dict) else json.dumps(value)[:80]


def _of_objects(
    file: Location, values: Iterator[tuple[str, Any]], columns: Columns | None
) -> tuple[Iterator[Pair], Columns | None]:
    """Pairs of records that are objects, and the fields they are from where none were named."""

    def records() -> Iterator[tuple[str, dict[str, Any]]]:
        for where, value in values:
            if not isinstance(value, dict):
                raise DistjointError(f'{file}, {where}: {_kind(value)}; expected {{"entity": ..., "text": ...}}')
            yield where, value

    several = records()
    first = list(islice(several, _AT_ONCE))  # a record may lack a field that is null
    if not first:
        return iter(()), None
    entity, text = choose(file, list(dict.fromkeys(name for _, record in first for name in record)), columns)

    def pairs() -> Iterator[Pair]:
        for where, record in chain(first, several):
            name = record.get(entity)
            if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
                raise DistjointError(f"{file}, {where}: field '{entity}' holds {name!r}, which names no entity")
            for said in _texts(f"{file}, {where}: field '{text}'", record.get(text)):
                yield _clean(str(name)), said

    return pairs(), None if columns else (entity, text)


def _of_entities(
    file: Location, said: Sequence[tuple[str, Any]], columns: Columns | None
) -> tuple[Iterator[Pair], Columns | None]:
    """Pairs of `{entity: text}`, `{entity: [text, ...]}` or `{entity: {field: text}}`, and the guessed field."""
    objects = [_plain(of_it) for _, of_it in said[:_AT_ONCE] if isinstance(of_it, tuple)]
    fields = list(dict.fromkeys(name for each in objects for name in each))
    field = choose_one(file, fields, TEXT_COLUMNS, columns and columns[1]) if objects else ""

    def pairs() -> Iterator[Pair]:
        for entity, of_it in said:
            value = _plain(of_it).get(field) if isinstance(of_it, tuple) else of_it
            for text in _texts(f"{file}: entity {entity!r}", value):
                yield _clean(entity), text

    return pairs(), ("its keys", field) if objects and not columns else None


def _texts(place: str, value: Any) -> list[str]:
    """The texts that a JSON value is; one that is empty for null."""
    values = value if isinstance(value, list) and value else [value or ""]
    for each in values:
        if not isinstance(each, str):
            raise DistjointError(f"{place} holds {str(value)[:80]}, not text")
    return [_clean(each) for each in values]


def _parquet(file: Location, columns: Columns | None) -> Iterator[Records]:
    try:
        with file.open_input() as stream:
            source = pq.ParquetFile(stream, page_checksum_verification=True)
            there = source.schema_arrow.names
            if columns and all(name.isdigit() for name in columns):
                columns = by_position(file, there, columns)
            entity, text = choose(file, there, columns)
            kind = source.schema_arrow.field(text).type
            if not is_text(kind.value_type if _is_list(kind) else kind):
                hint = f"; {HINT}" * (columns is None)
                raise DistjointError(f"{file}: column '{text}' holds {kind}, not text{hint}")
            share, rows = file.size() / max(source.metadata.num_rows, 1), 0
            for batch in source.iter_batches(batch_size=_AT_ONCE, columns=[entity, text]):
                entities = pc.cast(batch.column(entity), pa.string()).to_pylist()
                names = [_clean(name or "") for name in entities]
                if "" in names:
                    raise DistjointError(f"{file}, row {rows + names.index('') + 1}: column '{entity}' is empty")
                both = zip(names, batch.column(text).to_pylist(), strict=True)
                pairs = [(name, _clean(each or "")) for name, said in both for each in _several(said)]
                rows += batch.num_rows
                yield Records(pairs, int(share * batch.num_rows), None if columns else (entity, text))
    except UnicodeDecodeError as error:
        raise DistjointError(f"{file}: a column of entities or texts holds bytes that are not UTF-8") from error
    except (pa.ArrowException, OSError) as error:
        raise DistjointError(f"{file}: damaged or not Parquet ({str(error).splitlines()[0]})") from error


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _several(said: Any) -> list[str | None]:
    """The texts of a cell: those of a list, one that is empty where there is none."""
    return (said or [None]) if isinstance(said, list) else [said]
