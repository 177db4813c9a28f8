"""Datasets of any size for the benchmarks, written as `prepare` writes them but without names read from files.

Triples: every entity once as head, all other ends by Zipf's law. Text: cells drawn so that words follow Zipf's law,
in the order of tiles that counting leaves. Both are decided by the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distjoint.data.dataset import Dataset
from distjoint.data.manifest import File, Manifest, Span
from distjoint.data.partition import CELLS, TRIPLES, PartitionWriter, Written, by_partition, write_table
from distjoint.data.streams import COOCCURRENCE
from distjoint.storage import Location, locate
from distjoint.table.layout import Layout, Sizes, choose_tiles

Ints = NDArray[np.int64]

RELATIONS = 100
_DRAW = 20_000_000
"""Samples drawn at a time: what making a dataset holds in memory."""


def make_graph(folder: Path, entities: int, triples: int, shards: int, seed: int = 0, test: int = 0) -> Dataset:
    """A dataset of triples alone; triples at least as many as entities, and `test` more that are held out."""
    rng, place = np.random.default_rng(seed), _folder(folder)
    layout = Layout(shards, choose_tiles(0, shards), 0, 0, entities)
    heads = np.concatenate([rng.permutation(entities), zipf(rng, entities, triples - entities)])
    tails = zipf(rng, entities, triples)
    written = {"triples/train": [_write_triples(place, layout, "train", heads, zipf(rng, RELATIONS, triples), tails)]}
    if test:
        ends = (zipf(rng, entities, test), zipf(rng, RELATIONS, test), zipf(rng, entities, test))
        written["triples/test"] = [_write_triples(place, layout, "test", *ends)]
    degree = np.bincount(heads, minlength=entities) + np.bincount(tails, minlength=entities)
    counts = {"triples/train": triples, "relations": RELATIONS}
    return _finish(place, layout, written, counts, degree)


def _write_triples(place: Location, layout: Layout, split: str, heads: Ints, relations: Ints, tails: Ints) -> Written:
    (place / f"triples/{split}").make_dir()
    with PartitionWriter(place, f"triples/{split}/part-00000.parquet", TRIPLES) as writer:
        for i, j, chosen, head, tail in by_partition(layout, heads, tails, 0):
            writer.add(i, j, {"head": _int32(head), "relation": _int32(relations[chosen]), "tail": _int32(tail)})
    return writer.written()


def make_text(folder: Path, words: int, cells: int, shards: int, seed: int = 0) -> Dataset:
    """A dataset of co-occurrence counts alone."""
    place = _folder(folder)
    layout = Layout(shards, choose_tiles(words, shards), words, 0, 0)
    (place / COOCCURRENCE).make_dir()
    written = [_write_shard(place, layout, shard, cells // shards, seed) for shard in range(shards)]
    counts = {"cells": sum(part.file.rows for part in written)}
    return _finish(place, layout, {COOCCURRENCE: written}, counts, np.zeros(words, np.int64))


def zipf(rng: np.random.Generator, ranks: int, count: int) -> Ints:
    """int64[count]: ranks from 0, rank k about as 1 / (k + 1)."""
    return np.minimum(np.exp(rng.random(count) * np.log(ranks + 1)).astype(np.int64) - 1, ranks - 1)


def _write_shard(place: Location, layout: Layout, shard: int, cells: int, seed: int) -> Written:
    """The cells of a shard's rows: those that others count it with, block by block of two tiles, as counting writes."""
    rng = np.random.default_rng([seed, shard])
    with PartitionWriter(place, f"{COOCCURRENCE}/part-{shard:05d}.parquet", CELLS) as writer:
        rows = layout.rows_of(shard)
        cumulated = np.cumsum(1 / (rows + 1.0))
        offset = np.searchsorted(cumulated, rng.random(cells) * cumulated[-1])
        other, column = layout.locate(zipf(rng, layout.rows, cells))
        per = layout.tiles_per_shard
        row_tile = np.searchsorted(layout.tile_offsets[shard], offset, side="right") - 1
        starts = np.concatenate([[0], np.cumsum(layout.tile_kinds.sum(1))])
        before = starts[:-1:per][other] + column
        tile = np.searchsorted(starts, before, side="right") - 1
        order = np.lexsort((tile % per, row_tile, other))
        ends = np.searchsorted(other[order], np.arange(layout.shards + 1))
        for j in range(layout.shards):
            chosen = order[ends[j] : ends[j + 1]]
            # Few words apart, few times: like what is counted, most counts are one of a hundred values.
            count = (np.ceil(rng.exponential(2.0, len(chosen))) / rng.integers(1, 11, len(chosen))).astype(np.float32)
            writer.add(shard, j, {"row": _int32(offset[chosen]), "column": _int32(column[chosen]), "count": count})
    return writer.written()


def _finish(
    place: Location, layout: Layout, streams: dict[str, list[Written]], counts: dict[str, int], degree: Ints
) -> Dataset:
    """Tables of names and the manifest."""
    ids = pa.array(np.arange(layout.rows, dtype=np.int64))
    names, nobody = ids.cast(pa.string()), pa.nulls(layout.rows, pa.string())
    table = {
        "row": ids,
        "entity": names if layout.entities else nobody,
        "label": names,
        "word": names if layout.words else nobody,
        "count": pa.array(np.zeros(layout.rows, np.int64)),
        "degree": pa.array(degree.astype(np.int64)),
    }
    relations = np.arange(counts.get("relations", 0), dtype=np.int64)
    known = pa.array(relations)
    of_relations = {"id": known, "name": known.cast(pa.string()), "frequency": pa.array(relations)}
    files: list[File] = []
    spans: dict[str, tuple[Span, ...]] = {}
    for stream, parts in streams.items():
        spans[stream] = tuple(_spans(parts, len(files)))
        files += [part.file for part in parts]
    files.append(write_table(place, "rows.parquet", pa.table(table)))
    files.append(write_table(place, "relations.parquet", pa.table(of_relations)))
    counts = {"rows": layout.rows, "words": layout.words, "entities": layout.entities, "cells": 0} | counts
    Manifest(layout_sizes=Sizes(**asdict(layout)), counts=counts, options={}, files=tuple(files), streams=spans).write(
        place
    )
    return Dataset.open(place.url)


def _spans(parts: list[Written], first: int) -> Iterator[Span]:
    for number, part in enumerate(parts, first):
        for i, j, start, stop in part.spans:
            yield Span(i=i, j=j, file=number, start=start, stop=stop)


def _folder(folder: Path) -> Location:
    place = locate(str(folder))
    place.make_dir()
    return place


def _int32(values: NDArray[np.integer]) -> NDArray[np.int32]:
    return values.astype(np.int32)
