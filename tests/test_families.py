"""Benchmarks in layouts of their own: DGL-KE, LibKGE, PyKEEN, OGB, Wikidata5M, CoDEx, ConceptNet, OpenKE."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.data.columns import TableForm
from distjoint.data.dataset import Dataset
from distjoint.data.triples import read_graph

pytestmark = pytest.mark.unit

Triple = tuple[str, str, str]


def write(place: Path, content: str | bytes) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    text = content.encode() if isinstance(content, str) else content
    place.write_bytes(gzip.compress(text) if place.name.endswith(".gz") else text)
    return place


def prepared(tmp_path: Path, folder: Path, **options: Any) -> tuple[set[Triple], str]:
    """Training triples of a benchmark's folder, and what was said."""
    options = {"align": "none", **options}
    summary = distjoint.prepare(str(tmp_path / "data"), graph=str(folder), overwrite=True, **options)
    data = Dataset.open(str(tmp_path / "data"))
    entities, relations, train = (
        data.rows()["entity"].to_pylist(),
        data.relations()["name"].to_pylist(),
        data.split("train"),
    )
    columns = zip(train.head.tolist(), train.relation.tolist(), train.tail.tolist(), strict=True)
    return {(entities[h], relations[r], entities[t]) for h, r, t in columns}, "\n".join(summary.notes)


ANNA = {("anna", "knows", "ben")}


@pytest.mark.parametrize(
    ("entities", "relations", "train"),
    [
        ("0\tanna\n1\tben\n", "0\tknows\n", "0\t0\t1\n"),
        ("anna\t0\nben\t1\n", "knows\t0\n", "0\t0\t1\n"),
        ("7\tanna\n3\tben\n", "5\tknows\n", "7\t5\t3\n"),
        ("anna\t0\nben\t1\n", "knows\t0\n", "anna\tknows\tben\n"),
    ],
)
@pytest.mark.parametrize("names", [("entities.dict", "relations.dict"), ("entities.tsv", "relations.tsv")])
def test_numbers_are_names_of_the_files_beside_them(
    entities: str, relations: str, train: str, names: tuple[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "kg"
    for name, content in zip((*names, "train.txt"), (entities, relations, train), strict=True):
        write(folder / name, content)
    found, said = prepared(tmp_path, folder)
    assert found == ANNA and ("Numbers read as names of entities" in said) == train[0].isdigit()
    kept, _ = prepared(tmp_path, folder, format="table")
    assert kept == {tuple(train.split())}


def test_numbers_without_a_name_are_refused_and_what_numbers_nothing_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "kg"
    write(folder / "entities.dict", "0\tanna\n1\tben\n"), write(folder / "relations.dict", "0\tknows\n")
    for train, what in (
        ("0\t0\t9\n", "entity '9' is not in entities.dict, which numbers 0 to 1"),
        ("0\t1\t0\n", "relation '1'"),
    ):
        write(folder / "train.txt", train)
        with pytest.raises(DistjointError, match=what):
            prepared(tmp_path, folder)
    # As DGL-KE's udd_htr has it.
    assert prepared(tmp_path, folder, triple_columns="0,2,1")[0] == {("anna", "knows", "ben")}
    write(folder / "entities.dict", "anna\tAnna A.\nben\tBen B.\n")
    write(folder / "train.txt", "anna\t0\tben\n")
    found, said = prepared(tmp_path, folder)
    assert found == ANNA and "entities.dict)" in said and "number no names, not read" in said
    write(folder / "entities.dict", "0\tanna\n0\tben\n")
    with pytest.raises(DistjointError, match=r"entities.dict, line 2: number 0 is there already, for 'anna'"):
        prepared(tmp_path, folder)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (
            "3\nanna\t0\nben\t1\ncara\t4\n",
            "line 4: 'cara' has number 4, but 3 names are numbered from 0 to 2; none has 2",
        ),
        ("3\nanna\t1\nben\t2\ncara\t3\n", "line 4: 'cara' has number 3, .*these begin with 1: take 1 from each"),
        ("2\nanna\t0\nben\tx\n", "line 3: 'x' is no number; expected 'name TAB number'"),
        ("anna\t0\nben\t1\n", "line 1: expected the count of the names"),
    ],
)
def test_openkes_numbers_must_count_up_from_zero(names: str, says: str, tmp_path: Path) -> None:
    write(tmp_path / "kg/entity2id.txt", names), write(tmp_path / "kg/relation2id.txt", "1\nknows\t0\n")
    write(tmp_path / "kg/train2id.txt", "1\n0 1 0\n")
    with pytest.raises(DistjointError, match=f"entity2id.txt, {says}"):
        prepared(tmp_path, tmp_path / "kg")


