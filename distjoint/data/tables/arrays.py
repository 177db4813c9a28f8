"""Arrays of numbers or names: `.npz` and `.npy` of NumPy, `.pt` of torch, as OGB's graphs have them. No pickle is read.

An array of three columns is head, relation, tail; a dictionary of arrays has them by these names. OGB's `.pt` and
`.npz` files go by their content, not their names.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from distjoint.base.errors import DistjointError
from distjoint.data.beginnings import is_zip
from distjoint.data.columns import TableForm
from distjoint.data.lines import open_text
from distjoint.data.noticed import Noticed
from distjoint.data.packing import BROKEN, archived, compression_of, is_of_torch, way_out_of_torch
from distjoint.data.tables.base import TripleBatch, TripleFile, TripleFormat, note_columns
from distjoint.storage import Location

_AT_ONCE, _LONGEST = 1 << 20, 1 << 16
_MAGIC = b"\x93NUMPY"
_TYPES = ("head_type", "tail_type")
"""Types of the two ends, by which OGB's biokg numbers entities from 0 in each."""
Arrays = Mapping[str, Any]


class Numpy(TripleFormat):
    """`.npz` and `.npy`, by their first bytes."""

    title: ClassVar[str] = "NumPy"

    @classmethod
    def knows(cls, source: TripleFile, form: TableForm) -> bool:
        return source.begin.startswith(_MAGIC) or (is_zip(source.begin) and not _is_torch(source.file))

    def read(self, source: TripleFile, form: TableForm, noticed: Noticed) -> Iterator[TripleBatch]:
        with _reading(source.file):
            arrays = _archive(_content(source.file)) if is_zip(source.begin) else _split(read_array(source.file))
        yield from _batches(source, form, noticed, arrays)


class Torch(TripleFormat):
    """`.pt`: a dictionary of tensors or arrays, read with `weights_only`."""

    title: ClassVar[str] = "torch"

    @classmethod
    def knows(cls, source: TripleFile, form: TableForm) -> bool:
        return is_zip(source.begin) and _is_torch(source.file)

    def read(self, source: TripleFile, form: TableForm, noticed: Noticed) -> Iterator[TripleBatch]:
        yield from _batches(source, form, noticed, _of_torch(source.file))


def _is_torch(file: Location) -> bool:
    return is_of_torch(archived(file) or ())


def _of_torch(file: Location) -> Arrays:
    import torch

    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_globals()):
            warnings.simplefilter("ignore")  # about the pickle's protocol, which the error tells
            found = torch.load(io.BytesIO(file.read_bytes()), map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler's: of any kind where the file is damaged
        if "Unsupported operand" in str(error):
            raise DistjointError(
                f"{file}: a pickle of torch that cannot be read without running it; {way_out_of_torch(file)}"
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DistjointError(
            f"{file}: a file of torch that is damaged, or holds more than tensors and arrays ({reason[:120]})"
        ) from error
    if isinstance(found, torch.Tensor):
        return _split(found.numpy())
    if not isinstance(found, dict):
        raise DistjointError(f"{file}: holds {type(found).__name__}; expected a dictionary of head, relation, tail")
    plain = {str(name): value.numpy() if isinstance(value, torch.Tensor) else value for name, value in found.items()}
    return {name: value for name, value in plain.items() if isinstance(value, np.ndarray | list)}


def _numpy_globals() -> list[Any]:
    """What an array of numbers is made of when it is unpickled; none of it runs what a file brings along."""
    from numpy._core import multiarray

    kinds = [np.int64, np.int32, np.int16, np.uint32, np.float32, np.float64]
    aliases = [(multiarray._reconstruct, "numpy.core.multiarray._reconstruct"), multiarray._reconstruct]
    return [*aliases, np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in kinds)]


def _archive(content: bytes) -> Arrays:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()}


def read_array(file: Location) -> Any:
    """The array of a `.npy`: mapped where it is a local file that is not packed, as it may be larger than memory.

    raises   DistjointError for what is damaged, or no array of numbers or text
    """
    with _reading(file):
        if not file.is_local or compression_of(file):
            return _array(_content(file))
        with file.open_input() as stream:
            shape, order, dtype, start = _header(stream)
        _check_size(shape, dtype, file.size() - start)
        if not np.prod(shape):
            return np.empty(shape, dtype)
        return np.memmap(file.path, dtype, "r", start, shape, order)


