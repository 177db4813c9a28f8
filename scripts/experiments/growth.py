"""What does it cost to add entities to a trained table, instead of training anew, and how good does it become?

python scripts/experiments/growth.py WN18RR --name-before , --grow graph.learning_rate=0.05 --grow train.triple_passes=3
python scripts/experiments/growth.py WN18RR --name-before , --grow graph.learning_rate=0.05 --steps 10
python scripts/experiments/growth.py UMLS --texts entity2textlong.txt --share .3 --steps 10 --set train.triple_passes=20

A share of the entities is kept back, with all of their triples and texts, and comes in so many steps, each a growth of
the dataset and of the run before it. Beside these a run is trained anew on all of it. Test triples are `old` where both
ends were there from the beginning. Times are CPU seconds of the process, so that other work on the machine
does not matter much; datasets and runs that are done are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import distjoint
from distjoint.base.progress import for_terminal
from distjoint.data.dataset import Dataset, Triples
from distjoint.evaluate.ranking import link_prediction
from distjoint.evaluate.trained import TrainedVectors
from distjoint.recipes.load import parse_settings
from distjoint.runs.folder import RunFolder

SPLITS = ("train", "valid", "test")
COLUMNS = ("MRR", "old", "new", "similarity", "CPU minutes", "of these prepare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path, help="folder with train.txt, valid.txt, test.txt and texts of entities")
    parser.add_argument("--texts", default="entity2text.txt")
    parser.add_argument("--recipe", default="wn18rr-joint")
    parser.add_argument("--name-before", default=None, help="as prepare's; ',' for WN18RR")
    parser.add_argument("--out", type=Path, default=Path("results/growth"), help="datasets and runs; these stay")
    parser.add_argument("--share", type=float, default=0.1, help="of the entities that come later")
    parser.add_argument("--steps", type=int, default=1, help="growths in which they come")
    parser.add_argument("--epochs", type=int, default=10, help="of training anew")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings of every run")
    parser.add_argument("--grow", action="append", default=[], metavar="KEY=VALUE", help="and of growths besides")
    parser.add_argument("--similarity", nargs="*", default=[], metavar="FILE", help="word pairs with scores")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    world = read(args)
    settings = {
        "train.epochs": args.epochs, "train.validate_every": 0, "train.patience": 0, "train.final_test": False,
        "train.keep": 1, **parse_settings(args.set),
    }  # fmt: skip
    growing = {**settings, "train.epochs": 1, **parse_settings(args.grow)}
    table, found = Table("", *COLUMNS), {}
    names = ["whole", "step-0"] + [f"step-{k}-of-{args.steps}" for k in range(1, args.steps + 1)]
    spent = 0.0
    for number, name in enumerate(names):
        before = names[number - 1] if number > 1 else None
        prepared = timed(args.out / f"data-{name}", lambda: prepare(args, world, name, before))  # noqa: B023
        trained = timed(
            args.out / f"run-{name}",
            lambda: train(args, name, before, growing if before else settings),  # noqa: B023
        )
        spent = spent + prepared + trained if before else 0.0
        if 1 < number < len(names) - 1 and number % 3:
            continue  # of many steps some are measured
        minutes = [(spent or prepared + trained) / 60, prepared / 60]
        figures = measure(args, name, world) + minutes
        found[name] = dict(zip(COLUMNS, figures, strict=True))
        table.add_row(name, *(f"{value:.3f}" for value in figures))
    Console(width=120).print(table)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


@dataclass(frozen=True)
class World:
    """All triples and texts, and the step in which each entity comes.

    splits   split -> head, relation, tail
    texts    entity -> lines
    step     entity -> 0 for those of the beginning
    """

    splits: dict[str, list[tuple[str, ...]]]
    texts: dict[str, list[str]]
    step: dict[str, int]

    def of(self, triple: tuple[str, ...]) -> int:
        """The step in which a triple comes: with the later of its ends."""
        return max(self.step[triple[0]], self.step[triple[2]])


def read(args: argparse.Namespace) -> World:
    """The benchmark, with entities to come later drawn at random."""
    splits = {
        split: [tuple(line.split("\t")) for line in (args.graph / f"{split}.txt").read_text().splitlines()]
        for split in SPLITS
    }
    trained = sorted({triple[end] for triple in splits["train"] for end in (0, 2)})
    later = np.random.default_rng(0).permutation(np.array(trained, object))[: round(args.share * len(trained))]
    step = {triple[end]: 0 for triples in splits.values() for triple in triples for end in (0, 2)}
    for number, part in enumerate(np.array_split(later, args.steps), 1):
        step |= dict.fromkeys(part.tolist(), number)
    # An entity all of whose triples come later comes with the first of these, too.
    first: dict[str, int] = {}
    for triples in splits.values():
        for head, _, tail in triples:
            for end in (head, tail):
                first[end] = min(first.get(end, args.steps), max(step[head], step[tail]))
    texts: dict[str, list[str]] = {}
    for line in (args.graph / args.texts).read_text().splitlines():
        texts.setdefault(line.partition("\t")[0], []).append(line)
    return World(splits, texts, {entity: max(step[entity], first[entity]) for entity in step})


def prepare(args: argparse.Namespace, world: World, name: str, before: str | None) -> None:
    """Prepare a dataset of all, of the beginning, or of what a step adds to the one before."""
    number = int(name.split("-")[1]) if name != "whole" else None
    files: dict[str, Any] = {}
    for split, triples in world.splits.items():
        chosen = ("\t".join(triple) for triple in triples if number in (None, world.of(triple)))
        if path := write(args.out / f"{name}-{split}.txt", chosen):
            files["triples" if split == "train" else split] = path
    lines = (line for entity, step in world.step.items() if number in (None, step) for line in world.texts[entity])
    files["descriptions"] = write(args.out / f"{name}-texts.txt", lines)
    options = {"parent": str(args.out / f"run-{before}")} if before else {"align": "none", "min_count": 2}
    out, naming = str(args.out / f"data-{name}"), {"name_before": args.name_before}
    distjoint.prepare(out, **files, **options, **naming, overwrite=True, progress=for_terminal())


def write(path: Path, lines: Iterable[str]) -> str | None:
    content = "".join(f"{line}\n" for line in lines)
    path.write_text(content)
    return str(path) if content else None


def train(args: argparse.Namespace, name: str, before: str | None, settings: dict[str, Any]) -> None:
    """Train a run anew, or from the one before."""
    begun = {"parent": str(args.out / f"run-{before}")} if before else {"recipe": args.recipe, "any_graph": True}
    data, out = str(args.out / f"data-{name}"), str(args.out / f"run-{name}")
    distjoint.train(data, out, settings, **begun, overwrite=True, progress=for_terminal())


def timed(folder: Path, make: Callable[[], None]) -> float:
    """CPU seconds of making what lies in a folder; noted beside it, so that it is made once."""
    note = folder.with_suffix(".seconds")
    if not note.is_file():
        start = time.process_time()
        make()
        note.write_text(str(time.process_time() - start))
    return float(note.read_text())


def measure(args: argparse.Namespace, name: str, world: World) -> list[float]:
    """MRR on test triples that a run can know, on those of the beginning, on the others; and mean similarity."""
    run, data = RunFolder.open(str(args.out / f"run-{name}")), Dataset.open(str(args.out / f"data-{name}"))
    splits = {split: data.split(split) for split in SPLITS}
    trained, test = TrainedVectors(run, run.result(), memory=1 << 30), splits["test"]
    known = Triples.together(*splits.values())
    found = link_prediction(trained.model, trained.candidates(*splits.values()), test, known)
    reciprocal = (1 / found.head + 1 / found.tail) / 2
    names = run.rows().column("entity").to_pylist()
    old = np.array([max(world.step[names[h]], world.step[names[t]]) == 0 for h, t in zip(test.head, test.tail)])  # noqa: B905
    figures = [float(reciprocal[which].mean()) if which.any() else np.nan for which in (old | True, old, ~old)]
    return [*figures, similarity(args, name)]


def similarity(args: argparse.Namespace, name: str) -> float:
    """Mean rank correlation over the sets of word pairs; not a number without any."""
    if not args.similarity:
        return float("nan")
    report = distjoint.evaluate(str(args.out / f"run-{name}"), similarity=args.similarity).to_dict()
    return float(np.mean([each["spearman"] for each in report["similarity"]]))


if __name__ == "__main__":
    main()
