"""word2vec's binary form: a header `count dim`, then of each vector its name, a blank and float32 numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from distjoint.base.errors import DistjointError
from distjoint.data.vectors.base import AT_ONCE, Named, VectorFile, VectorFormat, Wanted, checked
from distjoint.data.vectors.names import decoded
from distjoint.data.vectors.text import HEADER, is_text

_LONGEST = 1 << 16
"""Bytes of a name."""


class BinaryVectors(VectorFormat):
    """Little-endian float32; a line end after each vector may be there or not."""

    title: ClassVar[str] = "word2vec's binary form"

    @classmethod
    def knows(cls, head: bytes) -> bool:
        header, _, rest = head.partition(b"\n")
        is_header, first = HEADER.fullmatch(header.strip()), rest.lstrip(b"\n").partition(b"\n")[0]
        return bool(is_header) and bool(first) and not is_text(first)

    def read(self, source: VectorFile, wanted: Wanted) -> Iterator[Named]:
        stream = source.stream
        header = stream.peek(64).partition(b"\n")[0]
        count, width = map(int, header.split())
        stream.read(len(header) + 1)
        kind = decoded(stream.peek(64).decode(errors="replace"))[0]
        if width != wanted.dim and kind in (None, "entity"):
            raise source.other_width(width, wanted.dim)
        held: dict[str | None, tuple[list[str], list[bytes], list[str]]] = {}
        for number in range(1, count + 1):
            raw, content = _entry(source, number, count, 4 * width)
            if not (name := wanted.name(raw, f"vector {number}")):
                continue
            source.check_width(name[0], width, wanted.dim)
            names, contents, places = held.setdefault(name[0], ([], [], []))
            names.append(name[1])
            contents.append(content)
            places.append(f"vector {number}")
            if len(names) == AT_ONCE:
                yield _parsed(source, name[0], *held.pop(name[0]))
        for kind, kept in held.items():
            yield _parsed(source, kind, *kept)
        if rest := stream.peek(64).strip():
            raise DistjointError(f"{source.file}: more after the {count:,} vectors of its header ({rest[:20]!r})")


def _entry(source: VectorFile, number: int, count: int, size: int) -> tuple[bytes, bytes]:
    """Name and numbers of a vector."""
    stream = source.stream
    ahead = stream.peek(512)
    if b" " not in ahead:
        ahead = stream.peek(_LONGEST)
    end = ahead.find(b" ")
    if end < 0 and len(ahead) == _LONGEST:
        raise DistjointError(
            f"{source.file}, vector {number}: no name; {BinaryVectors.title} has one before each vector"
        )
    content = b"" if end < 0 else stream.read(end + 1 + size)[end + 1 :]
    if len(content) != size:
        raise DistjointError(
            f"{source.file}: the file is cut short in vector {number:,} of the {count:,} that its header says"
        )
    return ahead[:end].lstrip(b"\n"), content


def _parsed(source: VectorFile, kind: str | None, names: list[str], contents: list[bytes], places: list[str]) -> Named:
    vectors = np.frombuffer(b"".join(contents), "<f4").astype(np.float32).reshape(len(names), -1)
    return checked(source, kind, names, vectors, places)
