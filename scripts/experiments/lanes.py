"""Does it cost quality that shards rotate? One graph trained on more and more lanes and groups: test MRR of each.

python scripts/experiments/lanes.py FB15K_237 --out results/lanes
python scripts/experiments/lanes.py FB15K_237 --set graph.mask_known=false --set train.epochs=2

FB15K_237 holds train.txt, valid.txt and test.txt. Trains recipe fb15k-237-transe without its early end. One lane with
two groups has all shards at once, as if there were none; with 32 groups, negatives come from a sixteenth of the
entities at a time. All lanes are trained by this process, which changes no bit of the result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

import distjoint
from distjoint.base.progress import for_terminal
from distjoint.recipes.load import parse_settings

RECIPE = "fb15k-237-transe"
WAYS = ((1, 2), (1, 8), (2, 8), (4, 8), (1, 16), (4, 16), (1, 32), (2, 32), (4, 32))
FIXED = {"train.epochs": 4, "train.validate_every": 0, "train.patience": 0, "train.final_test": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path, help="folder with train.txt, valid.txt and test.txt")
    parser.add_argument("--out", type=Path, default=Path("results/lanes"), help="dataset and runs; finished ones stay")
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings besides the recipe's")
    args = parser.parse_args()
    dataset, progress = args.out / f"data-{args.shards}", for_terminal()
    if not (dataset / "manifest.json").is_file():
        distjoint.prepare(
            str(dataset), graph=str(args.graph), align="none", shards=args.shards, overwrite=True, progress=progress
        )
    table = Table("lanes", "groups", "MRR", "less than one lane, two groups", "hits@10", "minutes")
    first = None
    for lanes, groups in WAYS:
        settings = {**FIXED, **parse_settings(args.set), "train.lanes": lanes, "train.groups": groups}
        run = args.out / "-".join(["run", str(lanes), str(groups), *args.set]).replace("/", "_")
        result = distjoint.train(str(dataset), str(run), settings, recipe=RECIPE, go_on=True, progress=progress)
        assert result.test is not None
        mrr, minutes = result.test["mrr"], sum(line["seconds"] for line in result.history) / 60
        first = first or mrr
        figures = (f"{mrr:.4f}", f"{first - mrr:+.4f}", f"{result.test['hits@10']:.4f}", f"{minutes:.1f}")
        table.add_row(str(lanes), str(groups), *figures)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
