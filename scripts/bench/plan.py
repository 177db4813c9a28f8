"""What `plan` foresees against what processes take: memory, bytes, seconds, of ten configurations and more.

python scripts/bench/plan.py --graph data/wn18rr --described data/wn18rr-text    # 15 minutes on 2 cores
python scripts/bench/plan.py --cpu --only 'dual|none' --out plan.json ...

--graph is a dataset with text, triples and entities that share rows with words; --described one whose entities have
texts. Graph alone and text alone are drawn by the seed. Each configuration is a process of its own, so that its peak
is its own, of two epochs; the second is compared. Seconds are foreseen by the mean of two probes, before it and
after it. On a machine
that others use, --cpu counts seconds of CPU in both (one thread each). Two workers are Ray's; their peak is the
largest that was seen of a worker's process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from synthetic import make_graph, make_text

from distjoint.plan.result import Plan

_LIMITS = {"memory": 0.15, "bytes": 0.05, "seconds": 0.30}
"""Relative errors that are allowed."""
_BASE: dict[str, Any] = {"train.epochs": 2, "train.threads": 1, "train.keep": 1}
_POLL = 0.05


@dataclass(frozen=True)
class Measured:
    """Foreseen and measured of a configuration: peak of a worker, checkpoint, bytes moved in an epoch, its seconds."""

    name: str
    memory: tuple[float, float]
    checkpoint: tuple[float, float]
    parked: tuple[float, float]
    sent: tuple[float, float]
    seconds: tuple[float, float]
    base: float


def configurations(data: dict[str, str], dim: int) -> dict[str, tuple[str, dict[str, Any], int]]:
    """Dataset, settings and workers by name."""
    few = {"graph.negatives": 16, "model.dim": dim}
    found: dict[str, tuple[str, dict[str, Any], int]] = {
        "graph, resident": (data["graph"], few, 1),
        "graph, out of core": (data["graph"], few | {"train.memory": "100MB"}, 1),
        "text, resident": (data["text"], few, 1),
        "text, out of core": (data["text"], few | {"train.memory": "100MB"}, 1),
    }
    for coupling in ("none", "tie", "dual", "soft", "project"):
        found[f"joint, {coupling}"] = (data["joint"], few | {"model.coupling": coupling}, 1)
    described = few | {"model.coupling": "described"}
    found["joint, described"] = (data["described"], described, 1)
    found["described, out of core"] = (data["described"], described | {"train.memory": "150MB"}, 1)
    found["graph, 2 workers"] = (data["graph"], few, 2)
    found["joint, dual, 2 workers"] = (data["joint"], few | {"model.coupling": "dual"}, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", help="dataset of text and triples with shared rows")
    parser.add_argument("--described", help="dataset whose entities have texts")
    parser.add_argument("--entities", type=int, default=150_000, help="of the graph that is drawn")
    parser.add_argument("--words", type=int, default=60_000, help="of the text that is drawn")
    parser.add_argument("--dim", type=int, default=400)
    parser.add_argument("--probe-seconds", type=float, default=5.0)
    parser.add_argument("--only", help="regular expression of names")
    parser.add_argument("--cpu", action="store_true", help="seconds of CPU, where the machine is busy")
    parser.add_argument("--data", help="where the drawn datasets are kept")
    parser.add_argument("--out", help="JSON file; figures that are in it already are kept")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cpu:
        time.perf_counter = time.process_time
    if args.child:
        child(json.loads(args.child))
        return
    with tempfile.TemporaryDirectory(prefix="distjoint-bench-") as scratch:
        bench(args, Path(scratch))


def bench(args: argparse.Namespace, scratch: Path) -> None:
    data = {"joint": args.graph, "described": args.described}
    drawn = Path(args.data) if args.data else scratch
    for name in ("graph", "text"):
        data[name] = str(drawn / name)
        if (drawn / name / "manifest.json").exists():
            continue
        if name == "graph":
            make_graph(drawn / name, args.entities, args.entities, 16)
        else:
            make_text(drawn / name, args.words, 20 * args.words, 8)
    place = Path(args.out) if args.out else None
    found = {m["name"]: Measured(**m) for m in json.loads(place.read_text())} if place and place.exists() else {}
    for name, (dataset, settings, workers) in configurations(data, args.dim).items():
        if dataset is None or (args.only and not re.search(args.only, name)):
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = measure(name, dataset, _BASE | settings, workers, args, scratch)
        if place:
            place.write_text(json.dumps([asdict(m) for m in found.values()], indent=1))
    report(list(found.values()), args.cpu)


def measure(
    name: str, dataset: str, settings: dict[str, Any], workers: int, args: argparse.Namespace, scratch: Path
) -> Measured:
    """Foresee and train one configuration."""
    import distjoint

    def foresee() -> Plan:
        return distjoint.plan(dataset, settings, workers=workers, probe=True, probe_seconds=args.probe_seconds)

    plan = foresee()
    given = json.dumps({"dataset": dataset, "out": str(scratch / "run"), "settings": settings, "workers": workers})
    command = [sys.executable, __file__, "--child", given, *(["--cpu"] if args.cpu else [])]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        sys.exit(f"training with {settings} failed")
    made, after = json.loads(process.stdout.splitlines()[-1]), foresee()
    metrics = made["metrics"]
    return Measured(
        name=name,
        memory=(plan.memory.total, made["peak"]),
        checkpoint=(plan.checkpoint, made["checkpoint"]),
        parked=(plan.epoch.parked, metrics.get("moved_bytes", 0)),
        sent=(plan.epoch.sent, metrics.get("sent_bytes", 0)),
        seconds=((plan.epoch.seconds + after.epoch.seconds) / 2, metrics["seconds"]),
        base=made["base"],
    )


def child(given: dict[str, Any]) -> None:
    import distjoint
    import distjoint.train.run
    from distjoint.runs.folder import Checkpoint, RunFolder

    base = peak_memory("self")
    watch = Watch() if given["workers"] > 1 else None
    result = distjoint.train(
        given["dataset"], given["out"], given["settings"], workers=given["workers"], overwrite=True, any_memory=True
    )
    peak = watch.stop() if watch else peak_memory("self")
    folder = RunFolder.open(given["out"])
    files = Checkpoint.open(folder.folder / str(folder.info.result)).manifest.files
    size = sum(file.bytes for file in files)
    print(json.dumps({"metrics": result.metrics, "peak": peak, "base": base, "checkpoint": size}))


class Watch:
    """Looks for the processes of Ray's workers, and how much memory each took at its most."""

    def __init__(self) -> None:
        self._peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        mine = os.getpgid(0), os.getsid(0)
        while not self._done.wait(_POLL * 10):
            for place in Path("/proc").glob("[0-9]*"):
                try:
                    if os.getsid(int(place.name)) != mine[1]:
                        continue
                    if b"TrainWorker" in (place / "cmdline").read_bytes():
                        self._peak = max(self._peak, peak_memory(place.name))
                except (OSError, StopIteration):
                    continue


