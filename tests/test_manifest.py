"""Manifest and dataset: what is incomplete or damaged is named, and never read as if it were whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from small import Small

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Dataset
from distjoint.data.manifest import Manifest
from distjoint.storage import locate

pytestmark = pytest.mark.unit


@pytest.fixture
def copied(small: Small, tmp_path: Path) -> Path:
    """A copy of the joint dataset, to be spoilt."""
    return Path(shutil.copytree(small.joint, tmp_path / "dataset"))


def edit(folder: Path, change: Any) -> None:
    manifest = locate(str(folder / "manifest.json"))
    content = manifest.read_json()
    change(content)
    manifest.write_json(content)


def test_a_manifest_comes_back_as_it_was(small: Small, tmp_path: Path) -> None:
    manifest = Manifest.read(locate(small.joint))
    manifest.write(locate(str(tmp_path)))
    assert Manifest.read(locate(str(tmp_path))) == manifest


def test_partitions_hold_every_sample_once(small: Small) -> None:
    data = Dataset.open(small.joint)
    shards = range(data.layout.shards)
    assert sum(len(data.cells(i, j)) for i in shards for j in shards) == data.manifest.counts["cells"]
    for split in ("train", "valid", "test"):
        count = data.manifest.counts[f"triples/{split}"]
        assert (
            len(data.split(split))
            == count
            == sum(data.manifest.samples(f"triples/{split}", i, j) for i in shards for j in shards)
        )
    assert len(data.split("other")) == 0


def test_triples_name_the_entities_they_were_made_of(small: Small) -> None:
    data = Dataset.open(small.joint)
    entity, relation = data.rows(["entity"]).column("entity").to_pylist(), data.relations().column("name").to_pylist()
    train = data.split("train")
    named = {
        (entity[h], relation[r], entity[t]) for h, r, t in zip(train.head, train.relation, train.tail, strict=True)
    }
    assert len(named) == len(train)
    assert ("coacha", "coach_of", "teama") in named


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(format=99), "format 99, this distjoint reads 1"),
        (lambda m: m.pop("streams"), "not a manifest"),
        (lambda m: m.update(more=1), "not a manifest"),
        (lambda m: m["layout_sizes"].update(tiles=23), "23 tiles do not fall into 4 shards"),
        (lambda m: m["streams"]["cooccurrence"][0].update(file=99), "not a manifest"),
        (lambda m: m["streams"]["cooccurrence"][0].update(stop=10**9), "not a manifest"),
        (lambda m: m["streams"]["cooccurrence"][0].update(i=8), "not a manifest"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(copied: Path, change: Any, says: str) -> None:
    edit(copied, change)
    with pytest.raises(DistjointError, match=r"manifest\.json: ") as caught:
        Dataset.open(str(copied))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_file_that_is_not_a_manifest_is_refused(copied: Path, content: bytes) -> None:
    (copied / "manifest.json").write_bytes(content)
    with pytest.raises(DistjointError, match=r"manifest\.json: .*prepare it again"):
        Dataset.open(str(copied))


def test_no_dataset_and_an_incomplete_one_are_told_apart(copied: Path) -> None:
    with pytest.raises(DistjointError, match="no such dataset; make one with 'distjoint prepare"):
        Dataset.open(str(copied / "none"))
    (copied / "manifest.json").unlink()
    with pytest.raises(DistjointError, match=r"not a complete dataset; run 'distjoint prepare' again"):
        Dataset.open(str(copied))


@pytest.fixture
def ambiguous(tmp_path: Path) -> Path:
    """A dataset in which an entity has two words, and one word two entities."""
    (tmp_path / "text").write_text("dog hound cat puss\n" * 9)
    (tmp_path / "triples").write_text("Dog\tchases\tCat\nWolf\tchases\tCat\nTom\tis\tCat\n")
    (tmp_path / "pairs").write_text("Dog\tdog\nDog\thound\nCat\tpuss\nTom\tpuss\n")
    files = {"corpus": str(tmp_path / "text"), "triples": str(tmp_path / "triples"), "align": str(tmp_path / "pairs")}
    distjoint.prepare(str(tmp_path / "ambiguous"), **files, min_count=1, shards=2)
    return tmp_path / "ambiguous"


def pairs_of(folder: Path) -> list[tuple[str, str, float]]:
    data = Dataset.open(str(folder))
    names, found = data.rows(), []
    for i in range(data.layout.shards):
        for j in range(data.layout.shards):
            pairs, entities, words = data.pairs(i, j), data.layout.rows_of(i), data.layout.rows_of(j)
            assert len(pairs) == data.manifest.samples("pairs", i, j)
            for entity, word, weight in zip(pairs.entity, pairs.word, pairs.weight, strict=True):
                row, other = int(entities[entity]), int(words[word])
                found.append((names["entity"][row].as_py(), names["word"][other].as_py(), float(weight)))
    return sorted(found)


def test_pairs_that_share_no_row_are_read_with_their_weights(ambiguous: Path) -> None:
    shared = {"hound", "dog"} - {word for entity, word, _ in pairs_of(ambiguous) if entity == "Dog"}
    assert len(shared) == 1, "one of the two shares the row"
    apart = ({"hound", "dog"} - shared).pop()
    assert pairs_of(ambiguous) == sorted([("Cat", "puss", 0.5), ("Tom", "puss", 0.5), ("Dog", apart, 1.0)])
    assert Dataset.open(str(ambiguous)).manifest.counts["pairs"] == 3


def test_a_dataset_of_before_the_pairs_were_named_so_is_read_and_replaced(ambiguous: Path, tmp_path: Path) -> None:
    expected = pairs_of(ambiguous)

    def former(content: dict[str, Any]) -> None:
        text = json.dumps(content).replace('"pairs/part', '"alignment/part').replace('"pairs"', '"alignment"')
        assert text.count("alignment") == 3  # a file, a count and a stream
        content.update(json.loads(text))

    edit(ambiguous, former)
    (ambiguous / "pairs").rename(ambiguous / "alignment")
    assert pairs_of(ambiguous) == expected
    distjoint.prepare(str(ambiguous), corpus=str(tmp_path / "text"), min_count=1, overwrite=True)
    assert not (ambiguous / "alignment").exists()


def test_a_pair_outside_its_shard_is_refused(ambiguous: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Dataset.read_span

    def spoilt(self: Dataset, span: Any, columns: list[str]) -> Any:
        table = whole(self, span, columns)
        return table.set_column(1, table.field(1), pa.array([999] * len(table), pa.int32()))

    monkeypatch.setattr(Dataset, "read_span", spoilt)
    with pytest.raises(DistjointError, match=r"pairs/part-00000.parquet, row group 0: column 'word' holds 999"):
        pairs_of(ambiguous)


def read_all(folder: Path) -> list[Any]:
    data = Dataset.open(str(folder))
    found: list[Any] = [data.rows().to_pydict(), data.relations().to_pydict()]
    for i in range(data.layout.shards):
        for j in range(data.layout.shards):
            cells, triples = data.cells(i, j), data.triples(i, j)
            found += [a.tolist() for part in (cells, triples) for a in vars(part).values() if a is not None]
    return found


def files(folder: str) -> list[str]:
    return [file["path"] for file in json.loads((Path(folder) / "manifest.json").read_text())["files"]]


def test_a_truncated_or_missing_file_is_named(copied: Path) -> None:
    for path in ("rows.parquet", "relations.parquet", "cooccurrence", "triples/train"):
        file = copied / path if path.endswith("parquet") else sorted((copied / path).iterdir())[0]
        content = file.read_bytes()
        for spoil in (
            lambda f, c: f.write_bytes(c[: len(c) // 2]),
            lambda f, c: f.write_bytes(b""),
            lambda f, c: f.unlink(),
        ):
            spoil(file, content)
            with pytest.raises(DistjointError, match=str(file.relative_to(copied))) as caught:
                read_all(copied)
            assert "\n" not in str(caught.value)
        file.write_bytes(content)


def test_a_flipped_byte_is_named_or_changes_nothing(copied: Path) -> None:
    """Every 97th byte of a file of counts: pages have checksums, a footer that cannot be read is an error."""
    whole = read_all(copied)
    file = sorted((copied / "cooccurrence").iterdir())[0]
    content = file.read_bytes()
    named = 0
    for at in range(4, len(content), max(97, len(content) // 60)):
        spoilt = bytearray(content)
        spoilt[at] ^= 0x10
        file.write_bytes(bytes(spoilt))
        try:
            assert read_all(copied) == whole, at
        except DistjointError as error:
            named += 1
            assert str(file.relative_to(copied)) in str(error)
            assert "\n" not in str(error)
    assert named > 30
    file.write_bytes(content)
    assert np.array_equal(len(read_all(copied)), len(whole))
