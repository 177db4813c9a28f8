"""Raw text as a stream of UTF-8 blocks, from every format of file.

Plain text, JSON and Parquet, compressed or not, all come out as blocks of bytes in which a newline ends
a document. Nothing is loaded whole: a block is about half a megabyte and threads read the next ones ahead.
Several readers take a part each: some files, or the lines of one that begin in a range of its bytes. What a word
is, is decided in `tokens`.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeVar

from distjoint.base.errors import DistjointError
from distjoint.data.damage import mended
from distjoint.data.encodings import UTF8_MARKED, encoding_of
from distjoint.data.json_arrays import ENDINGS, elements, file_is_array, is_array
from distjoint.data.lines import BLOCK, Block, Slice, pieces, text_blocks, whole_lines
from distjoint.data.looks import looked_at, texts_among
from distjoint.data.noticed import Noticed
from distjoint.data.packing import compression_of, files_of, inner_name
from distjoint.data.rdf import RdfReading
from distjoint.data.record_columns import Columns
from distjoint.data.records import has_plain_lines, read_records
from distjoint.data.text_tables import TABLES, documents, table_blocks, without_text
from distjoint.storage import Location, Options

_READ_AHEAD = 8
_FILES_AHEAD = 8
_SIZES_AT_ONCE = 32

Item = TypeVar("Item")


@dataclass(frozen=True)
class Corpus:
    """Files of text and how to read them.

    sizes    bytes of each file as it is stored
    about    absolute URLs of those that hold descriptions of entities, of which only the texts are read
    field, column   that hold the text of JSON Lines and Parquet
    columns  of descriptions, see `records`
    reading  of descriptions in RDF
    encoding of plain text, JSON and descriptions; None for UTF-8, or what a byte order mark says
    notes    sentences about what was passed over
    """

    files: tuple[Location, ...]
    sizes: tuple[int, ...] = ()
    about: frozenset[str] = frozenset()
    field: str = "text"
    column: str = "text"
    columns: Columns | None = None
    reading: RdfReading | None = None
    encoding: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def find(
        cls,
        patterns: Sequence[str],
        field: str = "text",
        column: str = "text",
        options: Options | None = None,
        about: Sequence[str] = (),
        columns: Columns | None = None,
        reading: RdfReading | None = None,
        encoding: str | None = None,
    ) -> Corpus:
        """The files that URLs, globs and folders stand for, each once, in order; those of `about` come last.

        raises DistjointError where a pattern finds nothing or all files are empty
        """
        skipped: list[str] = []
        described = {file.url: file for file in files_of(about, options, skipped)}
        beside = Noticed()
        found = [files_of([pattern], options, skipped) for pattern in patterns]
        named = {file.url: file for several in found for file in texts_among(several, beside)}
        files = [*(named | described).values()]
        with ThreadPoolExecutor(_SIZES_AT_ONCE) as pool:
            sizes = list(pool.map(Location.size, files))
        full = [(file, size) for file, size in zip(files, sizes, strict=True) if size]
        if files and not full:
            raise DistjointError(f"{files[0]}: the file is empty" + f", as all {len(files):,} are" * (len(files) > 1))
        absolute = frozenset(file.absolute for file in described.values())
        notes = beside.notes()
        if len(full) < len(files):
            notes.append(f"Files without text, skipped: {len(files) - len(full):,} (such as {files[sizes.index(0)]}).")
        if skipped:
            notes.append(f"Markers and hidden files beside text, skipped: {len(skipped):,} (such as {skipped[0]}).")
        kept, bytes_of = tuple(file for file, _ in full), tuple(size for _, size in full)
        return cls(kept, bytes_of, absolute, field, column, columns, reading, encoding, tuple(notes))

    @property
    def bytes(self) -> int:
        """Bytes of all files as they are stored."""
        return sum(self.sizes)

    def parts(self, size: int) -> list[list[Slice]]:
        """Parts of the text, each of about `size` stored bytes, in order. A compressed file stays whole."""
        parts: list[list[Slice]] = []
        room = 0
        for file, total in zip(self.files, self.sizes, strict=True):
            step = size if total > size and self._has_lines(file) else total
            for start in range(0, total, step):
                if step > room:
                    parts.append([])
                    room = max(size, step)
                parts[-1].append(Slice(file) if step == total else Slice(file, start, start + step))
                room -= step
        return parts

    def blocks(self, slices: Sequence[Slice] | None = None) -> Iterator[Block]:
        """The text of some slices, or all of it, in order, read ahead by threads.

        raises DistjointError naming the file that cannot be read, and the line where there is one: counted from
               where the slice begins
        """
        if slices is None:
            slices = [Slice(file) for file in self.files]
        return _one_by_one(self._slice(part) for part in slices)

    def _has_lines(self, file: Location) -> bool:
        """Whether the lines of a file can be found, and read, from anywhere in it."""
        name = inner_name(file.path)
        if self.encoding or compression_of(file) or encoding_of(file) not in (None, UTF8_MARKED):
            return False
        if file.absolute in self.about:
            return has_plain_lines(file, self.columns, self.reading)
        return not name.endswith(TABLES) and not (name.endswith(ENDINGS) and file_is_array(file))

    def _slice(self, part: Slice) -> Iterator[Block]:
        name = inner_name(part.file.path)
        if part.file.absolute in self.about:
            return _descriptions(part, self.columns, self.reading, self.encoding)
        if name.endswith(TABLES):
            return mended(table_blocks(part.file, self.column))
        if name.endswith(ENDINGS):
            return mended(
                _json(mended(text_blocks(part, self.encoding), self.encoding), self.field)
            )  # "\\u0000" is a NUL byte only then
        return mended(looked_at(text_blocks(part, self.encoding)), self.encoding)


def _descriptions(
    part: Slice, columns: Columns | None, reading: RdfReading | None, encoding: str | None
) -> Iterator[Block]:
    """The texts of a file of descriptions, each a document; what is to be said of it, says who reads it for them."""
    for records in read_records(part, columns, reading, encoding):
        read = records.read
        for piece in pieces(documents([text for _, text in records.pairs if text]), BLOCK):
            yield Block(part.file, piece, read, last=False)
            read = 0
    yield Block(part.file, b"\n", 0, last=True)


def _json(blocks: Iterator[Block], field: str) -> Iterator[Block]:
    """The texts of a file of JSON: of the lines, or of the elements of the one array that it is."""
    first = next(blocks, None)
    if first is None:
        return iter(())
    every = chain([first], blocks)
    return (
        _json_array(every, field)
        if not first.start and is_array(first.text)
        else _json_lines(whole_lines(every), field)
    )


def _json_array(blocks: Iterator[Block], field: str) -> Iterator[Block]:
    """The texts of an array, each a document: of strings, or of objects with a field of text."""
    number = 0
    for block, values in elements(blocks):
        texts, empty, example = [], 0, ""
        for value in values:
            number += 1
            place = f"{block.file}, record {number:,}"
            text = value if isinstance(value, str | None) else _text_of(place, value, field)
            if text is None:
                empty, example = empty + 1, example or f"record {number:,} of {block.file}"
            else:
                texts.append(text)
        noticed = (*block.noticed, *[without_text(empty, example)] * bool(empty))
        yield replace(block, text=documents(texts), noticed=noticed, found=None)


def _json_lines(blocks: Iterator[Block], field: str) -> Iterator[Block]:
    """The texts of records, each a document. blocks: of whole lines"""
    line = 0
    for block in blocks:
        texts, empty, example = [], 0, ""
        for record in block.text.split(b"\n"):
            line += 1
            if record.strip():
                place = f"{block.file}, line {line}"
                text = _text_of(place, _parsed(place, record), field)
                if text is None:
                    empty, example = empty + 1, example or f"line {line:,} of {block.file}"
                else:
                    texts.append(text)
        line -= 1  # what follows the block's last newline begins the next block
        noticed = (*block.noticed, *[without_text(empty, example)] * bool(empty))
        yield replace(block, text=documents(texts), noticed=noticed, found=None)


def _parsed(place: str, record: bytes) -> Any:
    try:
        return json.loads(record)
    except (ValueError, RecursionError) as error:
        hint = ""
        if record.strip() == b"{":
            hint = "; a record over several lines is written as one with: jq -c . FILE > records.jsonl"
        raise DistjointError(f"{place}: not JSON ({error}){hint}") from error


def _text_of(place: str, value: Any, field: str) -> str | None:
    """The text of a record; None for null."""
    text = value.get(field) if isinstance(value, dict) else None
    if isinstance(text, str) or (text is None and isinstance(value, dict) and field in value):
        return text
    if isinstance(value, dict) and field in value:
        raise DistjointError(f"{place}: field '{field}' holds {text!r}, not text")
    raise DistjointError(f"{place}: no field '{field}'; name the field of the text with --text-field")


def _one_by_one(sources: Iterator[Iterator[Item]]) -> Iterator[Item]:
    """All items of one source after the other; the next few sources are begun already.

    A small file of an object store takes much longer to open than to read.
    """
    begun: deque[Generator[Item]] = deque()
    try:
        for source in sources:
            begun.append(read_ahead(source))
            if len(begun) > _FILES_AHEAD:
                yield from begun[0]
                begun.popleft()
        while begun:
            yield from begun[0]
            begun.popleft()
    finally:
        for reading in begun:
            reading.close()


def read_ahead(items: Iterator[Item], depth: int = _READ_AHEAD) -> Generator[Item]:
    """The same items, produced by a thread up to `depth` ahead, from now on. What the source raises is raised here."""
    reading = _read_ahead(items, depth)
    next(reading)
    return reading


def _read_ahead(items: Iterator[Item], depth: int) -> Generator[Any]:
    """First None, when the thread is started, then the items."""
    ready: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: tuple[bool, Any]) -> None:
        while not stopped.is_set():
            try:
                return ready.put(entry, timeout=0.1)
            except queue.Full:
                continue

    def produce() -> None:
        try:
            for item in items:
                put((True, item))
                if stopped.is_set():
                    return
            put((False, None))
        except BaseException as error:
            put((False, error))

    thread = threading.Thread(target=produce, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield None
        while True:
            more, value = ready.get()
            if more:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        stopped.set()
        thread.join()
