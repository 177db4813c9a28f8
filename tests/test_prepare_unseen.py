"""Entities that are withheld whole: where their triples go, what the others lose, and what is said of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import write_league

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.progress import Silent
from distjoint.data.dataset import Dataset
from distjoint.data.knowledge import Knowledge, read_knowledge
from distjoint.data.request import PrepareOptions
from distjoint.data.streams import NEGATIVES, SPLITS
from distjoint.evaluate.tables import as_text

pytestmark = pytest.mark.unit

Triple = tuple[str, str, str]
Splits = dict[str, set[Triple]]


def write(place: Path, triples: list[Triple]) -> str:
    place.write_text("".join("\t".join(triple) + "\n" for triple in triples))
    return str(place)


def read(files: dict[str, str], **options: Any) -> tuple[Knowledge, Splits]:
    """The graph that `prepare` would write, and its triples by name."""
    paths = {"triples" if split == "train" else split: path for split, path in files.items()}
    known = read_knowledge(PrepareOptions("nowhere", **paths, **options), Silent())
    entities, relations = known.graph.entities.list(), known.graph.relations.list()
    return known, {
        split: {(entities[h], relations[r], entities[t]) for h, r, t in rows.tolist()}
        for split, rows in known.graph.splits.items()
    }


def entities(triples: set[Triple]) -> set[str]:
    return {end for head, _, tail in triples for end in (head, tail)}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A random graph in all splits, negatives with it; no triple is in two."""
    random = np.random.default_rng(0)
    every = {(f"e{h}", f"r{r}", f"e{t}") for h, r, t in random.integers(0, [60, 3, 60], (400, 3)).tolist()}
    parts = np.array_split(random.permutation(sorted(every)), [250, 290, 330, 350])
    names = (*SPLITS, *NEGATIVES)
    return {split: write(tmp_path / split, [tuple(t) for t in part]) for split, part in zip(names, parts, strict=True)}


def test_every_triple_goes_where_its_ends_belong_and_none_is_lost(files: dict[str, str], tmp_path: Path) -> None:
    _, before = read(files)
    named = [f"e{k}" for k in range(0, 60, 4)]
    (tmp_path / "unseen.txt").write_text("\n".join([*named, "", "e0", "nobody"]) + "\n")
    known, after = read(files, unseen=str(tmp_path / "unseen.txt"))
    # Those whose triples are all in test are for test; by which everything else is decided.
    negatives_too = {split: after[split] | after[f"{split}_negatives"] for split in ("valid", "test")}
    test = set(named) - entities(negatives_too["valid"])
    valid = set(named) - test
    assert known.withheld == {"withheld/valid": len(valid), "withheld/test": len(test)} == {
        "withheld/valid": 7, "withheld/test": 8
    }  # fmt: skip
    for splits, first in ((SPLITS, "train"), (NEGATIVES, "valid_negatives")):
        expected: Splits = {split: set() for split in splits}
        moves: Counter[tuple[str, str]] = Counter()
        for split in splits:
            for triple in before[split]:
                ends = {triple[0], triple[2]}
                to = splits[-1] if ends & test else splits[-2] if ends & valid else split
                expected[to].add(triple)
                moves[split, to] += split != to
        assert {split: after[split] for split in splits} == expected
        assert moves[first, splits[-1]] > 0
        for (split, to), count in moves.items():
            assert not count or any(f"{count:,} from {split} to {to}" in note for note in known.notes)
    assert not entities(after["train"]) & set(named)
    assert f"Entities of {tmp_path}/unseen.txt that are in no triple, left out: 1 (such as nobody)." in known.notes
    assert f"Lines of {tmp_path}/unseen.txt that name an entity again: 1." in known.notes


def test_the_draw_is_of_the_names_and_the_seed(files: dict[str, str], tmp_path: Path) -> None:
    _, before = read(files)
    known, after = read(files, unseen_fraction=0.1)
    withheld = entities(before["train"]) - entities(after["train"])
    assert len(withheld) == round(0.1 * len(entities(before["train"]))) == sum(known.withheld.values()) == 6
    lines = Path(files["train"]).read_text().splitlines()
    turned = write(tmp_path / "turned", [tuple(line.split("\t")) for line in reversed(lines)])  # type: ignore[misc]
    assert read({**files, "train": turned}, unseen_fraction=0.1)[1] == after
    assert read(files, unseen_fraction=0.1, seed=1)[1]["train"] != after["train"]
    # With a share of the triples held out as well, and no valid and test of their own.
    _, both = read({"train": files["train"]}, unseen_fraction=0.1, valid_fraction=0.1)
    assert set(both) == set(SPLITS) and set.union(*both.values()) == before["train"]
    assert len(entities(both["train"])) <= len(entities(before["train"])) - 5


