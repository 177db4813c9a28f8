"""Kill a random process of a training at a random moment, again and again: is anything ever lost?

python scripts/faults/kill.py --out results/kill [--pair 100] [--worker 5] [--controller 5] [--raylet 5]

pair         two processes of a gloo group, without Ray: one is killed, the other must notice and leave, and the run is
             resumed by one process or two
worker, controller, raylet    that part of a run by two workers on a Ray cluster of three nodes: the run must go on by
             itself, or can be resumed

Each time the newest checkpoint must load, the run must come to its end, and as only text trains (alpha 0) its vectors
must have the bits of a run that nobody disturbed. Trials are recorded under --out as they are done: a second call does
what is left. Some 10 seconds each for `pair`, a minute for the others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Silent
from distjoint.data.dataset import Dataset
from distjoint.runs import checkpoint
from distjoint.runs.folder import Checkpoint, RunFolder, RunInfo
from distjoint.storage import locate
from distjoint.train import train
from distjoint.train.plan import plan

SETTINGS = {
    "loss.alpha": 0,
    "model.dim": 32,
    "train.epochs": 20,
    "train.lanes": 2,
    "train.groups": 6,
    "train.threads": 1,
    "train.checkpoint_rounds": 2,
    "train.keep": 2,
}
KINDS = ("pair", "worker", "controller", "raylet")
TITLES = {"worker": "RayTrainWorker", "controller": "TrainController"}
NOTICED = 60.0
"""Seconds a survivor has to notice and leave."""
SPAN = 8.0
"""Seconds within which it is killed: from its start, or more often from the run's first checkpoint."""
EARLY = 0.25
"""Share of the trials that are killed from the start."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/kill"), help="what is made, and the tally")
    for kind, count in zip(KINDS, (100, 5, 5, 5), strict=True):
        parser.add_argument(f"--{kind}", type=int, default=count, metavar="N", help="times (default: %(default)s)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    trials = Trials(args.out)
    with ExitStack() as cleanup:
        cluster: Any = None
        for kind in KINDS:
            done = sum(record["kind"] == kind for record in trials.records())
            for number in range(done, getattr(args, kind)):
                if kind == "pair":
                    trials.pair(number)
                    continue
                if cluster is None:
                    cluster = cleanup.enter_context(Nodes())
                trials.on_ray(kind, number, cluster)
    print(tally(trials.records()))


_OBJECTS = 100_000_000


class Trials:
    """Runs on one dataset, killed and compared with the run nobody disturbed."""

    def __init__(self, out: Path) -> None:
        self.out, self.dataset = out.absolute(), str(out.absolute() / "data")
        if not (out / "data/manifest.json").exists():
            text = out / "text.txt"
            rng = np.random.default_rng(0)
            lines = (" ".join(f"w{word}" for word in rng.zipf(1.3, 20) if word < 2000) for _ in range(20_000))
            text.write_text("\n".join(lines) + "\n")
            distjoint.prepare(self.dataset, corpus=str(text), min_count=1, shards=12, overwrite=True)
        self.whole = self.out / "whole"
        train(self.dataset, str(self.whole), SETTINGS, go_on=True)

    def records(self) -> list[dict[str, Any]]:
        place = self.out / "tally.jsonl"
        return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []

    def pair(self, number: int) -> None:
        """Two processes, one of which is killed; then the run is resumed."""
        chance, ended = random.Random(number), True
        while ended:
            run = self._begin()
            members = Pair(run, self.dataset)
            moment, victim = self._await_moment(chance, run), chance.randrange(2)
            ended = members.processes[victim].poll() is not None  # came too late
            members.processes[victim].kill()
        began = time.monotonic()
        found: dict[str, Any] = {"moment": moment, "victim": victim, "left": members.wait(NOTICED)}
        found["noticed"] = time.monotonic() - began
        found["from"] = self._newest(run)
        if chance.random() < 0.5:
            again = Pair(run, self.dataset)
            found["resumed"] = "two" if again.wait(300) == [0, 0] else "failed"
        else:
            train(None, str(run), resume=True)
            found["resumed"] = "one"
        self._record("pair", number, run, found)

    def on_ray(self, kind: str, number: int, nodes: Nodes) -> None:
        """A run by two Ray workers whose worker, controller or node is killed."""
        chance, ended = random.Random(f"{kind}{number}"), True
        while ended:
            ended = not self._try_on_ray(kind, number, nodes, chance)

    def _try_on_ray(self, kind: str, number: int, nodes: Nodes, chance: random.Random) -> bool:
        """Returns whether the process was killed before the run ended."""
        run = self.out / "run"
        shutil.rmtree(run, ignore_errors=True)
        nodes.refill()
        command = [sys.executable, "-m", "distjoint", "train", self.dataset, "--out", str(run), "--workers", "2"]
        command += [f"--set={key}={value}" for key, value in SETTINGS.items()]
        log = (self.out / f"{kind}-{number}.log").open("w")
        environment = {**os.environ, "RAY_ADDRESS": nodes.address}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        found: dict[str, Any] = {}
        try:
            victim = nodes.find(TITLES.get(kind, TITLES["worker"]), chance)
            moment = self._await_moment(chance, run)
            if process.poll() is not None:
                return False
            found = {"moment": moment, "from": self._newest(run)}
            try:
                nodes.kill_node(chance) if kind == "raylet" else os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:  # it has just left by itself: the run is at its end
                return False
            found["code"] = process.wait(600)
        finally:
            process.kill()
            process.wait()
        said = (self.out / f"{kind}-{number}.log").read_text()
        found["went_on"] = sum("going on from" in line for line in said.splitlines())
        if found["code"]:
            self._newest(run)
            train(None, str(run), resume=True)
        self._record(kind, number, run, found)
        return True

    def _await_moment(self, chance: random.Random, run: Path) -> str:
        """Wait for a random while, and say which."""
        early, moment = chance.random() < EARLY, chance.uniform(0, SPAN)
        until = time.monotonic() + 120
        while not early and time.monotonic() < until and not checkpoint.complete(locate(str(run))):
            time.sleep(0.05)
        time.sleep(moment)
        return f"{moment:.2f} s after " + ("its start" if early else "the first checkpoint")

    def _begin(self) -> Path:
        run = self.out / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        info = plan(Dataset.open(self.dataset), self.dataset, distjoint.load_config(overrides=SETTINGS), 2)
        for name in ("rows.parquet", "relations.parquet"):
            shutil.copy(Path(self.dataset) / name, run / name)
        info.write(locate(str(run)))
        return run

    def _newest(self, run: Path) -> str:
        """Name of the newest complete checkpoint, every file of which loads."""
        names = checkpoint.complete(locate(str(run)))
        if names:
            found = Checkpoint.open(locate(str(run)) / names[-1])
            for file in found.manifest.files:
                found.tensors(file.path)
        return names[-1] if names else "the start"

    def _record(self, kind: str, number: int, run: Path, found: dict[str, Any]) -> None:
        one, other = tensors(self.whole), tensors(run)
        equal = set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)
        record = {"kind": kind, "number": number, **found, "equal": equal}
        with (self.out / "tally.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)


class Pair:
    """The two processes of a gloo group, each a worker of the run."""

    def __init__(self, run: Path, dataset: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        self.processes = []
        for rank in range(2):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
            environment = {**os.environ, **place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            words = [sys.executable, __file__, "--member", str(run), dataset]
            self.processes.append(subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL))

    def wait(self, limit: float) -> list[int | None]:
        """Exit codes; None for one that had to be killed because it had not left in so many seconds."""
        codes: list[int | None] = []
        until = time.monotonic() + limit
        for process in self.processes:
            try:
                codes.append(process.wait(max(0.0, until - time.monotonic())))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                codes.append(None)
        return codes


def member(run: str, dataset: str) -> None:
    """One of the two processes."""
    import torch.distributed as dist

    from distjoint.train.build import group_place
    from distjoint.train.worker import Worker

    # Who does not find the other's store looks for it twice, up to 15 s apart.
    host, port, rank = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), int(os.environ["RANK"])
    store = dist.TCPStore(host, port, 2, rank == 0, timedelta(seconds=NOTICED / 4))
    dist.init_process_group("gloo", timeout=timedelta(seconds=NOTICED / 2), store=store, rank=rank, world_size=2)
    place = locate(run)
    worker = Worker(place, RunInfo.read(place), Dataset.open(dataset), group_place(1), Silent(), lambda *_: False)
    try:
        worker.train()
    finally:
        worker.close()


class Nodes:
    """A Ray cluster on this machine: a head without cores, and two nodes with one each."""

    def __enter__(self) -> Nodes:
        os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_TRAIN_ENABLE_STATE_TRACKING": "0"}
        os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "30"
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "object_store_memory": _OBJECTS, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes: list[Any] = []
        self.refill()
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def refill(self) -> None:
        """Two nodes that live."""
        while len(self._nodes) < 2:
            self._nodes.append(self._cluster.add_node(num_cpus=1, object_store_memory=_OBJECTS))

    def kill_node(self, chance: random.Random) -> None:
        """Kill a node's raylet, and with it all that runs there."""
        node = self._nodes.pop(chance.randrange(len(self._nodes)))
        for info in node.all_processes["raylet"]:
            os.kill(info.process.pid, signal.SIGKILL)
        self._cluster.remove_node(node, allow_graceful=False)

    def find(self, title: str, chance: random.Random) -> int:
        """A process of Ray's with this title, as soon as there is one."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            found = []
            for place in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if title in (place / "cmdline").read_text():
                        found.append(int(place.name))
            if found:
                return chance.choice(sorted(found))
            time.sleep(0.2)
        raise DistjointError(f"no process {title} in two minutes")


def tensors(run: Path) -> dict[str, np.ndarray]:
    """Everything in the run's result, by file and name, as bits."""
    result = RunFolder.open(str(run)).result()
    return {
        f"{file.path}/{name}": value.numpy().view(np.int32)
        for file in result.manifest.files
        for name, value in result.tensors(file.path).items()
    }


def tally(records: list[dict[str, Any]]) -> str:
    lines = []
    for kind in KINDS:
        mine = [record for record in records if record["kind"] == kind]
        if not mine:
            continue
        starts = Counter("the start" if record["from"] == "the start" else "a checkpoint" for record in mine)
        parts = [f"{len(mine)} killed", f"{sum(record['equal'] for record in mine)} ended with the same bits"]
        parts.append(", ".join(f"{count} from {name}" for name, count in starts.items()))
        if kind == "pair":
            parts.append(f"the other process left after at most {max(record['noticed'] for record in mine):.1f} s")
            parts.append(f"{sum(None in record['left'] for record in mine)} did not")
        else:
            parts.append(f"{sum(record['code'] == 0 for record in mine)} went on by themselves")
        lines.append(f"{kind}: " + "; ".join(parts))
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--member"]:
        member(*sys.argv[2:])
    else:
        main()
