"""Files of text, block by block: decompressed, by whole words or by whole lines.

What the lines hold is decided in `corpus`, for text, and in `records`, for descriptions of entities.
"""

from __future__ import annotations

import lzma
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pyarrow as pa

from distjoint.base.errors import DistjointError
from distjoint.data.encodings import UTF8_MARKED, marked_encoding, transcoded
from distjoint.data.normal import Looked
from distjoint.data.packing import decompressed
from distjoint.storage import Location

BLOCK = 1 << 19
_BREAKS = b" \n\t\r"

Said = tuple[str, str, str, int]
"""Arguments of `Noticed.add`: a kind, an example, the fix, and how many."""


@dataclass(frozen=True)
class Block:
    """Some text of one file. It ends between two words, or at the end of the file.

    file     where it comes from
    text     bytes of UTF-8 (not yet verified); a newline ends a document
    read     bytes of the file, as stored, consumed for it
    last     whether the file ends here
    start    byte of the file from which on its lines were read
    noticed  what is to be said of the file
    found    in the text, where it was looked at
    """

    file: Location
    text: bytes
    read: int
    last: bool
    start: int = 0
    noticed: Sequence[Said] = ()
    found: Looked | None = None


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


def text_blocks(part: Slice, encoding: str | None = None) -> Iterator[Block]:
    """The text of a slice. raises DistjointError naming the file that is empty or cannot be read

    encoding   of the file; None for UTF-8, or what its byte order mark says
    """
    file, noticed = part.file, tuple[Said, ...]()
    with open_text(file) as (stream, position):
        if part.stop:
            reads = _range(stream, part.start, part.stop)
        else:
            reads, noticed = _whole(file, stream, encoding)
        rest, before, first = b"", part.start, True
        for read in reads:
            if first and part.stop and part.start == 0:
                read = read.removeprefix(BOM_UTF8)
            read, first = rest + read, False
            # A block must not cut a word in two; without any break (odd, but legal) it grows.
            cut = max(read.rfind(mark) for mark in _BREAKS) + 1
            rest, text = read[cut:], read[:cut]
            if text:
                yield Block(file, text, position() - before, False, part.start, noticed)
                before, noticed = position(), ()
        if first and not part.stop:
            raise DistjointError(f"{file}: the file is empty")
        yield Block(file, rest + b"\n", position() - before, True, part.start, noticed)


def _whole(file: Location, stream: Any, encoding: str | None) -> tuple[Iterator[bytes], tuple[Said, ...]]:
    """All of a file as UTF-8, in pieces, and what is to be said of its encoding."""
    begin = bytes(stream.read(BLOCK))
    marked, rest = marked_encoding(begin), iter(lambda: stream.read(BLOCK), b"")
    if marked == UTF8_MARKED:
        return chain([begin.removeprefix(BOM_UTF8)], rest), ()
    pieces = chain([begin] * bool(begin), rest)
    if marked:
        said = (f"Files in {marked.upper()}, by their byte order mark", file.url, "", 1)
        return transcoded(pieces, marked, str(file)), (said,)
    return transcoded(pieces, encoding, str(file)) if encoding else pieces, ()


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


def line_blocks(part: Slice, encoding: str | None = None) -> Iterator[Block]:
    """The text of a slice in blocks of whole lines, however long they are; see `text_blocks`."""
    return whole_lines(text_blocks(part, encoding))


def whole_lines(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same text in blocks of whole lines. A file's last block ends with one."""
    begun: list[bytes] = []
    read, noticed = 0, list[Said]()
    for block in blocks:
        read, noticed = read + block.read, [*noticed, *block.noticed]
        cut = block.text.rfind(b"\n") + 1
        if not cut:
            begun.append(block.text)
            continue
        text = b"".join([*begun, block.text[:cut]])
        yield replace(block, text=text, read=read, noticed=tuple(noticed), found=None)
        begun, read, noticed = [block.text[cut:]], 0, []


def lines_before(file: Location, start: int) -> int:
    """Number of lines of a file that begin before a byte. 0 at its beginning; it is read up to there"""
    if not start:
        return 0
    lines, left = 1, start - 1
    with open_text(file) as (stream, _):
        while left and (read := stream.read(min(left, BLOCK))):
            lines, left = lines + read.count(b"\n"), left - len(read)
    return lines


def decoded(file: Location, line: bytes, number: int) -> str:
    """Bytes of a file as text. number: of the line where they begin. raises DistjointError for what is not UTF-8"""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        number += line.count(b"\n", 0, error.start)
        raise DistjointError(
            f"{file}, line {number}: byte 0x{line[error.start]:02x} is not UTF-8; "
            "write the file as UTF-8, from the encoding that it has, or mend the line"
        ) from None
