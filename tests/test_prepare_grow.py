"""A dataset that grows: what was there stays where it was, what is new follows, and nothing is lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SHARDS, Small, league, sentences, write_league

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.dataset import Dataset
from distjoint.data.growth import counts as counts_module
from distjoint.data.streams import MENTIONS
from distjoint.table import layout as layout_module

pytestmark = pytest.mark.unit

NEW = [
    ("newcomer_2", "knows", "coacha"),
    ("teamz", "plays_against", "teama"),
    ("teama", "liked_by", "fan_1"),
    ("teama", "plays_against", "teamb"),  # is there already
    ("teamz", "liked_by", "topicaa"),  # a word of before
]
TEXT = ["teamz plays teama with commona topicza fan_1"] * 6
Named = dict[tuple[str, str], float]


@pytest.fixture(scope="module")
def grown(small: Small, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset, list[str]]:
    """The league, what grew from it, and what was said of that."""
    folder = tmp_path_factory.mktemp("grown")
    write(folder)
    summary = grow(small.joint, folder, corpus=str(folder / "new.txt"), triples=str(folder / "new.tsv"), header=False)
    return Dataset.open(small.joint), Dataset.open(str(folder / "grown")), list(summary.notes)


def write(folder: Path) -> None:
    (folder / "new.tsv").write_text("".join("\t".join(triple) + "\n" for triple in NEW))
    (folder / "new.txt").write_text("\n".join(TEXT) + "\n")


def grow(parent: str, folder: Path, **options: Any) -> Any:
    return distjoint.prepare(str(folder / "grown"), parent=parent, **options)


def cells(data: Dataset) -> Named:
    """Counts by the names of their words."""
    words = data.rows(["word"]).column("word").to_pylist()
    ids = [data.layout.rows_of(shard) for shard in range(data.layout.shards)]
    found: Named = {}
    for i, row_ids in enumerate(ids):
        for j, column_ids in enumerate(ids):
            part = data.cells(i, j)
            for row, column, count in zip(part.row, part.column, part.count, strict=True):
                pair = words[row_ids[row]], words[column_ids[column]]
                assert pair not in found
                found[pair] = float(count)
    return found


def triples(data: Dataset, split: str) -> list[tuple[str, str, str]]:
    names, relations = data.rows(["entity"]).column("entity").to_pylist(), data.relations()["name"].to_pylist()
    found = data.split(split)
    ends = zip(found.head.tolist(), found.relation.tolist(), found.tail.tolist(), strict=True)
    return [(names[head], relations[relation], names[tail]) for head, relation, tail in ends]


def mentions(data: Dataset) -> Named:
    """Weights by entity and word, or n-gram."""
    table, layout = data.rows(), data.layout
    names = table.column("entity").to_pylist()
    grams = table.column("gram").to_pylist() if "gram" in table.column_names else [None] * len(table)
    words = [word or f"#{gram}" for word, gram in zip(table.column("word").to_pylist(), grams, strict=True)]
    found: Named = {}
    for span in data.manifest.streams[MENTIONS]:
        limits = {"entity": layout.shard_rows(span.i), "word": layout.shard_rows(span.j), "weight": None}
        part = data.samples(MENTIONS, span.i, span.j, limits)
        entity, word = layout.rows_of(span.i)[part["entity"]], layout.rows_of(span.j)[part["word"]]
        for e, w, weight in zip(entity.tolist(), word.tolist(), part["weight"].tolist(), strict=True):
            found[names[e], words[w]] = weight
    return found


def test_rows_relations_and_splits_of_before_stay_and_new_ones_follow(
    grown: tuple[Dataset, Dataset, list[str]],
) -> None:
    before, after, notes = grown
    old, new = before.rows(), after.rows()
    for column in ("row", "entity", "word", "label"):
        assert new.column(column).to_pylist()[: len(old)] == old.column(column).to_pylist()
    first = before.layout.rows
    assert new.column("entity").to_pylist()[first:] == [None, None, None, "fan_1", "teamz", "newcomer_2", "topicaa"]
    assert new.column("word").to_pylist()[first:][:3] == ["plays", "topicza", "with"]
    assert after.layout.grew_from(before.layout) and after.layout.grown == ((3, 2, 2, 0),)
    known = before.relations()["name"].to_pylist()
    assert after.relations()["name"].to_pylist() == [*known, "liked_by"]
    train, valid, test = league()
    assert Counter(triples(after, "train")) == Counter([*train, *NEW[:3], NEW[4]])
    assert (sorted(triples(after, "valid")), sorted(triples(after, "test"))) == (sorted(valid), sorted(test))
    said = " ".join(notes)
    assert "left out: 1 (such as teama plays_against teamb)" in said
    assert "of one name, of which one is new, which keep rows of their own: 1 (such as topicaa and topicaa)" in said
    degree = dict(zip(new.column("entity").to_pylist(), new.column("degree").to_pylist(), strict=True))
    assert degree["teamz"] == 2 and degree["newcomer_1"] == 0


def test_counts_are_those_of_both_texts(grown: tuple[Dataset, Dataset, list[str]], tmp_path: Path) -> None:
    before, after, _ = grown
    write(tmp_path)
    files = write_league(tmp_path)
    both = tmp_path / "both.tsv"
    both.write_text(Path(files["train"]).read_text() + (tmp_path / "new.tsv").read_text())
    alone = {"corpus": str(tmp_path / "new.txt"), "triples": str(both), "window": 5, "min_count": 1, "shards": 2}
    distjoint.prepare(str(tmp_path / "alone"), **alone)
    new, old, found = cells(Dataset.open(str(tmp_path / "alone"))), cells(before), cells(after)
    assert set(found) == set(old) | set(new)
    assert found == pytest.approx({pair: old.get(pair, 0) + new.get(pair, 0) for pair in found}, rel=1e-6)
    count = dict(zip(after.rows()["word"].to_pylist(), after.rows()["count"].to_pylist(), strict=True))
    spoken = Counter(word for line in [*sentences(), *TEXT] for word in line.split())
    assert (count["teama"], count["topicza"]) == (spoken["teama"], 6)
    assert after.manifest.counts["text_tokens"] == before.manifest.counts["text_tokens"] + 42 + 6


@pytest.mark.parametrize("kind", ["joint", "graph"])
def test_grown_by_nothing_it_is_the_same_and_says_from_where(kind: str, small: Small, tmp_path: Path) -> None:
    parent = Path(getattr(small, kind))
    grow(str(parent), tmp_path)
    same = tmp_path / "grown"
    files = {str(place.relative_to(parent)) for place in parent.rglob("*") if place.is_file()}
    assert files == {str(place.relative_to(same)) for place in same.rglob("*") if place.is_file()}
    for name in files - {"manifest.json"}:
        assert (same / name).read_bytes() == (parent / name).read_bytes(), name
    old, new = (Dataset.open(str(place)).manifest for place in (parent, same))
    assert new.fingerprint() == old.fingerprint() and not old.grown_from
    assert [(each.fingerprint, each.dataset) for each in new.grown_from] == [(old.fingerprint(), str(parent))]
    assert "grown_from" not in json.loads((parent / "manifest.json").read_text())


def test_text_of_entities_is_weighed_as_if_all_were_read_at_once(tmp_path: Path) -> None:
    lines = {"whale": "a large sea animal", "dog": "an animal that barks", "cat": "an animal that sleeps"}
    later = {"seal": "a sea animal that barks", "whale": "a whale sings"}
    everything = {**lines, **later}

    def write_files(name: str, texts: dict[str, str], edges: list[str]) -> dict[str, Any]:
        about, edge = tmp_path / f"{name}.tsv", tmp_path / f"{name}-kg.tsv"
        about.write_text("".join(f"{entity}\t{text}\n" for entity, text in texts.items()))
        edge.write_text("".join(line + "\n" for line in edges))
        return {"descriptions": str(about), "triples": str(edge), "read_descriptions": False, "header": False}

    corpus = tmp_path / "text.txt"
    corpus.write_text("\n".join([*lines.values(), *later.values(), *everything]) + "\n")
    plain = {"min_count": 1, "align": "none", "corpus": str(corpus)}
    edges = ["whale\tis\tdog", "dog\tis\tcat"], ["seal\tis\twhale"]
    distjoint.prepare(str(tmp_path / "first"), **plain, **write_files("first", lines, edges[0]))
    distjoint.prepare(str(tmp_path / "once"), **plain, **write_files("once", everything, edges[0] + edges[1]))
    summary = grow(str(tmp_path / "first"), tmp_path, **write_files("later", later, edges[1]))
    assert "Entities of before that are described anew, and by that alone: 1." in summary.notes
    once, grown = (mentions(Dataset.open(str(tmp_path / name))) for name in ("once", "grown"))
    assert grown == pytest.approx(once, rel=1e-5)
    assert Dataset.open(str(tmp_path / "grown")).manifest.options["min_count"] == 1


def test_an_interrupted_growth_is_continued_to_the_same_bits(
    grown: tuple[Dataset, Dataset, list[str]], small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    given = {"corpus": str(tmp_path / "new.txt"), "triples": str(tmp_path / "new.tsv"), "header": False}
    with pytest.MonkeyPatch.context() as patch:
        writer = counts_module.PartitionWriter
        calls: list[str] = []

        def failing(folder: Any, path: str, schema: Any) -> Any:
            calls.append(path)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return writer(folder, path, schema)

        patch.setattr(counts_module, "PartitionWriter", failing)
        with pytest.raises(KeyboardInterrupt):
            grow(small.joint, tmp_path, **given)
    kept = sorted(place.name for place in (tmp_path / "grown/cooccurrence").iterdir())
    assert len(kept) == SHARDS and all(name.startswith("part-") for name in kept)
    grow(small.joint, tmp_path, **given)
    whole = Path(grown[1].folder.path)
    for place in whole.rglob("*.parquet"):
        assert place.read_bytes() == (tmp_path / "grown" / place.relative_to(whole)).read_bytes()


def test_what_cannot_grow_is_refused_and_said(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    text = str(tmp_path / "new.txt")
    for options, said in (
        ({"window": 7}, r"--window is 7; .*joint was made with 5, and what grows from it must be"),
        ({"shards": 8}, r"--shards 8: .*joint has 4 shards, and .* keeps them"),
        ({"unseen_fraction": 0.1}, "--unseen would move triples"),
        ({"test": str(tmp_path / "new.tsv")}, "--test belongs to a graph; give its new triples with --triples"),
    ):
        with pytest.raises(UsageError, match=said):
            grow(small.joint, tmp_path, corpus=text, **options)
    with pytest.raises(UsageError, match="is what --from grows, which stays as it is"):
        distjoint.prepare(small.joint, parent=small.joint, overwrite=True)
    with pytest.raises(DistjointError, match=r"nowhere: no such dataset"):
        grow(str(tmp_path / "nowhere"), tmp_path, corpus=text)
    monkeypatch.setattr("distjoint.data.growth.growing.MOST_TILE_ROWS", 8)
    with pytest.raises(DistjointError, match=r"tiles would grow to \d+ rows with a word, more than 8; prepare all"):
        grow(small.joint, tmp_path, corpus=text, triples=str(tmp_path / "new.tsv"))
    assert not (tmp_path / "grown").exists()
    assert np.iinfo(np.uint16).max + 1 == layout_module.MOST_TILE_ROWS
