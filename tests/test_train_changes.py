"""`train --resume --set`: what may change in a run that goes on, what must stay, and what the run says of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from small import Small, Train, assert_same_bits, config, info, tensors
from test_lock import Heard

import distjoint
from distjoint.backends.cpu import memory
from distjoint.base.errors import UsageError
from distjoint.storage import locate

pytestmark = pytest.mark.unit

CHANGES: dict[str, Any] = {
    "train.epochs": 3,
    "graph.learning_rate": 0.02,
    "text.learning_rate": 0.03,
    "graph.decay": "linear",
    "text.decay": "cosine",
    "graph.warmup": 0.1,
    "loss.alpha": 0.3,
    "train.triple_passes": 1,
    "train.checkpoint_minutes": 5.0,
    "train.validate_every": 2,
    "train.patience": 3,
    "train.threads": 2,
    "train.memory": 100_000,
    "train.keep": 3,
}


@pytest.fixture(scope="module")
def finished(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, to be copied before it goes on."""
    run = tmp_path_factory.mktemp("finished") / "run"
    distjoint.train(small.joint, str(run), config({"train.epochs": 2}))
    return run


def in_three() -> list[list[str]]:
    """All that may change: by threes, each of another section where there is one."""
    return [sorted(CHANGES)[k::5] for k in range(5)]


@pytest.mark.parametrize("keys", in_three(), ids="-".join)
def test_a_setting_that_may_change_does_and_is_recorded(keys: list[str], finished: Path, tmp_path: Path) -> None:
    run, before = tmp_path / "run", config({"train.epochs": 2})
    shutil.copytree(finished, run)
    new = {key: CHANGES[key] for key in keys}
    needed = {"train.validate_every": 1} if "train.patience" in keys else {}
    result = distjoint.train(resume=str(run), settings={"train.epochs": 3, **needed, **new})
    assert result.last_epoch == 3
    (change,) = info(run)["changes"]
    assert change["epoch"] == 2
    assert set(change["settings"]) == {"train.epochs", *needed, *new}
    for key, value in new.items():
        section, name = key.split(".")
        assert info(run)["config"][section][name] == value
        assert yaml.safe_load((run / "config.yaml").read_text())[section][name] == value
        assert change["settings"][key] == [getattr(getattr(before, section), name), value]


def test_every_change_is_kept_in_order(small: Small, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    distjoint.train(small.graph, run, config({"train.epochs": 1}))
    for epochs in (2, 3):
        distjoint.train(resume=run, settings={"train.epochs": epochs})
    distjoint.train(resume=run)  # changes nothing, and says nothing
    assert [(change["epoch"], change["settings"]) for change in info(run)["changes"]] == [
        (1, {"train.epochs": [1, 2]}),
        (2, {"train.epochs": [2, 3]}),
    ]


def test_more_epochs_give_the_bits_of_a_run_that_had_them_from_the_start(
    known: Train, finished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    distjoint.train(resume=str(run), settings={"train.epochs": 3})
    assert_same_bits(tensors(known({"train.epochs": 3})), tensors(run))


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("model.dim", 16, 32),
        ("model.scorer", "transe", "rotate"),
        ("model.coupling", "dual", "tie"),
        ("train.lanes", None, 2),
        ("train.seed", 0, 7),
        ("graph.optimizer", "adagrad", "adam"),
    ],
)
def test_what_must_stay_is_refused_with_both_values(key: str, old: Any, new: Any, finished: Path) -> None:
    before = (finished / "run.json").read_bytes()
    with pytest.raises(UsageError, match=rf"{key} is {old} and must stay, not {new}; start a new run"):
        distjoint.train(resume=str(finished), settings={key: new, "train.epochs": 3})
    assert (finished / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model.dim": 32, "train.seed": 7}, "model.dim is 16 and must stay, not 32; train.seed is 0 and must stay"),
        ({"train.epochs": 1}, "train.epochs=1, and 2 are done; give more"),
        ({"loss.alpha": 1}, "loss.alpha=1 would train graph only"),
        ({"train.epoch": 3}, "unknown key 'train.epoch'; did you mean 'train.epochs'"),
        ({"train.epochs": "many"}, "train.epochs = 'many'"),
        ({"graph.typed": True}, "knows no types"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], sentence: str, finished: Path) -> None:
    before = (finished / "run.json").read_bytes()
    with pytest.raises(UsageError, match=sentence):
        distjoint.train(resume=str(finished), settings=settings)
    assert (finished / "run.json").read_bytes() == before


def test_settings_are_for_a_run_that_goes_on(small: Small, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="settings change a run that goes on"):
        distjoint.train(small.graph, str(tmp_path / "run"), config(), settings={"train.epochs": 2})


def test_the_text_goes_on_as_if_its_accumulators_had_started_from_the_new_rate(small: Small, tmp_path: Path) -> None:
    """1 / eta^2 lies in them (Stanford's glove.c): a change of eta is a change of that term alone, and made once."""
    run, settings = tmp_path / "run", {"train.epochs": 1, "loss.alpha": 0}
    distjoint.train(small.text, str(run), config(settings))
    first = tensors(run, 1)
    distjoint.train(resume=str(run), settings={"text.learning_rate": 0.02, "train.epochs": 2, "train.keep": 5})
    distjoint.train(resume=str(run), settings={"train.epochs": 3})
    second, third = tensors(run, 2), tensors(run, 3)
    shift = 0.02**-2 - 0.05**-2
    for name in (name for name in first if name.endswith("/W.state")):
        assert (second[name] >= first[name] + shift * 0.999).all()
        assert (third[name] >= second[name]).all()
        assert third[name].min() < 2 * 0.02**-2  # not shifted a second time


