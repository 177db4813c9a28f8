"""Training by several processes of torch's group, without Ray: the same as by one process with the same lanes."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from small import FAST, Small, assert_same_bits, config, info, tensors

import distjoint
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Silent
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.recipes.load import load_config
from distjoint.runs.checkpoint import Position
from distjoint.runs.folder import RunInfo
from distjoint.storage import locate
from distjoint.train import initial, train
from distjoint.train.build import build_dense, group_place, scheme_of
from distjoint.train.dense import Dense
from distjoint.train.peers import Heartbeat
from distjoint.train.plan import plan
from distjoint.train.worker import Worker

pytestmark = pytest.mark.dist

TIMEOUT = 100


class Crew:
    """Processes, the first few of which form a group and do one piece of work after another.

    Starting them is what takes long: a group of another size is formed by the same ones.
    """

    def __init__(self) -> None:
        self.context = mp.get_context("spawn")
        self.answers = self.context.Queue()
        self.members: list[tuple[Any, Any]] = []

    def do(self, count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What `work(*arguments)` returns in each of `count` processes, by rank; the first failure where one fails."""
        if not all(process.is_alive() for process, _ in self.members):
            self.close()
        while len(self.members) < count:
            orders = self.context.Queue()
            self.members.append((self.context.Process(target=_member, args=(orders, self.answers)), orders))
            self.members[-1][0].start()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        for rank, (_, orders) in enumerate(self.members[:count]):
            orders.put((rank, count, port, work, arguments))
        found: dict[int, Any] = {}
        for _ in range(count):
            rank, answer, failure = self.answers.get(timeout=TIMEOUT)
            if failure:
                self.close()  # the others wait for it in vain
                pytest.fail(f"rank {rank}: {failure}")
            found[rank] = answer
        return [found[rank] for rank in range(count)]

    def close(self) -> None:
        for process, _ in self.members:
            process.kill()
            process.join()
        self.members, self.answers = [], self.context.Queue()


def _member(orders: Any, answers: Any) -> None:
    torch.set_num_threads(1)
    while True:
        rank, count, port, work, arguments = orders.get()
        os.environ.update(
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(count),
            LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(count),
        )  # fmt: skip
        try:
            dist.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT))
            answer = work(*arguments)
            dist.barrier()  # nobody is asked anything any more
            dist.destroy_process_group()
            answers.put((rank, answer, None))
        except BaseException:
            answers.put((rank, None, traceback.format_exc()))


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    started = Crew()
    yield started
    started.close()


def run_worker(folder: str, dataset: str, record: dict[str, Any]) -> int:
    """One worker of a run; returns how many lanes it had."""
    run, made = locate(folder), RunInfo.model_validate(record)
    if dist.get_rank() == 0 and not (run / "run.json").exists():
        run.make_dir()
        made.write(run)
    dist.barrier()
    worker = Worker(run, made, Dataset.open(dataset), group_place(1), Silent(), lambda *_: False)
    try:
        worker.train()
        return sum(worker.place.worker_of(lane, made.lanes) == dist.get_rank() for lane in range(made.lanes))
    finally:
        worker.close()


def record_of(dataset: str, settings: dict[str, Any], workers: int) -> dict[str, Any]:
    return plan(Dataset.open(dataset), dataset, config(settings), workers).model_dump(mode="json")


def losses(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k.endswith("loss") or k in ("cells", "triples")} for line in lines]


def alone(small: Small, folder: Path, settings: dict[str, Any]) -> Path:
    train(small.many, str(folder), config(settings))
    return folder


@pytest.mark.parametrize("workers", [2, 3])
def test_text_alone_has_the_same_bits_on_any_number_of_workers(
    workers: int, small: Small, tmp_path: Path, crew: Crew
) -> None:
    settings = {"loss.alpha": 0, "train.lanes": 2, "train.groups": 5}
    one = alone(small, tmp_path / "one", settings)
    record = record_of(small.many, settings, workers)
    lanes = crew.do(workers, run_worker, str(tmp_path / "many"), small.many, record)
    assert sorted(lanes) == [0] * (workers - 2) + [1, 1], lanes
    assert_same_bits(tensors(one), tensors(tmp_path / "many"))
    np.testing.assert_allclose(
        *([line["text_loss"] for line in losses(run)] for run in (one, tmp_path / "many")), rtol=1e-9
    )


