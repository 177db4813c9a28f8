"""Callbacks: one battery that every one of the package must pass, and what a run promises to all, good or bad."""

from __future__ import annotations

import inspect
import os
import random
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from members import assert_covers
from small import Small, Train, assert_same_bits, config, history, info, losses, tensors

import distjoint
from distjoint.base.errors import DistjointWarning, UsageError
from distjoint.base.progress import Silent
from distjoint.registry import CALLBACKS, load_plugins
from distjoint.storage import locate
from distjoint.train import callbacks
from distjoint.train.callbacks import Callback, Stop, TrainingRun, callbacks_of
from distjoint.train.callbacks.telling import Callbacks
from distjoint.train.validate import Validation

pytestmark = pytest.mark.unit

LINE = {"epoch": 1, "cells": 10, "valid_mrr": 0.25, "valid_score": 0.25, "seconds": 1.0}
NEEDS = {
    "progress": None,
    "early_stopping": None,
    "tensorboard": None,
    "mlflow": "mlflow",
    "wandb": "wandb",
    "ray_tune": "optuna",
}
"""Every callback, and the module without which it is skipped here."""


class Lines(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackers write here, and to no server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # its newest versions ask for a database else
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))


def made(name: str) -> Callback:
    if NEEDS[name]:
        pytest.importorskip(str(NEEDS[name]), reason=f"callback {name} needs {NEEDS[name]}")
    found: Callback = CALLBACKS[name]()
    return found


def begun(folder: Path, epoch: int = 0, **settings: Any) -> TrainingRun:
    folder.mkdir(exist_ok=True)
    chosen = config({"train.validate_every": 1, "train.epochs": 3, **settings})
    return TrainingRun(
        str(folder), locate(str(folder)), chosen, ("text", "graph"), epoch, [LINE] * bool(epoch), Silent()
    )


def test_every_callback_is_in_the_registry_and_in_this_battery() -> None:
    assert_covers(set(NEEDS), CALLBACKS, Callback, callbacks)


@pytest.mark.parametrize("name", NEEDS)
def test_a_callback_takes_a_run_from_start_to_end_and_a_run_that_goes_on(name: str, tmp_path: Path) -> None:
    for epoch in (0, 1):
        callback = made(name)
        callback.on_start(begun(tmp_path / "run", epoch))
        before = dict(LINE)
        if name != "ray_tune":  # reports to a trial only
            callback.on_epoch_end(before)
        callback.on_checkpoint(str(tmp_path / "run/checkpoints/epoch-00001"))
        callback.on_end("finished")


@pytest.mark.parametrize("name", NEEDS)
def test_a_callback_of_the_package_lies_in_a_file_of_its_name_and_says_what_it_does(name: str) -> None:
    if NEEDS[name] is None:
        kind = CALLBACKS[name]
        assert kind.__module__ == f"distjoint.train.callbacks.{name}"
        assert inspect.getdoc(kind)


def test_mlflow_has_the_settings_and_metrics_of_a_run_in_one_run_of_its_own(small: Small, tmp_path: Path) -> None:
    made("mlflow")
    from mlflow import MlflowClient

    run = str(tmp_path / "run")
    distjoint.train(small.graph, run, config({"train.callbacks": "mlflow", "train.epochs": 2}))
    distjoint.train(resume=run, settings={"train.epochs": 3})
    client = MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("distjoint").experiment_id])
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    assert found.data.params["model.dim"] == "16"
    assert found.data.tags["changed.train.epochs"] == "3"
    steps = client.get_metric_history(found.info.run_id, "graph_loss")
    assert [each.step for each in steps] == [1, 2, 3]
    assert [each.value for each in steps] == [pytest.approx(line["graph_loss"]) for line in history(Path(run))]


def test_wandb_writes_a_run_offline(small: Small, tmp_path: Path) -> None:
    made("wandb")
    distjoint.train(small.graph, str(tmp_path / "run"), config({"train.callbacks": "wandb", "train.epochs": 2}))
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert b"graph_loss" in file.read_bytes()


def test_a_tracker_whose_package_is_missing_is_named_before_anything_is_written(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UsageError, match=rf"train\.callbacks: {name}: .* pip install 'distjoint\[{name}\]'"):
            distjoint.train(small.graph, str(tmp_path / "run"), config({"train.callbacks": name}))
    assert not (tmp_path / "run").exists()


# What a run promises


