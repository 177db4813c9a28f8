"""Exact link prediction against many entities: triples/s, what the arithmetic and the reading need at least, memory.

python scripts/bench/ranking.py                            # 1 M entities x 200, 1,000 test triples; a minute or two
python scripts/bench/ranking.py --entities 100000 --triples 5000 --memory 100MB
python scripts/bench/ranking.py --sample-candidates 500    # against 500 drawn for each answer

A run with random vectors is written, as training leaves it, and evaluated by `distjoint.evaluate` in a process of its
own, whose peak memory is its own. The floor is the larger of two: the products of two queries for each triple with
every entity, at the speed at which this machine multiplies matrices of the same width; and reading every shard once,
at the speed of the page cache. Shards that do not fit `memory` are read again: twice each, here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from synthetic import RELATIONS, make_graph

import distjoint
from distjoint.base.progress import short
from distjoint.data.dataset import Dataset
from distjoint.runs.folder import CheckpointManifest, RunInfo, describe, shard_file, sizes_of
from distjoint.storage import locate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=200)
    parser.add_argument("--triples", type=int, default=1000, help="of the test split")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--scorer", default="complex")
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--sample-candidates", type=int)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(json.loads(args.child))
        return
    with tempfile.TemporaryDirectory(prefix="distjoint-bench-") as scratch:
        bench(args, Path(scratch))


def bench(args: argparse.Namespace, scratch: Path) -> None:
    dataset = make_graph(scratch / "dataset", args.entities, 3 * args.entities, args.shards, test=args.triples)
    run = write_run(scratch / "run", dataset, args.dim, args.scorer)
    options = {"memory": args.memory, "sample_candidates": args.sample_candidates}
    process = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps({"run": str(run), **options})],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if process.returncode:
        sys.exit("evaluation failed")
    found = json.loads(process.stdout.splitlines()[-1])
    size, operations = 4.0 * args.entities * args.dim, 4.0 * args.triples * args.entities * args.dim
    multiplied, read = operations / product_speed(args.dim), size / reading_speed(run, args.shards)
    rate = short(args.triples / found["seconds"])
    print(
        f"{args.entities:,} entities x {args.dim} in {args.shards} shards, {args.triples:,} triples, "
        f"memory={args.memory}: {found['seconds']:.1f} s, {rate} triples/s; MRR {found['mrr']:.2g}"
    )
    if args.sample_candidates is None:
        floor = max(multiplied, read)
        print(
            f"{operations / 1e9:,.0f} GFLOP take {multiplied:.1f} s, reading {size / 1e9:.2f} GB {read:.1f} s: "
            f"{found['seconds'] / floor:.2f} times the floor"
        )
    print(f"peak memory {found['peak'] / 1e9:.2f} GB, of which {found['before'] / 1e9:.2f} GB before evaluating")


def write_run(folder: Path, dataset: Dataset, dim: int, scorer: str) -> Path:
    """A finished run with random vectors."""
    layout, checkpoint = dataset.layout, folder / "checkpoints/epoch-00001"
    checkpoint.mkdir(parents=True)
    for name in ("rows.parquet", "relations.parquet"):
        (folder / name).write_bytes(dataset.file(name))
    config = distjoint.load_config(None, {"model.dim": dim, "model.scorer": scorer, "model.cosine": False})
    random = torch.Generator().manual_seed(0)
    for shard in range(layout.shards):
        save_file(
            {"X": torch.randn(layout.shard_entities(shard), dim, generator=random)}, checkpoint / shard_file(shard)
        )
    relations = RELATIONS * (2 if config.model.reciprocal else 1)
    save_file({"relation": torch.randn(relations, dim, generator=random)}, checkpoint / "dense.safetensors")
    place, files = locate(str(checkpoint)), [shard_file(shard) for shard in range(layout.shards)]
    shared: dict[str, Any] = {"dataset_checksum": dataset.checksum(), "coupling": "none", "lanes": 1, "groups": 2}
    listed = tuple(describe(place, path) for path in [*files, "dense.safetensors"])
    CheckpointManifest(**shared, dim=dim, seed=0, epoch=1, files=listed).write(place)
    RunInfo(
        **shared,
        dataset=dataset.folder.url,
        layout=sizes_of(layout),
        config=config,
        sources=("graph",),
        result="checkpoints/epoch-00001",
        status="finished",
    ).write(locate(str(folder)))
    return folder


def child(given: dict[str, Any]) -> None:
    run, before = given.pop("run"), peak_memory()
    start = time.perf_counter()
    links = distjoint.evaluate(run, link_prediction="test", **given).links
    assert links is not None
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "mrr": links.ranks.mrr, "peak": peak_memory(), "before": before}))


def peak_memory() -> int:
    """Bytes of this process at its most. Not `ru_maxrss`, which begins with that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def product_speed(dim: int) -> float:
    """Floating point operations a second of float32 matrix products of vectors so wide."""
    query, entities = torch.randn(1024, dim), torch.randn(16384, dim)
    scores, spent = torch.empty(1024, 16384), []
    for _ in range(7):
        start = time.perf_counter()
        torch.mm(query, entities.T, out=scores)
        spent.append(time.perf_counter() - start)
    return 2 * 1024 * 16384 * dim / float(np.median(spent))


def reading_speed(run: Path, shards: int) -> float:
    """Bytes a second of reading the run's shards, which the page cache holds by now."""
    start, read = time.perf_counter(), 0
    for shard in range(shards):
        read += len((run / "checkpoints/epoch-00001" / shard_file(shard)).read_bytes())
    return read / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
