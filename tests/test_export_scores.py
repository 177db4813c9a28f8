"""Relations and maps that are exported: scores elsewhere are the run's, and so are those of a run begun with them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from runs import Rows, write_dataset, write_run
from small import Small, config, tensors
from test_prepare_continue import Said
from usearch.index import Index

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.cli import app as cli
from distjoint.data.vectors import read_vectors
from distjoint.evaluate.space import Space
from distjoint.model.scorers import scorer
from distjoint.registry import COUPLINGS, SCORERS
from distjoint.results.export import export
from distjoint.storage import locate

pytestmark = pytest.mark.unit

DIM = 8
PAGE = (Path(__file__).parents[1] / "docs/exports.md").read_text()
SCRIPT = next(code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if code.startswith("# score.py"))
ENTITIES = ["New York", "a", "b", "c", "d", "e"]
COMPARED: dict[str, list[dict[str, Any]]] = {
    "transe": [{"model.cosine": True}, {"model.cosine": False}, {"model.cosine": False, "model.norm": 1}],
    "rotate": [{"model.cosine": True, "model.scale": 3.5}, {"model.cosine": False}],
}


def run_of(name: str, folder: Path, **settings: Any) -> distjoint.Embeddings:
    """A run with random numbers in it."""
    rows, random = Rows(entities=list(ENTITIES), relations=["in", "is near"]), np.random.default_rng(0)
    data = write_dataset(folder / "data", rows, train=[(name, "in", "a") for name in ENTITIES[1:]])
    reals = random.normal(size=(4, scorer(name).relation_dim(DIM)))
    parts: dict[str, Any] = {"entities": random.normal(size=(len(ENTITIES), DIM)), "dense": {"relation": reals}}
    return distjoint.load(str(write_run(folder / "run", data, **parts, settings={"model.scorer": name, **settings})))


@pytest.mark.parametrize("name", ["transe", "distmult", "complex", "rotate", "rescal"])
def test_the_manuals_script_has_the_scores_that_explain_and_predict_have(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [{"model.cosine": False}, {"model.cosine": True, "model.scale": 7.0}]
    for turn, settings in enumerate(COMPARED.get(name, others)):
        loaded, file = run_of(name, tmp_path / str(turn), **settings), str(tmp_path / "all.safetensors")
        loaded.export(file, "safetensors")
        monkeypatch.setattr(sys, "argv", ["score.py", file, "New York", "is near", "c"])
        exec(compile(SCRIPT, "score.py", "exec"), {})
        found = float(capsys.readouterr().out)
        assert found == pytest.approx(loaded.explain("New York", "is near", "c", top=0).score, rel=1e-5, abs=1e-5)
        predicted = loaded.predict(head="New York", relation="is near", known="include", k=len(ENTITIES))
        assert found == pytest.approx(next(each.score for each in predicted if each.name == "c"), rel=1e-5, abs=1e-5)


def test_the_manuals_script_runs_by_itself(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(SCRIPT)
    loaded = run_of("complex", tmp_path)
    loaded.export(str(tmp_path / "all.safetensors"), "safetensors")
    command = [sys.executable, "score.py", "all.safetensors", "a", "in", "b"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(loaded.score("a", "in", "b"), abs=1e-5)


@pytest.mark.parametrize("name", SCORERS.names())
def test_every_format_says_how_triples_are_scored(name: str, tmp_path: Path) -> None:
    """Formulas are in words: each scorer has its own, and the relations are written whole."""
    loaded = run_of(name, tmp_path)
    said: list[str] = []
    loaded.export(str(tmp_path / "r.txt"), "word2vec", "relation", say=said.append)
    loaded.export(str(tmp_path / "all.parquet"), "parquet")
    beside = json.loads((tmp_path / "r.txt.json").read_text())
    kept = json.loads(pq.read_schema(tmp_path / "all.parquet").metadata[b"distjoint"])
    assert beside == kept and kept["score"]["scorer"] == name and kept["entity_vectors"] == "X"
    assert kept["score"]["query"].startswith("q = ") and "as its class" not in json.dumps(kept)
    assert (kept["score"]["comparison"], kept["score"]["scale"], kept["score"]["reciprocal"]) == ("cosine", 10, True)
    assert said == [f"{tmp_path}/r.txt.json: how triples are scored with them", *said[1:]] and "is%20near" in said[-1]
    table = pq.read_table(tmp_path / "all.parquet")
    kinds = table["kind"].to_pylist()
    assert [kinds.count(kind) for kind in ("entity", "relation", "inverse_relation")] == [len(ENTITIES), 2, 2]
    values = np.array([row for row, kind in zip(table["vector"].to_pylist(), kinds, strict=True) if "relation" in kind])
    np.testing.assert_array_equal(values.astype(np.float32), tensors(tmp_path / "run")["dense/relation"])


def trained(dataset: str, folder: Path, settings: dict[str, Any]) -> distjoint.Embeddings:
    distjoint.train(dataset, str(folder), config({"train.epochs": 1, **settings}))
    return distjoint.load(str(folder))


def scores(run: distjoint.Embeddings) -> np.ndarray:
    names = ["teama", "teamb", "coacha", "teama_player_0", "city_3"]
    predicted = [run.predict(tail=name, relation="plays_for", known="include", k=80) for name in names[:2]]
    both = [{each.name: each.score for each in answers} for answers in predicted]
    triples = [run.score(head, "plays_for", tail) for head in names for tail in names]
    return np.array([*triples, *(answers[name] for answers in both for name in names[2:])])


@pytest.mark.parametrize(
    ("coupling", "scorer_name", "form"),
    [
        ("none", "complex", "parquet"),
        ("soft", "rotate", "glove"),
        ("tie", "transe", "safetensors"),
        ("dual", "rotate", "huggingface"),
        ("project", "distmult", "safetensors"),
    ],
)
def test_a_run_begun_with_all_of_another_has_its_scores(
    coupling: str, scorer_name: str, form: str, small: Small, tmp_path: Path
) -> None:
    settings, mapped = {"model.coupling": coupling, "model.scorer": scorer_name}, COUPLINGS[coupling].groups
    before = trained(small.joint, tmp_path / "before", settings)
    begun = [str(tmp_path / "all"), str(tmp_path / "relations")][: 1 + (form == "glove")]
    before.export(begun[0], form)
    if form == "glove":  # relations of rotate are half as wide
        before.export(begun[1], form, "relation")
    still = {
        "train.freeze": ["words", "contexts", "entities", "relations", *mapped],
        "train.epochs": 1,
        "train.init": begun,
    }
    said = Said()
    distjoint.train(small.joint, str(tmp_path / "run"), config({**settings, **still}), progress=said)
    after = distjoint.load(str(tmp_path / "run"))
    np.testing.assert_allclose(scores(after), scores(before), rtol=1e-4, atol=1e-5)
    assert "5 of 5 relations both ways" in said and ("and map" in said) == bool(mapped)
    np.testing.assert_array_equal(after.words.vectors, before.words.vectors)


def test_relations_of_another_sort_are_left_out_and_that_is_said(small: Small, tmp_path: Path) -> None:
    trained(small.graph, tmp_path / "before", {"model.scorer": "complex"}).export(str(tmp_path / "all"), "safetensors")
    for settings, says in (
        ({"model.scorer": "distmult"}, "10 relations are of scorer complex, this run's of distmult, and are left out"),
        ({"model.scorer": "complex", "model.reciprocal": False}, "1 tables of the file have no use in this run"),
    ):
        said = Said()
        begun = config({**settings, "train.init": str(tmp_path / "all"), "train.epochs": 1})
        distjoint.train(small.graph, str(tmp_path / "run"), begun, overwrite=True, progress=said)
        assert says in said
    text = str(tmp_path / "r.txt")
    distjoint.load(str(tmp_path / "before")).export(text, "word2vec", "relation")
    with pytest.raises(DistjointError, match=r"r\.txt: names none of the rows"):
        distjoint.train(small.graph, str(tmp_path / "text"), config({"model.scorer": "distmult", "train.init": text}))


def test_text_formats_leave_relations_out_and_say_so(small: Small, tmp_path: Path) -> None:
    run, said = trained(small.joint, tmp_path / "run", {"model.coupling": "dual"}), list[str]()
    run.export(str(tmp_path / "v.txt"), "glove", say=said.append)
    assert said == ["relations are not in it; --kind relation writes them"]
    run.export(str(tmp_path / "r.bin"), "word2vec", "relation", binary=True, say=said.append)
    assert said[1].startswith("map: not in it, which is for rows of one width; parquet, safetensors, huggingface hold")
    kinds = {part.kind: len(part.names) for part in read_vectors(locate(str(tmp_path / "r.bin")), run.dim, [])}
    both = ("relation", "inverse_relation", "word_relation", "word_inverse_relation")
    assert kinds == dict.fromkeys(both, len(run.relations))
    with pytest.raises(UsageError, match="--vectors own: says which vectors of one kind"):
        run.export(str(tmp_path / "x"), kind="relation", vectors="own")
    with pytest.raises(UsageError, match="has no relations; it was trained on text only"):
        trained(small.text, tmp_path / "text", {}).export(str(tmp_path / "x"), kind="relation")


def test_the_index_finds_what_all_cosines_find(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(60, 24))[random.integers(0, 60, 3000)] + 0.5 * random.normal(size=(3000, 24))
    vectors = vectors.astype(np.float32)
    vectors[7] = 0
    said: list[str] = []
    space = Space("entity", [f"e {k}" for k in range(3000)], vectors)
    export([space], locate(str(tmp_path / "i")), "usearch", say=said.append)
    told = json.loads((tmp_path / "i/index.json").read_text())
    index = Index.restore(str(tmp_path / "i/entity.usearch"))
    index.expansion_search = told["kinds"]["entity"]["expansion_search"]
    asked = random.integers(8, 3000, 300)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    exact = np.argsort(-(unit[asked] @ unit.T), axis=1)[:, :10]
    found = index.search(vectors[asked], 10).keys
    both = zip(exact.tolist(), found.tolist(), strict=True)
    recall = np.mean([len(set(one) & set(other)) / 10 for one, other in both])
    assert recall >= 0.98 and abs(recall - told["kinds"]["entity"]["recall_at_10"]) < 0.02
    assert said[0] == "entity.usearch: 1 vectors of zeros are left out, which are near to none"
    names = pq.read_table(tmp_path / "i/names.parquet", filters=[("kind", "=", "entity")])["name"].to_pylist()
    assert names[int(index.search(vectors[5], 1).keys[0])] == "e 5"


def test_the_command_line_exports_and_begins_with_several_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of("rotate", tmp_path)
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["distjoint", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        assert not stopped.value.code, captured.err
        return captured.out + captured.err

    made = json.loads(call("export", "run", "--format", "word2vec", "--out", "e.txt", "--json"))
    assert (made["out"], made["format"], made["vectors"]) == ("e.txt", "word2vec", len(ENTITIES))
    assert made["notes"] == [
        "relations are not in it; --kind relation writes them",
        "1 names with blanks or marks are written as in URLs ('New York' is New%20York)",
    ]
    assert "r.txt: 4 vectors" in call("export", "run", "--kind", "relation", "--out", "r.txt")
    fast = ("--set", f"model.dim={DIM}", "--set", "model.scorer=rotate", "--set", "train.epochs=1")
    (tmp_path / "kg.tsv").write_text("".join(f"{name}\tin\ta\n{name}\tis near\tb\n" for name in ENTITIES))
    distjoint.prepare("kg", triples="kg.tsv")
    printed = call("train", "kg", "--out", "more", "--init", "e.txt", "--init", "r.txt", *fast)
    assert "e.txt and r.txt: vectors of 6 of 6 entities and 2 of 2 relations both ways" in printed
    assert "several entities" not in printed
