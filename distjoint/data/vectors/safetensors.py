"""safetensors as `export` writes them: a tensor for each kind, and its names in a tensor of bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from distjoint.base.errors import DistjointError
from distjoint.data.vectors.base import AT_ONCE, OF_ROWS, Named, VectorFile, VectorFormat, Wanted, checked

NAMES = ".names"
"""After a kind: its names, a JSON list in UTF-8, as a tensor of bytes (earlier versions: in the metadata)."""


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies: bytes [begin, end) after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsVectors(VectorFormat):
    """float32[n, width] tensors `word`, `entity`, `relation`, ..., with their names, and others without."""

    title: ClassVar[str] = "safetensors"

    @classmethod
    def knows(cls, head: bytes) -> bool:
        return head[5:9] == b"\0\0\0{"

    def read(self, source: VectorFile, wanted: Wanted) -> Iterator[Named]:
        with source.seekable() as place:
            tensors, notes, start = _header(source, place)
            wanted.findings.about |= source.about(notes.get("distjoint"))
            kinds = [name for name in tensors if not name.endswith(NAMES)]
            if not any(kind + NAMES in notes or kind + NAMES in tensors for kind in kinds):
                held = f"it has {', '.join(kinds[:6])}" if kinds else "it has none"
                raise DistjointError(f"{source.file}: no tensor has names, as 'distjoint export' writes them; {held}")
            for kind in kinds:
                stored: str | bytes | None = notes.get(kind + NAMES)
                if kind + NAMES in tensors:
                    there = tensors[kind + NAMES]
                    place.seek(start + there.begin)
                    stored = _read(source, place, there.end - there.begin)
                names = _names(source, kind, tensors[kind], stored)
                place.seek(start + tensors[kind].begin)
                yield from _rows(source, wanted, place, kind, tensors[kind], names)


def _rows(
    source: VectorFile, wanted: Wanted, place: Any, kind: str, tensor: _Tensor, names: list[str]
) -> Iterator[Named]:
    width = math.prod(tensor.shape[1:])
    if names:
        source.check_width(kind, width, wanted.dim)
    for first in range(0, len(names), AT_ONCE):
        part = names[first : first + AT_ONCE]
        content = _read(source, place, 4 * width * len(part))
        vectors = np.frombuffer(content, "<f4").astype(np.float32).reshape(len(part), width)
        which = [at for at, name in enumerate(part) if kind not in OF_ROWS or name in wanted.names]
        places = [f"tensor '{kind}', row {first + at}" for at in which]
        yield checked(source, kind, [part[at] for at in which], vectors[which], places)


def _read(source: VectorFile, place: Any, size: int) -> bytes:
    content = bytes(place.read(size))
    if len(content) != size:
        raise DistjointError(f"{source.file}: the file is cut short")
    return content


def _header(source: VectorFile, place: Any) -> tuple[dict[str, _Tensor], dict[str, str], int]:
    """The tensors, the metadata, and where the tensors start."""
    size = int.from_bytes(bytes(place.read(8)), "little")
    try:
        content = bytes(place.read(size))
        if len(content) != size:
            raise ValueError(f"a header of {size} bytes")
        header = json.loads(content)
        notes = header.pop("__metadata__", {})
        if not all(isinstance(text, str) for text in notes.values()):
            raise ValueError("its metadata is no text")
        return {name: _tensor(entry) for name, entry in header.items()}, notes, 8 + size
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise DistjointError(f"{source.file}: not a safetensors file ({error})") from error


def _tensor(entry: Any) -> _Tensor:
    begin, end = entry["data_offsets"]
    tensor = _Tensor(str(entry["dtype"]), tuple(entry["shape"]), begin, end)
    if not all(type(number) is int and number >= 0 for number in (*tensor.shape, begin, end)):
        raise ValueError(f"a tensor of shape {tensor.shape} at {begin}")
    size = {"F32": 4, "U8": 1}.get(tensor.dtype)
    if size and end - begin != size * math.prod(tensor.shape):
        raise ValueError(f"{end - begin} bytes for a tensor of shape {tensor.shape}")
    return tensor


def _names(source: VectorFile, kind: str, tensor: _Tensor, stored: str | bytes | None) -> list[str]:
    """Names of a tensor's rows; their numbers where it has none, as maps."""
    if tensor.dtype != "F32" or not tensor.shape:
        raise DistjointError(f"{source.file}: tensor '{kind}' is {tensor.dtype} {tensor.shape}, not float32 rows")
    if stored is None:
        if kind in OF_ROWS:
            raise DistjointError(f"{source.file}: tensor '{kind}' has no names, as 'distjoint export' writes them")
        return [str(row) for row in range(tensor.shape[0])]
    try:
        names = json.loads(stored)
        good = isinstance(names, list) and all(isinstance(each, str) for each in names)
    except (ValueError, RecursionError) as error:
        raise DistjointError(f"{source.file}: names of tensor '{kind}' are no JSON ({error})") from error
    if not good or len(names) != tensor.shape[0]:
        raise DistjointError(f"{source.file}: tensor '{kind}' must have a name for each of its {tensor.shape[0]} rows")
    return list(names)
