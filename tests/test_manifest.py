"""Manifest and dataset: what is incomplete or damaged is named, and never read as if it were whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import Small

from distjoint.data.dataset import Dataset
from distjoint.data.manifest import Manifest
from distjoint.errors import DistjointError
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
        (lambda m: m["layout_sizes"].update(tiles=23), "23 tiles do not fall into 8 shards"),
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


def read_all(folder: Path) -> list[Any]:
    data = Dataset.open(str(folder))
    found: list[Any] = [data.rows().to_pydict(), data.relations().to_pydict()]
    for i in range(data.layout.shards):
        for j in range(data.layout.shards):
            cells, triples = data.cells(i, j), data.triples(i, j)
            found += [a.tolist() for part in (cells, triples) for a in vars(part).values()]
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