def test_libkge_and_pykeen_are_found(tmp_path: Path) -> None:
    libkge = tmp_path / "libkge"
    for name, content in {
        "entity_ids.del": "0\tanna\n1\tben\n",
        "relation_ids.del": "0\tknows\n",
        "train.del": "0\t0\t1\n",
        "valid.del": "1\t0\t0\n",
    }.items():
        write(libkge / name, content)
    found, said = prepared(tmp_path, libkge)
    assert found == ANNA and "train.del, valid.del (the layout of LibKGE" in said
    for folder, below in (("saved", "training"), ("result", "training_triples"), ("alone", ".")):
        place = tmp_path / folder / below
        write(place / "numeric_triples.tsv.gz", "head\trelation\ttail\n0\t0\t1\n")
        beside = place if folder != "alone" else tmp_path / folder / "base"
        write(beside / "entity_to_id.tsv.gz", "id\tlabel\n0\tanna\n1\tben\n")
        write(beside / "relation_to_id.tsv.gz", "id\tlabel\n0\tknows\n")
        found, said = prepared(tmp_path, tmp_path / folder)
        assert found == ANNA and "(the layout of PyKEEN)" in said


def test_ogb_is_found_and_no_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"head": np.array([0]), "relation": np.array([0]), "tail": np.array([1])}
    split = tmp_path / "ogbl_wikikg2/split/time"
    split.mkdir(parents=True)
    write(tmp_path / "ogbl_wikikg2/mapping/nodeidx2entityid.csv.gz", "node idx,entity id\n0,anna\n1,ben\n")
    write(tmp_path / "ogbl_wikikg2/mapping/reltype2relid.csv.gz", "reltype,rel id\n0,knows\n")
    torch.save(
        {name: torch.from_numpy(array) for name, array in arrays.items()} | {"head_neg": torch.zeros(1, 5)},
        split / "train.pt",
    )
    torch.save(arrays, split / "test.pt")
    found, said = prepared(tmp_path, tmp_path / "ogbl_wikikg2")
    assert found == ANNA and "(the layout of OGB)" in said
    torch.save(arrays, split / "train.pt", pickle_protocol=4)
    with pytest.raises(DistjointError, match=r"train\.pt: a pickle of torch that cannot be read without running it"):
        prepared(tmp_path, tmp_path / "ogbl_wikikg2")
    torch.save(arrays, split / "train.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(DistjointError, match=r"train\.pt: a pickle, which may run code .* arrays beside it") as caught:
        prepared(tmp_path, tmp_path / "ogbl_wikikg2")
    monkeypatch.chdir(split)
    exec(str(caught.value).partition('python -c "')[2].rstrip('"'))  # the way out, as the message has it
    assert prepared(tmp_path, tmp_path / "ogbl_wikikg2")[0] == ANNA
    typed = {**arrays, "head_type": np.array(["drug"]), "tail_type": np.array(["protein"])}
    (tmp_path / "biokg/split/random").mkdir(parents=True)
    np.savez(tmp_path / "biokg/split/random/train.npz", **typed)
    found, said = prepared(tmp_path, tmp_path / "biokg")
    assert found == {("drug:0", "0", "protein:1")} and "called TYPE:NUMBER" in said
    (tmp_path / "wiki/processed").mkdir(parents=True)
    np.save(tmp_path / "wiki/processed/train_hrt.npy", np.array([[0, 5, 1]]))
    np.save(tmp_path / "wiki/processed/val_hr.npy", np.array([[0, 5]]))
    found, said = prepared(tmp_path, tmp_path / "wiki")
    assert found == {("0", "5", "1")} and "not val_hr.npy (1 queries), whose answers are not there" in said
    np.save(tmp_path / "objects.npy", np.array([["anna", "knows", "ben"]], object))
    with pytest.raises(DistjointError, match="have to be unpickled"):
        read_graph({"train": str(tmp_path / "objects.npy")})


def test_wikikg90ms_queries_are_triples_where_their_answers_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "wiki/processed"
    folder.mkdir(parents=True)
    np.save(folder / "train_hrt.npy", np.array([[0, 5, 1], [1, 5, 2], [2, 5, 3]]))
    np.save(folder / "val_hr.npy", np.array([[0, 5], [3, 5]], np.int32))
    np.save(folder / "val_t_candidate.npy", np.array([[7, 2, 8], [1, 0, 9]]))
    np.save(folder / "val_t_correct_index.npy", np.array([1, 0], np.int16))
    np.save(folder / "test_hr.npy", np.zeros((4, 2), np.int64))
    _, said = prepared(tmp_path, tmp_path / "wiki")
    graph = read_graph({"train": str(folder / "train_hrt.npy"), "valid": str(folder / "val_hr.npy")})
    names, relations = graph.entities.list(), graph.relations.list()
    found = [(names[h], relations[r], names[t]) for h, r, t in graph.splits["valid"].tolist()]
    assert found == [("0", "5", "2"), ("3", "5", "1")]
    assert "not test_hr.npy (4 queries), whose answers are not there" in said
    assert "Candidates of each query, which are not used: all entities are ranked, and figures are no OGB's: 2" in said
    np.save(folder / "val_t.npy", np.array([1, 0]))  # as v2 has them
    data, paths = str(tmp_path / "data"), [str(folder / name) for name in ("val_t.npy", "val_hr.npy")]
    summary = distjoint.prepare(data, graph=str(tmp_path / "wiki"), align="none", overwrite=True)
    assert summary.counts["triples/valid"] == 2 and "Candidates" not in "".join(summary.notes)
    for name, wrong, says in (
        ("val_t", [1], r"val_t\.npy: 1 answers for the 2 queries"),
        ("val_t", [[1], [0]], r"val_t\.npy: shape \(2, 1\)"),
        ("val_t", [1.5, 0], r"val_t\.npy: shape \(2,\) of float64"),
        ("val_hr", [[1, 2, 3]] * 2, r"val_hr\.npy: shape \(2, 3\)"),
    ):
        kept = (folder / f"{name}.npy").read_bytes()
        np.save(folder / f"{name}.npy", np.array(wrong))
        with pytest.raises(DistjointError, match=says):
            read_graph({"train": paths[1]})
        (folder / f"{name}.npy").write_bytes(kept)
    (folder / "val_t.npy").unlink()
    np.save(folder / "val_t_correct_index.npy", np.array([1, 3]))
    with pytest.raises(DistjointError, match=r"correct_index\.npy, row 2: place 3, of 3 candidates"):
        read_graph({"train": paths[1]})
    (folder / "val_t_candidate.npy").unlink()
    with pytest.raises(DistjointError, match=r"val_hr\.npy: queries without answers: no val_t\.npy or val_t_correct"):
        read_graph({"train": paths[1]})
    (folder / "train_hrt.npy").write_bytes((folder / "train_hrt.npy").read_bytes() + b"1")
    with pytest.raises(
        DistjointError, match=r"train_hrt\.npy: arrays of NumPy that are damaged.*73 bytes in place of 72"
    ):
        read_graph({"train": str(folder / "train_hrt.npy")})


def test_wikidata5m_and_codex_bring_their_texts(tmp_path: Path) -> None:
    folder = tmp_path / "wikidata5m"
    for kind in ("transductive", "inductive"):
        for split in ("train", "valid"):
            write(
                folder / f"wikidata5m_{kind}_{split}.txt", "Q1\tP1\tQ2\n" if kind == "transductive" else "Q1\tP1\tQ3\n"
            )
    write(folder / "wikidata5m_text.txt", "Q1\twords about one\nQ2\tand two\n")
    write(folder / "wikidata5m_alias/wikidata5m_entity.txt", "Q1\tone\tuno\nQ2\ttwo\n")
    found, said = prepared(tmp_path, folder, descriptions="found", min_count=1, align="auto")
    assert found == {("Q1", "P1", "Q2")} and "wikidata5m_inductive_train.txt" in said and "another split" in said
    assert Dataset.open(str(tmp_path / "data")).manifest.counts["described"] == 2
    codex = tmp_path / "data-of-codex"
    write(codex / "triples/codex-s/train.txt", "Q1\tP1\tQ2\n")
    write(codex / "entities/en/entities.json", json.dumps({"Q1": {"label": "one", "description": "words about one"}}))
    write(codex / "types/entity2types.json", json.dumps({"Q1": ["Q5"], "Q2": ["Q5"]}))
    found, said = prepared(tmp_path, codex / "triples/codex-s", descriptions="found", min_count=1, align="auto")
    data = Dataset.open(str(tmp_path / "data"))
    assert data.has_types and data.manifest.counts["described"] == 1 and "entities.json, found beside" in said


def test_conceptnets_dump_is_read_by_language_and_with_weights(tmp_path: Path) -> None:
    rows = [("/r/IsA", "/c/en/dog/n", "/c/en/animal", 2.0), ("/r/Synonym", "/c/fr/chien", "/c/en/dog", 1.0)]
    dump = "".join(
        f"/a/[{r}/,{h}/,{t}/]\t{r}\t{h}\t{t}\t{json.dumps({'weight': w, 'sources': []})}\n" for r, h, t, w in rows
    )
    path = str(write(tmp_path / "assertions.csv.gz", dump))
    every = read_graph({"train": path})
    assert len(every.splits["train"]) == 2 and "--weight-column weight reads them" in "".join(every.noticed.notes())
    english = read_graph({"train": path}, form=TableForm(language="en", weight="weight"))
    assert english.entities.list() == ["/c/en/dog/n", "/c/en/animal"] and english.weights is not None
    assert english.labels == {"/c/en/dog/n": ["dog"], "/c/en/animal": ["animal"]}
    assert "Languages of ConceptNet's terms: 2 (such as 3 terms of en, 1 terms of fr)" in "".join(every.noticed.notes())
    assert english.weights.tolist() == [2] and "language en, left out: 1" in "".join(english.noticed.notes())
    text = write(tmp_path / "text.txt", "the dog is an animal and an ice cream is none\n" * 3)
    ice = "/a/[/r/IsA/,/c/en/ice_cream/,/c/en/food/]\t/r/IsA\t/c/en/ice_cream\t/c/en/food\t"
    sentence = json.dumps({"surfaceText": "[[ice cream]] is a kind of [[food]]", "weight": 1.0})
    path = str(write(tmp_path / "assertions.csv.gz", dump + ice + sentence + "\n"))
    options = {"corpus": str(text), "min_count": 1, "language": "en"}
    summary = distjoint.prepare(str(tmp_path / "data"), triples=path, **options)
    assert summary.alignment and summary.alignment.aligned == 3 and summary.counts["names"] == 1  # ice_cream
    assert "ConceptNet's sentences, not read as descriptions" in (said := "\n".join(summary.notes))
    assert "Labels by ConceptNet's terms: 4 (such as 'dog' of /c/en/dog/n)." in said
    with pytest.raises(DistjointError, match=r"assertions\.csv\.gz, line 1: no weight in '\{\}'"):
        write(tmp_path / "assertions.csv.gz", "/a/[]\t/r/IsA\t/c/en/a\t/c/en/b\t{}\n")
        read_graph({"train": path}, form=TableForm(weight="weight"))
