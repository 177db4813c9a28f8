"""Training by Ray workers: the same as in this process, errors arrive as they were raised, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from small import LEAN, Small, assert_same_bits, config, info, tensors
from test_callbacks import Stopper

import distjoint
from distjoint.base.errors import DistjointError, DistjointWarning, DivergedError, UsageError
from distjoint.base.progress import Silent
from distjoint.registry import SCORERS, load_plugins
from distjoint.train import train
from distjoint.train.callbacks import Callback, Stop

pytestmark = pytest.mark.ray

MINE = f"DISTJOINT_TEST_CLUSTER={os.getpid()}\0".encode()
"""In the environment of every process of the cluster that these tests share."""


def ray_processes() -> dict[int, bytes]:
    """Command lines of Ray's processes that descend from this one, or were left by one that did."""
    found = {}
    for place in Path("/proc").iterdir():
        try:
            command = (place / "cmdline").read_bytes()
            environment = (place / "environ").read_bytes() if place.name.isdigit() else b""
        except OSError:
            continue
        if f"DISTJOINT_TEST={os.getpid()}".encode() in environment and (b"ray" in command or b"raylet" in command):
            found[int(place.name)] = command
    return {pid: command for pid, command in found.items() if pid != os.getpid()}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One small cluster for the tests that do not start their own."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RAY_AUTH_MODE": "disabled", **LEAN}.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv(*MINE.decode().rstrip("\0").split("="))
        ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="error")
        yield
        ray.shutdown()


def losses(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k.endswith("loss")} for line in lines]


