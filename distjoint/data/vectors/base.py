"""What a format of vector files is, what it reads from, and what it tells besides the vectors."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Floats
from distjoint.base.errors import DistjointError
from distjoint.data.beginnings import MAGIC
from distjoint.data.vectors.content import ByteStream, is_packed
from distjoint.data.vectors.names import decoded
from distjoint.storage import Location

AT_ONCE = 4096
"""Vectors that are parsed at a time."""
_LARGEST_ABOUT = 1 << 22
OF_ROWS = (None, "word", "entity")
"""Kinds of which only what is wanted is read; all others are small."""


@dataclass(frozen=True)
class Named:
    """Vectors of a file, with their names.

    kind      `word`, `entity`, `relation`, `inverse_relation` or another table; None where the file does not say
    vectors   float32[len(names), width]; width is `dim` of words and entities
    """

    kind: str | None
    names: list[str]
    vectors: Floats


@dataclass
class Findings:
    """What a reading tells besides the vectors: what was mended or left out, counted, and what the file says of itself.

    about   `export`'s description of the run, where the file has one
    """

    about: dict[str, Any] = field(default_factory=dict)
    _found: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, what: str, example: str, count: int = 1) -> None:
        """Count one more of a sort; its first example is kept.

        what   a sentence with `{n}` where the number goes
        """
        before, first = self._found.get(what, (0, example))
        self._found[what] = before + count, first

    def lines(self) -> list[str]:
        """A line a sort, with its number and an example."""
        return [f"{what.format(n=f'{count:,}')} ({example})" for what, (count, example) in self._found.items()]


@dataclass(frozen=True)
class Wanted:
    """What a reader is to return: dim, the names that are wanted, and what takes what is mended."""

    dim: int
    names: Container[str]
    findings: Findings

    def name(self, raw: bytes | str, where: str) -> tuple[str | None, str] | None:
        """Kind and name of what a file of text has as a name; None where it is not wanted."""
        text = raw if isinstance(raw, str) else self._text(raw, where)
        kind, name = decoded(text)
        if kind not in OF_ROWS or name in self.names:
            return kind, name
        if name != text and text in self.names:
            self.findings.add("{n} names look escaped, but are taken as they are written", f"{text!r}, {where}")
            return None, text
        return None

    def _text(self, raw: bytes, where: str) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            text = raw.decode(errors="replace")
            self.findings.add("{n} names are not UTF-8: their bad bytes are read as \ufffd", f"{text!r}, {where}")
            return text


@dataclass(frozen=True)
class VectorFile:
    """A file that is read.

    file     its place, for messages and for what lies beside it
    stream   its bytes, decompressed
    """

    file: Location
    stream: ByteStream

    def beside(self, name: str) -> Location:
        """A file in the same folder."""
        parent, path = (text.rpartition("/") for text in (self.file.url, self.file.path))
        return replace(self.file, url="".join((*parent[:2], name)), path="".join((*path[:2], name)))

    @contextmanager
    def seekable(self) -> Iterator[Any]:
        """The file's bytes in any order; of a compressed one all of them in memory."""
        with self.file.open_input(ranges=True) as raw:
            packed = is_packed(bytes(raw.read(MAGIC)))
            raw.seek(0)
            yield pa.BufferReader(self.stream.read_all()) if packed else raw

    def check_width(self, kind: str | None, width: int, dim: int) -> None:
        """raises DistjointError for words and entities of another width than the run's"""
        if kind in OF_ROWS and width != dim:
            raise self.other_width(width, dim)

    def other_width(self, width: int, dim: int) -> DistjointError:
        return DistjointError(
            f"{self.file}: vectors of {width} numbers, model.dim is {dim}; set model.dim={width}, or give other vectors"
        )

    def about_beside(self) -> dict[str, Any]:
        """What is in `FILE.json`, which `export` writes beside relations in text; nothing where it is not there."""
        place = self.beside(f"{self.file.name}.json")
        there = place.exists() and not place.is_dir() and place.size() < _LARGEST_ABOUT
        return self.about(place.read_bytes() if there else None)

    def about(self, text: str | bytes | None) -> dict[str, Any]:
        """`export`'s description of a run, from JSON; nothing where there is none that can be read."""
        try:
            found = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) and "distjoint" in found else {}


class VectorFormat(ABC):
    """A format of files that hold named vectors. Another is a class in a file of its own, and its name in FORMATS."""

    title: ClassVar[str]
    """What messages call it, and files of it end with."""

    @classmethod
    @abstractmethod
    def knows(cls, head: bytes) -> bool:
        """Whether a file that begins so is of this format; `head` holds HEAD bytes, fewer where the file is shorter."""

    @abstractmethod
    def read(self, source: VectorFile, wanted: Wanted) -> Iterator[Named]:
        """The vectors that are wanted. raises as `read_vectors` does"""


def checked(source: VectorFile, kind: str | None, names: list[str], vectors: Floats, places: Sequence[str]) -> Named:
    """Vectors whose numbers are all finite. raises DistjointError naming the first that is not, by its place"""
    finite = np.isfinite(vectors).all(1)
    if not finite.all():
        at = int(np.flatnonzero(~finite)[0])
        raise DistjointError(
            f"{source.file}, {places[at]}: a number of {names[at]!r} is not finite; mend or leave it out"
        )
    return Named(kind, names, vectors)
