"""The demo: WordNet as graph and text, three runs of one program, and their comparison.

Everything it needs is installed: the database in package `wn`, the word pairs in gensim's test data. The public
functions do all the work, so this file is also a first example of them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress
from distjoint.demo import wordnet
from distjoint.storage import Location, locate

HELD_OUT = 0.1
RANKED = 2_000
"""Held-out triples that are ranked; the others only count as known answers, which keeps the demo short."""
RUNS = {"glove": 0.0, "kge": 1.0, "joint": 0.5}
"""Name of a run, and its `loss.alpha`."""
SETTINGS = {"model.dim": 100, "train.epochs": 5}
TERMS = ("physicist", "violin", "sadness", "new_york")


def run(out: str, console: Console, progress: Progress, workers: int = 1, settings: Sequence[str] = ()) -> None:
    """Prepare, train, compare, and show neighbours; every result stays in the folder.

    out       folder or URL; what an earlier demo left there is replaced
    console   where the tables go
    workers   1: this process; more: Ray's
    settings  `section.key=value` on top of the demo's own
    raises    DistjointError when the extra `demo` is not installed
    """
    folder, similarity = locate(out), word_pairs()
    progress.say("WordNet 3.0: reading triples, glosses and examples")
    files = _write_wordnet(folder / "wordnet")
    dataset = f"{folder}/dataset"
    console.print(
        distjoint.prepare(
            dataset,
            corpus=[files["text"]],
            triples=files["train"],
            valid=files["valid"],
            test=files["test"],
            labels=files["labels"],
            min_count=2,
            workers=workers,
            overwrite=True,
            progress=progress,
        )
    )
    runs = [f"{folder}/{name}" for name in RUNS]
    for place, alpha in zip(runs, RUNS.values(), strict=True):
        progress.say(f"training {place}: loss.alpha = {alpha}")
        own = [f"{key}={value}" for key, value in {**SETTINGS, "loss.alpha": alpha}.items()]
        config = distjoint.load_config(overrides=[*own, *settings])
        distjoint.train(dataset, place, config, workers=workers, overwrite=True, progress=progress)
    console.print(distjoint.compare(runs, link_prediction="test", similarity=similarity, progress=progress))
    console.print(_neighbours(runs))
    console.print(f"All of it is in {folder}. Try:\n  distjoint nearest {runs[-1]} whale")
    console.print(f"  distjoint predict {runs[-1]} --head whale --relation hypernym")


def word_pairs() -> list[str]:
    """SimLex-999 and WordSim-353 as gensim ships them. raises DistjointError where it is not installed"""
    spec = importlib.util.find_spec("gensim")
    if spec is None or spec.origin is None:
        raise DistjointError("gensim is not installed; it comes with: pip install 'distjoint[demo]'")
    folder = Path(spec.origin).parent / "test" / "test_data"
    return [str(folder / name) for name in ("simlex999.txt", "wordsim353.tsv")]


def _write_wordnet(folder: Location) -> dict[str, str]:
    """WordNet as the files that `prepare` reads. returns the URL of each"""
    data = wordnet.read(wordnet.installed())
    train, held = wordnet.hold_out(data.triples, HELD_OUT)
    Random(0).shuffle(held)
    contents = {
        "text.txt": data.text,
        "train.tsv": map("\t".join, train),
        "valid.tsv": map("\t".join, held[RANKED:]),
        "test.tsv": map("\t".join, held[:RANKED]),
        "labels.tsv": map("\t".join, data.labels.items()),
    }
    folder.make_dir()
    for name, lines in contents.items():
        (folder / name).write_bytes(("\n".join(lines) + "\n").encode())
    return {name.partition(".")[0]: str(folder / name) for name in contents}


def _neighbours(runs: list[str]) -> Table:
    """What each run puts next to a few terms: words where it has them, entities where it has only those."""
    table = Table(title="Neighbours", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    results = {Path(place).name: distjoint.load(place) for place in runs}
    for name in results:
        table.add_column(name)
    for term in TERMS:
        cells = []
        for result in results.values():
            kinds = result.kinds(term)
            found = result.nearest(term, 5, kind=kinds[0], of=kinds[0]) if kinds else []
            cells.append("\n".join(near.name for near in found) or "-")
        table.add_row(term, *cells)
        table.add_section()
    return table
