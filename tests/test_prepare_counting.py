"""Co-occurrence counting against a plain loop over all pairs, and against Stanford's program."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import distjoint
from distjoint.base.progress import Silent
from distjoint.data import cooccurrence
from distjoint.data.dataset import Dataset
from distjoint.storage import locate
from distjoint.table.layout import Layout

pytestmark = pytest.mark.unit

Counts = dict[tuple[int, int], float]


def plain_counts(documents: list[list[int]], window: int, symmetric: bool) -> Counts:
    """Stanford GloVe's cooccur.c in words: each word with those up to `window` to its left."""
    counts: Counts = defaultdict(float)
    for document in documents:
        for j, right in enumerate(document):
            for k in range(max(0, j - window), j):
                counts[document[k], right] += 1.0 / (j - k)
                if symmetric:
                    counts[right, document[k]] += 1.0 / (j - k)
    return counts


def read_counts(dataset: Dataset) -> Counts:
    """All cells by row id. Fails where a cell lies in two partitions, or a tile's cells are not together."""
    layout, counts = dataset.layout, {}
    rows = [layout.rows_of(shard) for shard in range(layout.shards)]
    for i in range(layout.shards):
        for j in range(layout.shards):
            cells = dataset.cells(i, j)
            row_tile = np.searchsorted(layout.tile_offsets[i], cells.row, side="right")
            column_tile = np.searchsorted(layout.tile_offsets[j], cells.column, side="right")
            assert (np.diff(row_tile * (layout.tiles + 1) + column_tile) >= 0).all()
            for row, column, count in zip(rows[i][cells.row], rows[j][cells.column], cells.count, strict=True):
                assert (int(row), int(column)) not in counts
                counts[int(row), int(column)] = float(count)
    return counts


def counted(folder: Path, documents: list[list[int]], layout: Layout, memory: int, **options: object) -> Counts:
    stream = np.array([token for document in documents for token in [*document, -1]], np.int32)
    plan = cooccurrence.CountingPlan(
        layout=layout, tokens=len(stream) + 1, cells=100, memory=memory, threads=2, seed=0, **options
    )  # type: ignore[arg-type]
    (folder / "cooccurrence").mkdir(parents=True)
    shards = range(layout.shards)
    # In odd pieces, so that segments and blocks do not end together.
    pieces = lambda: iter([stream[k : k + 7] for k in range(0, len(stream), 7)])  # noqa: E731
    written = cooccurrence.count_shards(pieces, plan, shards, locate(str(folder)), Silent())
    return read_counts(_dataset(folder, layout, written))


def _dataset(folder: Path, layout: Layout, written: list) -> Dataset:
    from distjoint.data.manifest import Manifest, Span
    from distjoint.table.layout import Sizes

    spans = [
        Span(i=i, j=j, file=k, start=start, stop=stop)
        for k, part in enumerate(written)
        for i, j, start, stop in part.spans
    ]
    sizes = Sizes(**{name: getattr(layout, name) for name in Sizes.model_fields})
    files = tuple(part.file for part in written)
    manifest = Manifest(layout_sizes=sizes, counts={}, options={}, files=files, streams={"cooccurrence": tuple(spans)})
    return Dataset(locate(str(folder)), manifest)


@given(
    documents=st.lists(st.lists(st.integers(0, 19), max_size=40), min_size=1, max_size=12),
    window=st.integers(1, 12),
    symmetric=st.booleans(),
    shards=st.integers(1, 4),
    per_shard=st.integers(1, 3),
    memory=st.sampled_from([1, 1 << 30]),
)
def test_counts_are_those_of_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[list[int]],
    window: int,
    symmetric: bool,
    shards: int,
    per_shard: int,
    memory: int,
) -> None:
    layout = Layout(shards, shards * per_shard, words=15, aligned=5, entities=7)
    folder = tmp_path_factory.mktemp("counts")
    found = counted(folder, documents, layout, memory, window=window, symmetric=symmetric)
    wanted = plain_counts(documents, window, symmetric)
    assert found.keys() == wanted.keys()
    assert all(found[pair] == pytest.approx(wanted[pair], rel=1e-6) for pair in wanted)


