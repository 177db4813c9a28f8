"""Export format: how named vectors are written to a file. One class a format; the registry's EXPORTS lists them.

A format of a user's own is a subclass that is made known by `EXPORTS.add`.
"""

from __future__ import annotations

import posixpath
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Floats, Offsets
from distjoint.evaluate.space import Space
from distjoint.storage import Location

ROWS_AT_ONCE = 4096
"""Vectors that are made ready for a file at a time."""


class Export(ABC):
    """A file format for vectors.

    name         what `--format` calls it
    has_binary   it can be written with binary numbers instead of text
    binary       it is to be written so; only where `has_binary`
    """

    name: ClassVar[str]
    has_binary: ClassVar[bool] = False

    def __init__(self, binary: bool = False) -> None:
        self.binary = binary

    @abstractmethod
    def write(self, spaces: Sequence[Space], out: Location) -> None:
        """Write all vectors to one file.

        spaces   words, entities or both, of one dimension; names and vectors in order of row id, most frequent first
        out      the file; `open_whole` opens it so that it is complete or absent
        """


def blocks(space: Space) -> Iterator[tuple[Sequence[str], Floats]]:
    """Names and vectors of a space, ROWS_AT_ONCE at a time: str[n], float32[n, dim]."""
    for start in range(0, len(space), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        yield space.names[part], space.vectors[part]


def row_offsets(vectors: Floats) -> Offsets:
    """int32[n + 1]: where each row starts in the flat array, and its end: the offsets of an Arrow list."""
    return np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)


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
