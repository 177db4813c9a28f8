"""`export --format usearch` of random clustered vectors: seconds, bytes, and the neighbours that it finds.

python scripts/bench/index.py                      # 1 M x 100 in 10,000 clusters; half an hour on two free cores
python scripts/bench/index.py --rows 100000

What the index finds is measured anew, for other vectors than the export asks for, against all cosines.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from usearch.index import Index

from distjoint.evaluate.space import Space
from distjoint.results.export import export
from distjoint.storage import locate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--clusters", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=500)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    centres = random.normal(size=(given.clusters, given.dim)).astype(np.float32)
    vectors = centres[random.integers(0, given.clusters, given.rows)]
    vectors += 0.7 * random.standard_normal(vectors.shape, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        out, start = Path(folder) / "index", time.perf_counter()
        space = Space("entity", [f"e{row}" for row in range(given.rows)], vectors)
        export([space], locate(str(out)), "usearch", say=print)
        print(f"{time.perf_counter() - start:.0f} s, {(out / 'entity.usearch').stat().st_size >> 20:,} MiB")
        index = Index.restore(str(out / "entity.usearch"))
        index.expansion_search = json.loads((out / "index.json").read_text())["kinds"]["entity"]["expansion_search"]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = random.choice(given.rows, given.queries, replace=False)
    exact = np.argpartition(-(unit[asked] @ unit.T), 10, axis=1)[:, :10]
    start = time.perf_counter()
    found = index.search(vectors[asked], 10).keys
    seconds = time.perf_counter() - start
    shared = [len(set(one) & set(other)) for one, other in zip(exact.tolist(), found.tolist(), strict=True)]
    print(f"recall@10 {np.mean(shared) / 10:.4f}, {1000 * seconds / given.queries:.2f} ms a query")


if __name__ == "__main__":
    main()