def test_what_the_others_lose_is_said_and_what_meets_again_is_dropped(tmp_path: Path) -> None:
    train: list[Triple] = [("hub", "r", f"leaf{k}") for k in range(3)] + [("hub", "only", "a"), ("a", "r", "b")]
    files = {"train": write(tmp_path / "train", train), "test": write(tmp_path / "test", train[:1])}
    (tmp_path / "unseen.txt").write_text("hub\n")
    known, after = read(files, unseen=str(tmp_path / "unseen.txt"))
    assert after == {"train": {("a", "r", "b")}, "test": set(train[:4])}
    assert known.notes == [
        "Duplicate test triples, dropped: 1.",
        "Entities withheld from training: 0 for valid, 1 for test (such as hub).",
        "Triples that moved with them: 4 from train to test.",
        "Other entities that lost all their training triples by it: 3 (such as leaf0).",
        "Relations that lost all their training triples by it: 1 (such as only).",
    ]


def test_the_dataset_says_what_was_withheld(tmp_path: Path) -> None:
    files, out = write_league(tmp_path), str(tmp_path / "data")
    (tmp_path / "unseen.txt").write_text("teama\nteamb\ncoachc\nnewcomer_1\n")
    graph = {"triples": files["train"], "valid": files["valid"], "test": files["test"]}
    counts = distjoint.prepare(out, **graph, unseen=str(tmp_path / "unseen.txt")).counts
    assert (counts["withheld/valid"], counts["withheld/test"]) == (2, 2)
    data = Dataset.open(out)
    assert data.manifest.counts == counts and data.manifest.options["unseen"] == str(tmp_path / "unseen.txt")
    rows = {row["entity"]: row["degree"] for row in data.rows().to_pylist()}
    assert [rows[name] for name in ("teama", "teamb", "coachc", "newcomer_1")] == [0, 0, 0, 0] and rows["teamd"] > 0
    degree = data.rows()["degree"].to_numpy()
    for split in ("valid", "test"):
        triples = data.split(split)
        unseen = ((degree[triples.head] == 0) | (degree[triples.tail] == 0)).sum()
        assert 0 < counts[f"unseen/{split}"] == unseen < len(triples)
    summary = distjoint.prepare(out, triples=files["train"], unseen_fraction=0.2, overwrite=True)
    drawn = sum(summary.counts[f"withheld/{split}"] for split in ("valid", "test"))
    assert f"{drawn} withheld from training" in as_text(summary)


def test_a_benchmark_of_another_graphs_entities_is_all_unseen(tmp_path: Path) -> None:
    """As GraIL has it: the entities of `..._ind` are none of those of train."""
    train, test = (
        write(tmp_path / "train", [("a", "r", "b"), ("b", "r", "c")]),
        write(tmp_path / "t", [("x", "r", "y")]),
    )
    summary = distjoint.prepare(str(tmp_path / "data"), triples=train, test=test)
    assert summary.counts["unseen/test"] == summary.counts["triples/test"] == 1


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("x\ny\n", {}, "unseen.txt: none of its 2 entities is in the triples: it has 'x', they have 'a'"),
        ("a\tb\n", {}, "unseen.txt, line 1: expected the name of an entity, found 2 columns"),
        ("", {}, "unseen.txt: the file is empty"),
        ("\n", {}, "unseen.txt: none of its 0 entities is in the triples: it is empty"),
        ("b\n", {}, "withholds 1 of 3 entities and leaves no triple to train on; withhold fewer"),
        ("a\n", {"unseen_fraction": 0.5}, "--unseen names a file, so --unseen-fraction cannot be 0.5"),
        (
            None,
            {"unseen_fraction": 1.0},
            "--unseen-fraction 1 withholds 3 of 3 entities and leaves no triple to train on",
        ),
        (None, {"unseen_fraction": 1.5}, "--unseen-fraction is 1.5; it must be at most 1"),
        (None, {"unseen_fraction": 0.5, "train": None}, "--unseen-fraction belongs to a graph"),
    ],
)
def test_what_cannot_be_withheld_is_named(
    content: str | None, options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    train = write(tmp_path / "train", [("a", "r", "b"), ("b", "r", "c")])
    (tmp_path / "text.txt").write_text("some words\n")
    given: dict[str, Any] = {"corpus": str(tmp_path / "text.txt"), "triples": train, **options}
    if given.pop("train", train) is None:
        del given["triples"]
    if content is not None:
        (tmp_path / "unseen.txt").write_text(content)
        given["unseen"] = str(tmp_path / "unseen.txt")
    with pytest.raises((DistjointError, UsageError)) as caught:
        distjoint.prepare(str(tmp_path / "data"), **given)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()
