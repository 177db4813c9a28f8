"""Parquet: a column of names and one of vectors, and perhaps `kind`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from distjoint.base.arrays import Floats
from distjoint.base.errors import DistjointError
from distjoint.data.vectors.base import AT_ONCE, OF_ROWS, Named, VectorFile, VectorFormat, Wanted, checked


class ParquetVectors(VectorFormat):
    """Columns `name`, `kind` and `vector`, as `export` writes them, or one of strings and one of lists of numbers."""

    title: ClassVar[str] = "parquet"

    @classmethod
    def knows(cls, head: bytes) -> bool:
        return head.startswith(b"PAR1")

    def read(self, source: VectorFile, wanted: Wanted) -> Iterator[Named]:
        try:
            with source.seekable() as place:
                yield from _read(source, wanted, pq.ParquetFile(place, page_checksum_verification=True))
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DistjointError(f"{source.file}: damaged or not Parquet ({reason})") from error


def _read(source: VectorFile, wanted: Wanted, file: pq.ParquetFile) -> Iterator[Named]:
    name, vector = _columns(source, file.schema_arrow)
    columns = [name, vector, *(["kind"] if "kind" in file.schema_arrow.names and name != "kind" else [])]
    wanted.findings.about |= source.about((file.schema_arrow.metadata or {}).get(b"distjoint"))
    done = 0
    for batch in file.iter_batches(AT_ONCE, columns=columns):
        names = batch.column(name).cast(pa.string()).to_pylist()
        kinds = batch.column("kind").cast(pa.string()).to_pylist() if "kind" in columns else [None] * len(names)
        places: dict[str | None, list[int]] = {}
        for at, (kind, text) in enumerate(zip(kinds, names, strict=True)):
            if text is None:
                raise DistjointError(f"{source.file}, row {done + at + 1}: no name")
            if kind not in OF_ROWS or text in wanted.names:
                places.setdefault(kind, []).append(at)
        for kind, rows in places.items():
            said = [f"row {done + at + 1}" for at in rows]
            vectors = _vectors(source, batch.column(vector).take(pa.array(rows)), said)
            source.check_width(kind, vectors.shape[1], wanted.dim)
            yield checked(source, kind, [names[at] for at in rows], vectors, said)
        done += len(names)


def _columns(source: VectorFile, schema: pa.Schema) -> tuple[str, str]:
    """The columns of names and of vectors. raises DistjointError where it is not plain which they are"""
    if {"name", "vector"} <= set(schema.names):
        return "name", "vector"
    strings = [field.name for field in schema if _is_text(field.type) and field.name != "kind"]
    lists = [field.name for field in schema if _is_list(field.type)]
    if len(strings) == len(lists) == 1:
        return strings[0], lists[0]
    raise DistjointError(
        f"{source.file}: columns {', '.join(schema.names)}; name the column of names 'name', that of lists of numbers "
        "'vector'"
    )


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(kind) for is_kind in lists) and bool(pa.types.is_floating(kind.value_type))


def _vectors(source: VectorFile, lists: pa.Array, places: list[str]) -> Floats:
    """float32[len(lists), width]. raises DistjointError for rows of several lengths, and for what is missing"""
    lengths = pc.list_value_length(lists).to_pylist()
    for length, place in zip(lengths, places, strict=True):
        if length != lengths[0] or not length:
            held = "no vector" if not length else f"a vector of {length} numbers, others have {lengths[0]}"
            raise DistjointError(f"{source.file}, {place}: {held}")
    numbers = lists.flatten().to_numpy(zero_copy_only=False)  # what is missing becomes NaN
    with np.errstate(over="ignore"):
        return np.asarray(numbers, np.float64).astype(np.float32).reshape(len(lengths), -1)
