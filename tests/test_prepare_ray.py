"""`prepare` by Ray tasks equals `prepare` in one process, also when workers and machines die."""

from __future__ import annotations

import bz2
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Silent
from distjoint.data import ray_driver
from distjoint.data.corpus import Corpus
from distjoint.data.tokens import Counter, Lexicon

pytestmark = pytest.mark.ray

NODE = {"object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that does no work, and two nodes of one core."""
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("DISTJOINT_TEST", str(os.getpid()))
        # A dead node is noticed after 2 s rather than 30.
        patch.setenv("RAY_health_check_period_ms", "1000")
        patch.setenv("RAY_health_check_failure_threshold", "2")
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, **NODE)
            cluster.wait_for_nodes()
            ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text in many parts and pieces, small as it is."""
    monkeypatch.setattr(ray_driver, "PART_LEAST", 5000)
    monkeypatch.setattr(ray_driver, "PART_MOST", 5000)


def lines(seed: int, documents: int) -> list[str]:
    words = np.random.default_rng(seed).zipf(1.3, (documents, 40)) % 300
    return [" ".join(f"w{word}" if word else "New York," for word in document) for document in words.tolist()]


def write_inputs(folder: Path) -> dict[str, Any]:
    """Text in every format, and entities with names of several words."""
    folder.mkdir()
    (folder / "a.txt").write_text("\n".join(lines(0, 300)))
    (folder / "b.txt.bz2").write_bytes(bz2.compress("\n".join(lines(1, 100)).encode()))
    (folder / "c.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines(2, 100)))
    pq.write_table(pa.table({"text": lines(3, 100)}), folder / "d.parquet")
    for k in range(3):
        (folder / f"e{k}.txt").write_text("\n".join(lines(4 + k, 5)))
    (folder / "kg.tsv").write_text("New_York\tin\tw2\nw1\tin\tw2\nw2_w1\tin\tw1\nNever Seen\tin\tw1\n")
    (folder / "said.tsv").write_text("".join(f"w{k % 3}\t{line}\n" for k, line in enumerate(lines(9, 60))))
    (folder / "said.json").write_text(json.dumps({f"w{k}": line for k, line in enumerate(lines(10, 60))}))
    (folder / "said.csv").write_text("id,text\n" + "".join(f'w{k},"{line}"\n' for k, line in enumerate(lines(11, 9))))
    said = {"descriptions": str(folder / "said.*"), "read_descriptions": True}
    return {"corpus": str(folder / "[a-e]*"), "triples": str(folder / "kg.tsv"), "min_count": 2, "shards": 8, **said}


def content(folder: Path) -> dict[str, bytes]:
    return {str(place.relative_to(folder)): place.read_bytes() for place in folder.rglob("*") if place.is_file()}


@pytest.mark.usefixtures("cluster", "small_parts")
@pytest.mark.parametrize("options", [{"memory": "20KB"}, {"tokenizer": "whitespace", "max_words": 100}])
def test_the_bits_are_those_of_one_process(tmp_path: Path, options: dict[str, Any]) -> None:
    inputs = write_inputs(tmp_path / "in") | options
    here, there = (distjoint.prepare(str(tmp_path / str(n)), **inputs, workers=n) for n in (1, 2))
    assert content(tmp_path / "1") == content(tmp_path / "2")
    assert here.counts == there.counts
    assert here.counts["mentions"] > 100
    assert here.counts["names"] == (2 if options.get("tokenizer") is None else 1)


@pytest.mark.usefixtures("cluster", "small_parts")
@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("a.txt", b"caf\xe9 " * 99 + b"\n", "a.txt, line 201: byte 0xe9 is not UTF-8"),
        ("a.jsonl", b'{"body": "x"}\n', "a.jsonl, line 201: no field 'text'"),
    ],
)
def test_a_bad_line_is_named_as_in_one_process(tmp_path: Path, name: str, bad: bytes, message: str) -> None:
    good = [line if name == "a.txt" else json.dumps({"text": line}) for line in lines(0, 300)]
    content = [f"{line}\n".encode() for line in good]
    (tmp_path / name).write_bytes(b"".join([*content[:200], bad, *content[200:]]))
    said = []
    for workers in (1, 2):
        with pytest.raises(DistjointError, match=message) as caught:
            distjoint.prepare(str(tmp_path / "out"), corpus=str(tmp_path / name), workers=workers)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("cluster", "small_parts")
def test_a_bad_byte_is_told_as_in_one_process(tmp_path: Path) -> None:
    good = [f"{line}\n".encode() for line in lines(0, 300)]
    (tmp_path / "a.txt").write_bytes(b"".join([*good[:200], b"caf\xe9 one\n", *good[200:], b"two\0\n"]))
    here, there = (
        distjoint.prepare(str(tmp_path / str(workers)), corpus=str(tmp_path / "a.txt"), workers=workers)
        for workers in (1, 2)
    )
    assert here.notes == there.notes and content(tmp_path / "1") == content(tmp_path / "2")
    assert "line 201 of a.txt" in here.notes[0] and "line 302 of a.txt" in here.notes[1]


def test_a_file_that_a_machine_does_not_see_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    part = ray_driver.TextPart([(str(tmp_path / "mine.txt"), {}, 0, None)], Corpus(()), "unicode")
    with pytest.raises(DistjointError, match=r"mine.txt: a machine of the Ray cluster does not see it; .* like s3://"):
        next(part.encode(Lexicon("unicode"), Counter()))


@contextmanager
def killing(task: bytes) -> Iterator[list[int]]:
    """Kills the first process that is seen to run a task of this name; gives its id."""
    killed: list[int] = []
    stopped = threading.Event()

    def hunt() -> None:
        while not stopped.is_set() and not killed:
            for place in Path("/proc").iterdir():
                with suppress(OSError):
                    if place.name.isdigit() and task in (place / "cmdline").read_bytes() and ours(place):
                        os.kill(int(place.name), signal.SIGKILL)
                        killed.append(int(place.name))
                        return
            time.sleep(0.001)

    thread = threading.Thread(target=hunt, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        stopped.set()
        thread.join()


def ours(process: Path) -> bool:
    return f"DISTJOINT_TEST={os.getpid()}\0".encode() in (process / "environ").read_bytes()


@pytest.mark.usefixtures("cluster", "small_parts")
@pytest.mark.parametrize("task", [b"ray::_tokenise", b"ray::_join_names", b"ray::_count"])
def test_a_killed_worker_costs_one_task(tmp_path: Path, task: bytes) -> None:
    inputs = write_inputs(tmp_path / "in")
    distjoint.prepare(str(tmp_path / "one"), **inputs)
    with killing(task) as killed:
        distjoint.prepare(str(tmp_path / "two"), **inputs, workers=2)
    assert len(killed) == 1
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_stopped_it_is_continued_from_the_shards_that_are_counted(
    cluster: Any, tmp_path: Path, number: int, code: int
) -> None:
    text, out = tmp_path / "text", tmp_path / "out"
    text.write_text("\n".join(lines(0, 40_000)))
    options = ["--corpus", str(text), "--shards", "16", "--out", str(out), "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "distjoint", "prepare", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_ADDRESS": cluster.address},
    )
    while process.poll() is None and len(list(out.glob("unfinished/part-*.json"))) < 2:
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == code, said
    assert (number == signal.SIGKILL) or "counted shards are kept; the same command continues with them" in said
    assert "Traceback" not in said
    progress = Acting("", lambda: None)
    distjoint.prepare(str(out), corpus=str(text), shards=16, progress=progress)
    assert any("of 16 shards were counted before" in line for line in progress.lines)
    distjoint.prepare(str(tmp_path / "one"), corpus=str(text), shards=16)
    assert content(out) == content(tmp_path / "one")


class Acting(Silent):
    """Does something when something is said."""

    def __init__(self, text: str, act: Callable[[], object]) -> None:
        self.text, self.act, self.lines = text, act, []

    def say(self, text: str) -> None:
        self.lines.append(text)
        if self.text in text:
            self.act()


def test_a_dead_node_takes_nothing_with_it(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    # Parts whose ids are too many to be sent along with the reply, so they lie on the node that read them.
    monkeypatch.setattr(ray_driver, "PART_LEAST", 200_000)
    text = tmp_path / "text"
    text.write_text("\n".join(lines(0, 8000)))
    distjoint.prepare(str(tmp_path / "one"), corpus=str(text))
    tokenise = ray_driver.Cluster.tokenise
    lost: list[Any] = []

    def tokenise_and_die(*arguments: Any) -> ray_driver.Stored:
        stored = tokenise(*arguments)
        pieces = [piece for part, _ in stored.parts for piece in part]
        places = ray.experimental.get_object_locations(pieces)
        (dying,) = places[pieces[0]]["node_ids"]  # nothing else has read them yet
        lost.extend(piece for piece in pieces if places[piece]["node_ids"] == [dying])
        (node,) = (node for node in cluster.worker_nodes if node.node_id == dying)
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1, **NODE)
        return stored

    monkeypatch.setattr(ray_driver.Cluster, "tokenise", tokenise_and_die)
    distjoint.prepare(str(tmp_path / "two"), corpus=str(text), workers=2)
    assert lost
    assert content(tmp_path / "one") == content(tmp_path / "two")
