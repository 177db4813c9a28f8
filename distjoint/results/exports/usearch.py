"""An index of nearest neighbours by cosine, of package usearch: many vectors, found in a millisecond."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distjoint.base.arrays import Floats
from distjoint.base.errors import UsageError
from distjoint.results.exports.base import Export, NamedVectors, blocks, open_folder, open_whole
from distjoint.storage import Location

_CONNECTIVITY, _EXPANSION_ADD = 16, 128
_EXPANSIONS, _WANTED = (64, 128, 256, 512, 1024), 0.98
"""How wide an index is searched: the first of these that finds the share of neighbours that is wanted."""
QUERIES, _NEIGHBOURS = 200, 10
_ROUNDING = 1e-5
"""By which a cosine may fall short of the exact ones and still be one of the nearest."""


class USearch(Export):
    """`KIND.usearch` for each kind, `names.parquet` with the name of each key, and `index.json`.

    A key is a vector's place, 0 to n - 1. Each index is searched with vectors of its own, ever wider until it finds
    98 % of their ten nearest; how wide and what it finds then is in `index.json` and said.
    """

    name: ClassVar[str] = "usearch"
    files: ClassVar[tuple[str, ...]] = ("*.usearch", "names.parquet", "index.json")

    def write(self, spaces: Sequence[NamedVectors], out: Location) -> None:
        kind = _index_kind()
        settings = {"metric": "cos", "dtype": "f32", "connectivity": _CONNECTIVITY}
        told: dict[str, Any] = {}
        with open_folder(out, self.files) as folder:
            for space in spaces:
                index = kind(ndim=space.vectors.shape[1], expansion_add=_EXPANSION_ADD, **settings)
                there = self._fill(index, space)
                expansion, recall = _search_width(index, space, there)
                with open_whole(folder / f"{space.kind}.usearch") as stream:
                    stream.write(index.save())
                told[space.kind] = {
                    "vectors": len(there),
                    "dim": space.vectors.shape[1],
                    "expansion_search": expansion,
                    "recall_at_10": recall,
                }
                asked = f"{min(len(there), QUERIES):,} of them searched for with expansion_search={expansion}"
                self.notes.append(f"{space.kind}.usearch: finds {recall:.1%} of the ten nearest ({asked})")
            with open_whole(folder / "names.parquet") as stream:
                pq.write_table(_names(spaces), stream, compression="zstd")
            with open_whole(folder / "index.json") as stream:
                stream.write(json.dumps({"index": settings, "kinds": told, **self.about}, indent=1).encode())

    def _fill(self, index: Any, space: NamedVectors) -> np.ndarray[Any, np.dtype[np.int64]]:
        """int64[n]: the keys of the vectors that were added; one of zeros has no cosine with any."""
        kept, start = [np.empty(0, np.int64)], 0
        for _, vectors in blocks(space):
            rows = np.flatnonzero(vectors.any(1))
            index.add(rows + start, np.ascontiguousarray(vectors[rows]))
            kept.append(rows + start)
            start += len(vectors)
        there = np.concatenate(kept)
        if left := len(space) - len(there):
            self.notes.append(f"{space.kind}.usearch: {left:,} vectors of zeros are left out, which are near to none")
        return there


def _index_kind() -> Any:
    try:
        from usearch.index import Index
    except ImportError as error:
        raise UsageError(
            "--format usearch needs package usearch; install it with pip install 'distjoint[index]'"
        ) from error
    return Index


def _names(spaces: Sequence[NamedVectors]) -> pa.Table:
    """Columns kind, key and name."""
    parts = [
        {"kind": pa.array([space.kind] * len(space)), "key": pa.array(range(len(space))), "name": list(space.names)}
        for space in spaces
    ]
    return pa.concat_tables([pa.table(part) for part in parts])


def _search_width(index: Any, space: NamedVectors, there: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[int, float]:
    """How wide to search, and the share of the nearest vectors of some, themselves among them, that is found then."""
    if not len(there):
        return _EXPANSIONS[0], 1.0
    asked = np.random.default_rng(0).permutation(there)[:QUERIES]
    vectors = np.ascontiguousarray(space.vectors[asked])
    queries, count = _unit(vectors), min(_NEIGHBOURS, len(there))
    best = np.full((len(asked), count), -np.inf, np.float32)
    for _, block in blocks(space):
        cosines = queries @ _unit(block[block.any(1)]).T
        best = -np.partition(-np.hstack([best, cosines]), count - 1, axis=1)[:, :count]
    recall = 0.0
    for expansion in _EXPANSIONS:
        index.expansion_search = expansion
        found = index.search(vectors, count)
        recall = float((1 - np.atleast_2d(found.distances) >= best.min(1, keepdims=True) - _ROUNDING).mean())
        if recall >= _WANTED:
            break
    return expansion, round(recall, 4)


def _unit(vectors: Floats) -> Floats:
    wide = vectors.astype(np.float64)  # squares of float32 may be none
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), np.float32)
