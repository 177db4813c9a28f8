"""Reader of named vectors: the text of GloVe and of word2vec, and safetensors as `export` writes them.

The other way round is `export.py`. Only what is wanted is parsed, a block at a time, so that a file may be larger than
memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from distjoint.base.arrays import Floats
from distjoint.base.errors import DistjointError
from distjoint.data.lines import open_text
from distjoint.storage import Location

ENTITY = "ENTITY/"
"""Before the name of an entity, in text that holds words too."""
_BLOCK = 1 << 20
_AT_ONCE = 4096


@dataclass(frozen=True)
class Named:
    """Vectors of a file, with their names.

    kind      `word` or `entity`; None where the file does not say
    vectors   float32[len(names), dim]
    """

    kind: str | None
    names: list[str]
    vectors: Floats


def read_vectors(file: Location, dim: int, wanted: Container[str]) -> Iterator[Named]:
    """The vectors whose names are wanted, in the order of the file.

    raises DistjointError naming the file, and the line, that does not hold vectors of `dim` finite numbers
    """
    if not file.exists() or file.is_dir():
        raise DistjointError(f"{file}: no such file of vectors")
    yield from _tensors(file, dim, wanted) if file.path.endswith(".safetensors") else _text(file, dim, wanted)


def _text(file: Location, dim: int, wanted: Container[str]) -> Iterator[Named]:
    kept: dict[str | None, tuple[list[str], list[list[bytes]], list[int]]] = {}
    for number, line in _lines(file):
        if number == 1:
            fields = line.split()
            header = len(fields) == 2 and all(field.isdigit() for field in fields)
            width = int(fields[1]) if header else len(fields) - 1
            if width != dim:
                raise DistjointError(_other_width(file, width, dim))
            if header:
                continue
        # A name may hold spaces; numbers do not.
        first, *numbers = line.rsplit(b" ", dim)
        if len(numbers) != dim:
            binary = "; word2vec's binary form is not read, export it as text" if b"\0" in line else ""
            raise DistjointError(
                f"{file}, line {number}: {len(numbers)} numbers after the name instead of {dim}{binary}"
            )
        try:
            name = first.decode()
        except UnicodeDecodeError:
            raise DistjointError(
                f"{file}, line {number}: the name is not UTF-8; give text (word2vec's binary form is not read)"
            ) from None
        kind = "entity" if name.startswith(ENTITY) else None
        name = name.removeprefix(ENTITY)
        if name not in wanted:
            continue
        names, rows, numbers_of = kept.setdefault(kind, ([], [], []))
        names.append(name)
        rows.append(numbers)
        numbers_of.append(number)
        if len(names) == _AT_ONCE:
            yield _parsed(file, kind, *kept.pop(kind))
    for kind, held in kept.items():
        yield _parsed(file, kind, *held)


def _lines(file: Location) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, with their numbers; blanks at their ends are word2vec's."""
    number, rest = 0, b""
    with open_text(file) as (stream, _):
        while block := bytes(stream.read(_BLOCK)):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                number += 1
                if line := line.rstrip(b" \r"):
                    yield number, line
    if rest.rstrip():
        yield number + 1, rest.rstrip(b" \r")
    elif not number:
        raise DistjointError(f"{file}: the file is empty")


def _parsed(file: Location, kind: str | None, names: list[str], rows: list[list[bytes]], lines: list[int]) -> Named:
    with np.errstate(over="ignore"), suppress(ValueError):
        vectors = np.array(rows).astype(np.float32)
        if np.isfinite(vectors).all():
            return Named(kind, names, vectors)
    for line, row in zip(lines, rows, strict=True):
        for value in row:
            good = False
            with np.errstate(over="ignore"), suppress(ValueError):
                good = math.isfinite(np.float32(value))
            if not good:
                shown = value[:20].decode(errors="replace")
                raise DistjointError(f"{file}, line {line}: {shown!r} is not a finite number")
    raise AssertionError("one of them is wrong")


def _tensors(file: Location, dim: int, wanted: Container[str]) -> Iterator[Named]:
    with file.open_input() as stream:
        header, start = _header(file, stream)
        notes = header.pop("__metadata__", {})
        kinds = [kind for kind in ("word", "entity") if kind in header and f"{kind}.names" in notes]
        if not kinds:
            raise DistjointError(f"{file}: no tensor 'word' or 'entity' with names, as 'distjoint export' writes them")
        for kind in kinds:
            names, (rows, width), begin = _entry(file, kind, header[kind], notes[f"{kind}.names"])
            if width != dim:
                raise DistjointError(_other_width(file, width, dim))
            stream.seek(start + begin)
            for first in range(0, rows, _AT_ONCE):
                part = names[first : first + _AT_ONCE]
                content = bytes(stream.read(4 * dim * len(part)))
                if len(content) != 4 * dim * len(part):
                    raise DistjointError(f"{file}: the file is cut short")
                vectors = np.frombuffer(content, "<f4").astype(np.float32).reshape(-1, dim)
                which = [place for place, name in enumerate(part) if name in wanted]
                if not np.isfinite(vectors[which]).all():
                    raise DistjointError(f"{file}: a vector of tensor '{kind}' is not finite")
                yield Named(kind, [part[place] for place in which], vectors[which])


def _header(file: Location, stream: Any) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its tensors start."""
    size = int.from_bytes(bytes(stream.read(8)), "little")
    try:
        if not 2 <= size <= file.size() - 8:
            raise ValueError(f"a header of {size} bytes")
        header = json.loads(bytes(stream.read(size)))
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
    except ValueError as error:
        raise DistjointError(f"{file}: not a safetensors file ({error})") from error
    return header, 8 + size


def _entry(file: Location, kind: str, entry: Any, listed: str) -> tuple[list[str], tuple[int, int], int]:
    """Names, shape and offset of a tensor."""
    try:
        names, shape, begin = json.loads(listed), entry["shape"], entry["data_offsets"][0]
        rows, width = shape
        good = entry["dtype"] == "F32" and len(names) == rows and all(isinstance(name, str) for name in names)
        good = good and isinstance(begin, int) and begin >= 0
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DistjointError(f"{file}: tensor '{kind}' is not as 'distjoint export' writes it ({error})") from error
    if not good:
        raise DistjointError(f"{file}: tensor '{kind}' must be float32, with a name for each row")
    return names, (rows, width), begin


def _other_width(file: Location, width: int, dim: int) -> str:
    return f"{file}: vectors of {width} numbers, model.dim is {dim}; set model.dim={width}, or give other vectors"
