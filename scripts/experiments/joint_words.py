"""What do words gain from a graph whose entities they describe?

python scripts/experiments/joint_words.py --graph WN18RR --name-before , --corpus books.txt.zst \
    --similarity sets/*.txt --out results/joint-words [--seeds 3]

GloVe and the graph are trained apart (coupling `none`, one run) and jointly, on the same text and triples, with the
same settings. Spearman's correlation with people's scores, on the pairs that every line has vectors for, columns
standardised:

* GloVe alone; the same retrofitted to the graph (Faruqui et al. 2015, equation 1, ten rounds);
* the graph alone: the vector of the entity that shares a row with the word; an entity that several bear the name of
  shares it where it has most triples;
* both, trained apart, side by side;
* jointly trained: the word's vector, and that beside its entity's.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from described import figure
from rich.console import Console
from rich.table import Table

import distjoint
from distjoint.base.progress import for_terminal
from distjoint.data.dataset import Dataset
from distjoint.evaluate.chosen import choose
from distjoint.evaluate.sets import WordPairs, read_similarity
from distjoint.evaluate.similarity import similarity
from distjoint.evaluate.space import Space, read_spaces
from distjoint.evaluate.trained import TrainedVectors
from distjoint.recipes.load import parse_settings
from distjoint.runs.folder import RunFolder

COUPLINGS = {"apart": "none", "joint": "described"}
LINES = {
    "GloVe alone": ("apart", "word", "joint"),
    "graph alone": ("apart", "entity", "joint"),
    "apart, side by side": ("apart", "word", "both"),
    "joint, words": ("joint", "word", "joint"),
    "joint, words and entities": ("joint", "word", "both"),
}
RETROFITTED = "GloVe, retrofitted"
ROUNDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", type=Path, required=True, help="folder of a benchmark with texts of its entities")
    parser.add_argument("--name-before", default=None, help="as prepare's; ',' for WN18RR")
    parser.add_argument("--corpus", nargs="*", default=[], help="text besides the descriptions")
    parser.add_argument("--similarity", nargs="+", required=True, metavar="FILE")
    parser.add_argument("--recipe", default="wn18rr-joint")
    parser.add_argument("--min-count", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/joint-words"), help="dataset and runs; these stay")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings besides the recipe's")
    args = parser.parse_args()
    data, progress, sets = args.out / "data", for_terminal(), read_similarity(args.similarity)[0].pairs
    if not (data / "manifest.json").is_file():
        distjoint.prepare(
            str(data),
            graph=str(args.graph),
            corpus=args.corpus,
            descriptions="found",
            name_before=args.name_before,
            read_descriptions=True,
            align_ambiguous="most-frequent",
            min_count=args.min_count,
            overwrite=True,
            progress=progress,
        )
    found: dict[str, list[list[float]]] = defaultdict(list)
    for seed in range(args.seeds):
        runs = {}
        for name, coupling in COUPLINGS.items():
            settings = {**parse_settings(args.set), "model.coupling": coupling, "train.seed": seed}
            runs[name] = str(args.out / "-".join([name, str(seed), *args.set]).replace("/", "_"))
            options = {"recipe": args.recipe, "any_graph": True, "go_on": True}
            distjoint.train(str(data), runs[name], settings, **options, progress=progress)
        for line, values in measure(runs, Dataset.open(str(data)), sets).items():
            found[line].append(values)
    table = Table("", *(f"{pairs.name}" for pairs in sets))
    for line, rows in found.items():
        table.add_row(line, *(figure(values) for values in zip(*rows, strict=True)))
    Console(width=140).print(table)


def measure(runs: Mapping[str, str], data: Dataset, sets: list[WordPairs]) -> dict[str, list[float]]:
    """Spearman's rho of every line on every set, on the pairs that all lines cover."""
    spaces = {}
    for line, (run, kind, vectors) in LINES.items():
        folder = RunFolder.open(runs[run])
        trained = TrainedVectors(folder, folder.result())
        spaces[line] = choose(trained, read_spaces(trained), kind, vectors)  # type: ignore[arg-type]
    spaces[RETROFITTED] = retrofit(spaces["GloVe alone"], data)
    results: dict[str, list[float]] = {line: [] for line in [*LINES, RETROFITTED]}
    for pairs in sets:
        covered = np.logical_and.reduce([similarity(space, pairs).covered for space in spaces.values()])
        kept = np.flatnonzero(covered).tolist()
        some = WordPairs(pairs.name, tuple(pairs.pairs[k] for k in kept), tuple(pairs.scores[k] for k in kept))
        for line in results:
            results[line].append(similarity(spaces[line], some).spearman)
    return results


def retrofit(words: Space, data: Dataset) -> Space:
    """Words pulled to those whose entities a training triple links, each as much as all its neighbours together."""
    names = data.rows(["word"]).column("word").to_pylist()
    place = {name: index for index, name in enumerate(words.names)}
    train = data.split("train")
    near = defaultdict(set)
    for head, tail in zip(train.head.tolist(), train.tail.tolist(), strict=True):
        one, other = place.get(names[head], -1), place.get(names[tail], -1)
        if one >= 0 and other >= 0 and one != other:
            near[one].add(other)
            near[other].add(one)
    vectors = words.vectors.copy()
    for _ in range(ROUNDS):
        for word, others in near.items():
            vectors[word] = (words.vectors[word] + vectors[list(others)].mean(0)) / 2
    return words.with_vectors(vectors)


if __name__ == "__main__":
    main()
