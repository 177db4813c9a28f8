"""Benchmarks in the folders they come in: which file is which, negatives, types of entities."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_prepare_continue import Said, content, interrupt_after, write_inputs

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.benchmark import find_benchmark
from distjoint.data.dataset import Dataset
from distjoint.data.request import PrepareOptions
from distjoint.data.triples import read_graph
from distjoint.data.types import Domains, read_types
from distjoint.storage import locate

pytestmark = pytest.mark.unit

TRAIN = [("dog", "is_a", "animal"), ("cat", "is_a", "animal"), ("dog", "likes", "cat")]
VALID = [("cat", "likes", "dog")]
TEST = [("cow", "is_a", "animal")]
WRONG = [("animal", "is_a", "dog"), ("unicorn", "is_a", "animal")]


def write(place: Path, triples: list[tuple[str, str, str]]) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join("\t".join(triple) + "\n" for triple in triples))
    return place


def plain(folder: Path, **names: str) -> Path:
    for split, triples in {"train": TRAIN, "valid": VALID, "test": TEST}.items():
        write(folder / names.get(split, f"{split}.txt"), triples)
    return folder


def openke(folder: Path) -> Path:
    """As OpenKE has it: counted, numbered, the relation last."""
    folder.mkdir()
    entities, relations = ["animal", "dog", "cat", "cow"], ["likes", "is_a"]
    for name, names in {"entity": entities, "relation": relations}.items():
        lines = [f"{name}\t{number}" for number, name in enumerate(names)]
        (folder / f"{name}2id.txt").write_text("\n".join([str(len(names)), *lines, ""]))
    for split, triples in {"train": TRAIN, "valid": VALID, "test": TEST}.items():
        lines = [f"{entities.index(h)} {entities.index(t)} {relations.index(r)}" for h, r, t in triples]
        (folder / f"{split}2id.txt").write_text("\n".join([str(len(triples)), *lines, ""]))
    (folder / "type_constrain.txt").write_text("2\n0 1 1\n")
    return folder


def triples_of(data: Dataset, split: str) -> set[tuple[str, str, str]]:
    names, relations = data.rows()["entity"].to_pylist(), data.relations()["name"].to_pylist()
    found = data.split(split)
    return {(names[h], relations[r], names[t]) for h, r, t in zip(found.head, found.relation, found.tail, strict=True)}


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        ({}, "plain"),
        ({"train": "train.tsv", "valid": "dev.tsv", "test": "test.tsv"}, "plain"),
        ({"train": "train", "valid": "valid", "test": "test"}, "plain"),
        ({split: f"wordnet-mlj12-{split}.txt" for split in ("train", "valid", "test")}, "plain"),
        ({split: f"Release/{split}.txt" for split in ("train", "valid", "test")}, "plain"),
        ({split: f"original/{split}.txt" for split in ("train", "valid", "test")}, "plain"),
        ({split: f"only/{split}.txt" for split in ("train", "valid", "test")}, "plain"),
    ],
)
def test_splits_are_found_by_the_names_that_benchmarks_give_them(
    names: dict[str, str], layout: str, tmp_path: Path
) -> None:
    folder = plain(tmp_path / "graph", **names)
    for other in ("entity2text.txt", "literals.txt", "train2text.txt", "README", "train.txt.md5"):
        (folder / other).write_text("something else\n")
    found = find_benchmark(locate(str(folder)))
    asked = {split: str(folder / names.get(split, f"{split}.txt")) for split in ("train", "valid", "test")}
    assert (found.layout, dict(found.paths), found.types) == (layout, asked, None)


def test_a_compressed_benchmark_is_prepared_and_said(tmp_path: Path) -> None:
    folder = plain(tmp_path / "graph")
    (folder / "train.txt.gz").write_bytes(gzip.compress((folder / "train.txt").read_bytes()))
    (folder / "train.txt").unlink()
    summary = distjoint.prepare(str(tmp_path / "data"), graph=str(folder))
    assert f"Graph found: {folder}: train.txt.gz, valid.txt, test.txt." in summary.notes
    data = Dataset.open(str(tmp_path / "data"))
    assert triples_of(data, "train") == set(TRAIN) and triples_of(data, "valid") == set(VALID)
    assert data.manifest.options["triples"] == str(folder / "train.txt.gz")
    assert not len(data.split("valid_negatives")) and data.domains() is None


def test_a_benchmark_is_found_at_a_url(tmp_path: Path) -> None:
    for folder in (codex(tmp_path / "codex"), openke(tmp_path / "openke")):
        for place in folder.iterdir():
            with fsspec.open(f"memory://kg/{folder.name}/{place.name}", "wb") as stream:
                stream.write(place.read_bytes())
        distjoint.prepare(str(tmp_path / f"data-{folder.name}"), graph=f"memory://kg/{folder.name}")
        data = Dataset.open(str(tmp_path / f"data-{folder.name}"))
        assert triples_of(data, "train") == set(TRAIN) and triples_of(data, "test") == set(TEST)
        assert len(data.split("test_negatives")) == (folder.name == "codex")


def test_what_is_named_goes_before_what_is_found(tmp_path: Path) -> None:
    folder, other = plain(tmp_path / "graph"), write(tmp_path / "other.tsv", [("dog", "likes", "cow")])
    summary = distjoint.prepare(str(tmp_path / "data"), graph=str(folder), test=str(other))
    assert f"Graph found: {folder}: train.txt, valid.txt." in summary.notes
    data = Dataset.open(str(tmp_path / "data"))
    assert triples_of(data, "test") == {("dog", "likes", "cow")} and triples_of(data, "valid") == set(VALID)


BLP = {"train": "ind-train.tsv", "valid": "ind-dev.tsv", "test": "ind-test.tsv"}


def test_of_two_files_of_one_split_the_other_is_named(tmp_path: Path) -> None:
    folder = plain(tmp_path / "graph")
    write(folder / "train.tsv", TRAIN[:1])
    write(folder / "test.del", TEST)
    summary = distjoint.prepare(str(tmp_path / "data"), graph=str(folder))
    assert summary.counts["triples/train"] == 3
    said = "train.txt, valid.txt, test.txt; not train.tsv, test.del, of the same splits: --triples"
    assert any(said in note for note in summary.notes)


def test_numbers_with_openkes_names_beside_them_are_read_as_names(tmp_path: Path) -> None:
    """As ICEWS has them: no line of their count, time in a fourth column."""
    folder = write(tmp_path / "graph" / "entity2id.txt", []).parent
    (folder / "entity2id.txt").write_text("dog\t0\ncat\t1\n")
    (folder / "relation2id.txt").write_text("likes\t0\n")
    (folder / "train.txt").write_text("0\t0\t1\t24\n1\t0\t0\t48\n")
    summary = distjoint.prepare(str(tmp_path / "data"), graph=str(folder), triple_columns="0,1,2")
    found = triples_of(Dataset.open(str(tmp_path / "data")), "train")
    assert found == {("dog", "likes", "cat"), ("cat", "likes", "dog")}
    assert any("Numbers read as names of entity2id.txt" in note for note in summary.notes)


def test_blps_split_by_entities_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    alone = plain(tmp_path / "alone", **BLP)
    found = find_benchmark(locate(str(alone)))
    assert (found.layout, dict(found.paths)) == ("BLP", {split: str(alone / name) for split, name in BLP.items()})
    # Beside a usual split it is not mixed with it: no file of one tests what the other trained.
    both = plain(tmp_path / "both", **BLP)
    write(both / "train.tsv", [*TRAIN, *TEST])
    (both / "ind-notes.md").write_text("x")
    summary = distjoint.prepare(str(tmp_path / "data"), graph=str(both))
    assert triples_of(Dataset.open(str(tmp_path / "data")), "train") == {*TRAIN, *TEST}
    assert "triples/test" not in summary.counts
    said = "not ind-train.tsv, ind-dev.tsv, ind-test.tsv, a split by entities: name them with --triples"
    assert any(said in note for note in summary.notes)
    files = {split: str(both / name) for split, name in BLP.items() if split != "train"}
    summary = distjoint.prepare(str(tmp_path / "named"), graph=str(both), triples=str(both / "ind-train.tsv"), **files)
    assert triples_of(Dataset.open(str(tmp_path / "named")), "train") == set(TRAIN)
    assert summary.counts["unseen/test"] == 1 and not any("by entities" in note for note in summary.notes)


def test_openkes_numbers_are_read_as_their_names(tmp_path: Path) -> None:
    summary = distjoint.prepare(str(tmp_path / "data"), graph=str(openke(tmp_path / "graph")))
    assert any("train2id.txt, valid2id.txt, test2id.txt (the layout of OpenKE)" in note for note in summary.notes)
    data = Dataset.open(str(tmp_path / "data"))
    for split, triples in {"train": TRAIN, "valid": VALID, "test": TEST}.items():
        assert triples_of(data, split) == set(triples)


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("train2id.txt", "3\n0 1 0\n", "train2id.txt: line 1 says 3 triples, there are 1; get it again"),
        ("train2id.txt", "0 1 0\n1 2 0\n", "train2id.txt, line 1: '0 1 0'; expected the count of the triples below it"),
        ("train2id.txt", "2\n0 1 0\n0 1\n", "train2id.txt, line 3: '0 1'; expected three numbers"),
        ("train2id.txt", "1\n0 1 7\n", "train2id.txt, line 2: relation 7, but relation2id.txt numbers 0 to 1"),
        ("train2id.txt", "2\n0 1 0\n0 9 0\n", "train2id.txt, line 3: entity 9, but entity2id.txt numbers 0 to 3"),
        ("train2id.txt", "1\ndog is_a cat\n", "train2id.txt, line 2: 'dog is_a cat'; expected three numbers"),
        ("train2id.txt", "", "train2id.txt: the file is empty"),
        ("entity2id.txt", "4\na\t0\n", "entity2id.txt: line 1 says 4 names, there are 1"),
        ("entity2id.txt", "2\na\t0\nb\t0\n", "entity2id.txt, line 3: number 0 is there already, for 'a'"),
        ("entity2id.txt", "2\na\t0\na\t1\n", "entity2id.txt: 'a' has two numbers, 0 and 1"),
        ("entity2id.txt", None, "entity2id.txt: no such file"),
    ],
)
def test_what_is_wrong_with_numbers_is_named(file: str, text: str | None, says: str, tmp_path: Path) -> None:
    folder = openke(tmp_path / "graph")
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    with pytest.raises(DistjointError) as caught:
        distjoint.prepare(str(tmp_path / "data"), graph=str(folder))
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_folder_without_a_graph_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.md").write_text("x")
    with pytest.raises(DistjointError, match=r"empty: no training triples: looked for train\.txt .*it holds notes\.md"):
        distjoint.prepare(str(tmp_path / "data"), graph=str(tmp_path / "empty"))
    with pytest.raises(DistjointError, match=r"none: no such folder"):
        distjoint.prepare(str(tmp_path / "data"), graph=str(tmp_path / "none"))
    with pytest.raises(DistjointError, match=r"notes\.md: is a file; .*goes to --triples"):
        find_benchmark(locate(str(tmp_path / "empty/notes.md")))
    for name in ("codex-s", "codex-m"):
        plain(tmp_path / "codex/data/triples" / name)
    with pytest.raises(DistjointError, match=r"codex: holds 2 graphs; give one of them with --graph: .*/codex-m, "):
        distjoint.prepare(str(tmp_path / "data"), graph=str(tmp_path / "codex"))


def codex(folder: Path) -> Path:
    plain(folder)
    write(folder / "valid_negatives.txt", WRONG[:1])
    write(folder / "test_negatives.txt", WRONG[1:])
    return folder


def test_negatives_have_rows_but_are_neither_degrees_nor_answers(tmp_path: Path) -> None:
    summary = distjoint.prepare(str(tmp_path / "data"), graph=str(codex(tmp_path / "graph")))
    assert any("(the layout of CoDEx)" in note for note in summary.notes)
    data = Dataset.open(str(tmp_path / "data"))
    assert triples_of(data, "valid_negatives") == {WRONG[0]} and triples_of(data, "test_negatives") == {WRONG[1]}
    rows = {row["entity"]: row for row in data.rows().to_pylist()}
    assert rows["unicorn"]["degree"] == 0 and rows["animal"]["degree"] == 2
    assert data.relations()["frequency"].to_pylist() == [2, 1]
    plain_counts = distjoint.prepare(str(tmp_path / "plain"), graph=str(plain(tmp_path / "other"))).counts
    for name in ("triples/train", "triples/valid", "triples/test", "relations", "aligned_ends/0"):
        assert data.manifest.counts[name] == plain_counts[name]
    assert data.manifest.counts["triples/valid_negatives"] == 1
    assert "3 triples" not in str(summary) and "5 triples" in str(summary)


def test_negatives_that_are_true_are_counted_and_need_a_graph(tmp_path: Path) -> None:
    files = {split: str(write(tmp_path / split, triples)) for split, triples in {"a": TRAIN, "b": TRAIN[:2]}.items()}
    graph = read_graph({"train": files["a"], "test_negatives": files["b"]})
    assert graph.repeated == {"test_negatives": 2}
    with pytest.raises(UsageError, match="--test-negatives alone is not enough"):
        distjoint.prepare(str(tmp_path / "data"), test_negatives=files["b"])
    with pytest.raises(UsageError, match="--types belongs to a graph"):
        distjoint.prepare(str(tmp_path / "data"), corpus=files["a"], types=files["b"])


TYPES = [("dog", "pet"), ("cat", "pet"), ("cat", "hunter"), ("cow", "cattle"), ("animal", "kind"), ("ufo", "thing")]


def typed(tmp_path: Path, types: list[tuple[str, str]] = TYPES, as_json: bool = False) -> Any:
    place = tmp_path / ("types.json" if as_json else "types.tsv")
    if as_json:
        place.write_text(json.dumps({entity: [t for e, t in types if e == entity] for entity, _ in types}))
    else:
        place.write_text("".join(f"{entity}\t{name}\n" for entity, name in types))
    graph = plain(tmp_path / "graph")
    return distjoint.prepare(str(tmp_path / "data"), graph=str(graph), types=str(place), overwrite=True)


def allowed(data: Dataset, relation: str, side: Any) -> set[str]:
    domains = data.domains()
    assert isinstance(domains, Domains)
    which = domains.allowed(data.relations()["name"].to_pylist().index(relation), side)
    return {name for name, yes in zip(data.rows()["entity"].to_pylist(), which.tolist(), strict=True) if yes}


@pytest.mark.parametrize("as_json", [False, True])
def test_a_type_seen_at_one_end_allows_all_who_share_it(as_json: bool, tmp_path: Path) -> None:
    summary = typed(tmp_path, as_json=as_json)
    assert any("in no triple, left out: 1 (such as " in note for note in summary.notes)
    assert (summary.counts["types"], summary.counts["typed"]) == (4, 4)
    data = Dataset.open(str(tmp_path / "data"))
    assert allowed(data, "is_a", "head") == {"dog", "cat"}
    assert allowed(data, "is_a", "tail") == {"animal"}
    assert allowed(data, "likes", "head") == {"dog", "cat"}  # the cat is a pet
    assert allowed(data, "likes", "tail") == {"dog", "cat"}
    domains = data.domains()
    assert domains is not None and domains.type_of.dtype == np.int32 and len(domains.type_of) == data.layout.rows


def test_entities_without_types_vouch_for_each_other_alone(tmp_path: Path) -> None:
    summary = typed(tmp_path, [("cat", "hunter"), ("animal", "kind")])
    assert "Entities without a type: 2 (such as dog)." in summary.notes  # dog, cow
    data = Dataset.open(str(tmp_path / "data"))
    assert allowed(data, "is_a", "head") == {"dog", "cow", "cat"}
    assert allowed(data, "is_a", "tail") == {"animal"}
    assert allowed(data, "likes", "tail") == {"cat"}


def test_domains_are_those_of_the_definition(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    triples = [tuple(map(str, (f"e{h}", f"r{r}", f"e{t}"))) for h, r, t in random.integers(0, [30, 4, 30], (40, 3))]
    types = {f"e{k}": {f"t{t}" for t in random.integers(0, 6, random.integers(0, 3))} for k in range(30)}
    (tmp_path / "types.tsv").write_text("".join(f"{e}\t{t}\n" for e, names in types.items() for t in sorted(names)))
    write(tmp_path / "kg.tsv", triples)  # type: ignore[arg-type]
    (tmp_path / "text.txt").write_text("some e1 e2 words " * 9)
    distjoint.prepare(
        str(tmp_path / "data"), corpus=str(tmp_path / "text.txt"), triples=str(tmp_path / "kg.tsv"),
        types=str(tmp_path / "types.tsv"),
    )  # fmt: skip
    data, seen = Dataset.open(str(tmp_path / "data")), {e for h, _, t in triples for e in (h, t)}
    for relation in ("r0", "r1", "r2", "r3"):
        for side, end in (("head", 0), ("tail", 2)):
            there = [types[triple[end]] for triple in triples if triple[1] == relation]
            right = {e for e in seen if any(types[e] & other or not (types[e] or other) for other in there)}
            assert allowed(data, relation, side) == right


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.tsv", "dog\n", "t.tsv, line 1: expected 'entity TAB type', found 1 columns"),
        ("t.tsv", "\n\n", "t.tsv: no types in it"),
        ("t.tsv", "ufo\tthing\n", "none of its 1 entities is in the graph: it has 'ufo', the graph has 'dog'"),
        ("t.json", "[1]", "t.json: holds list"),
        ("t.json", '{"dog": "pet"}', "entity 'dog' has pet; expected a list of types"),
        ("t.json", "{", "t.json: not JSON"),
    ],
)
def test_wrong_types_are_named(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DistjointError) as caught:
        distjoint.prepare(str(tmp_path / "data"), graph=str(plain(tmp_path / "g")), types=str(tmp_path / name))
    assert says in str(caught.value) and "\n" not in str(caught.value)


_LISTS = pa.table({"entity": ["dog", "cat", "cow"], "class": [["pet", "animal", "pet"], ["pet"], None]})
_OF = list(zip(*_LISTS.to_pydict().values(), strict=True))
_ROWS = pa.table({"t": ["pet", "pet", "animal", "pet", None], "e": ["dog", "cat", "dog", "dog", "cow"]})
TABLES: list[tuple[str, Any, str | None]] = [
    ("t.csv", "id,n,Type\ndog,1,pet\ncat,2,pet\ndog,3,animal\ncow,4,\ndog,5,pet\n", None),
    ("t.csv", "pet,dog\npet,cat\nanimal,dog\n,cow\npet,dog\n", "1,0"),
    ("t.txt", "e\tt\ndog\tpet\ncat\tpet\ndog\tanimal\ncow\t\ndog\tpet\n", "e,t"),
    ("t.jsonl", "\n".join(json.dumps({"e": e, "t": t}) for e, t in _OF), "e,t"),
    ("t.json", json.dumps([{"name": e, "types": t} for e, t in _OF]), None),
    ("t.parquet", _LISTS, None),
    ("t.parquet", _ROWS, "1,0"),
]


@pytest.mark.parametrize(("name", "content", "columns"), TABLES)
def test_types_are_read_from_tables_as_triples_are(
    name: str, content: Any, columns: str | None, tmp_path: Path
) -> None:
    if isinstance(content, str):
        (tmp_path / name).write_text(content)
    else:
        pq.write_table(content, tmp_path / name)
    pair = PrepareOptions("out", triples="t", types=name, type_columns=columns).type_pair
    notes: list[str] = []
    assert read_types(locate(str(tmp_path / name)), pair, notes) == {"dog": ["pet", "animal"], "cat": ["pet"]}
    assert any("of entities, without a type, left out: 1 (such as cow)." in note for note in notes)
    assert any("that are there twice, read once: 1 (such as dog: pet)." in note for note in notes)
    assert columns or any("entities are " in note and ", types are " in note for note in notes)


def test_columns_of_types_that_are_not_there_are_named(tmp_path: Path) -> None:
    given = {"graph": str(plain(tmp_path / "g")), "types": str(tmp_path / "t.csv"), "overwrite": True}
    (tmp_path / "t.csv").write_text("dog,pet\n")
    with pytest.raises(
        DistjointError, match=r"t\.csv: no column 'entity'.*; it has dog, pet; .*--type-columns.*no header"
    ):
        distjoint.prepare(str(tmp_path / "data"), **given)
    with pytest.raises(DistjointError, match="no column 'x'; it has dog, pet"):
        distjoint.prepare(str(tmp_path / "data"), **given, type_columns="x,pet")
    with pytest.raises(UsageError, match="--type-columns is 'x'; it takes two names, 'entity,type'"):
        distjoint.prepare(str(tmp_path / "data"), **given, type_columns="x")
    summary = distjoint.prepare(str(tmp_path / "data"), **given, type_columns="0,1")
    assert summary.counts["typed"] == 1


def test_types_are_read_once_each_and_a_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("dog\tpet\ndog\tpet\ndog\tanimal\n")
    assert read_types(locate(str(tmp_path / "t.tsv"))) == {"dog": ["pet", "animal"]}
    typed(tmp_path)
    place = tmp_path / "data/types.parquet"
    damaged = bytearray(place.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    place.write_bytes(damaged)
    with pytest.raises(DistjointError, match=r"types\.parquet: damaged"):
        Dataset.open(str(tmp_path / "data")).domains()


def test_an_interrupted_prepare_goes_on_only_with_the_same_negatives_and_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = write_inputs(tmp_path)
    wrong = str(write(tmp_path / "wrong.tsv", [("w1", "near", "w9"), ("zebra", "near", "w1")]))
    (tmp_path / "types.tsv").write_text("w1\tword\n")
    given |= {"valid_negatives": wrong, "types": str(tmp_path / "types.tsv")}
    distjoint.prepare(str(tmp_path / "whole"), **given)
    out = tmp_path / "out"

    def interrupted() -> None:
        with monkeypatch.context() as patch:
            interrupt_after(patch, 3)
            with pytest.raises(KeyboardInterrupt):
                distjoint.prepare(str(out), **given)

    interrupted()
    said = Said()
    distjoint.prepare(str(out), **given, progress=said)
    assert "it is continued" in said and "3 of 6 shards were counted before" in said
    assert content(out) == content(tmp_path / "whole")
    for change, reason in (
        ({"valid_negatives": None}, "made with another --valid-negatives"),
        ({"types": None}, "made with another --types"),
    ):
        (out / "manifest.json").unlink()
        distjoint.prepare(str(out), **given, overwrite=True)
        (out / "manifest.json").unlink()
        interrupted()
        said = Said()
        distjoint.prepare(str(out), **{**given, **change}, progress=said)
        assert reason in said
    (out / "manifest.json").unlink()
    interrupted()
    write(Path(wrong), [("w1", "near", "w9")])
    said = Said()
    distjoint.prepare(str(out), **given, progress=said)
    assert "wrong.tsv was changed" in said
