"""RDF files as pyoxigraph reads those that are no lines: as a stream of bytes, and of XML only what is safe and whole.

pyoxigraph takes XML that is cut short for whole, and lets entities of a DTD grow to any size, so expat looks at each
block before. Neither gives the line of what is XML but no RDF: the file is read again then, at a slow pace.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from xml.parsers import expat

from distjoint.base.errors import DistjointError
from distjoint.data.lines import Slice, text_blocks
from distjoint.storage import Location

_LONGEST = 1000
"""Characters of an entity in a DTD, which stands for an IRI's beginning where people write RDF by hand."""


class RdfStream:
    """A file's bytes, decompressed, as the parser asks for them. It has no other method of a file than `read`."""

    def __init__(self, file: Location) -> None:
        self.file = file
        self._block, self._taken, self._blocks = io.BytesIO(), 0, self.blocks()

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; none at the end. raises DistjointError naming the file that cannot be read"""
        while not (piece := self.piece(size)):
            if (block := next(self._blocks, None)) is None:
                return b""
            self._block = io.BytesIO(block)
        return piece

    def taken(self) -> int:
        """Bytes of the file, as stored, read since this was last asked."""
        taken, self._taken = self._taken, 0
        return taken

    def piece(self, size: int) -> bytes:
        return self._block.read(size)

    def blocks(self) -> Iterator[bytes]:
        for block in text_blocks(Slice(self.file)):
            self._taken += block.read
            yield block.text


class XmlStream(RdfStream):
    """XML that is well-formed to its end, and without entities that could grow."""

    def blocks(self) -> Iterator[bytes]:
        parser = expat.ParserCreate()
        parser.EntityDeclHandler = self._entity
        try:
            for block in super().blocks():
                parser.Parse(block, False)
                yield block
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            what = expat.ErrorString(error.code)
            cut = "; the file is cut short, or an element is not closed" if "no element" in what else ""
            raise DistjointError(
                f"{self.file}, line {error.lineno}, column {error.offset + 1}: not XML ({what}){cut}"
            ) from None

    def _entity(self, name: str, is_parameter: bool, value: str | None, *outside: str | None) -> None:
        if is_parameter or value is None or "&" in value or len(value) > _LONGEST:
            raise DistjointError(
                f"{self.file}: entity '{name}' of its DTD is not read: only texts without entities are, of at most "
                f"{_LONGEST:,} characters"
            )


class _SlowStream(RdfStream):
    """Hands out a line at a time, and one line byte by byte; counts both.

    slow   number of this line, from 1; 0 for none
    """

    def __init__(self, file: Location, slow: int = 0) -> None:
        super().__init__(file)
        self.slow, self.line, self.column = slow, 0, 0

    def piece(self, size: int) -> bytes:
        piece = self._block.read(1) if self.line + 1 == self.slow else self._block.readline(size)
        self.column += len(piece)
        if piece.endswith(b"\n"):
            self.line, self.column = self.line + 1, 0
        return piece


def place_in_xml(file: Location, parse: Callable[[RdfStream], object]) -> tuple[int, int]:
    """Line and column, from 1, up to which a parser had read when it failed.

    parse   reads the stream to its end, or raises SyntaxError
    """
    slow = 0
    for _ in range(2):
        stream = _SlowStream(file, slow)
        with suppress(SyntaxError):
            parse(stream)
        slow = stream.line + (stream.column > 0)
    return max(slow, 1), max(stream.column, 1)
