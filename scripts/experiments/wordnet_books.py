"""Does one table for text and graph beat the two apart? Books and WordNet's glosses, and WordNet's word pairs.

python scripts/experiments/wordnet_books.py DATA --out results/ [--seeds 0 1 2]

DATA holds text/classic-books.txt.zst, wordnet-3.0/, words/similarity/ and words/analogy/. An entity is a word of
the text's vocabulary, so every entity is aligned. 5 % of the word pairs are the test set, 5 % of the rest the
validation set; antonym and also-see are left out. Datasets: all training triples, and a random quarter.

GloVe alone, the graph alone, `tie` and `dual` each try the same number of settings with the first seed, on each
dataset, and the best goes on to all seeds. GloVe is chosen by analogies, which are not among the results;
everything with a graph by validation MRR alone, so no word set has a say. The graph alone stops when validation
does, and keeps its best epoch.

Every run is recorded under --out when it is done; a second call does what is left. About two hours on 2 cores, 4 GB of
disk; `--jobs 2` runs two regimes at a time, on half of the cores each, in about two thirds of that.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq

import distjoint
from distjoint.base.progress import Progress, for_terminal
from distjoint.demo import wordnet

HELD_OUT = 0.05
QUARTER = 0.25
SETS = {
    "SimLex": "EN-SIMLEX-999.txt",
    "RW": "EN-RW-STANFORD.txt",
    "WS-sim": "EN-WS-353-SIM.txt",
    "WS-rel": "EN-WS-353-REL.txt",
    "MEN": "EN-MEN-TR-3k.txt",
}
COLUMNS = [*SETS, "MRR", "H@10"]

Settings = Mapping[str, Any]

COMMON: Settings = {
    "model.dim": 100,
    "model.scorer": "transe",
    "model.cosine": True,
    "graph.mask_known": False,  # as it was when docs/results.md was measured
    "train.keep": 1,
}
GLOVE: Settings = {**COMMON, "loss.alpha": 0}
GRAPH: Settings = {**COMMON, "loss.alpha": 1, "train.epochs": 24, "train.validate_every": 1, "train.patience": 2}
JOINT: Settings = {**COMMON, "train.epochs": 10}


@dataclass(frozen=True)
class Regime:
    """One way to train, and the settings it may choose from; each has as many.

    name      `glove`, `graph`, `tie` or `dual`
    dataset   `text`, `full` or `quarter`
    """

    name: str
    dataset: str
    base: Settings
    trials: tuple[Settings, ...]

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.dataset}"

    @property
    def chosen_by(self) -> str:
        return "analogies" if self.name == "glove" else "valid MRR"


def regimes() -> list[Regime]:
    glove = ({"train.epochs": 15}, {"train.epochs": 30}, {"train.epochs": 15, "text.learning_rate": 0.1})
    found = [Regime("glove", "text", GLOVE, glove)]
    for dataset, passes in (("full", 1), ("quarter", 2)):  # fewer triples want more passes
        graph: Settings = {**GRAPH, "train.triple_passes": 5 * passes}
        rates = tuple({"graph.learning_rate": rate} for rate in (0.1, 0.2, 0.05))
        found.append(Regime("graph", dataset, graph, rates))
        # How free the graph is of the text, by alpha and the learning rate; in `dual`, of the word, by own_l2.
        bound: Settings = {"loss.alpha": 0.5, "graph.learning_rate": 0.1, "graph.own_l2": 0.1}
        free: Settings = {"loss.alpha": 0.75, "graph.learning_rate": 0.2, "graph.own_l2": 0.01}
        joint = tuple(
            {**how, "train.triple_passes": count * passes} for how, count in ((bound, 6), (free, 6), (free, 10))
        )
        found += [Regime(name, dataset, {**JOINT, "model.coupling": name}, joint) for name in ("tie", "dual")]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder described above")
    parser.add_argument("--out", type=Path, default=Path("results"), help="what is made and what was found")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="only these regimes, like dual-full")
    parser.add_argument("--jobs", type=int, default=1, help="regimes at a time")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    datasets = prepare(args.data, args.out)
    experiments = [
        Experiment(regime, datasets[regime.dataset], args.data, args.out, args.jobs)
        for regime in regimes()
        if not args.only or regime.folder in args.only
    ]
    if args.jobs == 1:
        chosen = [experiment.all(args.seeds) for experiment in experiments]
    else:
        with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
            chosen = list(pool.map(Experiment.all, experiments, [args.seeds] * len(experiments)))
    report(
        args.out, args.seeds, dict(zip([experiment.regime.folder for experiment in experiments], chosen, strict=True))
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def prepare(data: Path, out: Path) -> dict[str, str]:
    """The three datasets: the text alone, which gives the vocabulary, then all triples, then a quarter."""
    places = {name: str(out / "datasets" / name) for name in ("text", "full", "quarter")}
    files = out / "files"
    files.mkdir(exist_ok=True)
    net = wordnet.read(data / "wordnet-3.0")
    glosses = files / "glosses.txt"
    glosses.write_text("\n".join(net.text) + "\n")
    corpus = [str(data / "text" / "classic-books.txt.zst"), str(glosses)]
    make(places["text"], corpus=corpus)
    rows = pq.read_table(Path(places["text"]) / "rows.parquet", columns=["word"])
    vocabulary = set(rows.column("word").to_pylist())
    rest, test = wordnet.hold_out(wordnet.within(net.triples, vocabulary), HELD_OUT, seed=0)
    train, valid = wordnet.hold_out(rest, HELD_OUT, seed=1)
    quarter = Random(2).sample(train, round(QUARTER * len(train)))
    say(f"{len(vocabulary):,} words; triples: {len(train):,} / {len(valid):,} / {len(test):,}")
    paths = {}
    for name, triples in (("full", train), ("quarter", quarter), ("valid", valid), ("test", test)):
        paths[name] = files / f"{name}.tsv"
        paths[name].write_text("".join("\t".join(triple) + "\n" for triple in triples))
    for name in ("full", "quarter"):
        held = {split: str(paths[split]) for split in ("valid", "test")}
        make(places[name], corpus=corpus, triples=str(paths[name]), **held)
    return places


def make(place: str, **options: Any) -> None:
    if not (Path(place) / "manifest.json").exists():
        say(f"preparing {place}")
        distjoint.prepare(place, min_count=5, window=10, overwrite=True, progress=for_terminal(), **options)


@dataclass(frozen=True)
class Experiment:
    """The runs of one regime, while `jobs` of them run at a time."""

    regime: Regime
    dataset: str
    data: Path
    out: Path
    jobs: int

    def all(self, seeds: Sequence[int]) -> Settings:
        """Choose with the first seed, train with all; returns what was chosen."""
        trial = self.choose(seeds[0])
        for seed in seeds:
            self.run(trial, seed)
        say(f"{self.regime.folder}: done")
        return trial

    @property
    def progress(self) -> Progress | None:
        return for_terminal() if self.jobs == 1 else None

    def choose(self, seed: int) -> Settings:
        """Try every setting with one seed; the one that validates best."""
        records = [self.run(trial, seed) for trial in self.regime.trials]
        best = max(range(len(records)), key=lambda place: records[place]["validation"])
        scores = ", ".join(f"{record['validation']:.4f}" for record in records)
        say(f"{self.regime.folder}: {self.regime.chosen_by} of trials {scores}; chosen {self.regime.trials[best]}")
        return self.regime.trials[best]

    def run(self, trial: Settings, seed: int) -> dict[str, Any]:
        """Train and measure, unless that is done already; returns the record."""
        number = self.regime.trials.index(trial)
        name = f"{self.regime.folder}-trial{number}-seed{seed}"
        record = self.out / "records" / f"{name}.json"
        if not record.exists():
            record.parent.mkdir(exist_ok=True)
            run = self.out / "runs" / name
            threads = max(1, (os.cpu_count() or 1) // self.jobs)
            settings = {**self.regime.base, **trial, "train.seed": seed, "train.threads": threads}
            say(f"training {name}: {dict(trial)}")
            start = time.perf_counter()
            result = distjoint.train(self.dataset, str(run), settings, overwrite=True, progress=self.progress)
            seconds = time.perf_counter() - start
            found = {"settings": settings, "seconds": seconds, "epochs": len(result.history), **self.measure(str(run))}
            record.write_text(json.dumps(found, indent=1))
            say(f"  {seconds:.0f} s, " + ", ".join(f"{key} {value:.3f}" for key, value in found["test"].items()))
            shutil.rmtree(run / "checkpoints")  # the record is what is kept
        found = json.loads(record.read_text())
        return dict(found)

    def measure(self, run: str) -> dict[str, Any]:
        """Validation, which decides, and test, which is reported."""
        sets = self.data / "words" / "similarity"
        words = distjoint.evaluate(run, similarity=[str(sets / file) for file in SETS.values()]).to_dict()
        test = {name: result["spearman"] for name, result in zip(SETS, words["similarity"], strict=True)}
        if self.regime.name == "glove":
            questions = str(self.data / "words" / "analogy" / "*.txt")
            answers = distjoint.evaluate(run, analogies=[questions]).to_dict()
            return {"validation": answers["analogies"]["total"]["accuracy"], "test": test}
        links = {
            split: distjoint.evaluate(run, link_prediction=split).to_dict()["link_prediction"]
            for split in ("valid", "test")
        }
        test |= {"MRR": links["test"]["mrr"], "H@10": links["test"]["hits@10"]}
        return {"validation": links["valid"]["mrr"], "test": test}


def report(out: Path, seeds: Sequence[int], chosen: Mapping[str, Settings]) -> None:
    """The table of means and standard errors over the seeds, as JSON and as Markdown."""
    by_folder = {regime.folder: regime for regime in regimes()}
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    summary: dict[str, Any] = {}
    for folder, trial in chosen.items():
        number = by_folder[folder].trials.index(trial)
        records = [
            json.loads((out / "records" / f"{folder}-trial{number}-seed{seed}.json").read_text()) for seed in seeds
        ]
        values = {
            column: [record["test"][column] for record in records] for column in COLUMNS if column in records[0]["test"]
        }
        minutes = statistics.mean(record["seconds"] for record in records) / 60
        summary[folder] = {"settings": dict(trial), "values": values, "minutes": minutes}
        cells = [spread(values[column], 4 if column == "MRR" else 3) if column in values else "" for column in COLUMNS]
        lines.append(f"| {folder} | " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    (out / "wordnet_books.json").write_text(json.dumps(summary, indent=1))
    (out / "wordnet_books.md").write_text(f"Mean ± standard error over {len(seeds)} seeds.\n\n{table}\n")
    print(table)


def spread(values: Sequence[float], digits: int) -> str:
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()
