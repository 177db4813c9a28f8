"""What does the text of entities bring, and which part of it? One setting is left out at a time.

python scripts/experiments/described.py WN18RR --out results/described --seeds 3
python scripts/experiments/described.py WN18RR --only described --set train.epochs=4

WN18RR holds train.txt, valid.txt, test.txt and entity2text.txt. Every line has the same data, scorer, negatives and
passes over the triples; `unseen` are test triples with an end that no training triple has; `no own
end` is as if a triple's given end were no candidate. Settings were chosen on valid; `--split valid` ranks that one.
`--unseen-fraction .1` withholds a tenth of the entities whole.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

from rich.console import Console
from rich.table import Table

import distjoint
from distjoint.base.progress import for_terminal
from distjoint.recipes.load import parse_settings

RECIPE = "wn18rr-joint"
LINES: dict[str, dict[str, Any]] = {
    "described": {},
    "one refresh a pass": {"graph.refreshes": 1},
    "text only read": {"graph.into_words": 0.0},
    "own end no negative": {"graph.own_end": False},
    "X pulled less": {"graph.own_l2": 0.1},
    "graph beside text": {"model.coupling": "none"},
    "graph alone": {"loss.alpha": 1.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path, help="folder with the splits and entity2text.txt")
    parser.add_argument("--out", type=Path, default=Path("results/described"), help="dataset and runs; these stay")
    parser.add_argument("--corpus", nargs="*", default=[], help="text besides the descriptions")
    parser.add_argument("--unseen-fraction", type=float, default=0.0, help="share of the entities to withhold whole")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--split", choices=("valid", "test"), default="test")
    parser.add_argument("--only", nargs="*", default=list(LINES), choices=list(LINES), metavar="LINE")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings besides the recipe's")
    args = parser.parse_args()
    if args.unseen_fraction:
        args.out = args.out / f"unseen-{args.unseen_fraction:g}"
    dataset, progress = args.out / "data", for_terminal()
    if not (dataset / "manifest.json").is_file():
        about = str(args.graph / "entity2text.txt")
        distjoint.prepare(
            str(dataset),
            graph=str(args.graph),
            descriptions=about,
            read_descriptions=True,
            corpus=args.corpus,
            align="none",
            min_count=2,
            unseen_fraction=args.unseen_fraction,
            overwrite=True,
            progress=progress,
        )
    table = Table("", "MRR", "hits@1", "hits@10", "MRR, no own end", "unseen MRR", "unseen hits@10", "minutes")
    for line in args.only:
        found, minutes = [], []
        for seed in range(args.seeds):
            settings = {**LINES[line], **parse_settings(args.set), "train.seed": seed}
            run = args.out / "-".join([line.replace(" ", "_"), str(seed), *args.set]).replace("/", "_")
            result = distjoint.train(str(dataset), str(run), settings, recipe=RECIPE, go_on=True, progress=progress)
            minutes.append(sum(epoch["seconds"] for epoch in result.history) / 60)
            report = distjoint.evaluate(str(run), link_prediction=args.split, progress=progress).to_dict()
            ranks = report["link_prediction"]
            unseen = ranks.get("unseen") or {"mrr": 0.0, "hits@10": 0.0}
            found.append(
                [
                    *(ranks[name] for name in ("mrr", "hits@1", "hits@10")),
                    ranks["without_own_end"]["mrr"],
                    *(unseen[name] for name in ("mrr", "hits@10")),
                ],
            )
        table.add_row(line, *(figure(values) for values in zip(*found, strict=True)), f"{mean(minutes):.1f}")
    Console(width=120).print(table)


def figure(values: tuple[float, ...]) -> str:
    """The mean over seeds, with the deviation where there are several."""
    return f"{mean(values):.3f}" + (f" ±{pstdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
