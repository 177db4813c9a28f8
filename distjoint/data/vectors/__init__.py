"""Files of named vectors as others, and `export`, write them: one format a file, known by its content.

No format is read that can run code (pickle). Only what is wanted is parsed, a block at a time, so that a file may be
larger than memory. The other way round is `results/exports`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from distjoint.base.errors import DistjointError
from distjoint.data.vectors.base import Findings, Named, VectorFile, VectorFormat, Wanted
from distjoint.data.vectors.binary import BinaryVectors
from distjoint.data.vectors.content import opened, refuse_foreign
from distjoint.data.vectors.folder import find_file
from distjoint.data.vectors.npy import NpyVectors
from distjoint.data.vectors.parquet import ParquetVectors
from distjoint.data.vectors.safetensors import SafetensorsVectors
from distjoint.data.vectors.text import TextVectors
from distjoint.storage import Location

__all__ = ["FORMATS", "Findings", "Named", "read_vectors"]

FORMATS: tuple[type[VectorFormat], ...] = (SafetensorsVectors, ParquetVectors, NpyVectors, BinaryVectors, TextVectors)
"""Asked in this order whether they know a file's first bytes; text is what is left."""


def read_vectors(file: Location, dim: int, wanted: Container[str], findings: Findings | None = None) -> Iterator[Named]:
    """The vectors whose names are wanted, and all relations and maps, in the order of the file.

    file       of any of FORMATS, compressed or not, whatever its name; or a folder that `export` made
    dim        numbers of a word's or an entity's vector
    findings   takes what was mended or left out, and what the file says of itself
    raises     DistjointError naming the file, and the line or place in it, that does not hold vectors of `dim` finite
               numbers, or that is of a format which is not read
    """
    findings = findings or Findings()
    file = find_file(file)
    with opened(file) as stream:
        head = stream.peek()
        form = next(form for form in FORMATS if form.knows(head))
        called = next((other for other in FORMATS if file.name.lower().endswith(f".{other.title}")), form)
        if form is TextVectors and called is not form:
            raise DistjointError(f"{file}: not a {called.title} file, though it is called so")
        if not head:
            raise DistjointError(f"{file}: the file is empty")
        refuse_foreign(file, head)
        source = VectorFile(file, stream)
        findings.about |= source.about_beside()
        yield from form().read(source, Wanted(dim, wanted, findings))
