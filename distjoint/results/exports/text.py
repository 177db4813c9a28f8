"""Text formats of GloVe and word2vec: a line for each vector, its name and its numbers parted by spaces.

A space in a name therefore becomes an underscore, and an entity's name gets `ENTITY/` before it where words are written
too: `bank` the word and `bank` the entity are two vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from distjoint.base.arrays import Floats
from distjoint.data.vectors import ENTITY
from distjoint.evaluate.space import Space
from distjoint.results.exports.base import Export, blocks, open_whole, row_offsets
from distjoint.storage import Location


class GloVe(Export):
    """GloVe's text: `name number number ...` a line, no header."""

    name: ClassVar[str] = "glove"

    def write(self, spaces: Sequence[Space], out: Location) -> None:
        with open_whole(out) as stream:
            for names, vectors in _named_blocks(spaces):
                stream.write(_text_lines(names, vectors))


class Word2Vec(Export):
    """word2vec's text, the lines after a header `count dim`; or its binary form, float32 after each name."""

    name: ClassVar[str] = "word2vec"
    has_binary: ClassVar[bool] = True

    def write(self, spaces: Sequence[Space], out: Location) -> None:
        lines = _binary_lines if self.binary else _text_lines
        with open_whole(out) as stream:
            stream.write(f"{sum(len(space) for space in spaces)} {spaces[0].vectors.shape[1]}\n".encode())
            for names, vectors in _named_blocks(spaces):
                stream.write(lines(names, vectors))


def _named_blocks(spaces: Sequence[Space]) -> Iterator[tuple[list[str], Floats]]:
    """Names without spaces, told apart by kind, and their vectors, block by block."""
    for space in spaces:
        prefix = ENTITY if space.kind == "entity" and len(spaces) > 1 else ""
        for names, vectors in blocks(space):
            yield [prefix + "_".join(name.split()) for name in names], vectors


def _text_lines(names: Sequence[str], vectors: Floats) -> bytes:
    # Arrow writes the shortest digits that give each float32 back, ten times faster than Python formats them.
    numbers = pa.array(vectors.ravel()).cast(pa.string())
    rows = pc.binary_join(pa.ListArray.from_arrays(row_offsets(vectors), numbers), " ")
    return ("\n".join(pc.binary_join_element_wise(pa.array(names), rows, " ").to_pylist()) + "\n").encode()


def _binary_lines(names: Sequence[str], vectors: Floats) -> bytes:
    rows = zip(names, vectors.astype("<f4"), strict=True)
    return b"".join(name.encode() + b" " + row.tobytes() + b"\n" for name, row in rows)
