"""Speed and seconds to a quality beside other trainers of knowledge graph embeddings, on FB15k-237, in one run.

python scripts/bench/peers.py FB15K_237 --pykeen PYTHON --pbg PYTHON --libkge PYTHON --libkge-folder FOLDER
python scripts/bench/peers.py FB15K_237 --pykeen PYTHON --limit 60           # a trial; what is not given is left out
python scripts/bench/peers.py FB15K_237 --pbg PYTHON --set pbg.rate=0.05     # another learning rate

FB15K_237 holds train.txt, valid.txt and test.txt. Each PYTHON has the peer, and runs a script of `peers/`:

    python -m venv pykeen && pykeen/bin/pip install pykeen
    git clone https://github.com/facebookresearch/PyTorch-BigGraph && python -m venv pbg
    pbg/bin/pip install torch attrs h5py tqdm numpy 'setuptools<81' wheel ninja
    PBG_INSTALL_CPP=1 pbg/bin/pip install --no-build-isolation ./PyTorch-BigGraph
    git clone https://github.com/uma-pi1/kge && python -m venv libkge
    libkge/bin/pip install torch numpy pyyaml pandas numba path matplotlib psutil sqlalchemy

Two columns: triples a second of training, and the seconds of training until the filtered MRR of a sample of the valid
split reaches --target, or the best MRR within --limit seconds of training. Seconds are of training alone: nothing is
compiled, read, saved or ranked while the clock runs, and nothing trains while a snapshot is ranked.

Equal: the triples and their numbers, the scorer, the dimension in reals, negatives per triple and direction, softmax
with cross-entropy, AdaGrad, the weight of the nuclear 3-norm, threads (PyTorch-BigGraph: as many processes), and who
ranks: each system's vectors, both directions, ties at their mean, by distjoint's evaluation.
Not equal, as each system has its own: how negatives are shared (distjoint: drawn for as many triples as there are
negatives, and left out where they are right in training; PyTorch-BigGraph: half are ends of the other triples of a
chunk, half are drawn for the chunk; LibKGE: drawn for a whole batch; PyKEEN: drawn for each triple), AdaGrad by row
(distjoint, PyTorch-BigGraph) or by number, the start values, triples per step, and relations: all but PyKEEN have a
second vector of each for predicting heads. See the scripts of `peers/`. --pykeen-all adds a row for PyKEEN with all
entities as candidates, which it computes far better than negatives of each triple.

Rates and batches are the best MRR after 15 to 30 seconds with ComplEx, 200 reals, 100 negatives and n3 .05 of a small
grid: distjoint .05 to .3 with 1000 to 10000, and 50 to 1000 triples to a chunk; PyKEEN .1, .3 with 64 to 1024 (no rate
told from the other); PyTorch-BigGraph .05, .1, .2 with 5000, and .1 with 1000 (its defaults); LibKGE .1, .18
(published), .5 with 1024.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress, for_terminal, short
from distjoint.data.dataset import Dataset, Triples
from distjoint.data.streams import SPLITS
from distjoint.evaluate.candidates import Candidates, listed_rows
from distjoint.evaluate.ranking import link_prediction
from distjoint.evaluate.scoring import TripleModel
from distjoint.model import scorers
from distjoint.model.comparisons import comparison_of

RUNNERS = Path(__file__).with_suffix("")
QUIET = {
    "OMP_WAIT_POLICY": "passive",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
    "MALLOC_TOP_PAD_": str(1 << 26),
}
"""What makes torch faster for those who leave threads and memory to it, as distjoint does not: threads that wait do not
spin, which on a machine with other work costs a factor of 30, and memory given back by one tensor serves the next."""
POLL, PATIENCE = 0.2, 30.0
"""Seconds between two looks at a run's metrics, and those that a process has to end by itself."""


@dataclass(frozen=True)
class System:
    """A trainer and what is its own.

    rate    of AdaGrad
    batch   triples per step
    """

    key: str
    name: str
    rate: float
    batch: int


SYSTEMS = {
    system.key: system
    for system in (
        System("distjoint", "distjoint", 0.2, 5000),
        System("pykeen", "PyKEEN", 0.1, 128),
        System("pykeen-all", "PyKEEN, all entities", 0.1, 256),
        System("pbg", "PyTorch-BigGraph", 0.1, 1000),
        System("libkge", "LibKGE", 0.18, 1024),
    )
}


