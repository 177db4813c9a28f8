"""The examples of docs/ask.md and docs/coming-from.md run, on a small run of the names that they ask for."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from runs import Rows, write_dataset, write_run
from safetensors.numpy import load_file

import distjoint
from distjoint.cli.app import app

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[1] / "docs"
NAMES = ["dog", "cat", "bank", "animal", "river", *(f"thing_{k}" for k in range(40))]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/joint and the files that the examples read."""
    here, random = tmp_path_factory.mktemp("docs"), np.random.default_rng(0)
    rows = Rows(words=["the", "of"], aligned=[(name, name) for name in NAMES], relations=["hypernym", "part_of"])
    drawn = {tuple(each) for each in random.integers(0, len(NAMES), (200, 2)).tolist()} - {(0, 3)}
    triples = [(NAMES[head], rows.relations[(head + tail) % 2], NAMES[tail]) for head, tail in sorted(drawn)]
    write_dataset(here / "data", rows, train=triples[40:], valid=triples[:20], test=triples[20:40])
    vectors = {"words": random.normal(size=(len(NAMES) + 2, 8)), "entities": random.normal(size=(len(NAMES), 8))}
    dense = {"relation": random.normal(size=(4, 8)), "map": np.eye(8)}
    (here / "runs").mkdir()
    chosen = {"model.scorer": "complex", "model.cosine": False}
    write_run(here / "runs/joint", here / "data", **vectors, dense=dense, coupling="dual", settings=chosen)
    (here / "questions.tsv").write_text("dog\thypernym\t?\n?\tpart_of\tcat\ndog\t?\triver\n")
    pq.write_table(
        pa.table({"head": ["dog", None], "relation": ["hypernym", "part_of"], "tail": [None, "cat"]}),
        here / "questions.parquet",
    )
    (here / "triples.tsv").write_text("dog\thypernym\tanimal\ncat\tpart_of\tbank\n")
    (here / "names.txt").write_text("dog\nbank\n")
    (here / "pairs.txt").write_text("dog cat 8.1\ndog bank 1.2\nbank river 5\ncat animal 7\n")
    return here


