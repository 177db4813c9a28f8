"""How long a run that is larger than memory takes to open and to answer, and what memory it takes: a run of random
vectors, `--rows` entities of `--dim` numbers, asked in processes of their own.

    python scripts/bench/lookups.py /tmp/bench --rows 10_000_000 --dim 200 --memory 1GB
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distjoint.recipes.load import load_config
from distjoint.runs.folder import CheckpointFile, CheckpointManifest, RunInfo, shard_file, sizes_of
from distjoint.storage import locate
from distjoint.table.layout import Layout, choose_tiles

SHARDS = 16
CHECK = "xxh3:0000000000000000"
ASK = """
import json, sys, time
start, first = time.perf_counter(), time.process_time()
def lap(name):
    global start, first
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(json.dumps({"step": name, "seconds": round(time.perf_counter() - start, 2),
        "of which CPU": round(time.process_time() - first, 2),
        "peak MB": peak // 1024}), flush=True)
    start, first = time.perf_counter(), time.process_time()
import distjoint
run = distjoint.load(sys.argv[1], memory=sys.argv[2])
lap("open")
run.vector("e123456")
lap("vector of a name")
run.vector("e7654")
lap("of another")
run.score("e1", "r1", "e2")
lap("score of a triple")
print([near.name for near in run.nearest("e5", 3)])
lap("nearest of all")
print([each.name for each in run.predict("e5", "r1", k=3, filter="none")])
lap("predict among all")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=200)
    parser.add_argument("--memory", default="1GB")
    given = parser.parse_args()
    run = given.folder / f"run-{given.rows}-{given.dim}"
    if not (run / "run.json").exists():
        write(run, given.rows, given.dim)
    subprocess.run([sys.executable, "-c", ASK, str(run), given.memory], check=True)


def write(run: Path, rows: int, dim: int) -> None:
    """A run of random vectors, whose checksums are not those of its files: a table in its files is not compared."""
    layout = Layout(SHARDS, choose_tiles(rows, SHARDS), 0, 0, rows)
    checkpoint = run / "checkpoints/epoch-00001"
    checkpoint.mkdir(parents=True)
    names, none = [f"e{row}" for row in range(rows)], pa.nulls(rows, pa.string())
    columns = {"row": np.arange(rows), "entity": pa.array(names), "label": none, "word": none}
    counts = {"count": np.zeros(rows, np.int64), "degree": np.ones(rows, np.int64)}
    pq.write_table(pa.table(columns | counts), run / "rows.parquet", write_page_checksum=True)
    types = pa.schema({"id": pa.int64(), "name": pa.string(), "frequency": pa.int64()})
    relations = pa.table([list(range(5)), [f"r{k}" for k in range(5)], [1] * 5], schema=types)
    pq.write_table(relations, run / "relations.parquet", write_page_checksum=True)
    random, files = np.random.default_rng(0), []
    for shard in range(SHARDS):
        count = layout.shard_entities(shard)
        files.append(_file(checkpoint / shard_file(shard), "X", (count, dim), random))
    dense = checkpoint / "dense.safetensors"
    _file(dense, "relation", (10, dim), random)
    content = locate(str(dense))
    files.append(CheckpointFile(path=dense.name, bytes=content.size(), checksum=content.checksum()))
    shared = {"dataset_checksum": CHECK, "coupling": "none", "lanes": 1, "groups": 2}
    manifest = CheckpointManifest(**shared, dim=dim, seed=0, epoch=1, files=tuple(files))
    manifest.write(locate(str(checkpoint)))
    RunInfo(
        **shared,
        dataset=str(run / "none"),
        layout=sizes_of(layout),
        config=load_config(None, {"model.dim": dim}),
        sources=("graph",),
        result="checkpoints/epoch-00001",
        status="finished",
    ).write(locate(str(run)))


def _file(place: Path, name: str, shape: tuple[int, int], random: np.random.Generator) -> CheckpointFile:
    """A file of safetensors with one tensor, written a block at a time."""
    size = 4 * shape[0] * shape[1]
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    with place.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for start in range(0, shape[0], 1 << 16):
            count = min(1 << 16, shape[0] - start)
            file.write(random.standard_normal((count, shape[1]), np.float32).tobytes())
    return CheckpointFile(path=place.name, bytes=8 + len(header) + size, checksum=CHECK)


if __name__ == "__main__":
    main()
