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
    write_run(here / "runs/joint", here / "data", **vectors, dense=dense, coupling="dual")
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