class Seen(Callback):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def on_start(self, run: TrainingRun) -> None:
        self.told.append(("start", run.epoch))

    def on_epoch_end(self, metrics: dict[str, Any]) -> None:
        self.told.append(("epoch", metrics["epoch"]))
        self.metrics = metrics

    def on_checkpoint(self, checkpoint: str) -> None:
        self.told.append(("checkpoint", Path(checkpoint).name))
        assert (Path(checkpoint) / "manifest.json").exists()

    def on_end(self, status: str) -> None:
        self.told.append(("end", status))


def test_callbacks_are_told_of_all_that_a_run_does_in_order(small: Small, tmp_path: Path) -> None:
    one, other, run = Seen(), Seen(), str(tmp_path / "run")
    distjoint.train(small.graph, run, config({"train.epochs": 2}), callbacks=[one, other])
    epochs = [(kind, what) for k in (1, 2) for kind, what in (("epoch", k), ("checkpoint", f"epoch-0000{k}"))]
    assert one.told == other.told == [("start", 0), *epochs, ("end", "finished")]
    assert one.metrics == history(Path(run))[-1]
    again = Seen()
    distjoint.train(resume=run, callbacks=[again], settings={"train.epochs": 3})
    assert again.told == [("start", 2), ("epoch", 3), ("checkpoint", "epoch-00003"), ("end", "finished")]


class Vandal(Callback):
    """Does what it can to harm a run, and fails wherever it is called."""

    def _harm(self) -> None:
        for seed in (torch.manual_seed, np.random.seed, random.seed):
            seed(1)
        raise ZeroDivisionError("mine")

    def on_epoch_end(self, metrics: dict[str, Any]) -> None:
        metrics.clear()
        self._harm()

    def on_checkpoint(self, checkpoint: str) -> None:
        self._harm()

    def on_end(self, status: str) -> None:
        self._harm()


def test_a_callback_that_fails_is_shown_once_an_epoch_and_counted_and_the_run_is_the_same(
    known: Train, small: Small, tmp_path: Path
) -> None:
    after = Seen()
    with pytest.warns(DistjointWarning) as shown:
        result = distjoint.train(small.joint, str(tmp_path / "run"), config(), callbacks=[Vandal(), after])
    messages = [str(each.message) for each in shown]
    assert len(messages) == 2
    assert "callback Vandal, on_epoch_end at epoch 1: ZeroDivisionError: mine (test_callbacks.py, line " in messages[0]
    assert "3 times so far); the run goes on" in messages[1]
    assert result.failures == result.to_dict()["callback_failures"] == {"Vandal": 5}
    assert after.metrics == history(tmp_path / "run")[-1]
    assert_same_bits(tensors(known()), tensors(tmp_path / "run"))
    assert losses(known()) == losses(tmp_path / "run")


def test_a_callback_that_cannot_start_is_told_nothing_more(small: Small, tmp_path: Path) -> None:
    class Unreachable(Seen):
        def on_start(self, run: TrainingRun) -> None:
            raise ConnectionError("no server")

    broken = Unreachable()
    with pytest.warns(DistjointWarning, match=r"Unreachable, on_start .*no server.*; it is told nothing more"):
        distjoint.train(small.graph, str(tmp_path / "run"), config({"train.epochs": 1}), callbacks=[broken])
    assert broken.told == []
    assert info(tmp_path / "run")["status"] == "finished"