def array_shape(file: Location) -> tuple[int, ...]:
    """The shape of the array of a `.npy`, of which no more is read. raises as `read_array` does"""
    with _reading(file), open_text(file) as (stream, _):
        return _header(stream)[0]


@contextmanager
def _reading(file: Location) -> Iterator[None]:
    try:
        yield
    except (*BROKEN, SyntaxError, TypeError) as error:
        if isinstance(error, DistjointError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DistjointError(f"{file}: arrays of NumPy that are damaged or not read ({reason})") from error


def _content(file: Location) -> bytes:
    with open_text(file) as (stream, _):
        return b"".join(iter(lambda: bytes(stream.read(1 << 24)), b""))


def _array(content: bytes) -> Any:
    """raises ValueError for what is no array of numbers or text"""
    shape, order, dtype, start = _header(io.BytesIO(content))
    _check_size(shape, dtype, len(content) - start)
    return np.frombuffer(content, dtype, offset=start).reshape(shape, order=order)


def _header(stream: Any) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any], int]:
    """Shape, order, type, and where the numbers begin. raises ValueError for objects, which are pickles"""
    begin = bytes(stream.read(_LONGEST))
    header = io.BytesIO(begin)
    version = np.lib.format.read_magic(header)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_column, dtype = read(header)
    if dtype.hasobject or dtype.kind not in "iufSUb":
        raise ValueError(f"an array of {dtype}, which would have to be unpickled")
    return shape, "F" if by_column else "C", dtype, header.tell()


def _check_size(shape: tuple[int, ...], dtype: np.dtype[Any], found: int) -> None:
    if found != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{found} bytes in place of {math.prod(shape) * dtype.itemsize}")


def _split(array: Any) -> Arrays:
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        raise ValueError(f"shape {array.shape}; triples have three columns")
    names = ("head", "relation", "tail") if array.shape[1] == 3 else ("head", "tail")
    return {name: array[:, k] for k, name in enumerate(names)}


def _batches(source: TripleFile, form: TableForm, noticed: Noticed, arrays: Arrays) -> Iterator[TripleBatch]:
    if len(arrays) == 1 and getattr(array := next(iter(arrays.values())), "ndim", 0) == 2:
        arrays = _split(array)
    types = {name: arrays[name] for name in _TYPES if name in arrays}
    arrays = {name: array for name, array in arrays.items() if name not in _TYPES and getattr(array, "ndim", 1) == 1}
    if types:
        noticed.add("Entities numbered by their types, called TYPE:NUMBER, in files", str(source.file))
    names = tuple(arrays)
    chosen = source.table(len(names), names).choose(form)
    note_columns(noticed, source, chosen, names if form.columns is None else None)
    lengths = {len(arrays[names[place]]) for place in chosen.positions}
    if len(lengths) != 1:
        raise DistjointError(f"{source.file}: arrays of {' and '.join(map(str, sorted(lengths)))} values")
    rows = lengths.pop()
    for start in range(0, rows, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, rows))
        columns = {place: _column(arrays[names[place]][part]) for place in chosen.positions}
        for place, name in ((chosen.places[0], "head_type"), (chosen.places[2], "tail_type")):
            if name in types and isinstance(place, int):
                columns[place] = pa.array(
                    [f"{kind}:{number}" for kind, number in _pairs(types[name], columns, place, part)]
                )
        yield TripleBatch.of(source.file, chosen, columns, part.stop - start, start)


def _pairs(types: Any, columns: Mapping[int, pa.Array], place: int, part: slice) -> Iterator[tuple[Any, Any]]:
    return zip(types[part], columns[place].to_pylist(), strict=True)


def _column(values: Any) -> pa.Array:
    array = np.asarray(values)
    if array.dtype.kind == "S":
        return pa.array([value.decode(errors="replace") for value in array.tolist()], pa.string())
    if array.dtype.kind == "U":
        return pa.array(array.tolist(), pa.string())
    return pa.array(np.ascontiguousarray(array))
