"""`prepare` as a whole: what is read back is what was put in, bad input leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data import cooccurrence, partition, spool, workers
from distjoint.data.dataset import Dataset
from distjoint.data.rows import choose_shards

pytestmark = pytest.mark.unit

TEXT = """The dog chased the cat through New York, and the cat left New York.
A dog is an animal; the cat is an animal. New York is a city.
the bank of the river; the bank lends money in New York
"""
TRAIN = """Q1\tis a\tQ3\nQ2\tis a\tQ3\nQ4\tis a\tQ5\nQ6\tin\tQ4\nQ7\tin\tQ4\nQ1\tis a\tQ3\n"""
TEST = "Q1\tin\tQ4\nQ9\tin\tQ4\n"
LABELS = """Q1\tdog\tdomestic dog\nQ2\tcat\tCats\nQ3\tanimal\nQ4\tNew York\tcity\nQ5\tmetropolis
Q6\tbank\nQ7\tBank\nQ8\tlonely\n"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    contents = {"corpus": TEXT, "triples": TRAIN, "test": TEST, "labels": LABELS}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    return {name: str(tmp_path / name) for name in contents}


def test_everything_put_in_is_read_back_by_row(files: dict[str, str], tmp_path: Path) -> None:
    summary = distjoint.prepare(str(tmp_path / "out"), **files, min_count=1, shards=4)
    dataset = Dataset.open(str(tmp_path / "out"))
    rows, relations = dataset.rows().to_pydict(), dataset.relations().to_pydict()
    assert rows["row"] == list(range(dataset.layout.rows))
    assert relations == {"id": [0, 1], "name": ["is a", "in"], "frequency": [3, 2]}

    def named(split: str) -> list[tuple[str, str, str]]:
        found = dataset.split(split)
        return sorted(
            (rows["entity"][h], relations["name"][r], rows["entity"][t])
            for h, r, t in zip(found.head, found.relation, found.tail, strict=True)
        )

    assert named("train") == sorted({tuple(line.split("\t")) for line in TRAIN.splitlines()})
    assert named("test") == sorted(tuple(line.split("\t")) for line in TEST.splitlines())
    place = dict(zip(rows["word"], rows["entity"], strict=True))
    assert {word: place[word] for word in ("dog", "cat", "animal", "new_york", "bank", "city")} == {
        "dog": "Q1", "cat": "Q2", "animal": "Q3", "new_york": "Q4", "bank": None, "city": None,
    }  # fmt: skip
    by_entity = {entity: k for k, entity in enumerate(rows["entity"]) if entity}
    assert {entity: rows["degree"][k] for entity, k in by_entity.items()} == {
        "Q1": 1, "Q2": 1, "Q3": 2, "Q4": 3, "Q5": 1, "Q6": 1, "Q7": 1, "Q8": 0, "Q9": 0,
    }  # fmt: skip
    assert rows["label"][by_entity["Q4"]] == "New York" and rows["label"][by_entity["Q9"]] is None
    counted = dict(zip(rows["word"], rows["count"], strict=True))
    assert (counted["the"], counted["new_york"], counted["dog"]) == (7, 4, 2)
    assert "york" not in counted
    assert summary.counts["unseen/test"] == 1 and summary.counts["triples/train"] == 5
    assert summary.alignment is not None
    assert (summary.alignment.aligned, summary.alignment.ambiguous, summary.alignment.unmatched) == (4, 2, 3)
    assert any("Duplicate train triples, dropped: 1." in note for note in summary.notes)
    assert any("have a row: 1 (such as Q8)." in note for note in summary.notes)


def test_rows_are_ordered_by_kind_and_rank(files: dict[str, str], tmp_path: Path) -> None:
    distjoint.prepare(str(tmp_path / "out"), **files, min_count=1)
    dataset = Dataset.open(str(tmp_path / "out"))
    rows, layout = dataset.rows().to_pylist(), dataset.layout
    words, pairs = rows[: layout.words], rows[layout.words : layout.words + layout.aligned]
    entities = rows[layout.words + layout.aligned :]
    assert all(row["word"] and not row["entity"] for row in words)
    assert all(row["word"] and row["entity"] for row in pairs)
    assert all(row["entity"] and not row["word"] for row in entities)
    for kind in (words, pairs):
        assert kind == sorted(kind, key=lambda row: (-row["count"], row["word"]))
    assert entities == sorted(entities, key=lambda row: (-row["degree"], row["entity"]))


