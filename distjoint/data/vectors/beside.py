"""Names that lie in a file of their own beside a matrix: a line each, or the first column of a table."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from distjoint.base.arrays import Floats
from distjoint.base.errors import DistjointError
from distjoint.data.vectors.base import Named, VectorFile, Wanted, checked
from distjoint.data.vectors.content import opened
from distjoint.data.vectors.names import mark
from distjoint.storage import Location

_ENDINGS = (".vocab", ".vocab.txt", ".names", ".names.txt", ".txt", ".tsv")
_NAMES = ("vocab.txt", "vocab.tsv", "names.txt", "metadata.tsv")
_COUNTED = re.compile(r"(.*\S)[ \t]+\d+")


def named_rows(source: VectorFile, wanted: Wanted, blocks: Iterator[Floats]) -> Iterator[Named]:
    """Rows of a matrix, float[n, dim] a block, with the names that lie beside it; those that are wanted.

    raises   DistjointError where there is no file of names, several might be it, or it has another length
    """
    place = _find(source)
    names, done = _names(place, wanted), 0
    for block in blocks:
        part = names[done : done + len(block)]
        if len(part) < len(block):
            raise DistjointError(f"{place}: {len(names):,} names, and {source.file} has more vectors than that")
        found: dict[str | None, tuple[list[str], list[int]]] = {}
        for at, raw in enumerate(part):
            if name := wanted.name(raw, f"row {done + at + 1}"):
                kept = found.setdefault(name[0], ([], []))
                kept[0].append(name[1])
                kept[1].append(at)
        for kind, (kept_names, places) in found.items():
            with np.errstate(over="ignore"):
                vectors = block[places].astype(np.float32)
            yield checked(source, kind, kept_names, vectors, [f"row {done + at + 1}" for at in places])
        done += len(block)
    if done != len(names):
        raise DistjointError(f"{place}: {len(names):,} names, and {source.file} has {done:,} vectors")


def _find(source: VectorFile) -> Location:
    stem = source.file.name
    while "." in stem.lstrip("."):
        stem = stem.rpartition(".")[0]
    names = dict.fromkeys([*(stem + ending for ending in _ENDINGS), *_NAMES])
    there = [place for name in names if name != source.file.name and (place := source.beside(name)).exists()]
    if len(there) == 1:
        return there[0]
    if there:
        raise DistjointError(
            f"{source.file}: has no names, and {', '.join(place.name for place in there)} beside it might hold them; "
            f"call the right one {stem}.vocab and take the others away"
        )
    raise DistjointError(f"{source.file}: has no names; put them beside it, a line each, as {stem}.vocab")


def _names(place: Location, wanted: Wanted) -> list[str]:
    """A name a line, as text files have them: marked and escaped."""
    with opened(place) as stream:
        content = stream.read_all().removeprefix(b"\xef\xbb\xbf")
    lines = content.decode(errors="replace").removesuffix("\n").split("\n")
    lines = [line.removesuffix("\r") for line in lines]
    if "\t" in lines[0] and not lines[0].rpartition("\t")[2].strip().isdigit():
        return _column(lines)
    found = [_COUNTED.fullmatch(line) for line in lines]
    if all(found):
        text = "{n} names have a number after them, which is taken for a count"
        wanted.findings.add(text, repr(lines[0]), len(lines))
        return [match[1] for match in found if match]
    return lines


def _column(lines: list[str]) -> list[str]:
    """The first column of a table with a header, as TensorBoard's projector has it, and their kinds from `kind`."""
    header, *rows = [line.split("\t") for line in lines]
    if "kind" not in header:
        return [row[0] for row in rows]
    at = header.index("kind")
    kinds = [row[at] if len(row) > at else "" for row in rows]
    return [mark(kind) + row[0] if kind else row[0] for kind, row in zip(kinds, rows, strict=True)]
