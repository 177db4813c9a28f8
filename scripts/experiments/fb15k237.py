"""ComplEx with 200 reals on FB15k-237, on a CPU: filtered MRR of the test split.

python scripts/experiments/fb15k237.py FB15K_237 --out results/

FB15K_237 holds train.txt, valid.txt and test.txt. Sampled softmax with 256 uniform negatives per 64 triples, the
nuclear 3-norm, 45 passes; the best of nine validations is the result.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import distjoint
from distjoint.progress import for_terminal

SETTINGS = {
    "model.dim": 200,
    "model.scorer": "complex",
    "model.cosine": False,
    "graph.learning_rate": 0.1,
    "graph.batch": 2048,
    "graph.chunk": 64,
    "graph.negatives": 256,
    "graph.n3": 0.05,
    "train.epochs": 9,
    "train.triple_passes": 5,
    "train.validate_every": 1,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path, help="folder with train.txt, valid.txt and test.txt")
    parser.add_argument("--out", type=Path, default=Path("results"), help="what is made and what was found")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dataset, run, progress = str(args.out / "fb15k237-data"), str(args.out / "fb15k237-run"), for_terminal()
    train, valid, test = (str(args.graph / f"{split}.txt") for split in ("train", "valid", "test"))
    distjoint.prepare(dataset, triples=train, valid=valid, test=test, align="none", overwrite=True, progress=progress)
    start = time.perf_counter()
    distjoint.train(dataset, run, {**SETTINGS, "train.seed": args.seed}, overwrite=True, progress=progress)
    seconds = time.perf_counter() - start
    found = distjoint.evaluate(run, link_prediction="test", progress=progress).to_dict()["link_prediction"]
    print(json.dumps({"seconds": round(seconds), **{key: found[key] for key in ("mrr", "hits@1", "hits@10")}}))


if __name__ == "__main__":
    main()
