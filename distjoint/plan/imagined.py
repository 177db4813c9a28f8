"""A dataset that does not exist: sizes alone, spread evenly over partitions as `prepare` spreads real ones.

It answers what training asks of a dataset before it reads any: layout, counts, samples of partitions. Samples
themselves are drawn when they are asked for, ends by Zipf's law, so that a probe can train on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distjoint.base.arrays import Floats, Ints, Offsets
from distjoint.data.dataset import Cells, Dataset, PairSamples, Triples
from distjoint.data.manifest import Manifest
from distjoint.data.rows import choose_shards
from distjoint.data.streams import COOCCURRENCE, MENTIONS, PAIRS, triples_of
from distjoint.runs.folder import sizes_of
from distjoint.storage import locate
from distjoint.table.layout import Layout, choose_tiles

CELL_BYTES, TRIPLE_BYTES, MENTION_BYTES, ROW_BYTES = 5.0, 8.5, 7.0, 30.0
"""On storage. A cell as measured on 57 M tokens; a triple, a mention and a row with its names, of WN18RR."""
_TOKENS, _CELLS, _GROWTH = 57e6, 81e6, 0.75
"""Tokens of a text and its counts (window 10, words of 5 and more), and the power by which counts grow."""
_LANES_TO_SHARDS = 8


class _Even(Manifest):
    """A manifest whose partitions of a stream all hold as much."""

    def samples(self, stream: str, i: int, j: int) -> int:
        if stream not in self.streams:
            return 0
        name = {COOCCURRENCE: "cells"}.get(stream, stream)
        partitions = self.layout_sizes.shards**2
        each, more = divmod(self.counts.get(name, 0), partitions)
        return each + (i * self.layout_sizes.shards + j < more)


class ImaginedDataset(Dataset):
    """A dataset of sizes."""

    def checksum(self) -> str:
        return "imagined"

    @property
    def tells_names(self) -> bool:
        return True

    @property
    def bytes(self) -> int:
        """About what it would take on storage."""
        counts = self.manifest.counts
        sizes = {"cells": CELL_BYTES, "triples/train": TRIPLE_BYTES, MENTIONS: MENTION_BYTES}
        return int(sum(counts.get(name, 0) * size for name, size in sizes.items()) + self.layout.rows * ROW_BYTES)

    def rows(self, columns: list[str] | None = None) -> pa.Table:
        return pa.table({"degree": pa.array(np.ones(self.layout.rows, np.int64))})

    def cells(self, i: int, j: int) -> Cells:
        rng, count = self._begin(COOCCURRENCE, i, j)
        row, column = self._ends(rng, i, "word", count), self._ends(rng, j, "word", count)
        drawn = (np.ceil(rng.exponential(2.0, count)) / rng.integers(1, 11, count)).astype(np.float32)
        return Cells(row, column, drawn)

    def triples(self, i: int, j: int, split: str = "train") -> Triples:
        rng, count = self._begin(triples_of(split), i, j)
        head, tail = self._ends(rng, i, "entity", count), self._ends(rng, j, "entity", count)
        relation = _zipf(rng, self.manifest.counts["relations"], count)
        return Triples(head.astype(np.int64), relation, tail.astype(np.int64))

    def samples(self, stream: str, i: int, j: int, columns: Mapping[str, int | None]) -> dict[str, NDArray[Any]]:
        rng, count = self._begin(stream, i, j)
        first, second, *weights = columns
        return {
            first: self._ends(rng, i, "entity", count, even=True),
            second: self._ends(rng, j, "word", count),
            **{name: np.ones(count, np.float32) for name in weights},
        }

    def pairs(self, i: int, j: int) -> PairSamples:
        none: Floats = np.empty(0, np.float32)
        return PairSamples(none.astype(np.int32), none.astype(np.int32), none)

    def _begin(self, stream: str, i: int, j: int) -> tuple[np.random.Generator, int]:
        return np.random.default_rng([len(stream), i, j]), self.manifest.samples(stream, i, j)

    def _ends(self, rng: np.random.Generator, shard: int, of: str, count: int, even: bool = False) -> Offsets:
        """int32[count]: offsets of rows of a kind, the most frequent ones mostly."""
        has = self.layout.has_word(shard) if of == "word" else self.layout.has_entity(shard)
        places = np.flatnonzero(has)
        places = places[np.argsort(self.layout.rows_of(shard)[places], kind="stable")]
        chosen = rng.integers(0, len(places), count) if even else _zipf(rng, len(places), count)
        return places[chosen].astype(np.int32)


def imagine(sizes: Mapping[str, int], workers: int = 1, shards: int | None = None) -> ImaginedDataset:
    """The dataset of some sizes.

    sizes     entities, triples, relations, words, tokens or cells, aligned, mentions: how many of each
    shards    by default as many as `prepare` chooses, and enough for the workers
    """
    words, entities, aligned = sizes["words"], sizes["entities"], sizes["aligned"]
    rows = words + entities - aligned
    cells = sizes["cells"] or estimate_cells(sizes["tokens"], words)
    counts = {
        "rows": rows,
        "words": words,
        "entities": entities,
        "cells": cells,
        "tokens": sizes["tokens"],
        "triples/train": sizes["triples"],
        "relations": max(1, sizes["relations"]) if sizes["triples"] else 0,
        MENTIONS: sizes["mentions"],
    }
    number = shards or choose_shards(max(cells, sizes["triples"]), rows)
    if shards is None:
        while number < _LANES_TO_SHARDS * workers and workers > 1:
            number *= 2
    layout = Layout(number, choose_tiles(rows, number), words - aligned, aligned, entities - aligned)
    present = {COOCCURRENCE: cells, triples_of("train"): sizes["triples"], MENTIONS: sizes["mentions"], PAIRS: 0}
    manifest = _Even(
        layout_sizes=sizes_of(layout),
        counts=counts,
        options={},
        files=(),
        streams={name: () for name, count in present.items() if count},
    )
    return ImaginedDataset(locate("imagined"), manifest)


def estimate_cells(tokens: int, words: int) -> int:
    """About how many pairs of words a text counts: as they were in 57 M tokens, times tokens^0.75.

    Never more than all pairs, nor than a window of 10 on both sides has.
    """
    return int(min(_CELLS * (tokens / _TOKENS) ** _GROWTH, words**2, 20.0 * tokens))


def shrunk(data: Dataset, most: int) -> ImaginedDataset:
    """A dataset like another one of which the largest stream, and the table, is no larger than `most`."""
    counts, layout = data.manifest.counts, data.layout
    present = {
        "entities": layout.with_entity,
        "words": layout.with_word,
        "aligned": layout.aligned,
        "triples": counts.get("triples/train", 0),
        "relations": counts.get("relations", 0),
        "cells": counts.get("cells", 0),
        "tokens": 0,
        "mentions": counts.get(MENTIONS, 0),
    }
    factor = min(1.0, most / max(1, *present.values()))
    sizes = {name: max(64, int(count * factor)) if count else 0 for name, count in present.items()}
    sizes["relations"] = present["relations"]
    sizes["aligned"] = min(sizes["aligned"], sizes["entities"], sizes["words"])
    return imagine(sizes, shards=8)


def _zipf(rng: np.random.Generator, ranks: int, count: int) -> Ints:
    """int64[count]: ranks from 0, rank k about as 1 / (k + 1)."""
    return np.minimum(np.exp(rng.random(count) * np.log(ranks + 1)).astype(np.int64) - 1, ranks - 1).clip(0)