def peak_memory(process: str) -> int:
    """Bytes of a process at its most. Not `ru_maxrss`, which begins with that of the process that started it."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def error(pair: tuple[float, float]) -> float:
    """How far what was foreseen is from what was measured, relative to it."""
    foreseen, measured = pair
    return foreseen / measured - 1 if measured else float(bool(foreseen))


def report(found: list[Measured], cpu: bool) -> None:
    """The table, as Markdown for docs, and what is beyond the limits."""
    unit = "CPU s" if cpu else "s"
    print(f"| configuration | memory, MB | checkpoint, MB | parked, MB | sent, MB | {unit} an epoch |")
    print("|---|---|---|---|---|---|")
    beyond = []
    for one in found:
        cells = [_sizes(one.memory, 1e6), _sizes(one.checkpoint, 1e6), _sizes(one.parked, 1e6), _sizes(one.sent, 1e6)]
        cells.append(_sizes(one.seconds, 1))
        print(f"| {one.name} | {' | '.join(cells)} |")
        for kind, pair in (
            ("memory", one.memory),
            ("bytes", one.checkpoint),
            ("bytes", one.parked),
            ("bytes", one.sent),
            ("seconds", one.seconds),
        ):
            if abs(error(pair)) > _LIMITS[kind]:
                beyond.append(f"{one.name}: {kind} {100 * error(pair):+.0f} %")
    console = Console(width=120)
    console.print(f"Python with what training imports: {max(one.base for one in found) / 1e6:.0f} MB of each peak")
    console.print("all within limits" if not beyond else "beyond the limits: " + "; ".join(beyond))


def _sizes(pair: tuple[float, float], unit: float) -> str:
    if not any(pair):
        return "-"
    digits = 1 if unit == 1 else 0
    return f"{pair[0] / unit:,.{digits}f} / {pair[1] / unit:,.{digits}f} ({100 * error(pair):+.0f} %)"


if __name__ == "__main__":
    main()
