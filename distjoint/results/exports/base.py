"""Export format: how named vectors are written. One class a format; the registry's EXPORTS lists them.

A format of a user's own is a subclass that is made known by `EXPORTS.add`.
"""

from __future__ import annotations

import posixpath
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Floats, Offsets
from distjoint.base.errors import UsageError
from distjoint.storage import Location

ROWS_AT_ONCE = 4096
"""Vectors that are made ready for a file at a time."""
OF_ROWS = ("word", "entity")
"""Kinds of vectors that are not the model's own."""


class NamedVectors(Protocol):
    """Named vectors of one kind: a `Space`, or a table of the model's.

    kind      `word`, `entity`, `relation`, `inverse_relation`, `map`, ...
    vectors   float32[len(names), width]
    """

    @property
    def kind(self) -> str: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def vectors(self) -> Floats: ...
    def __len__(self) -> int: ...


class Export(ABC):
    """A format for vectors.

    name         what `--format` calls it
    has_binary   it can be written with binary numbers instead of text
    holds_model  it can hold tables of several widths, and so relations and maps beside words and entities
    files        names of the files of a format that is a folder, or patterns; none where it is a file
    binary       it is to be written so; only where `has_binary`
    about        what the vectors are, and how triples are scored with them, for people and other programs
    notes        what is to be said of what was written; `write` adds to it
    """

    name: ClassVar[str]
    has_binary: ClassVar[bool] = False
    holds_model: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()
    about: Mapping[str, Any]

    def __init__(self, binary: bool = False) -> None:
        self.binary, self.about, self.notes = binary, {}, list[str]()

    @abstractmethod
    def write(self, spaces: Sequence[Any], out: Location) -> None:
        """Write all vectors to one file, or to a folder.

        spaces   words, entities or both, of one dimension, names and vectors in order of row id, most
                 frequent first; then, where the format `holds_model`, tables of the model's
        out      the file; `open_whole` opens it so that it is complete or absent. Or the folder; see `open_folder`
        """


def blocks(space: NamedVectors) -> Iterator[tuple[Sequence[str], Floats]]:
    """Names and vectors of a space, ROWS_AT_ONCE at a time: str[n], float32[n, dim]."""
    # Vectors that stay in their files lie there in another order, so many are read at a time.
    at_once = getattr(space.vectors, "rows_at_once", ROWS_AT_ONCE)
    for first in range(0, len(space), at_once):
        read = space.vectors[first : first + at_once]
        for start in range(0, len(read), ROWS_AT_ONCE):
            part = slice(first + start, first + start + len(read[start : start + ROWS_AT_ONCE]))
            yield space.names[part], read[start : start + ROWS_AT_ONCE]


def row_offsets(vectors: Floats) -> Offsets:
    """int32[n + 1]: where each row starts in the flat array, and its end: the offsets of an Arrow list."""
    return np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)


def text_rows(vectors: Floats, between: str) -> pa.Array:
    """str[n]: the numbers of each row, the shortest digits that give each float32 back."""
    # Arrow writes them ten times faster than Python does.
    numbers = pa.array(vectors.ravel()).cast(pa.string())
    return pa.compute.binary_join(pa.ListArray.from_arrays(row_offsets(vectors), numbers), between)


@contextmanager
def open_whole(out: Location) -> Iterator[pa.NativeFile]:
    """The file, open for writing, that is there when all is written and not before."""
    if out.is_local:
        replace(out, path=posixpath.dirname(out.path)).make_dir()
    target = replace(out, path=out.path + ".part") if out.is_local else out
    try:
        with target.open_output() as stream:
            yield stream
    except BaseException:
        target.delete()
        raise
    if target != out:
        out.fs.move(target.path, out.path)


@contextmanager
def open_folder(out: Location, files: Sequence[str]) -> Iterator[Location]:
    """The folder to write to, that is there when all is written; an earlier one of these files is replaced.

    On a store, which has no folders to move, files are sent as they are written, the last one last.

    raises   UsageError where something else is in its place
    """
    there = [place.name for place in out.list()] if out.is_dir() else []
    others = [name for name in there if not any(fnmatch(name, file) for file in files)]
    if others or (out.exists() and not out.is_dir()):
        held = f"holds {', '.join(others[:3])}" if others else "is a file"
        raise UsageError(f"{out}: {held}; this format is a folder of {', '.join(files)}: give a new one")
    target = replace(out, path=out.path.rstrip("/") + ".part") if out.is_local else out
    target.delete() if out.is_local else None
    target.make_dir()
    try:
        yield target
    except BaseException:
        target.delete()
        raise
    if target != out:
        out.delete()
        out.fs.move(target.path, out.path.rstrip("/"))
