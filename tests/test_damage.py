"""One changed bit anywhere in a dataset or a run: it is named, or it makes no difference. Never a wrong result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import Small, config

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Dataset
from distjoint.runs.folder import RunFolder

pytestmark = pytest.mark.unit

DATASET = (
    "manifest.json",
    "rows.parquet",
    "relations.parquet",
    "cooccurrence/part-00000.parquet",
    "triples/train/part-00000.parquet",
    "triples/test/part-00000.parquet",
)
RUN = (
    "run.json",
    "rows.parquet",
    "relations.parquet",
    "checkpoints/epoch-00001/manifest.json",
    "checkpoints/epoch-00001/shard-00002.safetensors",
    "checkpoints/epoch-00001/dense.safetensors",
)


@pytest.fixture(scope="module")
def dataset(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the joint dataset, to be spoilt."""
    return Path(shutil.copytree(small.joint, tmp_path_factory.mktemp("damage") / "dataset"))


@pytest.fixture(scope="module")
def run(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the joint dataset, to be spoilt."""
    folder = tmp_path_factory.mktemp("damage") / "run"
    distjoint.train(small.joint, str(folder), config({"train.epochs": 1}))
    return folder


def whole_dataset(folder: Path) -> list[Any]:
    """All that can be read of it."""
    data = Dataset.open(str(folder))
    shards, splits = range(data.layout.shards), ("train", "test")
    tables = [(table.schema.names, table.to_pydict()) for table in (data.rows(), data.relations())]
    samples = [data.cells(i, j) for i in shards for j in shards]
    triples = [data.triples(i, j, split) for split in splits for i in shards for j in shards]
    arrays = [
        (array.dtype, array.tobytes())
        for part in (*samples, *triples)
        for array in vars(part).values()
        if array is not None
    ]
    return [data.manifest, tables, arrays]


def whole_run(folder: Path) -> list[Any]:
    run = RunFolder.open(str(folder))
    tables = [(table.schema.names, table.to_pydict()) for table in (run.rows(), run.relations())]
    checkpoint = run.result()
    parts = [checkpoint.dense(), *(checkpoint.shard(shard) for shard in range(run.layout.shards))]
    arrays = [{name: array.numpy().tobytes() for name, array in part.items()} for part in parts]
    return [run.info, tables, checkpoint.manifest, arrays]


def check(file: Path, at: float, bit: int, read: Callable[[], list[Any]], whole: list[Any]) -> bool:
    """Whether the bit was found out."""
    content = file.read_bytes()
    spoilt = bytearray(content)
    spoilt[int(at * len(content))] ^= 1 << bit
    try:
        file.write_bytes(bytes(spoilt))
        assert read() == whole
        return False
    except DistjointError as error:
        assert str(file) in str(error)
        assert "\n" not in str(error)
        return True
    finally:
        file.write_bytes(content)


places = st.floats(0, 1, exclude_max=True, allow_subnormal=False)


@pytest.mark.parametrize("path", DATASET)
def test_a_bit_flipped_in_a_dataset_is_named_or_makes_no_difference(dataset: Path, path: str) -> None:
    whole, found = whole_dataset(dataset), [0]

    @given(at=places, bit=st.integers(0, 7))
    @settings(max_examples=12, database=None)
    def flip(at: float, bit: int) -> None:
        found[0] += check(dataset / path, at, bit, lambda: whole_dataset(dataset), whole)

    flip()
    assert found[0] >= 2


@pytest.mark.parametrize("path", RUN)
def test_a_bit_flipped_in_a_run_is_named_or_makes_no_difference(run: Path, path: str) -> None:
    whole, found = whole_run(run), [0]

    @given(at=places, bit=st.integers(0, 7))
    @settings(max_examples=12, database=None)
    def flip(at: float, bit: int) -> None:
        found[0] += check(run / path, at, bit, lambda: whole_run(run), whole)

    flip()
    assert found[0] >= 2


@pytest.mark.parametrize(("folder", "path"), [("dataset", "manifest.json"), ("run", RUN[0]), ("run", RUN[3])])
def test_no_digit_of_a_manifest_can_be_changed_unnoticed(folder: str, path: str, dataset: Path, run: Path) -> None:
    """A count, a size or a checksum would still be a number."""
    place, read = (dataset, whole_dataset) if folder == "dataset" else (run, whole_run)
    content = (place / path).read_bytes()
    digits = [at for at, byte in enumerate(content) if chr(byte).isdigit()]
    try:
        for at in np.random.default_rng(0).choice(digits, 60, replace=False):
            changed = content[:at] + (b"1" if content[at : at + 1] != b"1" else b"2") + content[at + 1 :]
            if json.loads(changed) == json.loads(content):  # the last digit of a long fraction
                continue
            (place / path).write_bytes(changed)
            with pytest.raises(DistjointError, match=path):
                read(place)
    finally:
        (place / path).write_bytes(content)


def test_a_footer_that_points_to_other_pages_is_found_out(dataset: Path) -> None:
    """The pages of another file are whole: only that they lie elsewhere gives it away."""
    here, other = (dataset / f"cooccurrence/part-0000{k}.parquet" for k in (0, 1))
    before, theirs = here.read_bytes(), other.read_bytes()
    footers = [len(file) - 8 - pq.read_metadata(pa.BufferReader(file)).serialized_size for file in (before, theirs)]
    try:
        here.write_bytes(before[: footers[0]] + theirs[footers[1] :])
        with pytest.raises(DistjointError, match=r"part-00000\.parquet: damaged"):
            whole_dataset(dataset)
        here.write_bytes(theirs)
        with pytest.raises(DistjointError, match=r"part-00000\.parquet: damaged"):
            whole_dataset(dataset)
    finally:
        here.write_bytes(before)


def test_a_manifest_without_its_checksum_is_damaged(dataset: Path, run: Path) -> None:
    for folder, path, read in ((dataset, "manifest.json", whole_dataset), (run, "run.json", whole_run)):
        content = (folder / path).read_text()
        (folder / path).write_text(content.replace('"checksum": "xxh3:', '"bhecksum": "xxh3:'))
        with pytest.raises(DistjointError, match=f"{path}: does not match the checksum in it"):
            read(folder)
        (folder / path).write_text(content)
