"""A run that stops and goes on, and what it leaves: checkpoints, the best of them, its journal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from small import Small, Train, assert_same_bits, config, history, info, losses, tensors

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.runs import checkpoint, journal
from distjoint.runs.checkpoint import Position
from distjoint.runs.folder import Checkpoint, CheckpointManifest, RunFolder
from distjoint.storage import Location, locate
from distjoint.train import train
from distjoint.train.validate import Validation
from distjoint.train.worker import Worker

pytestmark = pytest.mark.unit


# Interruption and resumption


def interrupt(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, path: str = "") -> None:
    """Make the `call`-th call of a method raise as Ctrl-C does; of calls on a location, one with `path` in its URL."""
    original, calls = getattr(owner, name), []

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        if path in str(self):
            calls.append(1)
            if len(calls) == call:
                raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, wrapped)


STOPS: list[tuple[int, tuple[Any, ...]]] = [
    (2, (Worker, "train_epoch", 3)),  # between epochs
    (1, (Location, "write_bytes", 4, "/epoch-00001/shard")),  # in the middle of a checkpoint
    (1, (CheckpointManifest, "write", 2)),  # after its files, before its manifest
    (2, (Worker, "publish", 3)),  # after the last checkpoint, before its result is told
]


@pytest.mark.parametrize(("lanes", "where"), STOPS)
def test_a_stopped_run_goes_on_to_the_bits_of_one_that_was_not(
    lanes: int, where: tuple[Any, ...], known: Train, small: Small, tmp_path: Path
) -> None:
    settings = {"train.epochs": 3, "train.lanes": lanes, "train.validate_every": 2}
    whole, stopped = known(settings), tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, *where)
        with pytest.raises(KeyboardInterrupt):
            train(small.joint, str(stopped), config(settings))
    assert info(stopped)["status"] == "stopped"
    result = train(None, str(stopped), resume=True)
    assert info(stopped) == info(whole) | {"status": "finished"}
    assert_same_bits(tensors(whole), tensors(stopped))
    assert losses(stopped) == losses(whole)
    assert [line["epoch"] for line in result.history] == [1, 2, 3]


def test_a_run_stopped_in_its_first_epoch_has_no_result_and_starts_again(
    known: Train, small: Small, tmp_path: Path
) -> None:
    folder = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, Worker, "train_epoch", 1)
        with pytest.raises(KeyboardInterrupt):
            train(small.joint, str(folder), config())
    assert info(folder)["result"] is None
    train(None, str(folder), resume=True)
    assert_same_bits(tensors(folder), tensors(known({"loss.alpha": 0.5})))


@pytest.mark.parametrize(
    ("how", "rounds"), [({"train.checkpoint_rounds": 2}, 2), ({"train.checkpoint_minutes": 1e-9}, 1)]
)
def test_a_run_stopped_within_an_epoch_goes_on_there(
    how: dict[str, Any], rounds: int, known: Train, small: Small, tmp_path: Path
) -> None:
    settings = {"train.lanes": 2, "train.validate_every": 1, "train.epochs": 2}
    whole, stopped = known(settings), tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        original = Worker.save

        def stop(self: Worker, position: Position, *rest: Any, **kept: Any) -> None:
            original(self, position, *rest, **kept)
            if position == Position(1, rounds):
                raise KeyboardInterrupt

        patch.setattr(Worker, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            train(small.joint, str(stopped), config({**settings, **how}))
    newest = f"epoch-00001-round-{rounds:05d}"
    assert sorted(place.name for place in (stopped / "checkpoints").iterdir())[-1] == newest
    assert info(stopped)["result"] == "checkpoints/epoch-00001"  # the best that was measured
    (stopped / "checkpoints/epoch-00001-round-00003").mkdir()  # what a later one, broken off, would have left
    train(None, str(stopped), resume=True)
    assert_same_bits(tensors(whole), tensors(stopped))
    assert losses(stopped) == losses(whole)
    assert not list((stopped / "checkpoints").glob("*-round-00003"))


def test_go_on_begins_a_run_continues_it_and_refuses_another(known: Train, small: Small, tmp_path: Path) -> None:
    whole, folder = known({"loss.alpha": 0.5}), tmp_path / "run"
    folder.mkdir()
    (folder / "rows.parquet.part").write_bytes(b"of a start that was killed")
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, Worker, "train_epoch", 2)
        with pytest.raises(KeyboardInterrupt):
            train(small.joint, str(folder), config(), go_on=True)
    assert info(folder)["result"] == "checkpoints/epoch-00001"
    with pytest.raises(UsageError, match=r"is a run with model\.dim=16, not 8"):
        train(small.joint, str(folder), config({"model.dim": 8}), go_on=True)
    with pytest.raises(
        DistjointError, match=rf"{small.text}: is not the dataset .* that of the run's \({small.joint}\)"
    ):
        train(small.text, str(folder), config(), go_on=True)
    train(small.joint, str(folder), config(), go_on=True)
    assert_same_bits(tensors(whole), tensors(folder))


def test_a_finished_run_resumed_stays_as_it_is(run: Train) -> None:
    made = run({"train.epochs": 1})
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file() and "tensorboard" not in str(path)}
    train(None, str(made), resume=True)
    assert {path: path.read_bytes() for path in before} == before


# Validation, checkpoints, journal


def measured(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Let validation find these, one after the other."""
    left = list(scores)
    monkeypatch.setattr(Validation, "measure", lambda *_: {"mrr": left.pop(0)})