def blocks(page: str) -> list[str]:
    """The blocks of shell and of Python of a page."""
    return re.findall(r"^```(?:python)?\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def perform(example: str, names: dict[str, Any]) -> None:
    """Run a command, or lines of Python."""
    if example.startswith("distjoint"):
        app(shlex.split(example, comments=True)[1:], standalone_mode=False)
    else:
        exec(example, names)


def test_examples_of_ask_run(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(here)
    found, names = blocks((DOCS / "ask.md").read_text()), dict[str, Any]()
    for block in found:
        for example in block.splitlines() if block.startswith("distjoint") else [block]:
            perform(example, names)
    assert len(found) == 4
    assert "answers to 3 questions" in capsys.readouterr().out
    rows = [line.split("\t") for line in Path("answers.tsv").read_text().splitlines()]
    assert rows[0] == ["query", "head", "relation", "tail", "rank", "score", "label", "known"]
    assert [row[0] for row in rows[1:]] == ["1"] * 5 + ["2"] * 5 + ["3"] * 2
    assert pq.read_table("answers.parquet").column("probability").null_count == 0


def test_examples_of_coming_from_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    lines = [line for line in (DOCS / "coming-from.md").read_text().splitlines() if line.startswith("| ")][1:]
    examples = [code for line in lines for code in re.findall(r"`([^`]+)`", line.split(" | ")[-1])]
    assert len(examples) > len(lines) > 20
    run = distjoint.load("runs/joint")
    for example in examples:
        perform(example, {"run": run})


def test_the_answers_are_those_that_other_programs_make_of_the_files(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the documents of PyKEEN, DGL-KE and PBG compute, by numpy from what was exported: ComplEx, all entities."""
    monkeypatch.chdir(here)
    run = distjoint.load("runs/joint")
    run.export("all.safetensors", "safetensors")
    tables = load_file("all.safetensors")
    names = {kind: json.loads(tables[f"{kind}.names"].tobytes()) for kind in ("entity", "relation")}
    entities = tables["entity"].astype(float)
    halves = np.split(entities, 2, axis=1)
    as_complex = halves[0] + 1j * halves[1]

    def scores(head: str, relation: str) -> np.ndarray:
        """float64[entities]: Re(<h, r, conj(t)>) of every t."""
        real, imaginary = np.split(tables["relation"][names["relation"].index(relation)].astype(float), 2)
        query = as_complex[names["entity"].index(head)] * (real + 1j * imaginary)
        return (as_complex.conj() @ query).real

    triples = run.graph.triples("train")
    head, relation = names["entity"][triples.head[0]], names["relation"][triples.relation[0]]
    found = scores(head, relation)
    order = np.argsort(-found, kind="stable")
    # PyKEEN: every entity, best first; without the triples of training; with a mark for each of them.
    whole = run.predict(head, relation, k=len(run.entities), known="include", own_end=True).to_pandas()
    assert whole["name"].tolist() == [names["entity"][place] for place in order]
    np.testing.assert_allclose(whole["score"], found[order], rtol=1e-5)
    mine = (triples.head == triples.head[0]) & (triples.relation == triples.relation[0])
    known = {names["entity"][place] for place in triples.tail[mine]}
    assert known
    filtered = run.predict(head, relation, k=99, filter="train", own_end=True)
    assert [each.name for each in filtered] == [name for name in whole["name"] if name not in known]
    marked = run.predict(head, relation, k=99, known="include", filter="train", own_end=True)
    assert {each.name for each in marked if each.known} == known
    assert len(marked) == len(whole)
    # DGL-KE, batch_head: K answers to each line; PBG: the first five of a ranking.
    Path("heads.tsv").write_text("dog\thypernym\t?\ncat\tpart_of\t?\n")
    perform("distjoint predict runs/joint --queries heads.tsv --out top.tsv -k 5 --known include --own-end", {})
    rows = [line.split("\t") for line in Path("top.tsv").read_text().splitlines()[1:]]
    for number, asked in enumerate((("dog", "hypernym"), ("cat", "part_of")), 1):
        best = np.argsort(-scores(*asked), kind="stable")[:5]
        assert [row[3] for row in rows if row[0] == str(number)] == [names["entity"][place] for place in best]
    assert run.score(head, relation, "animal") == pytest.approx(found[names["entity"].index("animal")], rel=1e-5)
    # DGL-KE, l_*: by cosine, of which the vector itself is the first.
    units = entities / np.linalg.norm(entities, axis=1, keepdims=True)
    cosines = units @ units[names["entity"].index("dog")]
    near = np.argsort(-cosines, kind="stable")
    assert names["entity"][near[0]] == "dog"
    neighbours = run.nearest("dog", 7, of="entity", kind="entity")
    assert [each.name for each in neighbours] == [names["entity"][place] for place in near[1:8]]
    assert [each.similarity for each in neighbours] == pytest.approx(cosines[near[1:8]], abs=1e-6)


def test_commands_of_files(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is refused, and what is said for machines."""
    monkeypatch.chdir(here)
    Path("some.tsv").write_text("head\trelation\tnote\ndog\thypernym\tx\nzebra\thypernym\ty\n")
    ask = "distjoint predict runs/joint --queries some.tsv --out some.jsonl --json"
    with pytest.raises(distjoint.DistjointError, match=r"1 of 2 questions .*question 2: head 'zebra'"):
        perform(ask, {})
    capsys.readouterr()
    perform(f"{ask} --skip-unknown -k 2 --types", {})
    said = json.loads(capsys.readouterr().out)
    assert (said["questions"], said["answers"], said["unknown"]) == (2, 2, 1) and len(said["notes"]) == 2
    assert [json.loads(line)["query"] for line in Path("some.jsonl").read_text().splitlines()] == [1, 1]
    for line, message in {
        "predict runs/joint --queries some.tsv": "--out FILE",
        "predict runs/joint --queries some.tsv --out o.tsv --head dog": "leave out the single one",
        "predict runs/joint --head dog --relation hypernym --types --type city": "one of the two",
        "predict runs/joint --head dog": "what is left out is predicted",
        "nearest runs/joint --queries names.txt": "--out FILE",
        "score runs/joint triples.tsv": "--out FILE",
        "score runs/joint dog hypernym": "2 arguments after RUN",
    }.items():
        with pytest.raises(distjoint.UsageError, match=message):
            perform(f"distjoint {line}", {})
    perform("distjoint score runs/joint dog hypernym animal --probabilities --json", {})
    assert set(json.loads(capsys.readouterr().out)) == {"score", "probability"}