def test_counts_do_not_depend_on_memory_or_threads(tmp_path: Path) -> None:
    documents = np.random.default_rng(0).zipf(1.3, (40, 300)) % 150
    layout = Layout(4, 8, 100, 50, 30)
    found = [
        counted(tmp_path / str(memory), documents.tolist(), layout, memory, window=10, symmetric=True)
        for memory in (1, 20_000, 1 << 30)
    ]
    assert found[0].keys() == found[1].keys() == found[2].keys()
    assert all(found[0][pair] == pytest.approx(found[2][pair], rel=1e-6) for pair in found[2])


def test_cells_of_a_tile_are_in_random_order_that_the_seed_decides(tmp_path: Path) -> None:
    documents = np.random.default_rng(0).integers(0, 60, (40, 50)).tolist()
    text = tmp_path / "text"
    text.write_text("\n".join(" ".join(f"w{word}" for word in document) for document in documents))
    rows = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        distjoint.prepare(str(tmp_path / name), corpus=str(text), min_count=1, shards=2, seed=seed)
        rows[name] = Dataset.open(str(tmp_path / name)).cells(0, 1).row.tolist()
    assert rows["a"] == rows["b"] != rows["c"]
    assert rows["a"] != sorted(rows["a"])


def test_window_skips_dropped_words_and_stops_at_line_ends(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a rare b\na b\nb a\n")
    distjoint.prepare(str(tmp_path / "out"), corpus=str(tmp_path / "text"), min_count=2, window=1)
    # a and b are neighbours on each of the three lines; rows: a 0, b 1.
    assert read_counts(Dataset.open(str(tmp_path / "out"))) == {(0, 1): 3.0, (1, 0): 3.0}


def test_estimate_of_cells_is_near(tmp_path: Path) -> None:
    documents = np.random.default_rng(1).zipf(1.2, (200, 200)) % 3000
    stream = np.concatenate([np.append(document, -1) for document in documents]).astype(np.int32)
    cells = len(plain_counts(documents.tolist(), 5, True))
    guess = cooccurrence.estimate_cells(iter([stream]), len(stream), 3000, 5, True, 1 << 30)
    assert guess == pytest.approx(cells, rel=0.25)


GLOVE = os.environ.get("GLOVE_BUILD", "")


@pytest.mark.skipif(not GLOVE, reason="GLOVE_BUILD does not name the folder of Stanford GloVe's binaries")
@pytest.mark.parametrize("symmetric", [True, False])
def test_counts_equal_those_of_the_real_program(tmp_path: Path, symmetric: bool) -> None:
    documents = (np.random.default_rng(2).zipf(1.2, (300, 120)) % 800).tolist()
    text = "\n".join(" ".join(f"w{word}" for word in document) for document in documents) + "\n"
    (tmp_path / "text").write_text(text)
    distjoint.prepare(
        str(tmp_path / "out"), corpus=str(tmp_path / "text"), min_count=3, tokenizer="whitespace", symmetric=symmetric
    )
    dataset = Dataset.open(str(tmp_path / "out"))
    table = dataset.rows().to_pydict()
    vocabulary = "".join(f"{word} {count}\n" for word, count in zip(table["word"], table["count"], strict=True))
    (tmp_path / "vocab").write_text(vocabulary)
    counts = subprocess.run(
        [Path(GLOVE) / "cooccur", "-vocab-file", tmp_path / "vocab", "-window-size", "10", "-memory", "0.1",
         "-symmetric", str(int(symmetric)), "-verbose", "0", "-overflow-file", tmp_path / "overflow"],
        input=text.encode(), capture_output=True, check=True,
    ).stdout  # fmt: skip
    records = np.frombuffer(counts, np.dtype([("row", "<i4"), ("column", "<i4"), ("count", "<f8")]))
    wanted = {(int(r) - 1, int(c) - 1): float(x) for r, c, x in records.tolist()}
    found = read_counts(dataset)
    assert found.keys() == wanted.keys()
    assert all(found[pair] == pytest.approx(wanted[pair], rel=1e-5) for pair in wanted)
