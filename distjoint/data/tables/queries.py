"""WikiKG90M's held-out triples: heads and relations in one file, the right tails in another, as OGB publishes them.

`val_hr.npy` has its tails in `val_t.npy` (v2), or as places (`val_t_correct_index.npy`) among the candidates of each
query (`val_t_candidate.npy`, v1). Nothing is unpickled, and arrays are mapped, not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from distjoint.base.errors import DistjointError
from distjoint.data.columns import TableForm
from distjoint.data.noticed import Noticed
from distjoint.data.tables.arrays import read_array
from distjoint.data.tables.base import TripleBatch, TripleFile, TripleFormat
from distjoint.data.tables.dictionaries import beside
from distjoint.storage import Location

_QUERIES = re.compile(r"((?:val|valid|test)(?:-\w+)?)_hr\.npy")
_TAILS, _CHOSEN = ("{}_t.npy",), ("{}_t_candidate.npy", "{}_t_correct_index.npy")
_AT_ONCE = 1 << 20


class QueryArrays(TripleFormat):
    """`val_hr.npy` and the like, by the name."""

    title: ClassVar[str] = "WikiKG90M's queries"

    @classmethod
    def knows(cls, source: TripleFile, form: TableForm) -> bool:
        return source.begin.startswith(b"\x93NUMPY") and _QUERIES.fullmatch(source.file.name) is not None

    def read(self, source: TripleFile, form: TableForm, noticed: Noticed) -> Iterator[TripleBatch]:
        places = answer_files(source.file)
        if not places:
            looked = " or ".join(name.format(_stem(source.file)) for name in (*_TAILS, _CHOSEN[1]))
            raise DistjointError(
                f"{source.file}: queries without answers: no {looked} beside it; leave it out, it cannot be evaluated"
            )
        queries, arrays = read_array(source.file), [read_array(place) for place in places]
        if queries.ndim != 2 or queries.shape[1] != 2 or queries.dtype.kind not in "iu":
            raise DistjointError(
                f"{source.file}: shape {queries.shape} of {queries.dtype}; queries are [n, 2] integers"
            )
        tails = _tails(places, arrays)
        if len(tails) != len(queries):
            raise DistjointError(
                f"{places[-1]}: {len(tails):,} answers for the {len(queries):,} queries of {source.file}"
            )
        if len(arrays) == 2:
            what = "Candidates of each query, which are not used: all entities are ranked, and figures are no OGB's"
            noticed.add(what, f"{arrays[0].shape[1]:,} of {places[0]}", count=len(queries))
        for start in range(0, len(queries), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            ends = (queries[part, 0], queries[part, 1], tails[part])
            head, relation, tail = (pa.array(np.ascontiguousarray(end)).cast(pa.string()) for end in ends)
            yield TripleBatch(head, relation, tail)


def answer_files(file: Location) -> list[Location]:
    """The files with the answers beside a file of queries; nothing where there are none, and beside other files."""
    if not _QUERIES.fullmatch(file.name):
        return []
    for names in (_TAILS, _CHOSEN):
        places = [beside(file, name.format(_stem(file))) for name in names]
        if all(place.exists() for place in places):
            return places
    return []


def _stem(file: Location) -> str:
    found = _QUERIES.fullmatch(file.name)
    return found[1] if found else ""


def _tails(places: list[Location], arrays: list[Any]) -> Any:
    """int[n]: the right tails. raises DistjointError for arrays that do not say which"""
    for place, array, size in zip(places[::-1], arrays[::-1], (1, 2), strict=False):
        if array.ndim != size or array.dtype.kind not in "iu":
            raise DistjointError(
                f"{place}: shape {array.shape} of {array.dtype}; expected {size} dimension(s), integers"
            )
    if len(arrays) == 1:
        return arrays[0]
    candidates, chosen = arrays[0], np.asarray(arrays[1])
    if len(candidates) != len(chosen):
        raise DistjointError(f"{places[1]}: {len(chosen):,} answers, {places[0].name} has {len(candidates):,} rows")
    if len(wrong := np.flatnonzero((chosen < 0) | (chosen >= candidates.shape[1]))):
        raise DistjointError(
            f"{places[1]}, row {wrong[0] + 1}: place {chosen[wrong[0]]}, of {candidates.shape[1]:,} candidates from 0"
        )
    return candidates[np.arange(len(chosen)), chosen]