class Stopper(Callback):
    """Ends a run after an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_start(self, run: TrainingRun) -> None:
        if self.epoch == 0:
            raise Stop("not today")

    def on_epoch_end(self, metrics: dict[str, Any]) -> None:
        if metrics["epoch"] == self.epoch:
            raise Stop("enough")


def test_stop_ends_a_run_in_order_and_it_goes_on_to_the_bits_of_one_that_was_not_stopped(
    known: Train, small: Small, tmp_path: Path
) -> None:
    run, lines = str(tmp_path / "run"), Lines()
    result = distjoint.train(small.joint, run, config(), callbacks=[Stopper(1)], progress=lines)
    assert (result.last_epoch, info(run)["status"]) == (1, "stopped")
    assert info(run)["result"] == "checkpoints/epoch-00001"
    said = f"callback Stopper ended the run after epoch 1 of 2: enough; go on with: distjoint train --resume {run}"
    assert any(line.endswith(said) for line in lines.lines)
    distjoint.train(resume=run)
    assert_same_bits(tensors(known()), tensors(run))


def test_stop_before_the_first_epoch_leaves_a_run_that_goes_on(known: Train, small: Small, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    result = distjoint.train(small.joint, run, config({"train.final_test": True}), callbacks=[Stopper(0)])
    assert (result.history, result.test, info(run)["status"]) == ([], None, "stopped")
    distjoint.train(resume=run)
    assert_same_bits(tensors(known()), tensors(run))


def test_a_run_that_is_stopped_between_checkpoints_has_one_of_where_it_was(small: Small, tmp_path: Path) -> None:
    import fsspec
    from test_train_checkpoints import Elsewhere

    fsspec.register_implementation("elsewhere", Elsewhere, clobber=True)
    run, seen = f"elsewhere://{tmp_path}/run", Seen()
    distjoint.train(small.graph, run, config({"train.epochs": 5}), callbacks=[Stopper(2), seen])
    assert [place.name for place in (tmp_path / "run/checkpoints").iterdir()] == ["epoch-00002"]
    assert ("checkpoint", "epoch-00002") in [(kind, Path(str(what)).name) for kind, what in seen.told]
    assert distjoint.train(resume=run).last_epoch == 5


def test_a_callback_is_found_by_its_name_and_an_unknown_one_is_refused(small: Small, tmp_path: Path) -> None:
    @CALLBACKS.add
    class Named(Seen):
        name: ClassVar[str] = "named"
        made: ClassVar[list[Any]] = []

        def __init__(self) -> None:
            super().__init__()
            self.made.append(self)

        def on_end(self, status: str) -> None:
            super().on_end(status)
            type(self).last = self

    try:
        settings = config({"train.callbacks": "named,tensorboard", "train.epochs": 1})
        distjoint.train(small.graph, str(tmp_path / "run"), settings)
        assert Named.last.told[-1] == ("end", "finished")
    finally:
        CALLBACKS.remove("named")
    assert np.isfinite(distjoint.load(str(tmp_path / "run")).vector("teama")).all()  # opened without it
    with pytest.raises(UsageError, match=r"train\.callbacks.* = 'named': choose progress"):
        distjoint.train(resume=str(tmp_path / "run"))
    with pytest.raises(UsageError, match=r"train\.callbacks.* = 'named': choose progress"):
        config({"train.callbacks": "named"})


@pytest.mark.parametrize(("given", "says"), [(Seen, "the class Seen, not an object"), (print, "built-in function")])
def test_what_is_no_callback_is_refused(given: Any, says: str) -> None:
    with pytest.raises(UsageError, match=rf"callbacks\[0\] is .*{says}.*distjoint\.Callback"):
        callbacks_of(config(), [given])


def test_a_stop_of_one_is_heard_by_the_others_too(tmp_path: Path) -> None:
    seen = Seen()
    telling = Callbacks([Stopper(1), Stopper(1), seen])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not telling.start(begun(tmp_path / "run"))
        assert telling.tell("on_epoch_end", dict(LINE))
    assert telling.stopped_by is not None
    assert (telling.stopped_by[0], telling.stopped_by[1].reason) == ("Stopper", "enough")
    assert seen.told == [("start", 0), ("epoch", 1)]


def test_early_stopping_says_why_and_the_run_counts_as_finished(
    run: Train, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores: Iterator[float] = iter([0.4, 0.3, 0.2])
    monkeypatch.setattr(Validation, "measure", lambda *_: {"mrr": next(scores)})
    folder, lines = str(tmp_path / "run"), Lines()
    settings = config({"train.epochs": 9, "train.validate_every": 1, "train.patience": 2})
    distjoint.train(small.graph, folder, settings, progress=lines)
    assert any("early_stopping ended the run after epoch 3 of 9: no gain in 2 valid" in line for line in lines.lines)
    assert info(folder)["status"] == "finished"


def test_metrics_of_every_epoch_are_shown(small: Small, tmp_path: Path) -> None:
    lines = Lines()
    distjoint.train(small.graph, str(tmp_path / "run"), config({"train.epochs": 2}), progress=lines)
    assert [line.split()[1] for line in lines.lines if line.startswith("epoch ")] == ["1/2", "2/2"]
    assert os.listdir(tmp_path / "run/tensorboard")  # noqa: PTH208


def test_the_callback_of_the_docs_ends_a_run(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs/callbacks.md").read_text()
    code = next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if code.startswith("# plateau.py"))
    (tmp_path / "plateau.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    load_plugins(["plateau"])
    try:
        settings = {"train.callbacks": "plateau", "train.epochs": 9, "graph.learning_rate": 1e-9}
        result = distjoint.train(small.graph, str(tmp_path / "run"), config(settings))
    finally:
        CALLBACKS.remove("plateau")
        sys.modules.pop("plateau")
    assert 2 <= result.last_epoch < 9, "other negatives may differ by more once"
    assert info(tmp_path / "run")["status"] == "stopped"


def test_the_table_of_the_docs_has_every_callback() -> None:
    page = (Path(__file__).parents[1] / "docs/callbacks.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(NEEDS)
