"""Partitions on their way from storage to a lane: what is kept in memory, on local disk, and read again."""

from __future__ import annotations

import dataclasses
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import Small, assert_same_bits, config, tensors

from distjoint.data.dataset import Dataset
from distjoint.train import train
from distjoint.train.disk_cache import DiskCache
from distjoint.train.sources.cells import CellsDecoder, DecodedCells
from distjoint.train.sources.triples import DecodedTriples, TriplesDecoder
from distjoint.train.stream import Decoder, Stream

pytestmark = pytest.mark.unit

ALL = [(i, j) for i in range(8) for j in range(8)]
SOURCES = ("cells", "triples")
Make = Callable[..., Stream]
Decoded = DecodedCells | DecodedTriples


class Counted(Dataset):
    """A dataset that counts how often each partition is read."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.reads: Counter[tuple[int, int]] = Counter()

    def cells(self, i: int, j: int) -> Any:
        self.reads[i, j] += 1
        return super().cells(i, j)


def decoders_of(dataset: Dataset) -> dict[str, Decoder]:
    return {"cells": CellsDecoder(dataset, config()), "triples": TriplesDecoder(dataset)}


def stream_of(dataset: Dataset, **options: Any) -> Stream:
    return Stream(dataset, decoders_of(dataset), **options)


@pytest.fixture
def make(small: Small) -> Iterator[Make]:
    """A stream of the joint dataset, by its budget and disk; its files are local, so no disk by default."""
    made: list[Stream] = []

    def go(**options: Any) -> Stream:
        made.append(stream_of(Counted.open(small.many), **options))
        return made[-1]

    yield go
    for stream in made:
        stream.close()


@pytest.fixture(scope="module")
def size(small: Small) -> int:
    """Bytes of all cells, decoded."""
    decoder = CellsDecoder(Dataset.open(small.many), config())
    return sum(nbytes(decoder.decode(partition)) for partition in ALL)


def nbytes(value: Decoded) -> int:
    return sum(getattr(value, field.name).nbytes for field in dataclasses.fields(value))


def assert_equal(one: Decoded, other: Decoded) -> None:
    for field in dataclasses.fields(one):
        first, second = getattr(one, field.name), getattr(other, field.name)
        assert first.dtype == second.dtype
        assert np.array_equal(first, second), field.name


def epoch(stream: Stream, seed: int) -> None:
    """Ask for every partition of counts once, in an order of its own, as an epoch does."""
    for partition in random.Random(seed).sample(ALL, len(ALL)):
        stream.get("cells", partition)


@pytest.mark.parametrize("source", SOURCES)
def test_a_partition_is_the_same_from_storage_from_memory_and_from_disk(source: str, make: Make) -> None:
    plain, cached = make(budget=0), make(budget=0, disk=1 << 30)
    kept, decoder = make(), decoders_of(plain.dataset)[source]
    for _ in range(2):
        for partition in ALL:
            value = plain.get(source, partition)
            assert_equal(value, kept.get(source, partition))
            assert_equal(value, cached.get(source, partition))
            assert not nbytes(value) or decoder.bytes(partition) == nbytes(value)
    if source == "cells":
        reads = cached.dataset.reads
        assert all(reads[partition] == 1 for partition in ALL if decoder.bytes(partition))


def test_every_cell_lies_between_the_tiles_it_is_found_at(make: Make) -> None:
    stream = make()
    layout = stream.dataset.layout
    for i, j in [(0, 0), (3, 5)]:
        decoded, raw, found = stream.get("cells", (i, j)), stream.dataset.cells(i, j), []
        for a in range(layout.tiles_per_shard):
            for b in range(layout.tiles_per_shard):
                tile = decoded.tile(a, b, 7, 9, (i, j))
                if tile is not None:
                    assert (tile.row_base, tile.column_base, tile.partition) == (7, 9, (i, j))
                    rows = tile.row + layout.tile_offsets[i, a]
                    columns = tile.column + layout.tile_offsets[j, b]
                    assert rows.max() < layout.tile_offsets[i, a + 1]
                    assert columns.max() < layout.tile_offsets[j, b + 1]
                    found += list(zip(rows.tolist(), columns.tolist(), np.exp(tile.log_count).round(2), strict=True))
        assert sorted(found) == sorted(zip(raw.row.tolist(), raw.column.tolist(), raw.count.round(2), strict=True))


def test_memory_stays_within_its_budget_and_what_is_read_ahead_stays(make: Make, size: int) -> None:
    budget = size // 2
    stream = make(budget=budget)
    due = ALL[:8]
    stream.read_ahead("cells", due)
    for partition in due:
        stream.get("cells", partition)
    epoch(stream, 0)
    assert sum(nbytes(value) for value in stream.kept.values()) <= budget
    stream.dataset.reads.clear()
    for partition in due:
        stream.get("cells", partition)
    assert not stream.dataset.reads
    stream.release("cells", due)
    assert not stream.due


def test_no_more_is_read_ahead_than_the_budget_holds(make: Make, size: int) -> None:
    stream = make(budget=size // 4)
    stream.read_ahead("cells", ALL)
    for source, partition in sorted(stream.due):
        stream.get(source, partition)
    assert sum(nbytes(value) for value in stream.kept.values()) <= size // 4
    assert 0 < len(stream.dataset.reads) < len(ALL) / 2
    for partition in ALL:
        assert len(stream.get("cells", partition).row) == stream.dataset.manifest.samples("cooccurrence", *partition)


def test_with_room_for_half_of_the_partitions_about_half_are_not_read_again(make: Make, size: int) -> None:
    stream = make(budget=size // 2)
    epoch(stream, 0)
    stream.dataset.reads.clear()
    for number in range(1, 5):
        epoch(stream, number)
    assert sum(stream.dataset.reads.values()) < 0.65 * 4 * len(ALL)


def test_what_memory_has_no_room_for_is_read_once_where_the_disk_has(make: Make, size: int) -> None:
    stream = make(budget=size // 4, disk=size)
    for number in range(3):
        epoch(stream, number)
    assert max(stream.dataset.reads.values()) == 1


def test_the_disk_takes_no_more_than_it_may_and_is_left_empty(
    make: Make, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stream = make(budget=0, disk=size // 2)
    for number in range(2):
        epoch(stream, number)
    files = sum(file.stat().st_size for file in tmp_path.rglob("*.bin"))
    assert size // 4 < files <= size // 2
    assert set(stream.dataset.reads.values()) == {1, 2}
    stream.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_the_cache_and_nothing_else(
    make: Make, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/3.bin").symlink_to("/dev/full")
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path / "cache"))
    stream, plain = make(budget=0, disk=size), make()
    for _ in range(2):
        for partition in ALL:
            assert_equal(stream.get("cells", partition), plain.get("cells", partition))
    assert sorted(file.name for file in (tmp_path / "cache").iterdir()) == ["1.bin", "2.bin"]
    assert sorted(set(stream.dataset.reads.values())) == [1, 2]


def test_a_disk_that_cannot_be_written_at_all_is_no_failure(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    stream = make(budget=0, disk=1 << 30)
    epoch(stream, 0)
    epoch(stream, 1)


def test_what_was_cut_short_on_disk_is_read_from_storage(make: Make, tmp_path: Path) -> None:
    cache, value = DiskCache(1 << 20), make().get("cells", (0, 0))
    cache.put("here", value)
    assert_equal(cache.get("here"), value)
    assert cache.get("elsewhere") is None
    assert cache.folder is not None
    (file,) = cache.folder.iterdir()
    os.truncate(file, file.stat().st_size - 1)
    assert cache.get("here") is None
    cache.close()
    assert not cache.folder.exists()


def test_a_failure_to_read_ahead_is_raised_where_it_is_needed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = make()

    def fail(*_: int) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(stream.dataset, "triples", fail)
    stream.read_ahead("triples", [(0, 1)])
    with pytest.raises(ValueError, match="broken"):
        stream.get("triples", (0, 1))


def test_memory_for_partitions_changes_no_bit(small: Small, tmp_path: Path) -> None:
    settings = {"train.groups": 3, "train.epochs": 2}
    made = []
    for number, options in enumerate(({}, {"budget": 30_000}, {"budget": 10_000, "disk": 20_000})):
        with pytest.MonkeyPatch.context() as patch:
            original = Stream.__init__
            patch.setattr(
                Stream,
                "__init__",
                lambda self, *a, _original=original, _options=options, **k: _original(self, *a, **{**k, **_options}),
            )
            train(small.joint, str(tmp_path / str(number)), config(settings))
        made.append(tensors(tmp_path / str(number)))
    assert_same_bits(made[0], made[1])
    assert_same_bits(made[0], made[2])
