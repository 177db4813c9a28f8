"""Text formats of GloVe and word2vec: a line for each vector, its name and its numbers parted by spaces.

Names are escaped where they would be misread (`New%20York`, see data/vectors/names.py). An entity's name gets `ENTITY/`
before it where words are written too: `bank` the word and `bank` the entity are two vectors; a relation's always has
`RELATION/`, or `INVERSE_RELATION/`, and what the relations are is in a file beside theirs, `FILE.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from distjoint.base.arrays import Floats
from distjoint.base.errors import DistjointError
from distjoint.data.vectors.names import encoded, mark
from distjoint.results.exports.base import OF_ROWS, Export, NamedVectors, blocks, open_whole, text_rows
from distjoint.storage import Location


class _Lines(Export):
    """A line a vector."""

    def named_blocks(self, spaces: Sequence[NamedVectors]) -> Iterator[tuple[list[str], Floats]]:
        """Names as they are written, told apart by kind, and their vectors, block by block."""
        changed, example = 0, ""
        for space in spaces:
            before = "" if space.kind == "entity" and len(spaces) == 1 else mark(space.kind)
            for names, vectors in blocks(space):
                written = [encoded(name) for name in names]
                for name, text in zip(names, written, strict=True):
                    if not name:
                        raise DistjointError(f"--format {self.name}: one of {space.kind} has no name; take parquet")
                    if text != name:
                        changed, example = changed + 1, example or f"{name!r} is {text}"
                yield [before + text for text in written], vectors
        if changed:
            self.notes.append(f"{changed:,} names with blanks or marks are written as in URLs ({example})")

    def write_about(self, spaces: Sequence[NamedVectors], out: Location) -> None:
        """What the model's tables are, in a file beside theirs."""
        if self.about and any(space.kind not in OF_ROWS for space in spaces):
            beside = replace(out, path=f"{out.path}.json", url=f"{out.url}.json")
            with open_whole(beside) as stream:
                stream.write(json.dumps(self.about, indent=1).encode())
            self.notes.append(f"{beside}: how triples are scored with them")


class GloVe(_Lines):
    """GloVe's text: `name number number ...` a line, no header."""

    name: ClassVar[str] = "glove"

    def write(self, spaces: Sequence[NamedVectors], out: Location) -> None:
        self.write_about(spaces, out)
        with open_whole(out) as stream:
            for names, vectors in self.named_blocks(spaces):
                stream.write(_text_lines(names, vectors))


class Word2Vec(_Lines):
    """word2vec's text, the lines after a header `count dim`; or its binary form, float32 after each name."""

    name: ClassVar[str] = "word2vec"
    has_binary: ClassVar[bool] = True

    def write(self, spaces: Sequence[NamedVectors], out: Location) -> None:
        self.write_about(spaces, out)
        lines = _binary_lines if self.binary else _text_lines
        with open_whole(out) as stream:
            stream.write(f"{sum(len(space) for space in spaces)} {spaces[0].vectors.shape[1]}\n".encode())
            for names, vectors in self.named_blocks(spaces):
                stream.write(lines(names, vectors))


def _text_lines(names: Sequence[str], vectors: Floats) -> bytes:
    rows = text_rows(vectors, " ")
    return ("\n".join(pc.binary_join_element_wise(pa.array(names), rows, " ").to_pylist()) + "\n").encode()


def _binary_lines(names: Sequence[str], vectors: Floats) -> bytes:
    rows = zip(names, vectors.astype("<f4"), strict=True)
    return b"".join(name.encode() + b" " + row.tobytes() + b"\n" for name, row in rows)