@dataclass(frozen=True)
class Point:
    """The MRR after so much training."""

    seconds: float
    triples: int
    mrr: float


@dataclass
class Outcome:
    """What came of a system; `failed` says why nothing more did."""

    system: System
    points: list[Point] = field(default_factory=list)
    failed: str | None = None

    @property
    def rate(self) -> float | None:
        """Triples per second of training."""
        return self.points[-1].triples / self.points[-1].seconds if self.points else None

    @property
    def best(self) -> Point | None:
        return max(self.points, key=lambda point: point.mrr, default=None)

    def reached(self, target: float) -> float | None:
        return next((point.seconds for point in self.points if point.mrr >= target), None)

    def done(self, args: argparse.Namespace) -> bool:
        return self.reached(args.target) is not None or self.points[-1].seconds >= args.limit

    def to_dict(self, target: float) -> dict[str, Any]:
        best = asdict(self.best) if self.best else None
        found = {"triples_per_second": self.rate, "seconds_to_target": self.reached(target), "best": best}
        return {**asdict(self.system), "failed": self.failed, **found, "points": [asdict(p) for p in self.points]}


class Judge:
    """Ranks a sample of the valid split by any system's vectors, which lie in order of distjoint's rows."""

    def __init__(self, dataset: str, scorer: str, sample: int) -> None:
        data = Dataset.open(dataset)
        splits = {name: data.split(name) for name in SPLITS}
        self.train, self.scorer = splits["train"], scorers.scorer(scorer)
        self.entities, self.relations = data.layout.rows, data.manifest.counts["relations"]
        self._asked, self._known = splits["valid"].drawn(sample, seed=0), Triples.together(*splits.values())
        self._listed = listed_rows(self.entities, *splits.values())

    def mrr(self, entity: NDArray[np.float32], relation: NDArray[np.float32]) -> float:
        """Filtered, over both directions, of entities float32[n, dim] and relations float32[R or 2 R, dim]."""
        vectors, reciprocal = torch.from_numpy(entity), len(relation) > self.relations
        comparison = comparison_of(self.scorer, cosine=False, norm=2, scale=None)
        model = TripleModel(self.scorer, comparison, torch.from_numpy(relation), reciprocal)
        candidates = Candidates([np.arange(self.entities)], lambda _: vectors, self._listed)
        return link_prediction(model, candidates, self._asked, self._known).mrr


def main() -> None:
    args = arguments()
    progress = for_terminal()
    systems = with_own(args.set)
    with tempfile.TemporaryDirectory(prefix="distjoint-peers-") as scratch:
        dataset = f"{scratch}/dataset"
        files = {split: str(args.folder / f"{split}.txt") for split in SPLITS}
        distjoint.prepare(
            dataset, triples=files["train"], valid=files["valid"], test=files["test"], align="none", progress=progress
        )
        judge = Judge(dataset, args.scorer, args.sample)
        triples = Path(scratch, "train.npy")
        np.save(triples, np.stack([judge.train.head, judge.train.relation, judge.train.tail], 1).astype(np.int64))
        outcomes = [train_distjoint(args, systems["distjoint"], dataset, Path(scratch), progress)]
        for key in ("pykeen", *(["pykeen-all"] if args.pykeen_all else []), "pbg", "libkge"):
            outcome = Outcome(systems[key])
            if getattr(args, peer_of(key)) is None:
                outcome.failed = f"left out: no --{peer_of(key)}"
            else:
                train_peer(args, outcome, judge, triples, Path(scratch), progress)
            outcomes.append(outcome)
    report(args, outcomes)
    sys.exit(any(outcome.failed and not outcome.failed.startswith("left out") for outcome in outcomes))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds train.txt, valid.txt and test.txt")
    for key in ("pykeen", "pbg", "libkge"):
        parser.add_argument(f"--{key}", metavar="PYTHON", help=f"a Python that has {SYSTEMS[key].name}")
    parser.add_argument("--pykeen-all", action="store_true", help="PyKEEN once more, with all entities as candidates")
    parser.add_argument("--libkge-folder", type=Path, metavar="FOLDER", help="LibKGE's sources: a clone")
    parser.add_argument("--scorer", choices=("complex", "distmult"), default="complex")
    parser.add_argument("--dim", type=int, default=200, help="reals")
    parser.add_argument("--negatives", type=int, default=100, help="per triple and direction")
    parser.add_argument("--n3", type=float, default=0.05, help="weight of the nuclear 3-norm")
    parser.add_argument("--target", type=float, default=0.3, help="filtered MRR")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds of training, each system")
    parser.add_argument("--every", type=float, default=10.0, help="seconds of training between rankings, peers")
    parser.add_argument("--sample", type=int, default=2000, help="triples of the valid split that are ranked")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="+", default=[], metavar="SYSTEM.rate=NUMBER", help="or SYSTEM.batch=NUMBER")
    parser.add_argument("--json", action="store_true", help="print JSON, every measurement in it, and no table")
    args = parser.parse_args()
    for key in ("pykeen", "pbg", "libkge"):
        if (python := getattr(args, key)) and not shutil.which(python):
            parser.error(f"--{key} {python}: no such program")
    if args.libkge and not args.libkge_folder:
        parser.error("--libkge needs --libkge-folder")
    for split in SPLITS:
        if not (args.folder / f"{split}.txt").is_file():
            parser.error(f"{args.folder}: holds no {split}.txt")
    return args


