"""Triples that a program hands over: tables of pandas, Polars or Arrow, arrays of NumPy, sequences of triples
or of records (mappings).

They are written as Parquet into the scratch folder and read like any file. What a dataset records of them is what they
were, with their number and a fingerprint, so that an interrupted `prepare` goes on only with the same ones.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.handed_paths import Handed
from distjoint.data.request import PrepareOptions
from distjoint.data.streams import NEGATIVES, SPLITS

if TYPE_CHECKING:
    import pyarrow as pa

_TAKES = (
    "takes a path (a glob or a folder of several files), a table that has __arrow_c_stream__ (pandas, Polars, Arrow), "
    "an array of three columns, columns by name, or a sequence of triples or of records"
)


@contextmanager
def written(options: PrepareOptions) -> Iterator[PrepareOptions]:
    """The options with paths in place of tables; the files are there while the context lasts. Errors name the options.

    raises UsageError for what is no table of triples
    """
    given = [getattr(options, _name(split)) for split in (*SPLITS, *NEGATIVES)]
    if all(value is None or isinstance(value, str) for value in given):
        yield options
        return
    if options.scratch is not None and not Path(options.scratch).is_dir():
        raise UsageError(f"{options.scratch}: no such folder for temporary files")
    with tempfile.TemporaryDirectory(prefix="distjoint-handed-", dir=options.scratch) as folder:
        changes: dict[str, Any] = {}
        for split, value in zip((*SPLITS, *NEGATIVES), given, strict=True):
            name = _name(split)
            if isinstance(value, os.PathLike):
                changes[name] = os.fspath(value)
            elif value is not None and not isinstance(value, str):
                path = Handed(Path(folder) / f"{name}.parquet")
                path.what = _write(value, path, name)
                changes[name] = path
        filled = replace(options, **changes)
        try:
            yield filled
        except DistjointError as error:
            error.args = (in_words(str(error), filled), *error.args[1:])
            raise


def in_words(text: str, options: PrepareOptions) -> str:
    """A sentence with the option in place of the file that its table was written to."""
    for split in (*SPLITS, *NEGATIVES):
        if isinstance(path := getattr(options, _name(split)), Handed):
            text = text.replace(path, f"--{_name(split).replace('_', '-')}")
    return text


def _name(split: str) -> str:
    """The option that has a split's triples."""
    return "triples" if split == "train" else split


def _write(given: Any, path: str, name: str) -> str:
    """Write a table; returns what it was, in words."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from distjoint.storage import locate

    kind = type(given)
    try:
        table = _table(given)
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"--{name.replace('_', '-')} is a {kind.__name__} ({reason}); it {_TAKES}") from error
    pq.write_table(table, path, write_page_checksum=True)
    of = f"{kind.__module__.partition('.')[0]}.{kind.__name__}".removeprefix("builtins.")
    return f"{of} of {len(table)} rows, {locate(path).checksum()}"


def _table(given: Any) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    if hasattr(given, "__arrow_c_stream__"):
        return pa.table(given)
    if hasattr(given, "__arrow_c_array__"):
        return pa.table(pa.record_batch(given))
    if isinstance(given, str | bytes) or not (hasattr(given, "__iter__") or isinstance(given, np.ndarray)):
        raise TypeError("no table")
    if isinstance(given, Mapping):
        return _named({name: list(values) for name, values in given.items()})
    if isinstance(given, np.ndarray):
        if given.ndim != 2 or given.shape[1] not in (2, 3, 4) or given.dtype.kind not in "iuUSO":
            raise ValueError(f"shape {given.shape} of {given.dtype}")
        columns = [_column(given[:, k].tolist()) for k in range(given.shape[1])]
    else:
        given = list(given)
        if given and all(isinstance(row, Mapping) for row in given):
            names = dict.fromkeys(name for row in given for name in row)
            return _named({name: [row.get(name) for row in given] for name in names})
        rows = [tuple(row) for row in given if not isinstance(row, str | bytes | Mapping) or _refuse(row)]
        widths = {len(row) for row in rows}
        if len(widths) > 1 or not widths <= {2, 3, 4}:
            raise ValueError(f"rows of {', '.join(map(str, sorted(widths)))} values")
        columns = [_column([row[k] for row in rows]) for k in range(max(widths, default=3))]
    by_width = {2: ("head", "tail"), 3: ("head", "relation", "tail"), 4: ("head", "relation", "tail", "weight")}
    return pa.table(dict(zip(by_width[len(columns)], columns, strict=True)))


def _named(columns: Mapping[str, list[Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.table({str(name): _column(values) for name, values in columns.items()})


def _refuse(row: Any) -> bool:
    raise TypeError(f"a row is {row!r:.40}")


def _column(values: list[Any]) -> pa.Array:
    import pyarrow as pa

    if any(isinstance(value, float) for value in values):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if all(isinstance(value, int) for value in values):
        return pa.array(values, pa.int64())
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | bytes | int):
        raise TypeError(f"a name is {value!r:.40}")
    return value.decode() if isinstance(value, bytes) else str(value)
