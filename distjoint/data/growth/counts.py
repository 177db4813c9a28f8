"""Counts of a dataset that grew: those of before, and those of the new text, cell by cell.

A partition is read of both, summed, and written in the form that counting writes: tile by tile, in random order inside
a tile. The new text's are counted first, in files of their own, which an interrupted run leaves for the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distjoint.base.arrays import Floats, Ints
from distjoint.base.progress import Progress
from distjoint.data.dataset import Cells, Dataset
from distjoint.data.manifest import Manifest, Span
from distjoint.data.partition import CELLS, PartitionWriter, Written
from distjoint.data.streams import COOCCURRENCE, shard_file
from distjoint.storage import Location
from distjoint.table.layout import Layout, Sizes


def add_counts(
    before: Dataset, layout: Layout, counted: Sequence[Written], folder: Location, seed: int, progress: Progress
) -> list[Written]:
    """Write the sums, a file for each shard, and delete the files of the new text's counts.

    before    the dataset that grows, whose layout grew to `layout`
    counted   the new text's counts in `folder`, by the new layout; none where there is no text
    """
    if COOCCURRENCE not in before.manifest.streams:
        return list(counted)
    new = _as_dataset(folder, layout, counted)
    moved = [layout.locate(before.layout.rows_of(shard))[1] for shard in range(layout.shards)]
    (folder / COOCCURRENCE).make_dir()
    written = []
    with progress.task("adding counts", layout.shards, "shards") as task:
        for i in range(layout.shards):
            with PartitionWriter(folder, _name(i), CELLS) as writer:
                for j in range(layout.shards):
                    cells = before.cells(i, j)
                    row, column = moved[i][cells.row], moved[j][cells.column]
                    writer.add(i, j, _together(layout, i, j, (row, column, cells.count), new.cells(i, j), seed))
            written.append(writer.written())
            task.advance(1)
    for part in counted:
        (folder / part.file.path).delete()
    return written


def _name(shard: int) -> str:
    return shard_file(shard).replace("part-", "grown-")


def _as_dataset(folder: Location, layout: Layout, counted: Sequence[Written]) -> Dataset:
    """The new text's counts as a reader sees them."""
    spans = [
        Span(i=i, j=j, file=k, start=start, stop=stop)
        for k, part in enumerate(counted)
        for i, j, start, stop in part.spans
    ]
    sizes = Sizes(**asdict(layout))
    files = tuple(part.file for part in counted)
    return Dataset(
        folder,
        Manifest(layout_sizes=sizes, counts={}, options={}, files=files, streams={COOCCURRENCE: tuple(spans)}),
    )


def _together(
    layout: Layout, i: int, j: int, old: tuple[Ints, Ints, Floats], new: Cells, seed: int
) -> dict[str, NDArray[Any]]:
    """Cells of a partition, each once, by tile."""
    width = layout.shard_rows(j)
    keys = np.append(old[0] * width + old[1], new.row.astype(np.int64) * width + new.column)
    keys, inverse = np.unique(keys, return_inverse=True)
    count = np.bincount(inverse, np.append(old[2], new.count).astype(np.float64), len(keys)).astype(np.float32)
    row, column = np.divmod(keys, max(width, 1))
    a = np.searchsorted(layout.tile_offsets[i], row, side="right")
    b = np.searchsorted(layout.tile_offsets[j], column, side="right")
    shuffled = np.random.default_rng([seed, 3, i, j]).permutation(len(keys))
    order = shuffled[np.argsort((a * (layout.tiles_per_shard + 2) + b)[shuffled], kind="stable")]
    return {"row": row[order].astype(np.int32), "column": column[order].astype(np.int32), "count": count[order]}