def peer_of(key: str) -> str:
    """The peer that trains a system, whose Python and whose script have its name."""
    return key.removesuffix("-all")


def with_own(changes: list[str]) -> dict[str, System]:
    """The systems, some of their settings changed as in `pbg.rate=0.05`."""
    systems = dict(SYSTEMS)
    for change in changes:
        place, _, value = change.partition("=")
        key, _, setting = place.partition(".")
        if key not in systems or setting not in ("rate", "batch"):
            sys.exit(f"--set {change}: give SYSTEM.rate=NUMBER or SYSTEM.batch=NUMBER; systems: {', '.join(systems)}")
        number = float(value) if setting == "rate" else int(value)
        systems[key] = replace(systems[key], **{setting: number})  # type: ignore[arg-type]
    return systems


def train_distjoint(
    args: argparse.Namespace, system: System, dataset: str, scratch: Path, progress: Progress
) -> Outcome:
    """A process that measures itself after each epoch, by the same ranking of the same triples as `Judge`."""
    settings = {
        "model.scorer": args.scorer,
        "model.dim": args.dim,
        "model.cosine": False,
        "graph.chunk": args.negatives,
        "graph.negatives": args.negatives,
        "graph.in_batch": False,
        "graph.learning_rate": system.rate,
        "graph.batch": system.batch,
        "graph.n3": args.n3,
        "train.threads": args.threads,
        "train.seed": args.seed,
    }
    distjoint.train(dataset, str(scratch / "compiling"), {**settings, "train.epochs": 1}, progress=progress)
    settings |= {"train.epochs": 100_000, "train.validate_every": 1, "train.validation_triples": args.sample}
    command = [sys.executable, "-m", "distjoint", "train", dataset, "--out", str(scratch / "run")]
    command += [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    outcome, metrics = Outcome(system), scratch / "run" / "metrics.jsonl"
    with started(command, scratch, args.threads) as process, progress.task(system.name, args.limit) as task:
        while not (outcome.points and outcome.done(args)):
            if process.poll() is not None:
                outcome.failed = last_line(scratch)
                break
            time.sleep(POLL)
            lines = metrics.read_text().splitlines() if metrics.exists() else []
            for line in map(json.loads, lines[len(outcome.points) :]):
                before = outcome.points[-1] if outcome.points else Point(0.0, 0, 0.0)
                seconds, triples = before.seconds + line["seconds"], before.triples + int(line["triples"])
                outcome.points.append(Point(seconds, triples, line["valid_mrr"]))
                task.advance(line["seconds"])
                task.note(describe(outcome))
        process.terminate()
    return outcome


def train_peer(
    args: argparse.Namespace, outcome: Outcome, judge: Judge, triples: Path, scratch: Path, progress: Progress
) -> None:
    """Follow a runner from snapshot to snapshot, each of which it lets us rank before it goes on."""
    system = outcome.system
    with tempfile.TemporaryDirectory(prefix=f"{system.key}-", dir=scratch) as folder:
        task_file = Path(folder, "task.json")
        task_file.write_text(json.dumps(task_of(args, system, judge, triples, folder)))
        command = [getattr(args, peer_of(system.key)), str(RUNNERS / f"{peer_of(system.key)}_run.py"), str(task_file)]
        with started(command, scratch, args.threads) as process, progress.task(system.name, args.limit) as task:
            assert process.stdin is not None and process.stdout is not None
            for line in map(json.loads, process.stdout):
                try:
                    with np.load(line["vectors"]) as saved:
                        mrr = judge.mrr(saved["entity"], saved["relation"])
                except DistjointError as error:
                    outcome.failed = str(error)
                    return
                task.advance(line["seconds"] - (outcome.points[-1].seconds if outcome.points else 0.0))
                outcome.points.append(Point(line["seconds"], line["triples"], mrr))
                task.note(describe(outcome))
                process.stdin.write("stop\n" if outcome.done(args) else "go\n")
                process.stdin.flush()
            if not (outcome.points and outcome.done(args)):
                outcome.failed = last_line(scratch)


def task_of(args: argparse.Namespace, system: System, judge: Judge, triples: Path, folder: str) -> dict[str, Any]:
    """What `peers/snapshots.py` reads."""
    return {
        "triples": str(triples),
        "entities": judge.entities,
        "relations": judge.relations,
        "scorer": args.scorer,
        "dim": args.dim,
        "in_batch": args.negatives // 2,
        "uniform": args.negatives - args.negatives // 2,
        "rate": system.rate,
        "batch": system.batch,
        "n3": args.n3,
        "seed": args.seed,
        "threads": args.threads,
        "every": args.every,
        "limit": args.limit,
        "folder": folder,
        "all_entities": system.key.endswith("-all"),
        "source": str(args.libkge_folder.resolve()) if args.libkge_folder else None,
    }


@contextmanager
def started(command: list[str], scratch: Path, threads: int) -> Iterator[subprocess.Popen[str]]:
    """A process, ended with all it started at the end of the block; what it says goes to a file."""
    environment = {**QUIET, **os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (scratch / "errors.txt").open("w") as errors:
        # A session of its own is what makes its processes, and no others, a group to end.
        process = subprocess.Popen(command, **pipes, stderr=errors, env=environment, start_new_session=True)
        try:
            yield process
            process.stdin.close()  # type: ignore[union-attr]
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Let it end by itself where it was told to stop, else end it and what it has started."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(0 if process.stdin and not process.stdin.closed else PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_line(scratch: Path) -> str:
    """Of what the process said before it ended."""
    lines = (scratch / "errors.txt").read_text(errors="replace").strip().splitlines()
    return f"ended early: {lines[-1]}" if lines else "ended early, and said nothing"


def describe(outcome: Outcome) -> str:
    point, rate = outcome.points[-1], outcome.rate
    return f"MRR {point.mrr:.4f} after {point.seconds:.0f} s of training, {short(rate or 0.0)} triples/s"


def report(args: argparse.Namespace, outcomes: list[Outcome]) -> None:
    names = ("scorer", "dim", "negatives", "n3", "threads", "seed", "sample", "target", "limit")
    if args.json:
        settings = {name: getattr(args, name) for name in names}
        print(json.dumps({**settings, "systems": [outcome.to_dict(args.target) for outcome in outcomes]}))
        return
    table = Table(
        title=f"{args.scorer}, {args.dim} reals, {args.negatives} negatives a triple and direction, n3 {args.n3:g}, "
        f"{args.threads} threads, seed {args.seed}; ratios are distjoint's advantage"
    )
    for column in ("", "rate, batch", "triples/s", "ratio", f"seconds to MRR {args.target:g}", "ratio", "best MRR"):
        table.add_column(column)
    for outcome in outcomes:
        table.add_row(*cells(outcome, outcomes[0], args.target))
    Console(width=140).print(table)


def cells(outcome: Outcome, ours: Outcome, target: float) -> list[str]:
    """A row of the table."""
    system, rate, best, seconds = outcome.system, outcome.rate, outcome.best, outcome.reached(target)
    if rate is None or best is None:
        return [system.name, f"{system.rate:g}, {system.batch}", outcome.failed or "nothing measured"]
    mine = ours.reached(target)
    spent = seconds or outcome.points[-1].seconds
    ratio = f"{'' if seconds else '> '}{spent / mine:.1f}" if mine else ""
    return [
        system.name,
        f"{system.rate:g}, {system.batch}",
        short(rate),
        f"{ours.rate / rate:.1f}" if ours.rate else "",
        f"{seconds:.0f}" if seconds else f"not reached in {spent:.0f}",
        ratio,
        f"{best.mrr:.3f} after {best.seconds:.0f} s" + (f"; {outcome.failed}" if outcome.failed else ""),
    ]


if __name__ == "__main__":
    main()
