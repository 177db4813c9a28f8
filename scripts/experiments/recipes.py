"""What the recipes reach: trains them, and keeps what was found in a file for each, with its command and machine.

python scripts/experiments/recipes.py GRAPHS [RECIPE...] --out results/ --keep docs/results/
python scripts/experiments/recipes.py --keep docs/results/ --table     # docs/graph.md's table, of what is kept

GRAPHS holds a folder for each benchmark, by the name that its recipes give it in lower case: fb15k-237, wn18rr,
codex-m. What was prepared and trained lies below --out; a run that was broken off is continued.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import time
from pathlib import Path
from typing import Any

import torch

import distjoint
from distjoint import recipes
from distjoint.base import machine
from distjoint.base.progress import for_terminal
from distjoint.data.dataset import Dataset

MEASURES = ("mrr", "hits@1", "hits@3", "hits@10")
ABOUT = "entity2text.txt"
"""File of descriptions in a benchmark's folder, for recipes that read text."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", type=Path, nargs="?", help="a folder for each benchmark")
    parser.add_argument("names", nargs="*", metavar="RECIPE", help="by default all that are for a benchmark")
    parser.add_argument("--out", type=Path, default=Path("results"), help="datasets and runs")
    parser.add_argument("--keep", type=Path, default=Path("docs/results"), help="a JSON file for each recipe")
    parser.add_argument("--table", action="store_true", help="print what is kept, as Markdown, and train nothing")
    args = parser.parse_args()
    if not args.table:
        if args.graphs is None:
            parser.error("say where the benchmarks are: GRAPHS")
        for name in args.names or [name for name, recipe in recipes.recipes().items() if recipe.graph != recipes.ANY]:
            measure(args, recipes.find(name))
    print(table(args.keep))


def measure(args: argparse.Namespace, recipe: recipes.Recipe) -> None:
    """Train by a recipe and keep its result."""
    graph, settings = recipe.graph.lower(), recipe.settings()
    reads = settings["model"].get("coupling") == "described"
    data, run = args.out / "data" / (graph + "-text" * reads), args.out / "runs" / recipe.name
    if not (data / "manifest.json").is_file():
        text = {"descriptions": str(args.graphs / graph / ABOUT), "min_count": 2} if reads else {}
        distjoint.prepare(str(data), graph=str(args.graphs / graph), align="none", progress=for_terminal(), **text)
    kept, start = args.keep / f"{recipe.name}.json", time.perf_counter()
    earlier = json.loads(kept.read_text())["minutes"] if kept.is_file() else None
    resumed = (run / "run.json").is_file()
    result = distjoint.train(str(data), str(run), recipe=recipe.name, go_on=True, progress=for_terminal())
    seconds = time.perf_counter() - start
    test = result.test or distjoint.evaluate(str(run), link_prediction="test").to_dict()["link_prediction"]
    found = {
        "recipe": recipe.name,
        "graph": recipe.graph,
        "commands": [
            f"distjoint prepare --graph {graph} --align none --out data/{data.name}"
            + f" --descriptions {graph}/{ABOUT} --min-count 2" * reads,
            f"distjoint train data/{data.name} --recipe {recipe.name} --out runs/{recipe.name}",
        ],
        "dataset": Dataset.open(str(data)).checksum(),
        "settings": settings,
        "machine": this_machine(),
        "minutes": earlier if resumed else round(seconds / 60, 1),
        "training_seconds": round(sum(line["seconds"] for line in result.history)),
        "curve": [
            {key: round(line[key], 4) for key in ("epoch", "seconds", "graph_loss", "valid_mrr") if key in line}
            for line in result.history
        ],
        "test": test,
    }
    args.keep.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found, indent=1) + "\n")


def this_machine() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.is_file() else None
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "threads": machine.cores(),
        "memory_gb": round(machine.memory() / 1e9),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "distjoint": distjoint.__version__,
    }


def table(folder: Path) -> str:
    """What is kept there, a line for each recipe."""
    lines = ["| recipe | MRR | Hits@1 | Hits@3 | Hits@10 | minutes | published |", "|---|---|---|---|---|---|---|"]
    for name in recipes.recipes():
        if (folder / f"{name}.json").is_file():
            found = json.loads((folder / f"{name}.json").read_text())
            figures = " | ".join(f"{found['test'][key]:.3f}".removeprefix("0") for key in MEASURES)
            minutes = found["minutes"] or found["training_seconds"] / 60
            published = re.search(r"MRR (\.\d+)", recipes.find(name).paper)
            lines.append(f"| {name} | {figures} | {minutes:.0f} | {published[1] if published else '-'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