def test_early_stopping_keeps_the_best_epoch(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, [0.1, 0.4, 0.3, 0.35, 0.9])
    made = run({"train.epochs": 9, "train.validate_every": 1, "train.patience": 2, "train.keep": 1})
    assert [line["valid_mrr"] for line in history(made)] == [0.1, 0.4, 0.3, 0.35]
    assert info(made)["result"] == "checkpoints/epoch-00002"
    assert sorted(p.name for p in (made / "checkpoints").iterdir()) == ["epoch-00002", "epoch-00004"]


def test_patience_is_taken_up_again_by_a_resumed_run(
    run: Train, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, [0.4, 0.3, 0.2, 0.9])
    settings = {"train.epochs": 9, "train.validate_every": 1, "train.patience": 2}
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, Worker, "train_epoch", 3)
        with pytest.raises(KeyboardInterrupt):
            run(settings, out="stopped")
    result = train(None, str(tmp_path / "stopped"), resume=True)
    assert [line["valid_mrr"] for line in result.history] == [0.4, 0.3, 0.2]
    assert info(tmp_path / "stopped")["result"] == "checkpoints/epoch-00001"


def test_validation_measures_what_evaluation_measures(run: Train) -> None:
    made = run({"train.validate_every": 2})
    mrr = distjoint.evaluate(str(made), link_prediction="valid").to_dict()["link_prediction"]["mrr"]
    assert history(made)[-1]["valid_mrr"] == pytest.approx(mrr)
    assert "valid_mrr" not in history(made)[0]


def test_old_checkpoints_go_and_the_last_is_the_result(run: Train) -> None:
    made = run({"train.epochs": 5, "train.keep": 2})
    assert sorted(p.name for p in (made / "checkpoints").iterdir()) == ["epoch-00004", "epoch-00005"]
    assert info(made)["result"] == "checkpoints/epoch-00005"


def test_a_run_holds_all_that_is_needed_to_read_it(known: Train, small: Small) -> None:
    made = known({})
    assert [line["epoch"] for line in history(made)] == [1, 2]
    assert list((made / "tensorboard").iterdir())
    for name in ("rows.parquet", "relations.parquet"):
        assert (made / name).read_bytes() == (Path(small.joint) / name).read_bytes()
    assert distjoint.load_config(str(made / "config.yaml")) == config()
    found = RunFolder.open(str(made))
    assert (found.info.status, found.info.lanes, found.info.groups) == ("finished", 1, 2)
    assert len(distjoint.load(str(made)).vector("teama", kind="entity")) == 16


def test_a_damaged_checkpoint_is_named(run: Train) -> None:
    made = run({"train.epochs": 1})
    shard = made / "checkpoints/epoch-00001/shard-00002.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(distjoint.DistjointError, match=r"shard-00002\.safetensors: does not match its checksum"):
        Checkpoint.open(locate(str(shard.parent))).shard(2)


class Elsewhere(LocalFileSystem):
    """Files that are not local to who asks by URL, and may be read by several threads: unlike those of memory://."""

    protocol = "elsewhere"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(LocalFileSystem._strip_protocol(path.removeprefix("elsewhere://")))


def test_nothing_assumes_a_local_path(small: Small, known: Train, tmp_path: Path) -> None:
    fsspec.register_implementation("elsewhere", Elsewhere, clobber=True)
    base = f"elsewhere://{tmp_path}"
    shutil.copytree(small.joint, tmp_path / "data")
    train(f"{base}/data", f"{base}/run", config({"train.validate_every": 2}))
    train(None, f"{base}/run", resume=True)
    assert_same_bits(tensors(known({"loss.alpha": 0.5})), tensors(f"{base}/run"))
    assert (locate(f"{base}/run") / "tensorboard").list()


def test_short_epochs_have_no_checkpoint_each_on_a_store(small: Small, known: Train, tmp_path: Path) -> None:
    fsspec.register_implementation("elsewhere", Elsewhere, clobber=True)
    run = f"elsewhere://{tmp_path}/run"
    train(small.joint, run, config({"train.epochs": 5, "train.validate_every": 2, "train.keep": 9}))
    assert [Path(name).name for name in checkpoint.complete(locate(run))] == [
        "epoch-00002",
        "epoch-00004",
        "epoch-00005",
    ]
    assert [line["epoch"] for line in journal.read(locate(run))] == [1, 2, 3, 4, 5]