def test_a_checkpoint_of_an_earlier_version_resumes(small: Small, tmp_path: Path) -> None:
    """Its manifest has no text rate, its tally other names, its run no changes and no optimizer."""
    run = tmp_path / "run"
    settings = {"train.epochs": 2, "train.groups": 4, "train.checkpoint_rounds": 1, "train.keep": 99}
    distjoint.train(small.joint, str(run), config(settings))
    expected = tensors(run)
    newer = [place for place in (run / "checkpoints").iterdir() if place.name > "epoch-00001-round-00001"]
    for place in newer:
        (place / "manifest.json").unlink()
    for place in (run / "checkpoints").glob("*/manifest.json"):
        tree = json.loads(place.read_text())
        del tree["text_learning_rate"]
        tree["tally"] = {name: value for name, value in tree["tally"].items() if not name.endswith("squares")}
        tree.pop("checksum")
        locate(str(place)).write_json(tree)
    tree = info(run)
    for key in ("optimizer", "optimizer_options"):
        del tree["config"]["graph"][key]
    tree["config"]["train"]["metric"] = "mrr"
    tree.pop("checksum")
    locate(str(run / "run.json")).write_json(tree)
    distjoint.train(resume=str(run))
    assert_same_bits(tensors(run), expected)


def test_training_leaves_the_process_as_it_was(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []
    monkeypatch.setattr(memory, "limit_blocks", limits.append)

    def state() -> dict[str, Any]:
        return {
            "threads": torch.get_num_threads(),
            "environment": dict(os.environ),
            "filters": list(warnings.filters),
            "signals": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
            "folder": Path.cwd(),
            "random": (torch.initial_seed(), np.random.get_state()[1].tolist()),
            "grad": torch.is_grad_enabled(),
        }

    torch.set_num_threads(2)
    before = state()
    distjoint.train(small.joint, str(tmp_path / "run"), config({"train.threads": 2, "train.validate_every": 1}))
    assert state() == before
    assert limits == [memory.LARGE, memory.DEFAULT]
    with pytest.raises(distjoint.DistjointError):
        distjoint.train(small.graph, str(tmp_path / "other"), config({"graph.learning_rate": 1e38}))
    assert state() == before
    assert limits == [memory.LARGE, memory.DEFAULT] * 2


def test_the_epoch_that_is_kept_is_the_one_that_is_told(small: Small, tmp_path: Path) -> None:
    settings = {"train.epochs": 60, "train.validate_every": 2, "train.patience": 1, "graph.learning_rate": 2.0}
    result = distjoint.train(small.graph, str(tmp_path / "run"), config(settings))
    kept = int(str(info(tmp_path / "run")["result"]).rpartition("-")[2])
    assert result.metrics["epoch"] == kept < result.last_epoch < 60
    assert result.metrics["valid_mrr"] == max(line.get("valid_mrr", 0) for line in result.history)
    assert result.metrics in result.history
    report = distjoint.evaluate(str(tmp_path / "run"), link_prediction="valid").to_dict()
    assert report["link_prediction"]["mrr"] == pytest.approx(result.metrics["valid_mrr"], abs=1e-6)
    assert result.to_dict()["last_epoch"] == result.last_epoch


def test_a_job_that_is_started_again_with_more_epochs_gets_them(small: Small, tmp_path: Path) -> None:
    run, heard = str(tmp_path / "run"), Heard()
    distjoint.train(small.graph, run, config({"train.epochs": 1}), go_on=True)
    more = {"train.epochs": 3, "graph.learning_rate": 0.02}
    assert distjoint.train(small.graph, run, config(more), go_on=True, progress=heard).last_epoch == 3
    assert {"train.epochs: 1 before, 3 from here on", "graph.learning_rate: 0.1 before, 0.02 from here on"} <= {
        *heard.lines
    }
    assert info(run)["changes"][0]["settings"] == {"train.epochs": [1, 3], "graph.learning_rate": [0.1, 0.02]}
    with pytest.raises(UsageError, match=r"train\.epochs=2, and 3 are done"):
        distjoint.train(small.graph, run, config({**more, "train.epochs": 2}), go_on=True)
    with pytest.raises(UsageError, match=r"is a run with train\.seed=0, not 1; that must stay"):
        distjoint.train(small.graph, run, config({**more, "train.seed": 1}), go_on=True)


def test_what_somebody_expects_and_does_not_happen_is_said(small: Small, tmp_path: Path) -> None:
    run, heard = tmp_path / "run", Heard()
    distjoint.train(small.graph, str(run), config({"train.epochs": 2}))
    copy = run / "config.yaml"
    copy.write_text(copy.read_text().replace("epochs: 2", "epochs: 5"))
    assert distjoint.train(resume=str(run), progress=heard).last_epoch == 2
    said = "\n".join(heard.lines)
    assert f"{copy}: was edited (train.epochs: 5), and is not read: the run has 2. To change it:" in said
    assert f"{run}: all 2 epochs are done; nothing was left to train. For more:" in said
    assert f"distjoint train --resume {run} --set train.epochs=5" in said and "train.epochs=4" in said
    again = Heard()
    distjoint.train(resume=str(run), settings={"train.epochs": 3}, progress=again)
    assert not any("edited" in line or "nothing was left" in line for line in again.lines)
    stopped = Heard()
    settings = {"train.validate_every": 1, "train.patience": 1, "train.epochs": 9, "graph.learning_rate": 1e-9}
    distjoint.train(small.graph, str(tmp_path / "early"), config(settings))
    distjoint.train(resume=str(tmp_path / "early"), progress=stopped)
    assert any("train.patience=1 has run out; nothing was left to train" in line for line in stopped.lines)
