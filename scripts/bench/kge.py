"""Training speed of the graph: triples/s of ComplEx with 200 reals and 50 + 50 negatives a side.

python scripts/bench/kge.py FOLDER      # a folder with train.txt: head TAB relation TAB tail, like FB15k-237

50 negatives are shared by a chunk of 50 triples, which also serve each other as 50 more: the setting in which
other trainers publish their speed. Each epoch is one pass; the median epoch counts, without compilation.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import distjoint
from distjoint.base.progress import for_terminal, short

SETTINGS = {
    "model.scorer": "complex",
    "model.dim": 200,
    "model.cosine": False,
    "graph.batch": 5000,
    "graph.chunk": 50,
    "graph.negatives": 50,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="holds train.txt")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.folder is None or not (args.folder / "train.txt").is_file():
        print("speed of the graph: left out, no folder with train.txt given")
        return
    with tempfile.TemporaryDirectory(prefix="distjoint-bench-") as scratch:
        dataset = f"{scratch}/dataset"
        distjoint.prepare(dataset, triples=str(args.folder / "train.txt"), progress=for_terminal())
        settings = {**SETTINGS, "train.epochs": args.epochs, "train.threads": args.threads}
        result = distjoint.train(dataset, f"{scratch}/run", settings, progress=for_terminal())
    rates = [line["triples"] / line["seconds"] for line in result.history]
    print(
        f"ComplEx, 200 reals, 50 + 50 negatives a side, {args.threads} threads: "
        f"{short(statistics.median(rates))} triples/s over whole epochs "
        f"(slowest {short(min(rates))}, fastest {short(max(rates))})"
    )


if __name__ == "__main__":
    main()
