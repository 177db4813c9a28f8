"""Shards of counts on storage: how many there are, which are counted already, and the counting of the others."""

from __future__ import annotations

from functools import partial

import numpy as np

from distjoint.base.machine import cores
from distjoint.base.progress import Progress, short
from distjoint.data import cooccurrence, segments
from distjoint.data.partition import Written
from distjoint.data.request import PrepareOptions
from distjoint.data.rows import Rows, choose_shards
from distjoint.data.streams import COOCCURRENCE
from distjoint.data.text import Text
from distjoint.data.unfinished import Counted, Made
from distjoint.data.workers import Workers
from distjoint.storage import Location
from distjoint.table.layout import Layout


def count_text(
    text: Text,
    rows: Rows,
    triples: int,
    options: PrepareOptions,
    made: Made,
    folder: Location,
    workers: Workers,
    progress: Progress,
) -> tuple[Layout, list[Written]]:
    """Layout and counted shards of a text; shards that are in `folder` already are not counted again.

    triples    of the largest split
    made       what the counts are made of
    returns    the layout, and a file for each shard, in order; none where there is no text
    raises     DistjointError when a disk is full
    """
    if text.tokens is None:
        return choose_layout(rows, triples, options.shards, progress), []
    table = np.full(text.lexicon.size, -1, np.int32)
    there = text.vocabulary.source >= 0
    table[text.vocabulary.source[there]] = rows.of_word[there]
    total, words = text.known + text.documents + 1, len(rows) if rows.before else rows.words + rows.aligned
    blocks = partial(segments.renumbered, text.tokens, table)
    cells = cooccurrence.estimate_cells(blocks(), total, words, options.window, options.symmetric, options.memory_bytes)
    layout = choose_layout(rows, max(cells, triples), options.shards, progress)
    plan = cooccurrence.CountingPlan(
        layout=layout,
        window=options.window,
        symmetric=options.symmetric,
        seed=options.seed,
        tokens=total,
        cells=cells,
        memory=options.memory_bytes,
        threads=cores(),
    )
    (folder / COOCCURRENCE).make_dir()
    counted = Counted.begin(folder, made, layout, text.vocabulary, rows)
    written = counted.take(range(layout.shards))
    counted.drop_others(written)
    if written:
        progress.say(f"{len(written)} of {layout.shards} shards were counted before")
    with progress.task("counting", text.known, "tokens") as task:
        task.advance(text.known * len(written) / layout.shards)
        missing = [shard for shard in range(layout.shards) if shard not in written]
        for shard, part in zip(missing, workers.count(blocks, plan, missing, counted, task), strict=True):
            written[shard] = part
    return layout, [written[shard] for shard in range(layout.shards)]


def choose_layout(rows: Rows, samples: int, shards: int | None, progress: Progress) -> Layout:
    """The layout of some rows.

    samples   about how many the larger stream holds
    shards    how many there must be; None where they are chosen by size
    """
    if shards is not None:
        return rows.layout(shards)
    if rows.before is not None:
        return rows.layout(rows.before.shards)
    layout = rows.layout(choose_shards(samples, len(rows)))
    mean = samples / layout.shards**2
    progress.say(f"{layout.shards} shards: about {short(mean)} samples in a mean partition; --shards changes it")
    return layout
