"""A table larger than its memory: seconds of an epoch against what the arithmetic and the disk need at least.

python scripts/bench/memory.py                     # 7.5 M entities x 100, 10 M triples, train.memory=1GB; 10 minutes
python scripts/bench/memory.py --text              # 1 M words x 100, 100 M cells, 250 MB
python scripts/bench/memory.py --entities 300000 --triples 1000000 --memory 40MB
python scripts/bench/memory.py --dataset FOLDER --memory 500MB

The same run twice, with the same groups and so with the same samples in the same order: the table resident, which is
the arithmetic alone, and with `train.memory`. Each is a process of its own, whose peak memory is its own; the last
epoch counts, which compiles nothing. Both must end with the same bits. The floor is the larger of the arithmetic
alone and of what the disk needs to write and read the bytes that are moved: `train` may do one while the other goes on.

The disk's speed is that of a file of some gigabytes on the scratch disk (TMPDIR): written with fsync, then taken out
of the page cache and read. A machine with memory to spare keeps parked shards in its page cache, and a disk then
need not read at all; so the speed of the page cache is stated beside it, and the floor by either.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import Console
from rich.table import Table
from synthetic import make_graph, make_text

import distjoint
from distjoint.base.machine import memory
from distjoint.base.progress import for_terminal, short
from distjoint.base.sizes import parse_bytes
from distjoint.data.dataset import Dataset
from distjoint.runs.folder import Checkpoint, RunFolder
from distjoint.table.parts import Shard, table_bytes
from distjoint.train import worker
from distjoint.train.build import scheme_of
from distjoint.train.plan import plan
from distjoint.train.residency import Residency

_BLOCK = 16 << 20


@dataclass(frozen=True)
class Disk:
    """Bytes a second; through the page cache too, which is memory."""

    write: float
    read: float
    cached_write: float
    cached_read: float

    def seconds(self, moved: float) -> float:
        """What it takes to write half of some bytes, and to read the other half."""
        return moved / 2 / self.write + moved / 2 / self.read

    def cached_seconds(self, moved: float) -> float:
        return moved / 2 / self.cached_write + moved / 2 / self.cached_read


@dataclass(frozen=True)
class Run:
    """A training.

    metrics        of its last epoch
    moved, waited  in that epoch: bytes of shards parked and taken back, seconds in which training waited for shards
    peak, before   bytes of memory at most, and before training began
    checksums      of the files of its result
    """

    metrics: dict[str, Any]
    moved: int
    waited: float
    peak: int
    before: int
    checksums: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", action="store_true", help="text instead of triples")
    parser.add_argument("--dataset", help="a prepared dataset instead of a synthetic one")
    parser.add_argument("--entities", type=int, default=7_500_000)
    parser.add_argument("--triples", type=int, default=10_000_000)
    parser.add_argument("--words", type=int, default=1_000_000)
    parser.add_argument("--cells", type=int, default=100_000_000)
    parser.add_argument("--shards", type=int, default=64, help="of the synthetic dataset")
    parser.add_argument("--memory", help="train.memory; 1GB, or 250MB for --text")
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--whole", action="store_true", help="also as it trains where memory is no matter: two groups")
    parser.add_argument("--disk-bytes", default="4GB", help="size of the file that measures the disk")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(json.loads(args.child))
        return
    args.memory = args.memory or ("250MB" if args.text else "1GB")
    with tempfile.TemporaryDirectory(prefix="distjoint-bench-") as scratch:
        bench(args, Path(scratch))


def bench(args: argparse.Namespace, scratch: Path) -> None:
    dataset = args.dataset or str(make(args, scratch / "dataset"))
    settings: dict[str, Any] = {"model.dim": args.dim, "train.epochs": args.epochs, "train.keep": 1}
    if args.threads:
        settings["train.threads"] = args.threads
    tight = settings | {"train.memory": args.memory}
    data = Dataset.open(dataset)
    info = plan(data, dataset, distjoint.load_config(overrides=tight), 1)
    table = table_bytes(scheme_of(info).parts, data.layout)
    disk = measure(scratch / "disk.bin", parse_bytes(args.disk_bytes) or 0)
    resident = train(dataset, settings | {"train.groups": info.groups}, scratch)
    limited = train(dataset, tight | {"train.groups": info.groups}, scratch)
    whole = train(dataset, settings, scratch) if args.whole else None
    report(args, disk, table, info.groups, data.layout.shards, resident, limited, whole)


def make(args: argparse.Namespace, folder: Path) -> Path:
    start = time.monotonic()
    if args.text:
        make_text(folder, args.words, args.cells, args.shards)
    else:
        make_graph(folder, args.entities, args.triples, args.shards)
    print(f"the dataset took {time.monotonic() - start:.0f} s to make")
    return folder


def measure(place: Path, size: int) -> Disk:
    """Write and read a file of noise, which no disk compresses, by the disk and by the page cache."""
    block = np.random.default_rng(0).bytes(_BLOCK)

    def write(sync: bool) -> float:
        with place.open("wb", buffering=0) as file, clock() as spent:
            for _ in range(0, size, _BLOCK):
                file.write(block)
            if sync:
                os.fsync(file.fileno())
        return size / spent[0]

    def read(forget: bool) -> float:
        into = bytearray(_BLOCK)
        with place.open("rb", buffering=0) as file:
            if forget:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            with clock() as spent:
                while file.readinto(into):
                    pass
        return size / spent[0]

    try:
        by_disk = write(sync=True), read(forget=True)
        by_memory = write(sync=False), read(forget=False)
        return Disk(*by_disk, *by_memory)
    finally:
        place.unlink()
        os.sync()


@contextmanager
def clock() -> Iterator[list[float]]:
    spent, start = [0.0], time.perf_counter()
    yield spent
    spent[0] = time.perf_counter() - start


def train(dataset: str, settings: dict[str, Any], scratch: Path) -> Run:
    """One training in a process of its own."""
    given = json.dumps({"dataset": dataset, "out": str(scratch / "run"), "settings": settings})
    process = subprocess.run(
        [sys.executable, __file__, "--child", given], stdout=subprocess.PIPE, text=True, check=False
    )
    if process.returncode:
        sys.exit(f"training with {settings} failed")
    return Run(**json.loads(process.stdout.splitlines()[-1]))


class Watched(Residency):
    """Notes at the end of each epoch what was moved so far, and how long training waited for it."""

    at_checkpoint: ClassVar[list[tuple[int, float]]] = []

    def held(self) -> Iterator[tuple[int, Shard]]:
        self.at_checkpoint.append((self.moved, self.waited))
        return super().held()


def child(given: dict[str, Any]) -> None:
    before = peak_memory()
    worker.Residency = Watched  # type: ignore[misc]
    result = distjoint.train(given["dataset"], given["out"], given["settings"], overwrite=True, progress=for_terminal())
    folder = RunFolder.open(given["out"])
    files = Checkpoint.open(folder.folder / str(folder.info.result)).manifest.files
    peak = peak_memory()
    (moved_before, waited_before), (moved, waited) = [(0, 0.0), *Watched.at_checkpoint][-2:]
    found = Run(
        metrics=result.metrics,
        moved=moved - moved_before,
        waited=waited - waited_before,
        peak=peak,
        before=before,
        checksums=[file.checksum for file in files],
    )
    print(json.dumps(asdict(found)))


def peak_memory() -> int:
    """Bytes of this process at its most. Not `ru_maxrss`, which begins with that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def report(
    args: argparse.Namespace,
    disk: Disk,
    table: int,
    groups: int,
    shards: int,
    resident: Run,
    limited: Run,
    whole: Run | None,
) -> None:
    samples = "cells" if "cells" in limited.metrics else "triples"
    title = f"a table of {table / 1e9:.2f} GB, {short(limited.metrics[samples])} {samples}, train.memory={args.memory}"
    lines = Table(title=title)
    for name in ("", "seconds of an epoch", "moved", "peak memory", "of which before training"):
        lines.add_column(name, justify="right" if name else "left")
    runs = {f"resident, {groups} groups": resident, f"limited, {groups} groups": limited}
    for name, run in (runs | ({"resident, 2 groups": whole} if whole else {})).items():
        sizes = [f"{value / 1e9:.2f} GB" for value in (run.moved, run.peak, run.before)]
        lines.add_row(name, f"{run.metrics['seconds']:.1f}", *sizes)
    console = Console(width=110)
    console.print(lines)
    moved, seconds, alone = limited.moved, limited.metrics["seconds"], resident.metrics["seconds"]
    print(
        f"disk: {disk.write / 1e9:.2f} GB/s written with fsync, {disk.read / 1e9:.2f} GB/s read; through the page "
        f"cache {disk.cached_write / 1e9:.2f} and {disk.cached_read / 1e9:.2f} GB/s (memory of the machine: "
        f"{memory() / 1e9:.0f} GB)"
    )
    print(f"{groups} groups of {shards} shards; stood still for shards: {limited.waited:.1f} s")
    for name, needed in (("the disk", disk.seconds(moved)), ("the page cache", disk.cached_seconds(moved))):
        floor = max(alone, needed)
        times = f"reached {seconds / floor:.2f} times it"
        print(f"{name} needs {needed:.1f} s for what is moved: floor {floor:.1f} s, {times}")
    print("same bits as resident" if limited.checksums == resident.checksums else "NOT the same bits as resident")


if __name__ == "__main__":
    main()
