"""The demo: WordNet's synsets as a graph whose entities have a text, trained apart and jointly, compared, and asked.

Everything it needs is installed: the database in package `wn`, the word pairs in gensim's test data. The public
functions do all the work, so this file is also a first example of them.
"""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress
from distjoint.data.wordnet.base import Synsets
from distjoint.data.wordnet.princeton import read_synsets
from distjoint.demo import wordnet
from distjoint.storage import Location, locate

HELD_OUT = 0.05
"""Share of the pairs of synsets whose triples are held out, half of them for test."""
WITHHELD = 0.02
"""Share of the synsets that training never names."""
RANKED = 2_000
"""Test triples that are ranked; the others only count as known answers, which keeps the demo short."""
RECIPE = "wordnet-joint"
SETTINGS: Mapping[str, Any] = {
    "train.epochs": 3,
    "train.validate_every": 0,
    "train.patience": 0,
    "train.final_test": False,
}
"""A short training: the recipe goes on for longer."""
RUNS: Mapping[str, Mapping[str, Any]] = {"apart": {"model.coupling": "none"}, "joint": {}}
"""With coupling `none` neither side knows of the other: the run is text alone and graph alone."""
COLUMNS: Mapping[str, tuple[str, Any, Any]] = {
    "text alone": ("apart", "word", "joint"),
    "graph alone": ("apart", "entity", "joint"),
    "the two, side by side": ("apart", "word", "both"),
    "joint": ("joint", "word", "both"),
}
"""Column -> run, and whose vectors stand for words."""
ASKED = ("whale.n.02", "hypernym", "someone who studies rocks")
"""Head and relation of a question, and another head in words."""


def run(out: str, console: Console, progress: Progress, workers: int = 1, settings: Sequence[str] = ()) -> None:
    """Prepare, train apart and jointly, compare, and ask; every result stays in the folder.

    out       folder or URL; what an earlier demo left there is replaced
    console   where the tables go
    workers   1: this process; more: Ray's
    settings  `section.key=value` on top of the demo's own
    raises    DistjointError when the extra `demo` is not installed
    """
    folder, similarity = locate(out), word_pairs()
    progress.say("WordNet 3.0: reading synsets, their names and glosses")
    files = _write_synsets(folder / "wordnet", read_synsets(locate(str(wordnet.installed()))))
    dataset = f"{folder}/dataset"
    console.print(
        distjoint.prepare(
            dataset,
            triples=files["train"],
            valid=files["valid"],
            test=files["test"],
            unseen=files["unseen"],
            labels=files["labels"],
            descriptions=files["glosses"],
            align_ambiguous="most-frequent",
            min_count=2,
            workers=workers,
            overwrite=True,
            progress=progress,
        )
    )
    runs = {name: f"{folder}/{name}" for name in RUNS}
    for name, place in runs.items():
        progress.say(f"training {place}")
        own = [f"{key}={value}" for key, value in {**SETTINGS, **RUNS[name]}.items()]
        config = distjoint.load_config(recipe=RECIPE, overrides=[*own, *settings])
        distjoint.train(dataset, place, config, workers=workers, overwrite=True, progress=progress)
    console.print(_compared(runs, similarity, progress))
    console.print(*_asked(runs["joint"]), sep="\n\n")
    console.print(f"All of it is in {folder}. Try:\n  distjoint nearest {shlex.quote(str(runs['joint']))} whale")
    console.print(f'  distjoint predict {runs["joint"]} --head-text "{ASKED[2]}" --relation derivation')


def word_pairs() -> list[str]:
    """SimLex-999 and WordSim-353 as gensim ships them. raises DistjointError where it is not installed"""
    spec = importlib.util.find_spec("gensim")
    if spec is None or spec.origin is None:
        raise DistjointError("gensim is not installed; it comes with: pip install 'distjoint[demo]'")
    folder = Path(spec.origin).parent / "test" / "test_data"
    return [str(folder / name) for name in ("simlex999.txt", "wordsim353.tsv")]


def _write_synsets(folder: Location, data: Synsets) -> dict[str, str]:
    """WordNet as the files that `prepare` reads. returns the URL of each"""
    train, held = wordnet.hold_out(data.triples, HELD_OUT)
    Random(0).shuffle(held)
    half = len(held) // 2
    names = sorted({end for head, _, tail in data.triples for end in (head, tail)} - {ASKED[0]})
    contents = {
        "train.tsv": map("\t".join, train),
        "valid.tsv": map("\t".join, held[half:]),
        "test.tsv": map("\t".join, held[:half]),
        "unseen.txt": Random(0).sample(names, round(WITHHELD * len(names))),
        "labels.tsv": ("\t".join((name, *dict.fromkeys(lemmas))) for name, lemmas in data.names.items()),
        "glosses.tsv": (f"{name}\t{'; '.join(lines)}" for name, lines in data.glosses.items()),
    }
    folder.make_dir()
    for name, lines in contents.items():
        (folder / name).write_bytes(("\n".join(lines) + "\n").encode())
    return {name.partition(".")[0]: str(folder / name) for name in contents}


def _compared(runs: Mapping[str, str], similarity: Sequence[str], progress: Progress) -> Table:
    """A row for each measure; the best number of each row is bold."""
    ranked = {
        name: distjoint.evaluate(place, link_prediction="test", sample_triples=RANKED, progress=progress).to_dict()
        for name, place in runs.items()
    }
    rows: dict[str, list[float | None]] = {}
    covered: dict[str, list[str]] = {}
    for column, (name, kind, vectors) in COLUMNS.items():
        words = distjoint.evaluate(runs[name], similarity=similarity, kind=kind, vectors=vectors).to_dict()
        for found in words["similarity"]:
            rows.setdefault(f"{found['name']}, Spearman", []).append(found["spearman"])
            covered.setdefault(f"{found['name']} of {found['pairs']}", []).append(str(found["covered"]))
        links = ranked[name]["link_prediction"] if column != "text alone" else {}
        for group, what in ((links, "held-out triples"), (links.get("one_unseen") or {}, "one end unseen")):
            for key, measure in (("mrr", "MRR"), ("hits@10", "Hits@10")):
                rows.setdefault(f"{what}, {measure}", []).append(group.get(key))
    pairs = "; ".join(f"{name}: {', '.join(counts)}" for name, counts in covered.items())
    table = Table(title="WordNet, trained apart and jointly", title_justify="left", box=None, pad_edge=False)
    table.caption, table.caption_justify = f"Word pairs that have both vectors: {pairs}", "left"
    table.add_column("")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name, values in rows.items():
        best = max((value for value in values if value is not None), default=None)
        shown = (Text("" if v is None else f"{v:.3f}", style="bold" if v == best else "") for v in values)
        table.add_row(name, *shown)
    return table


def _asked(place: str) -> list[Any]:
    """Three questions and their answers: what is it, what is it that somebody describes, and why."""
    result = distjoint.load(place)
    head, relation, text = ASKED
    by_name = result.predict(head=head, relation=relation, k=5, known="include")
    by_text = result.predict(head_text=text, relation=relation, k=5, known="include")
    table = Table(title="Questions", title_justify="left", box=None, pad_edge=False)
    for said, answers in ((f"{head} {relation}", by_name), (f'"{text}" {relation}', by_text)):
        table.add_row(said, ", ".join(answer.label or answer.name for answer in answers))
    return [table, result.explain(head, relation, by_name[0].name, top=5)]