def test_given_vectors_and_frozen_rows_are_the_same_on_any_number_of_workers(
    small: Small, tmp_path: Path, crew: Crew
) -> None:
    (tmp_path / "v.txt").write_text("".join(f"{name}{' 0.25' * 16}\n" for name in ("teama", "topicaa", "common")))
    settings: dict[str, Any] = {
        "loss.alpha": 0,
        "train.lanes": 2,
        "train.init": str(tmp_path / "v.txt"),
        "train.freeze": "contexts",
    }
    one, many = alone(small, tmp_path / "one", settings), tmp_path / "many"
    record, data = record_of(small.many, settings, 2), Dataset.open(small.many)
    info = RunInfo.model_validate(record)
    with initial.find(locate(settings["train.init"]), data, scheme_of(info), Silent()) as found:
        found.write(locate(str(many)), info)
    crew.do(2, run_worker, str(many), small.many, record)
    assert_same_bits(tensors(one), tensors(many))


def test_a_run_that_goes_on_from_another_has_the_same_bits_on_any_number_of_workers(
    small: Small, tmp_path: Path, crew: Crew
) -> None:
    (tmp_path / "more.txt").write_text("teama plays commona topicza\n" * 6)
    distjoint.prepare(str(tmp_path / "grown"), parent=small.many, corpus=str(tmp_path / "more.txt"))
    old, one, many = alone(small, tmp_path / "old", {"loss.alpha": 0}), tmp_path / "one", tmp_path / "many"
    changes = {"train.lanes": 2, "train.epochs": 2, "train.old_rate": 0.5, "train.freeze": "contexts"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            train(str(tmp_path / "grown"), str(many), changes, parent=str(old))
    shutil.copytree(many, one)
    train(None, str(one), resume=True)
    record = {key: value for key, value in info(many).items() if key != "checksum"}
    crew.do(2, run_worker, str(many), str(tmp_path / "grown"), record)
    assert_same_bits(tensors(one), tensors(many))


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("workers", "coupling"), [(2, "dual"), (3, "tie"), (2, "described"), (2, "fields"), (2, "project")]
)
def test_joint_runs_have_the_same_losses_on_any_number_of_workers(
    workers: int, coupling: str, small: Small, tmp_path: Path, crew: Crew
) -> None:
    settings = {"train.lanes": 2, "model.coupling": coupling, "train.validate_every": 2}
    one = alone(small, tmp_path / "one", settings)
    record = record_of(small.many, settings, workers)
    lanes = crew.do(workers, run_worker, str(tmp_path / "many"), small.many, record)
    assert sorted(lanes) == [0] * (workers - 2) + [1, 1], lanes
    for here, there in zip(losses(one), losses(tmp_path / "many"), strict=True):
        assert here == pytest.approx(there, rel=1e-4)
    assert info(tmp_path / "many")["result"] == info(one)["result"]


def stop_after(epoch: int, *arguments: Any) -> Any:
    """A worker that is stopped when it has begun `epoch`."""
    original = Worker.train_epoch

    def stopping(self: Worker, number: int, *rest: Any) -> Any:
        if number == epoch:
            raise DistjointError("stopped")
        return original(self, number, *rest)

    Worker.train_epoch = stopping  # type: ignore[method-assign]
    try:
        return run_worker(*arguments)
    except DistjointError as error:
        return str(error)
    finally:
        Worker.train_epoch = original  # type: ignore[method-assign]


def test_a_run_of_two_workers_is_resumed_by_one(small: Small, tmp_path: Path, crew: Crew) -> None:
    settings = {"loss.alpha": 0, "train.lanes": 2}
    one = alone(small, tmp_path / "one", settings)
    record = record_of(small.many, settings, 2)
    answers = crew.do(2, stop_after, 1, str(tmp_path / "many"), small.many, record)
    assert answers == ["stopped", "stopped"]
    assert info(tmp_path / "many")["result"] == "checkpoints/epoch-00001"
    train(None, str(tmp_path / "many"), resume=True)
    assert_same_bits(tensors(one), tensors(tmp_path / "many"))


def break_off(rounds: int, *arguments: Any) -> Any:
    """A worker that stops right after a checkpoint within the second epoch."""
    original = Worker.save

    def stopping(self: Worker, position: Position, *rest: Any, **kept: Any) -> None:
        original(self, position, *rest, **kept)
        if position == Position(1, rounds):
            self.checkpoints.wait()
            raise DistjointError("stopped")

    Worker.save = stopping  # type: ignore[method-assign]
    try:
        return run_worker(*arguments)
    except DistjointError as error:
        return str(error)
    finally:
        Worker.save = original  # type: ignore[method-assign]


