"""Files of text, block by block: decompressed, by whole words or by whole lines.

What the lines hold is decided in `corpus`, for text, and in `records`, for descriptions of entities.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from distjoint.base.errors import DistjointError
from distjoint.data.packing import decompressed
from distjoint.storage import Location

BLOCK = 1 << 19
_BREAKS = b" \n\t\r"


@dataclass(frozen=True)
class Block:
    """Some text of one file. It ends between two words, or at the end of the file.

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
class Slice:
    """The lines of a file that begin in its bytes [start, stop); all of it where `stop` is None."""

    file: Location
    start: int = 0
    stop: int | None = None


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    """Text in pieces of `size` bytes and some more: each but the last ends with a blank."""
    start = 0
    while start < len(content):
        stop = content.find(b" ", start + size) + 1 or len(content)
        yield content[start:stop]
        start = stop


@contextmanager
def open_text(file: Location) -> Iterator[tuple[Any, Callable[[], int]]]:
    """The file's bytes, decompressed as they begin, and a function that tells how many stored bytes have been read.

    raises DistjointError naming the file when it cannot be opened, read or decompressed
    """
    with file.open_input() as raw:
        try:
            yield decompressed(raw), raw.tell
        except (lzma.LZMAError, zlib.error, EOFError, OSError, pa.ArrowException) as error:
            if isinstance(error, EOFError) or "truncated" in str(error).lower():
                raise DistjointError(f"{file}: the file is cut short") from error
            raise DistjointError(f"{file}: cannot be read ({str(error).splitlines()[0]})") from error


def text_blocks(part: Slice) -> Iterator[Block]:
    """The text of a slice. raises DistjointError naming the file that is empty or cannot be read"""
    file = part.file
    with open_text(file) as (stream, position):
        reads = _range(stream, part.start, part.stop) if part.stop else iter(lambda: stream.read(BLOCK), b"")
        rest, before, first = b"", part.start, True
        for read in reads:
            if first and part.start == 0:
                read = read.removeprefix(b"\xef\xbb\xbf")
            read, first = rest + read, False
            # A block must not cut a word in two; without any break (odd, but legal) it grows.
            cut = max(read.rfind(mark) for mark in _BREAKS) + 1
            rest, text = read[cut:], read[:cut]
            if text:
                yield Block(file, text, position() - before, last=False)
                before = position()
        if first and not part.stop:
            raise DistjointError(f"{file}: the file is empty")
        yield Block(file, rest + b"\n", position() - before, last=True)


def _range(stream: Any, start: int, stop: int) -> Iterator[bytes]:
    """The lines that begin in bytes [start, stop), however far the last one reaches."""
    # The byte before tells whether a line begins at `start`.
    at, begun = max(start - 1, 0), start == 0
    stream.seek(at)
    while read := stream.read(BLOCK):
        if not begun:
            skipped = read.find(b"\n") + 1
            begun, at, read = skipped > 0, at + (skipped or len(read)), read[skipped:]
            if at >= stop:
                return
            if not begun:
                continue
        end = read.find(b"\n", max(stop - 1 - at, 0)) + 1
        if end:
            yield read[:end]
            return
        yield read
        at += len(read)


def line_blocks(part: Slice) -> Iterator[Block]:
    """The text of a slice in blocks of whole lines, however long they are; raises as `text_blocks` does."""
    begun: list[bytes] = []
    read = 0
    for block in text_blocks(part):
        read += block.read
        cut = block.text.rfind(b"\n") + 1
        if not cut:
            begun.append(block.text)
            continue
        yield Block(part.file, b"".join([*begun, block.text[:cut]]), read, block.last)
        begun, read = [block.text[cut:]], 0


def decoded(file: Location, line: bytes, number: int) -> str:
    """Bytes of a file as text. number: of the line where they begin. raises DistjointError for what is not UTF-8"""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        number += line.count(b"\n", 0, error.start)
        raise DistjointError(
            f"{file}, line {number}: byte 0x{line[error.start]:02x} is not UTF-8; "
            "convert the file, for example with 'iconv -f LATIN1 -t UTF-8'"
        ) from None
