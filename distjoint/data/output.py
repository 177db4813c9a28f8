"""The folder a dataset goes to: what may be replaced there, and the streams written into it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Bools, Doubles, Ints
from distjoint.base.errors import UsageError
from distjoint.base.progress import Progress
from distjoint.data import unfinished
from distjoint.data.alignment import Sample
from distjoint.data.manifest import NAME as MANIFEST
from distjoint.data.manifest import File, Span
from distjoint.data.mentions import Mentions
from distjoint.data.partition import (
    HELD_OUT,
    MENTION_SAMPLES,
    NAMED_MENTION_SAMPLES,
    PAIR_SAMPLES,
    TRIPLES,
    WEIGHTED,
    PartitionWriter,
    Written,
    by_partition,
    write_table,
)
from distjoint.data.rows import Rows
from distjoint.data.streams import COOCCURRENCE, FORMER_PAIRS, MENTIONS, PAIRS, triples_of
from distjoint.data.types import NAME as TYPES
from distjoint.storage import Location
from distjoint.storage.lock import NAME as LOCK
from distjoint.table.layout import Layout

OURS = (
    MANIFEST,
    "rows.parquet",
    "relations.parquet",
    TYPES,
    "triples",
    COOCCURRENCE,
    PAIRS,
    MENTIONS,
    FORMER_PAIRS,
    unfinished.NAME,
)


def refuse_output(folder: Location, overwrite: bool) -> None:
    """raises UsageError where something else lies at the output, or a dataset that is not to be replaced"""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is a file of this name; choose another folder with --out")
    there = [place.name for place in folder.list()]
    if MANIFEST in there and not overwrite:
        raise UsageError(f"{folder}: there is a dataset already; replace it with --overwrite, or choose another --out")
    others = [name for name in there if name not in OURS and not name.startswith(LOCK)]
    if others and not {MANIFEST, unfinished.NAME} & set(there):
        raise UsageError(f"{folder}: the folder is not empty (it holds {others[0]}); choose another with --out")


def continues(folder: Location, made: unfinished.Made, overwrite: bool, progress: Progress) -> bool:
    """Whether what an interrupted run left in `folder` is to be used; says so, or why not."""
    there = {place.name for place in folder.list()}
    if MANIFEST in there or not there & set(OURS):
        return False
    reason = "and --overwrite is given" if overwrite else unfinished.difference(folder, made)
    said = f"{folder}: an unfinished dataset is there"
    progress.say(f"{said}, {reason}; it is made anew" if reason else f"{said}; it is continued")
    return reason is None


def clear(folder: Location) -> None:
    """Delete a dataset, its manifest first; other files in the folder are nobody's business."""
    for name in OURS:
        (folder / name).delete()


def keep_counted(folder: Location) -> int:
    """Delete all of a dataset that is not complete but the shards that are counted; returns how many these are."""
    kept = unfinished.noted(folder)
    for name in OURS:
        if not kept or name not in (COOCCURRENCE, unfinished.NAME):
            (folder / name).delete()
    for place in (folder / COOCCURRENCE).list():
        if f"{COOCCURRENCE}/{place.name}" not in kept:
            place.delete()
    return len(kept)


class Streams:
    """The streams written so far, as the manifest lists them."""

    def __init__(self, folder: Location, rows: Rows, layout: Layout, seed: int) -> None:
        self.folder, self.rows, self.layout, self.seed = folder, rows, layout, seed
        self.files: list[File] = []
        self.spans: dict[str, list[Span]] = {}

    def add(self, stream: str, written: Written) -> None:
        """Take up a file; one without samples is not worth listing."""
        if not written.file.rows:
            (self.folder / written.file.path).delete()
            return
        index = len(self.files)
        self.files.append(written.file)
        self.spans.setdefault(stream, []).extend(
            Span(i=i, j=j, file=index, start=start, stop=stop) for i, j, start, stop in written.spans
        )

    def write_triples(
        self, split: str, triples: Ints, relation_ids: Ints, unseen: Bools, weights: Doubles | None = None
    ) -> None:
        """A split by partition.

        triples   int64[n, 3] by provisional ids
        unseen    bool[n]
        weights   float64[n] of training triples; they are written so that their mean is 1
        """
        stream = triples_of(split)
        (self.folder / stream).make_dir()
        schema = HELD_OUT if split != "train" else TRIPLES if weights is None else WEIGHTED
        weight = None if weights is None else (weights / weights.mean()).astype(np.float32)
        heads, tails = self.rows.of_entity[triples[:, 0]], self.rows.of_entity[triples[:, 2]]
        with PartitionWriter(self.folder, f"{stream}/part-00000.parquet", schema) as writer:
            for i, j, chosen, head, tail in by_partition(self.layout, heads, tails, self.seed):
                columns = {
                    "head": head.astype(np.int32),
                    "relation": relation_ids[triples[chosen, 1]].astype(np.int32),
                    "tail": tail.astype(np.int32),
                    "unseen": unseen[chosen],
                }
                if weight is not None:
                    columns["weight"] = weight[chosen]
                writer.add(i, j, columns)
        self.add(stream, writer.written())

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a table that is no stream."""
        self.files.append(write_table(self.folder, name, table))

    def write_pairs(self, samples: list[Sample]) -> None:
        """The pairs of entity and word that share no row."""
        if not samples:
            return
        (self.folder / PAIRS).make_dir()
        entity = self.rows.of_entity[[sample.entity for sample in samples]]
        word = self.rows.of_word[[sample.word for sample in samples]]
        weight = np.array([sample.weight for sample in samples], np.float32)
        how = np.array([sample.how for sample in samples], object)
        with PartitionWriter(self.folder, f"{PAIRS}/part-00000.parquet", PAIR_SAMPLES) as writer:
            for i, j, chosen, first, second in by_partition(self.layout, entity, word, self.seed):
                columns = {"entity": first.astype(np.int32), "word": second.astype(np.int32)}
                writer.add(i, j, columns | {"weight": weight[chosen], "how": how[chosen]})
        self.add(PAIRS, writer.written())

    def write_mentions(self, mentions: Mentions) -> None:
        """What is said of entities, by partition."""
        if not len(mentions):
            return
        (self.folder / MENTIONS).make_dir()
        entity, word = self.rows.of_entity[mentions.entity], self.rows.of_mentioned[mentions.word]
        floats = {"weight": mentions.weight.astype(np.float32)}
        if mentions.named is not None:
            floats["named"] = mentions.named.astype(np.float32)
        schema = NAMED_MENTION_SAMPLES if "named" in floats else MENTION_SAMPLES
        with PartitionWriter(self.folder, f"{MENTIONS}/part-00000.parquet", schema) as writer:
            for i, j, chosen, first, second in by_partition(self.layout, entity, word, self.seed):
                columns = {"entity": first.astype(np.int32), "word": second.astype(np.int32)}
                writer.add(i, j, columns | {name: values[chosen] for name, values in floats.items()})
        self.add(MENTIONS, writer.written())