def test_every_sample_lies_in_the_partition_of_its_rows(files: dict[str, str], tmp_path: Path) -> None:
    distjoint.prepare(str(tmp_path / "out"), **files, min_count=1, shards=3)
    dataset = Dataset.open(str(tmp_path / "out"))
    for name, spans in dataset.manifest.streams.items():
        covered: dict[int, int] = {}
        for span in spans:
            assert span.start == covered.get(span.file, 0)
            covered[span.file] = span.stop
            columns = dataset.read_span(span, dataset.read(dataset.manifest.files[span.file].path, None).column_names)
            for k, shard in ((0, span.i), (2 if name.startswith("triples") else 1, span.j)):
                offsets = columns.column(k).to_numpy()
                assert ((offsets >= 0) & (offsets < dataset.layout.shard_rows(shard))).all()
        assert covered == {file: dataset.manifest.files[file].rows for file in covered}


def test_manifest_describes_the_files(files: dict[str, str], tmp_path: Path) -> None:
    summary = distjoint.prepare(str(tmp_path / "out"), **files, min_count=1)
    dataset = Dataset.open(str(tmp_path / "out"))
    on_disk = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert on_disk == {file.path for file in dataset.manifest.files} | {"manifest.json"}
    for file in dataset.manifest.files:
        place = dataset.folder / file.path
        metadata = pq.read_metadata(place.path)
        assert (file.bytes, file.rows, file.checksum) == (place.size(), metadata.num_rows, place.checksum())
        assert list(file.row_groups) == [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    assert summary.bytes == sum(file.bytes for file in dataset.manifest.files)
    held_out = pq.read_table(tmp_path / "out/triples/test/part-00000.parquet").to_pydict()
    assert sorted(held_out["unseen"]) == [False, True]


def test_row_groups_hold_many_small_partitions_and_split_large_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "GROUP_ROWS", 100)
    monkeypatch.setattr(partition, "GROUP_ROWS_MOST", 300)
    sizes, values = [10, 50, 60, 700, 5, 200, 3], np.arange(2000, dtype=np.int32)
    folder = distjoint.data.dataset.locate(str(tmp_path))
    with partition.PartitionWriter(folder, "part.parquet", partition.CELLS) as writer:
        start = 0
        for j, size in enumerate(sizes):
            piece = values[start : start + size]
            writer.add(0, j, {"row": piece, "column": piece, "count": piece.astype(np.float32)})
            start += size
    written = writer.written()
    assert written.file.row_groups == (120, 234, 234, 232, 5, 200, 3)
    assert [stop - start for _, _, start, stop in written.spans] == sizes
    assert pq.read_table(tmp_path / "part.parquet").column("row").to_pylist() == values[: sum(sizes)].tolist()


def test_text_alone_and_graph_alone(files: dict[str, str], tmp_path: Path) -> None:
    text = distjoint.prepare(str(tmp_path / "text"), corpus=files["corpus"], min_count=1)
    assert (text.counts["entities"], text.counts["relations"], text.alignment) == (0, 0, None)
    graph = distjoint.prepare(str(tmp_path / "graph"), triples=files["triples"], labels=files["labels"])
    assert (graph.counts["words"], graph.counts["cells"], graph.alignment) == (0, 0, None)
    assert Dataset.open(str(tmp_path / "graph")).cells(0, 0).count.size == 0
    for summary in (text, graph):
        console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
        console.print(summary)
        assert summary.dataset in console.export_text()
        json.dumps(summary.to_dict())


