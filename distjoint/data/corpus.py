"""Raw text as a stream of UTF-8 blocks, whatever it is kept in.

Plain text, JSON Lines and Parquet, compressed or not, all come out as blocks of bytes in which a newline ends
a document. Nothing is loaded whole: a block is about half a megabyte and a thread reads the next ones ahead.
What a word is, is decided in `tokens`.
"""

from __future__ import annotations

import json
import lzma
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from distjoint.errors import DistjointError
from distjoint.storage import Location, Options, expand, locate

BLOCK = 1 << 19
_READ_AHEAD = 8
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".xz": "xz"}
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_PARQUET = (".parquet", ".pq")
_BREAKS = b" \n\t\r"

Item = TypeVar("Item")


@dataclass(frozen=True)
class Block:
    """A piece of one file. It ends between two words, or at the end of the file.

    file     where it comes from
    text     bytes of UTF-8 (not yet verified); a newline ends a document
    read     bytes of the file, as stored, consumed for it
    last     whether the file ends here
    """

    file: Location
    text: bytes
    read: int
    last: bool


@dataclass(frozen=True)
class Corpus:
    """Files of text and how to read them."""

    files: tuple[Location, ...]
    field: str = "text"
    column: str = "text"

    @classmethod
    def find(
        cls, patterns: Sequence[str], field: str = "text", column: str = "text", options: Options | None = None
    ) -> Corpus:
        """The files that URLs, globs and folders stand for, each once, in order.

        raises DistjointError where a pattern finds nothing or a file is empty
        """
        names = dict.fromkeys(name for pattern in patterns for name in expand(pattern, options))
        files = tuple(locate(name, options) for name in names)
        for file in files:
            if file.size() == 0:
                raise DistjointError(f"{file}: the file is empty")
        return cls(files, field, column)

    @property
    def bytes(self) -> int:
        """Bytes of all files as they are stored."""
        return sum(file.size() for file in self.files)

    def blocks(self) -> Iterator[Block]:
        """All text in order, read ahead by a thread.

        raises DistjointError naming the file that cannot be read, and the line where there is one
        """
        return read_ahead(block for file in self.files for block in self._file(file))

    def _file(self, file: Location) -> Iterator[Block]:
        name, compression = split_compression(file.path)
        if name.endswith(_PARQUET):
            return _parquet(file, self.column)
        if name.endswith(_JSON_LINES):
            return _json_lines(file, compression, self.field)
        return _plain(file, compression)


def split_compression(path: str) -> tuple[str, str | None]:
    """`text.JSONL.zst` as (`text.jsonl`, `zstd`)."""
    name = path.lower()
    for ending, compression in _COMPRESSIONS.items():
        if name.endswith(ending):
            return name.removesuffix(ending), compression
    return name, None


@contextmanager
def open_text(file: Location, compression: str | None) -> Iterator[tuple[Any, Callable[[], int]]]:
    """The file's bytes, decompressed, and a function that tells how many stored bytes have been read.

    raises DistjointError naming the file when it cannot be opened, read or decompressed
    """
    with file.open_input() as raw:
        try:
            if compression == "xz":
                yield lzma.open(raw), raw.tell  # noqa: SIM115 - closed with the file below it
            else:
                yield pa.CompressedInputStream(raw, compression) if compression else raw, raw.tell
        except (lzma.LZMAError, EOFError, OSError, pa.ArrowException) as error:
            if isinstance(error, EOFError) or "truncated" in str(error).lower():
                raise DistjointError(f"{file}: the file is cut short") from error
            raise DistjointError(f"{file}: cannot be read ({str(error).splitlines()[0]})") from error


def _plain(file: Location, compression: str | None) -> Iterator[Block]:
    with open_text(file, compression) as (stream, position):
        rest, before, empty = b"", 0, True
        while piece := stream.read(BLOCK):
            if empty:
                piece, empty = piece.removeprefix(b"\xef\xbb\xbf"), False
            piece = rest + piece
            # A block must not cut a word in two; without any break (odd, but legal) it grows.
            cut = max(piece.rfind(mark) for mark in _BREAKS) + 1
            rest, text = piece[cut:], piece[:cut]
            if text:
                yield Block(file, text, position() - before, last=False)
                before = position()
        if empty:
            raise DistjointError(f"{file}: the file is empty")
        yield Block(file, rest + b"\n", position() - before, last=True)


def _json_lines(file: Location, compression: str | None, field: str) -> Iterator[Block]:
    line = 0
    for block in _lines(file, compression):
        texts = []
        for record in block.text.split(b"\n"):
            line += 1
            if record.strip():
                texts.append(_json_text(file, line, record, field))
        line -= 1  # what follows the block's last newline begins the next block
        yield Block(file, _documents(texts), block.read, block.last)


def _lines(file: Location, compression: str | None) -> Iterator[Block]:
    """Blocks of whole lines."""
    rest, read = b"", 0
    for block in _plain(file, compression):
        text = rest + block.text
        read += block.read
        cut = text.rfind(b"\n") + 1
        rest = text[cut:]
        if cut:
            yield Block(file, text[:cut], read, block.last)
            read = 0


def _json_text(file: Location, line: int, record: bytes, field: str) -> str:
    try:
        value = json.loads(record)
    except UnicodeDecodeError as error:
        raise DistjointError(f"{file}, line {line}: not UTF-8 (byte {error.start} of the line)") from error
    except ValueError as error:
        raise DistjointError(f"{file}, line {line}: not JSON ({error})") from error
    text = value.get(field) if isinstance(value, dict) else None
    if isinstance(text, str):
        return text
    if isinstance(value, dict) and field in value:
        raise DistjointError(f"{file}, line {line}: field '{field}' holds {text!r}, not text")
    raise DistjointError(f"{file}, line {line}: no field '{field}'; name the field of the text with --text-field")


def _parquet(file: Location, column: str) -> Iterator[Block]:
    try:
        with file.open_input() as stream:
            source = pq.ParquetFile(stream, page_checksum_verification=True)
            names = source.schema_arrow.names
            if column not in names:
                raise DistjointError(
                    f"{file}: no column '{column}', it has {', '.join(names)}; name the text's with --text-column"
                )
            kind = source.schema_arrow.field(column).type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise DistjointError(f"{file}: column '{column}' holds {kind}, not text")
            share = file.size() / max(source.metadata.num_rows, 1)
            for batch in source.iter_batches(batch_size=256, columns=[column]):
                texts = [text for text in batch.column(0).to_pylist() if text]
                yield Block(file, _documents(texts), int(share * batch.num_rows), last=False)
    except (pa.ArrowException, OSError) as error:
        raise DistjointError(f"{file}: damaged or not Parquet ({str(error).splitlines()[0]})") from error
    yield Block(file, b"\n", 0, last=True)


def _documents(texts: Sequence[str]) -> bytes:
    """Records as lines: a newline inside a record does not end its document."""
    return ("\n".join(text.replace("\n", " ") for text in texts) + "\n").encode("utf-8", errors="replace")


def read_ahead(items: Iterator[Item], depth: int = _READ_AHEAD) -> Iterator[Item]:
    """The same items, produced by a thread up to `depth` ahead. What the source raises is raised here."""
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