@pytest.mark.parametrize("alpha", [0, 0.5])
def test_four_lanes_go_on_within_an_epoch_with_any_number_of_workers(
    alpha: float, small: Small, tmp_path: Path, crew: Crew
) -> None:
    settings = {"loss.alpha": alpha, "train.lanes": 4, "train.checkpoint_rounds": 2}
    whole = alone(small, tmp_path / "whole", settings)
    record = record_of(small.many, settings, 4)
    answers = crew.do(2, break_off, 4, str(tmp_path / "broken"), small.many, record)
    assert answers == ["stopped"] * 2
    assert info(tmp_path / "broken")["result"] == "checkpoints/epoch-00001-round-00004"
    for workers in (1, 2, 3, 4):
        run = tmp_path / f"by{workers}"
        shutil.copytree(tmp_path / "broken", run)
        if workers == 1:
            train(None, str(run), resume=True)
        else:
            crew.do(workers, run_worker, str(run), small.many, RunInfo.read(locate(str(run))).model_dump(mode="json"))
        for here, there in zip(losses(whole), losses(run), strict=True):
            assert here == pytest.approx(there, rel=1e-9 if alpha == 0 else 1e-4)
        if alpha == 0:
            assert_same_bits(tensors(whole), tensors(run))


def freeze(silence: float) -> str:
    """Rank 1 is frozen; what rank 0 hears of it. Rank 2 left in good order long before, which is no news."""
    said: queue.Queue[str] = queue.Queue()
    watch = Heartbeat(beat=0.1, silence=silence, leave=said.put)
    pids = [0] * dist.get_world_size()
    dist.all_gather_object(pids, os.getpid())
    if dist.get_rank() == 2:
        watch.close()
    if dist.get_rank() != 0:
        dist.barrier()
        watch.close()
        return ""
    time.sleep(2 * silence)
    assert said.empty()
    os.kill(pids[1], signal.SIGSTOP)
    try:
        return said.get(timeout=10 * silence)
    finally:
        os.kill(pids[1], signal.SIGCONT)
        dist.barrier()
        watch.close()


def test_a_peer_that_is_silent_is_noticed(crew: Crew) -> None:
    found, *_ = crew.do(3, freeze, 1.0)
    assert found.startswith("worker 1 has not been heard of for 1 s")


@pytest.mark.parametrize(("number", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "stopped")])
def test_a_signal_ends_in_one_line_and_the_run_goes_on(
    number: str, code: int, word: str, small: Small, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    settings = {**FAST, "train.epochs": 100_000, "train.threads": 2}
    command = [sys.executable, "-c", "from distjoint.cli import main; main()", "train", small.many, "--out", str(run)]
    process = subprocess.Popen(
        [*command, *(f"--set={key}={value}" for key, value in settings.items())], stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + TIMEOUT
        while not (run / "metrics.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.Signals[number])
        _, error = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    assert process.returncode == code
    assert error.splitlines()[-1] == f"distjoint: {word}; continue with: distjoint train --resume {run}"
    assert "Traceback" not in error
    record = info(run)
    assert (record["status"], record["result"] is None) == ("stopped", False)
    assert all(np.isfinite(value).all() for value in tensors(run).values())


def small_dense() -> Dense:
    """Relations and map of `dual`, 4 wide."""
    settings = load_config(overrides={"model.dim": 4, "model.reciprocal": False})
    return build_dense(Scheme.of(settings, True, True), 3, CpuBackend(1))


def sync_ranks() -> dict[str, Any]:
    """Each rank adds its own gradients, twice; the last has none of its own the second time."""
    dense = small_dense()
    for turn in range(2):
        for gradient in dense.gradients.values():
            idle = turn == 1 and dist.get_rank() == dist.get_world_size() - 1
            gradient += 0 if idle else dist.get_rank() + 1
        dense.sync(0.5)
        assert all(not bool(gradient.any()) for gradient in dense.gradients.values())
    return {name: tensor.tolist() for name, tensor in dense.tensors().items()}


def test_dense_gradients_are_summed_over_workers_not_averaged(crew: Crew) -> None:
    ranks = crew.do(3, sync_ranks)
    assert ranks[0] == ranks[1] == ranks[2]
    single = small_dense()
    for total in (1 + 2 + 3, 1 + 2):
        for gradient in single.gradients.values():
            gradient += total
        single.sync(0.5)
    for name, expected in single.tensors().items():
        torch.testing.assert_close(torch.tensor(ranks[0][name]), expected, rtol=1e-6, atol=1e-7)
    # 0.5 * 0.05 * 6 / sqrt(36), then * 3 / sqrt(36 + 9)
    moved = torch.eye(4) - single.values["map"]
    torch.testing.assert_close(moved, torch.full((4, 4), 0.5 * 0.01 * (1 + 3 / 45**0.5)))
