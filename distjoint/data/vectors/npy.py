"""A NumPy matrix (`np.save`), its names a line each in a file beside it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from distjoint.base.errors import DistjointError
from distjoint.data.vectors.base import AT_ONCE, Named, VectorFile, VectorFormat, Wanted
from distjoint.data.vectors.beside import named_rows

_MAGIC = b"\x93NUMPY"
_LONGEST = 10_000


class NpyVectors(VectorFormat):
    """float16, float32 or float64 [n, dim]."""

    title: ClassVar[str] = "npy"

    @classmethod
    def knows(cls, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def read(self, source: VectorFile, wanted: Wanted) -> Iterator[Named]:
        shape, by_column, dtype = _header(source)
        if dtype.kind != "f" or dtype.itemsize > 8:
            raise DistjointError(f"{source.file}: numbers of type {dtype}; save a matrix of float32")
        if len(shape) != 2:
            raise DistjointError(f"{source.file}: shape {shape}; save a matrix, a row a name")
        if shape[1] != wanted.dim:
            raise source.other_width(shape[1], wanted.dim)
        if not shape[0]:
            raise DistjointError(f"{source.file}: no vectors in it")
        yield from named_rows(source, wanted, _blocks(source, shape, by_column, dtype))
        if source.stream.peek(1):
            raise DistjointError(f"{source.file}: more bytes than its header says; it is damaged")


def _header(source: VectorFile) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it lies column by column, and type."""
    start = source.stream.peek(12)
    try:
        wide = start[6] > 1
        size = int.from_bytes(start[8:12] if wide else start[8:10], "little")
        if not 0 < size <= _LONGEST:
            raise ValueError(f"a header of {size} bytes")
        header = io.BytesIO(source.stream.read(size + (12 if wide else 10)))
        version = np.lib.format.read_magic(header)
        read = np.lib.format.read_array_header_2_0 if version[0] > 1 else np.lib.format.read_array_header_1_0
        shape, by_column, dtype = read(header)
    except Exception as error:  # NumPy evaluates the header as a literal: any error of Python's parser
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DistjointError(f"{source.file}: not a NumPy array ({reason})") from error
    return shape, by_column, dtype


def _blocks(source: VectorFile, shape: tuple[int, ...], by_column: bool, dtype: np.dtype[Any]) -> Iterator[np.ndarray]:
    rows, width = shape
    at_once = rows if by_column else AT_ONCE
    for first in range(0, rows, at_once):
        size = min(at_once, rows - first) * width * dtype.itemsize
        content = source.stream.read_all() if by_column else source.stream.read(size)
        if len(content) != size:
            short = "the file is cut short" if len(content) < size else "more bytes than its header says"
            raise DistjointError(f"{source.file}: {short}")
        block = np.frombuffer(content, dtype)
        yield block.reshape(width, rows).T if by_column else block.reshape(-1, width)
