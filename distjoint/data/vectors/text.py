"""Text: GloVe's and word2vec's, fastText's `.vec`, tables between tabs. A name and its numbers a line.

The last `dim` fields of a line are the vector; what is before them is the name, which may hold blanks.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

import numpy as np

from distjoint.base.arrays import Floats
from distjoint.base.errors import DistjointError
from distjoint.data.vectors.base import AT_ONCE, Named, VectorFile, VectorFormat, Wanted
from distjoint.data.vectors.beside import named_rows
from distjoint.data.vectors.content import HEAD, ByteStream
from distjoint.data.vectors.names import decoded

_BLOCK = 1 << 20
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_COMMA = re.compile(rb"[+-]?\d+,\d+")
HEADER = re.compile(rb"\d+[ \t]+\d+")
"""word2vec's first line: how many vectors there are, and of how many numbers."""
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")


class TextVectors(VectorFormat):
    """A line a vector, with a header `count dim` or without."""

    title: ClassVar[str] = "text"

    @classmethod
    def knows(cls, head: bytes) -> bool:
        return True

    def read(self, source: VectorFile, wanted: Wanted) -> Iterator[Named]:
        count, width, unnamed = _shape(source, wanted.dim)
        if unnamed:
            vectors = ([line.split()] for _, line in _lines(source, wanted))
            rows = (_numbers(source, row, [f"row {place}"]) for place, row in enumerate(vectors, 1))
            yield from named_rows(source, wanted, rows)
            return
        held, found = _Held(source), 0 if count is None else -1  # the header is no vector
        for number, line in _lines(source, wanted):
            found += 1
            if count is not None and not found:
                continue
            raw, *numbers = line.rsplit(None, width)
            if len(numbers) != width:
                if len(numbers) == width - 1 and line[:1].isspace():
                    wanted.findings.add("{n} lines have no name and are left out", f"line {number}")
                    continue
                raise DistjointError(
                    f"{source.file}, line {number}: {len(numbers)} numbers after the name instead of {width}"
                )
            if b" " in raw and _NUMBER.fullmatch(raw.rsplit(None, 1)[-1]):
                wanted.findings.add(
                    "{n} lines have more numbers than others; what is before the last ones is taken for a name",
                    f"{raw[:40].decode(errors='replace')!r}, line {number}",
                )
            if name := wanted.name(raw, f"line {number}"):
                source.check_width(name[0], width, wanted.dim)
                yield from held.add(*name, numbers, number)
        yield from held.rest()
        _check_count(source, wanted, count, found)


class _Held:
    """Lines that wait to be parsed together, by kind."""

    def __init__(self, source: VectorFile) -> None:
        self._source = source
        self._of: dict[str | None, tuple[list[str], list[list[bytes]], list[str]]] = {}

    def add(self, kind: str | None, name: str, numbers: list[bytes], line: int) -> Iterator[Named]:
        names, rows, places = self._of.setdefault(kind, ([], [], []))
        names.append(name)
        rows.append(numbers)
        places.append(f"line {line}")
        if len(names) == AT_ONCE:
            yield self._parsed(kind)

    def rest(self) -> Iterator[Named]:
        for kind in list(self._of):
            yield self._parsed(kind)

    def _parsed(self, kind: str | None) -> Named:
        names, rows, places = self._of.pop(kind)
        return Named(kind, names, _numbers(self._source, rows, places))


def _numbers(source: VectorFile, rows: list[list[bytes]], places: list[str]) -> Floats:
    """float32[len(rows), width]. raises DistjointError naming the place of what is no finite number"""
    with np.errstate(over="ignore"), suppress(ValueError):
        vectors = np.array(rows).astype(np.float32)
        # Python's numbers may have underscores, `1_0`; those of files do not.
        if np.isfinite(vectors).all() and not any(b"_" in value for row in rows for value in row):
            return vectors
    for place, row in zip(places, rows, strict=True):
        for value in row:
            good = False
            with np.errstate(over="ignore"), suppress(ValueError):
                good = math.isfinite(np.float32(value)) and b"_" not in value
            if not good:
                shown = value[:20].decode(errors="replace")
                raise DistjointError(f"{source.file}, {place}: {shown!r} is not a finite number")
    raise DistjointError(f"{source.file}, {places[0]}: rows of several lengths")


def _shape(source: VectorFile, dim: int) -> tuple[int | None, int, bool]:
    """What the first lines say: the count of a header, the width, and whether lines are numbers alone.

    raises   DistjointError where they are no vectors of `dim` numbers, but for relations, whose width is their own
    """
    head = source.stream.peek(HEAD).removeprefix(b"\xef\xbb\xbf")
    lines = [line.strip() for line in head.split(b"\n")]
    whole = lines[:-1] if len(lines) > 1 and len(head) >= HEAD else lines
    first, *others = [line for line in whole if line] or [b""]
    if HEADER.fullmatch(first):
        count, width = map(int, first.split())
        marked = decoded((others[0] if others else b"").decode(errors="replace"))[0] not in (None, "entity")
        if width != dim and not marked:
            raise source.other_width(width, dim)
        return count, width, False
    fields = [line.split() for line in (first, *others)]
    runs = [_run(line) for line in fields]
    if dim > 1 and all(run == len(line) == dim for run, line in zip(runs, fields, strict=True)):
        return None, dim, True
    widths = Counter(min(run, len(line) - 1) for run, line in zip(runs, fields, strict=True))
    width = widths.most_common(1)[0][0]
    if width != dim:
        if b"," in first and len(fields[0]) < 3:
            raise DistjointError(f"{source.file}: numbers between commas; put blanks or tabs between them")
        if len(fields[0]) > 1 and all(_COMMA.fullmatch(field) for field in fields[0][1:]):
            raise DistjointError(f"{source.file}, line 1: numbers with decimal commas; write them with points")
        if not width:
            raise DistjointError(
                f"{source.file}, line 1: 0 numbers after the name instead of {dim}; lines must be a name and {dim} "
                "numbers with blanks or tabs between them"
            )
        if decoded(first.decode(errors="replace"))[0] in (None, "entity"):
            raise source.other_width(width, dim)
    return None, width, False


def is_text(line: bytes) -> bool:
    """Whether a line is a name and numbers as text, not word2vec's binary form."""
    return not _CONTROL.search(line) and any(_NUMBER.fullmatch(field) for field in line.split()[1:])


def _run(fields: list[bytes]) -> int:
    """How many fields at the end of a line are numbers."""
    length = 0
    while length < len(fields) and _NUMBER.fullmatch(fields[-1 - length]):
        length += 1
    return length


def _lines(source: VectorFile, wanted: Wanted) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, with their numbers; blanks at their ends are word2vec's."""
    stream: ByteStream = source.stream
    number, rest, last = 0, b"", b""
    while block := stream.read(_BLOCK):
        if not number and not rest:
            block = block.removeprefix(b"\xef\xbb\xbf")
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            number += 1
            if line := line.rstrip(b" \t\r"):
                yield number, line
    if last := rest.rstrip(b" \t\r\0"):
        wanted.findings.add("the last line has no end: is the file cut short?", f"line {number + 1}")
        yield number + 1, last


def _check_count(source: VectorFile, wanted: Wanted, said: int | None, found: int) -> None:
    if said is None or said == found:
        return
    if found < said:
        raise DistjointError(f"{source.file}: the file is cut short: {found:,} of the {said:,} vectors of its header")
    wanted.findings.add("{n} more vectors than the header says, which are read too", f"{said:,}", found - said)