def test_readable_ids_pairs_and_no_alignment(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("the dog saw New York ; the puppy too\n")
    (tmp_path / "kg").write_text("Dog\tsaw\tNew_York\nwolf\tsaw\tDog\n")
    (tmp_path / "pairs").write_text("Dog\tpuppy\nwolf\tnew york\nwolf\tunheard\n")
    inputs = {"corpus": str(tmp_path / "text"), "triples": str(tmp_path / "kg"), "min_count": 1}

    def shared(align: str) -> dict[str, str]:
        distjoint.prepare(str(tmp_path / "out"), **inputs, align=align, overwrite=True)
        rows = Dataset.open(str(tmp_path / "out")).rows().to_pylist()
        return {row["entity"]: row["word"] for row in rows if row["entity"] and row["word"]}

    assert shared("auto") == {"Dog": "dog", "New_York": "new_york"}
    assert shared("none") == {}
    assert shared(str(tmp_path / "pairs")) == {"Dog": "puppy", "wolf": "new_york"}
    (tmp_path / "pairs").write_text("Cat\tpuppy\n")
    with pytest.raises(DistjointError, match="entity 'Cat'"):
        shared(str(tmp_path / "pairs"))
    with pytest.raises(DistjointError, match="'auto', 'none' or a file of pairs"):
        shared("automatic")


def test_shards_grow_with_the_samples() -> None:
    chosen = [choose_shards(samples, 10**6) for samples in (0, 16_000_000, 17_000_000, 80_000_000, 10**9, 10**12)]
    assert chosen == [8, 8, 16, 32, 64, 64]
    assert [choose_shards(10, rows) for rows in (5, 14, 64)] == [2, 4, 8]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, UsageError, "nothing to prepare"),
        ({"test": "x"}, UsageError, "--test alone is not enough"),
        ({"corpus": "nowhere/*.txt"}, DistjointError, r"nowhere/\*.txt: no such file"),
        ({"corpus": "CORPUS", "labels": "LABELS"}, UsageError, "--labels belongs to a graph"),
        ({"corpus": "CORPUS", "window": 0}, UsageError, "--window is 0"),
        ({"corpus": "CORPUS", "workers": 0}, UsageError, "--workers is 0"),
        ({"corpus": "CORPUS", "memory": "lots"}, UsageError, "--memory: 'lots' is not a size"),
        ({"corpus": "CORPUS", "tokenizer": "bpe"}, UsageError, "--tokenizer is 'bpe'"),
        ({"corpus": "CORPUS", "align_ambiguous": "x"}, UsageError, "--align-ambiguous is 'x'"),
        ({"corpus": "CORPUS", "align": "pairs.tsv"}, UsageError, "needs --corpus and --triples"),
        ({"corpus": "CORPUS", "min_count": 99}, DistjointError, "no word occurs 99 times; lower --min-count"),
        ({"corpus": "PUNCTUATION"}, DistjointError, "no word in the text"),
        ({"triples": "TRIPLES", "labels": "STRANGERS"}, DistjointError, "none of its 1 entities is in the graph"),
        ({"triples": "TRIPLES", "test": "nowhere"}, DistjointError, "nowhere: no such file"),
        ({"corpus": "CORPUS", "scratch": "/nowhere"}, UsageError, "no such folder for temporary files"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    files: dict[str, str], tmp_path: Path, options: dict[str, object], error: type, message: str
) -> None:
    (tmp_path / "punctuation").write_text("... !?\n")
    (tmp_path / "strangers").write_text("X\tlabel\n")
    given = {
        name: str(tmp_path / value.lower()) if isinstance(value, str) and value.isupper() else value
        for name, value in options.items()
    }
    with pytest.raises(error, match=message) as caught:
        distjoint.prepare(str(tmp_path / "out"), **given)  # type: ignore[arg-type]
    assert type(caught.value) is error and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_dataset_is_replaced_only_when_asked_to_and_other_folders_never(
    files: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    distjoint.prepare(str(out), corpus=files["corpus"], min_count=1)
    with pytest.raises(UsageError, match="there is a dataset already; replace it with --overwrite"):
        distjoint.prepare(str(out), triples=files["triples"])
    (out / "notes.txt").write_text("mine")
    distjoint.prepare(str(out), triples=files["triples"], overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.json", "notes.txt", "relations.parquet", "rows.parquet", "triples",
    ]  # fmt: skip
    (out / "manifest.json").unlink()
    with pytest.raises(UsageError, match=r"not empty \(it holds notes.txt\)"):
        distjoint.prepare(str(out), triples=files["triples"], overwrite=True)
    (out / "notes.txt").unlink()
    distjoint.prepare(str(out), corpus=files["corpus"], min_count=1)
    assert Dataset.open(str(out)).manifest.counts["entities"] == 0
    with pytest.raises(UsageError, match="there is a file of this name"):
        distjoint.prepare(files["corpus"], corpus=files["corpus"])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_interrupted_or_out_of_disk_leaves_nothing(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(partition.HashedFile, "write", broken)
    with pytest.raises((KeyboardInterrupt, DistjointError)) as caught:
        distjoint.prepare(str(tmp_path / "out"), **files, min_count=1)
    if isinstance(error, OSError):
        assert "no space left on the disk" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_full_scratch_disk_says_what_to_do(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool.os, "pwrite", full)
    with pytest.raises(DistjointError, match="no space left on the disk for temporary files"):
        distjoint.prepare(str(tmp_path / "out"), **files, min_count=1)
    assert not (tmp_path / "out").exists()


def test_a_failed_replacement_reads_all_input_before_it_deletes(files: dict[str, str], tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    distjoint.prepare(out, corpus=files["corpus"], min_count=1)
    Path(files["corpus"]).write_bytes(b"caf\xe9 \n" * 9)
    with pytest.raises(DistjointError, match="not UTF-8"):
        distjoint.prepare(out, corpus=files["corpus"], min_count=1, overwrite=True)
    assert Dataset.open(out).manifest.counts["words"]


@pytest.mark.parametrize("count", [0.0, -2.0, float("nan"), float("inf")])
def test_reader_refuses_counts_that_are_not_above_zero(tmp_path: Path, files: dict[str, str], count: float) -> None:
    out = tmp_path / "out"
    distjoint.prepare(str(out), corpus=files["corpus"], min_count=1, shards=1)
    place = out / "cooccurrence/part-00000.parquet"
    table = pq.read_table(place)
    counts = table.column("count").to_pylist()
    counts[3] = count
    pq.write_table(table.set_column(2, "count", pa.array(counts, pa.float32())), place)
    with pytest.raises(DistjointError, match=f"part-00000.parquet, row group 0: column 'count' holds {count}"):
        Dataset.open(str(out)).cells(0, 0)


def test_shards_wait_on_scratch_when_memory_is_short(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = np.random.default_rng(0).integers(0, 300, (50, 100))
    text = tmp_path / "long"
    text.write_text("\n".join(" ".join(f"w{word}" for word in document) for document in documents.tolist()))
    plans = []
    count_shards = cooccurrence.count_shards
    monkeypatch.setattr(
        workers, "count_shards",
        lambda blocks, plan, *rest: plans.append(plan) or count_shards(blocks, plan, *rest),
    )  # fmt: skip
    cells = {}
    for memory in ("1KB", "1GB"):
        distjoint.prepare(str(tmp_path / memory), corpus=str(text), memory=memory, shards=3)
        dataset = Dataset.open(str(tmp_path / memory))
        cells[memory] = [
            sorted(zip(*map(np.ndarray.tolist, (part.row, part.column, part.count)), strict=True))
            for part in (dataset.cells(i, j) for i in range(3) for j in range(3))
        ]
    assert [plan.shards_on_disk for plan in plans] == [True, False]
    assert [plan.parallel for plan in plans] == [1, plans[1].threads]
    for low, high in zip(cells["1KB"], cells["1GB"], strict=True):
        assert np.allclose(low, high, rtol=1e-6)


def test_memory_filesystem_needs_no_local_paths(files: dict[str, str]) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    for name, path in files.items():
        store.pipe(f"/in/{name}", Path(path).read_bytes())
    inputs = {name: f"memory://in/{name}" for name in files}
    distjoint.prepare("memory://out", **inputs, min_count=1, shards=2)
    dataset = Dataset.open("memory://out")
    assert len(dataset.split("train")) == 5
    assert sum(len(dataset.cells(i, j)) for i in range(2) for j in range(2)) == dataset.manifest.counts["cells"]
