"""Writing vectors for other programs: the text formats of GloVe and word2vec, Parquet, safetensors.

Text formats part name and numbers by spaces, so a space in a name becomes an underscore, and an entity's name
gets `ENTITY/` before it when words are written too: `bank` the word and `bank` the entity are two vectors.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors.numpy import save

from distjoint.arrays import Floats, Offsets
from distjoint.data.vectors import ENTITY
from distjoint.errors import UsageError
from distjoint.evaluate.space import Space
from distjoint.storage import Location

Format = Literal["glove", "word2vec", "parquet", "safetensors"]
_AT_ONCE = 4096


def export(spaces: Sequence[Space], out: Location, form: Format = "glove", binary: bool = False) -> int:
    """Write named vectors to a file, most frequent names first; returns how many.

    glove         `name number number ...` a line, no header
    word2vec      the same after a line `count dim`; with `binary`, float32 after each name
    parquet       columns name, kind, vector (a list of float32)
    safetensors   a tensor float32[n, dim] per kind, and the names as JSON lists in the file's metadata

    raises        UsageError for an unknown format, or where a kind is without vectors
    """
    if form not in _WRITERS:
        raise UsageError(f"--format {form}: choose {', '.join(get_args(Format))}")
    if binary and form != "word2vec":
        raise UsageError(f"--format {form} has no binary form; only word2vec has")
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; give the name of a file")
    _WRITERS[form](spaces, out, binary)
    return sum(len(space) for space in spaces)


def _glove(spaces: Sequence[Space], out: Location, binary: bool) -> None:
    _lines(spaces, out, header=False, binary=False)


def _word2vec(spaces: Sequence[Space], out: Location, binary: bool) -> None:
    _lines(spaces, out, header=True, binary=binary)


def _lines(spaces: Sequence[Space], out: Location, header: bool, binary: bool) -> None:
    with _whole(out) as stream:
        if header:
            stream.write(f"{sum(len(space) for space in spaces)} {spaces[0].vectors.shape[1]}\n".encode())
        for names, vectors in _blocks(spaces):
            stream.write(_binary(names, vectors) if binary else _text(names, vectors))


def _binary(names: Sequence[str], vectors: Floats) -> bytes:
    rows = zip(names, vectors.astype("<f4"), strict=True)
    return b"".join(name.encode() + b" " + row.tobytes() + b"\n" for name, row in rows)


def _text(names: Sequence[str], vectors: Floats) -> bytes:
    # Arrow writes the shortest digits that give each float32 back, ten times faster than Python formats them.
    numbers = pa.array(vectors.ravel()).cast(pa.string())
    rows = pc.binary_join(pa.ListArray.from_arrays(_ends(vectors), numbers), " ")
    return ("\n".join(pc.binary_join_element_wise(pa.array(names), rows, " ").to_pylist()) + "\n").encode()


def _ends(vectors: Floats) -> Offsets:
    return np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)


def _blocks(spaces: Sequence[Space]) -> Iterator[tuple[list[str], Floats]]:
    """Names for text formats and their vectors, a few thousand at a time."""
    for space in spaces:
        prefix = ENTITY if space.kind == "entity" and len(spaces) > 1 else ""
        for start in range(0, len(space), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            names = [prefix + "_".join(name.split()) for name in space.names[part]]
            yield names, space.vectors[part]


def _parquet(spaces: Sequence[Space], out: Location, binary: bool) -> None:
    schema = pa.schema([("name", pa.string()), ("kind", pa.string()), ("vector", pa.list_(pa.float32()))])
    with (
        _whole(out) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for space in spaces:
            for start in range(0, len(space), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                vectors = space.vectors[part]
                lists = pa.ListArray.from_arrays(_ends(vectors), vectors.ravel())
                kinds = pa.array([space.kind] * len(vectors))
                writer.write_batch(pa.record_batch([pa.array(space.names[part]), kinds, lists], schema=schema))


def _safetensors(spaces: Sequence[Space], out: Location, binary: bool) -> None:
    names = {f"{space.kind}.names": json.dumps(list(space.names), ensure_ascii=False) for space in spaces}
    content = save({space.kind: np.ascontiguousarray(space.vectors) for space in spaces}, metadata=names)
    with _whole(out) as stream:
        stream.write(content)


@contextmanager
def _whole(out: Location) -> Iterator[pa.NativeFile]:
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


_WRITERS: dict[str, Callable[[Sequence[Space], Location, bool], None]] = {
    "glove": _glove,
    "word2vec": _word2vec,
    "parquet": _parquet,
    "safetensors": _safetensors,
}