def test_two_workers_started_here_train_what_one_does_and_are_gone_afterwards(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTJOINT_TEST", str(os.getpid()))
    monkeypatch.chdir(tmp_path)  # workers elsewhere must find a relative path too
    settings = config({"loss.alpha": 0, "train.lanes": 2})
    said: list[str] = []

    class Teller(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    data = os.path.relpath(small.joint)
    train(data, "one", settings)
    result = train(data, "two", settings, workers=2, progress=Teller())
    assert_same_bits(tensors("one"), tensors("two"))
    assert info("two") == info("one")
    assert [line["epoch"] for line in result.history] == [1, 2]
    assert sum(line.startswith("epoch ") for line in said) == 2
    one, two = ({place.name for place in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    deadline = time.monotonic() + 20
    while ray_processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ray_processes() == {}


@pytest.mark.usefixtures("cluster")
def test_a_joint_run_has_the_same_losses(small: Small, tmp_path: Path) -> None:
    settings = config({"train.lanes": 2})
    train(small.joint, str(tmp_path / "one"), settings)
    train(small.joint, str(tmp_path / "two"), settings, workers=2)
    for here, there in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert here == pytest.approx(there, rel=1e-4)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("alpha", [0, 0.5])
def test_a_grown_dataset_goes_on_from_its_run_as_in_one_process(small: Small, tmp_path: Path, alpha: float) -> None:
    """The same bits without a graph, the same losses and rows but for rounding with one."""
    (tmp_path / "new.tsv").write_text("newcomer_2\tknows\tcoacha\nteamz\tplays_against\tteama\n")
    (tmp_path / "new.txt").write_text("teamz plays teama with commona topicza\n" * 6)
    more = {"corpus": str(tmp_path / "new.txt"), "triples": str(tmp_path / "new.tsv"), "header": False}
    distjoint.prepare(str(tmp_path / "data"), parent=small.joint, **more)
    train(small.joint, str(tmp_path / "old"), config({"loss.alpha": alpha, "train.lanes": 2, "train.epochs": 1}))
    for workers, name in enumerate(("one", "two"), 1):
        train(str(tmp_path / "data"), str(tmp_path / name), {}, parent=str(tmp_path / "old"), workers=workers)
    assert info(tmp_path / "two")["carried"] == info(tmp_path / "one")["carried"]
    one, two = (tensors(tmp_path / name) for name in ("one", "two"))
    if not alpha:
        assert_same_bits(one, two)
        return
    for here, there in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert here == pytest.approx(there, rel=1e-4)
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_allclose(values, two[name], rtol=0.01, atol=1e-4, err_msg=name)


@pytest.mark.usefixtures("cluster")
def test_workers_know_what_a_module_has_added(small: Small, tmp_path: Path) -> None:
    load_plugins(["plugged"])
    try:
        train(small.graph, str(tmp_path / "run"), config({"model.scorer": "plugged", "train.lanes": 2}), workers=2)
        assert info(tmp_path / "run")["status"] == "finished"
    finally:
        SCORERS.remove("plugged")
        sys.modules.pop("plugged")


@pytest.mark.usefixtures("cluster")
def test_an_error_of_a_worker_arrives_as_it_was_raised(small: Small, tmp_path: Path) -> None:
    settings = {"graph.learning_rate": 1e30, "model.cosine": False, "model.scorer": "distmult", "loss.alpha": 1}
    with pytest.raises(DivergedError, match="triples: the loss or a gradient is not a finite number") as caught:
        train(small.joint, str(tmp_path / "run"), config(settings), workers=2)
    assert isinstance(caught.value, DistjointError)
    assert "\n" not in str(caught.value)
    assert info(tmp_path / "run")["status"] == "failed"


@pytest.mark.usefixtures("cluster")
def test_callbacks_hear_of_workers_in_this_process_and_stop_them(small: Small, tmp_path: Path) -> None:
    class Third(Callback):
        def __init__(self) -> None:
            self.told: list[object] = [threading.Lock()]  # what could not be sent to a worker

        def on_epoch_end(self, metrics: dict[str, object]) -> None:
            self.told.append(metrics["epoch"])
            if metrics["epoch"] == 3:
                raise Stop("enough")
            raise ValueError("shown")

        def on_checkpoint(self, checkpoint: str) -> None:
            self.told.append(Path(checkpoint).name)

    settings = {"loss.alpha": 0, "train.lanes": 2, "train.epochs": 9}
    train(small.joint, str(tmp_path / "one"), config(settings), callbacks=[Stopper(3)])
    third = Third()
    with pytest.warns(DistjointWarning, match=r"callback Third, on_epoch_end at epoch 2: ValueError: shown .*2 times"):
        result = train(small.joint, str(tmp_path / "two"), config(settings), workers=2, callbacks=[third])
    assert third.told[1:] == [1, "epoch-00001", 2, "epoch-00002", 3, "epoch-00003"]
    assert (info(tmp_path / "two")["status"], result.failures) == ("stopped", {"Third": 2})
    assert_same_bits(tensors(tmp_path / "one"), tensors(tmp_path / "two"))
    assert list((tmp_path / "two/tensorboard").iterdir())


@pytest.mark.usefixtures("cluster")
def test_more_workers_than_the_cluster_has_are_refused(small: Small, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--workers 4: the Ray cluster has 3 CPUs"):
        train(small.joint, str(tmp_path / "run"), config(), workers=4)


@pytest.mark.usefixtures("cluster")
def test_a_run_a_worker_and_then_the_controller_of_which_was_killed_goes_on_to_the_same_bits(
    small: Small, tmp_path: Path
) -> None:
    settings = {"loss.alpha": 0, "train.lanes": 2, "train.epochs": 60, "train.checkpoint_rounds": 2}
    train(small.many, str(tmp_path / "one"), config(settings))
    said: list[str] = []
    titles = ["RayTrainWorker", "TrainController"]

    class Killer(Silent):
        """Kills a process when the run is on its way, and another one when it is on its way again."""

        epochs = 0

        def say(self, text: str) -> None:
            said.append(text)
            self.epochs = 0 if broken_off(text) else self.epochs + text.startswith("epoch ")
            if self.epochs == 3 and titles:
                os.kill(max(processes(titles.pop(0))), signal.SIGKILL)

    train(small.many, str(tmp_path / "two"), config(settings), workers=2, progress=Killer())
    broken = [line for line in said if broken_off(line)]
    assert len(broken) == 2
    assert all("going on from checkpoints/epoch-" in line for line in broken)
    assert_same_bits(tensors(tmp_path / "one"), tensors(tmp_path / "two"))
    assert info(tmp_path / "two")["status"] == "finished"


def broken_off(said: str) -> bool:
    return said.startswith("training was broken off")


def processes(title: str) -> list[int]:
    """Ids of the processes of this name of the cluster that was started here."""
    found = []
    for place in Path("/proc").iterdir():
        with suppress(OSError):
            if title.encode() in (place / "cmdline").read_bytes() and MINE in (place / "environ").read_bytes():
                found.append(int(place.name))
    return found
