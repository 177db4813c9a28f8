"""What does the text of entities bring, and which part of it? One setting is left out at a time.

python scripts/experiments/described.py WN18RR --out results/described --seeds 3
python scripts/experiments/described.py WN18RR --only described "graph alone" --unseen-fraction .1
python scripts/experiments/described.py FB15k-237 --recipe fb15k-237-joint --only described "graph alone"

The folder holds a benchmark and texts of its entities. Every line has the same data, scorer, negatives and passes over
the triples; `unseen` are triples with an end that no training triple has, of which there are more with
`--unseen-fraction`. Settings were chosen on valid; `--split valid` ranks that one. Runs that are done are kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import distjoint
from distjoint.base.progress import for_terminal
from distjoint.recipes.load import parse_settings

LINES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "described": ({}, {}),
    "all resident": ({}, {"train.groups": 2, "graph.refreshes": 4}),
    "one refresh a pass": ({}, {"train.groups": 2, "graph.refreshes": 1}),
    "X always there": ({}, {"graph.own_dropout": 0.0}),
    "text only read": ({}, {"graph.into_words": 0.0, "graph.into_reading": 0.0}),
    "words learn, not R": ({}, {"graph.into_words": 6.0, "graph.into_reading": 0.0}),
    "R learns, not words": ({}, {"graph.into_words": 0.0}),
    "own end no negative": ({}, {"graph.own_end": False}),
    "X pulled less": ({}, {"graph.own_l2": 0.1}),
    "no n-grams": ({"gram_weight": 0.0}, {}),
    "early words weigh no more": ({"early_weight": 0.0}, {}),
    "dot product": ({}, {"model.cosine": False}),
    "words begin at random": ({}, {"text.learning_rate": 1e-9}),
    "fields": ({}, {"model.coupling": "fields"}),
    "dual": ({}, {"model.coupling": "dual"}),
    "graph beside text": ({}, {"model.coupling": "none"}),
    "graph alone": ({}, {"loss.alpha": 1.0}),
}
"""Line of the table -> options of `prepare`, and settings."""
MEASURES = ("mrr", "hits@1", "hits@10")
COLUMNS = ("MRR", "hits@1", "hits@10", "without own end", "unseen MRR", "unseen hits@10", "minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path, help="folder with the splits and texts of entities")
    parser.add_argument("--recipe", default="wn18rr-joint")
    parser.add_argument("--name-before", default=None, help="as prepare's; ',' for WN18RR")
    parser.add_argument("--out", type=Path, default=Path("results/described"), help="datasets and runs; these stay")
    parser.add_argument("--corpus", nargs="*", default=[], help="text besides the descriptions")
    parser.add_argument("--unseen-fraction", type=float, default=0.0, help="share of entities to withhold whole")
    parser.add_argument("--gram-weight", type=float, help="as prepare's")
    parser.add_argument("--fraction", type=float, default=1.0, help="share of the training triples to train on")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--split", choices=("valid", "test"), default="test")
    parser.add_argument("--only", nargs="*", default=list(LINES), choices=list(LINES), metavar="LINE")
    parser.add_argument("--json", type=Path, help="file for the figures of each seed")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings besides the recipe's")
    args = parser.parse_args()
    progress = for_terminal()
    table, found = Table("", *COLUMNS), {}
    for line in args.only:
        options, settings = LINES[line]
        data = dataset(args, {"gram_weight": args.gram_weight, **options} if args.gram_weight is not None else options)
        rows = []
        for seed in range(args.seeds):
            name = "-".join([data.name, line.replace(" ", "_"), str(seed), *args.set]).replace("/", "_")
            run = str(args.out / name)
            own = {**parse_settings(args.set), **settings, "train.seed": seed}
            result = distjoint.train(
                str(data), run, own, recipe=args.recipe, any_graph=True, go_on=True, progress=progress
            )
            ranks = distjoint.evaluate(run, link_prediction=args.split, progress=progress).to_dict()["link_prediction"]
            unseen = ranks["unseen"] or dict.fromkeys(MEASURES, 0.0)
            figures = [ranks[key] for key in MEASURES] + [ranks["without_own_end"]["mrr"], unseen["mrr"]]
            rows.append([*figures, unseen["hits@10"], sum(epoch["seconds"] for epoch in result.history) / 60])
        columns = list(zip(*rows, strict=True))
        found[line] = dict(zip(COLUMNS, columns, strict=True))
        table.add_row(line, *(figure(values) for values in columns))
    Console(width=140).print(table)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def dataset(args: argparse.Namespace, options: dict[str, Any]) -> Path:
    """The folder of the graph prepared with options, made where it is not there."""
    parts = [f"{name}={value:g}" for name, value in options.items()]
    parts += [f"{name}={getattr(args, name):g}" for name in ("unseen_fraction", "fraction") if getattr(args, name) % 1]
    folder = args.out / "-".join(["data", *parts])
    if (folder / "manifest.json").is_file():
        return Path(folder)
    given: dict[str, Any] = {"graph": str(args.graph), "unseen_fraction": args.unseen_fraction}
    if args.fraction < 1:
        given |= {"triples": fraction_of(args)}
    distjoint.prepare(
        str(folder),
        **given,
        **options,
        descriptions="found",
        name_before=args.name_before,
        read_descriptions=True,
        corpus=args.corpus,
        align="none",
        min_count=2,
        overwrite=True,
        progress=for_terminal(),
    )
    return Path(folder)


def fraction_of(args: argparse.Namespace) -> str:
    """A file with the first lines of the training triples in a random order, which is the same for every fraction."""
    lines = (args.graph / "train.txt").read_text().splitlines()
    order = np.random.default_rng(0).permutation(len(lines))[: round(args.fraction * len(lines))]
    file = args.out / f"train-{args.fraction:g}.txt"
    args.out.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{lines[k]}\n" for k in order))
    return str(file)


def figure(values: tuple[float, ...]) -> str:
    """The mean over seeds, with the deviation where there are several."""
    return f"{mean(values):.3f}" + (f" ±{stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
