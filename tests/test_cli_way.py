"""The whole way through the command line, and the demo, on small worlds: each command uses what the last one made."""

from __future__ import annotations

import importlib.util
import io
import json
import shlex
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console
from small import FAST, league, sentences

from distjoint.base.progress import Silent
from distjoint.cli import app as cli
from distjoint.data.wordnet.base import Synsets
from distjoint.demo import run as demo
from distjoint.demo import wordnet

pytestmark = pytest.mark.unit

Call = Callable[..., str]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run a command in an empty folder; returns what it prints. It must succeed."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["distjoint", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        assert not stopped.value.code, captured.err
        return captured.out

    return run


def settings(**changes: object) -> list[str]:
    changed = {**FAST, **{key.replace("_", ".", 1): value for key, value in changes.items()}}
    return [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]


def test_what_comes_next_can_be_pasted_and_brackets_in_names_stay(call: Call, tmp_path: Path) -> None:
    (tmp_path / "kg.tsv").write_text("[/old] anna\tknows\t[red]ben\n[red]ben\tknows\t[/old] anna\n")
    assert "distjoint train 'my data [1]' --out RUN" in call("prepare", "--triples", "kg.tsv", "--out", "my data [1]")
    printed = call("train", "my data [1]", "--out", "it's", *settings(train_epochs=1))
    assert "distjoint nearest " + shlex.quote("it's") + " NAME" in printed
    assert "[red]ben" in call("nearest", "it's", "[/old] anna")
    assert "[red]ben" in call("predict", "it's", "--head", "[/old] anna", "--relation", "knows", "--known", "include")
    assert "[/old] anna" in call("explain", "it's", "[/old] anna", "knows", "[red]ben")


def test_each_command_works_on_what_the_last_one_made(call: Call, tmp_path: Path) -> None:
    for name, triples in zip(("train", "valid", "test"), league(), strict=True):
        (tmp_path / f"{name}.tsv").write_text("".join("\t".join(triple) + "\n" for triple in triples))
    (tmp_path / "text.txt").write_text("\n".join(sentences()) + "\n")
    (tmp_path / "pairs.csv").write_text("teama,teamb,5\nteama,topicaa,9\nteamb,topicaa,1\nteamb,topicba,8\n")

    files = ["--triples", "train.tsv", "--valid", "valid.tsv", "--test", "test.tsv"]
    made = json.loads(call("prepare", "--corpus", "text.txt", *files, "--out", "data", "--shards", "4", "--json"))
    assert made
    for name, alpha in (("glove", 0), ("joint", 0.5)):
        printed = call("train", "data", "--out", f"runs/{name}", *settings(loss_alpha=alpha))
        assert f"distjoint nearest runs/{name} NAME" in printed
        call("evaluate", f"runs/{name}", "--similarity", "pairs.csv")
    report = json.loads(call("evaluate", "runs/joint", "--link-prediction", "test", "--json"))
    assert 0 < report["link_prediction"]["mrr"] <= 1
    assert "pairs" in call("compare", "runs/glove", "runs/joint")

    near = json.loads(call("nearest", "runs/joint", "teama", "-k", "3", "--json"))
    assert set(near) == {"word", "entity"}, "an aligned name has two vectors"
    assert all(len(rows) == 3 for rows in near.values())
    assert "teamb" in call("predict", "runs/joint", "--head", "teama", "--relation", "plays_against", "-k", "50",
                           "--known", "include")  # fmt: skip
    for form in ("glove", "word2vec", "parquet", "safetensors"):
        assert "vectors" in call("export", "runs/joint", "--format", form, "--kind", "word", "--out", f"out.{form}")
        assert (tmp_path / f"out.{form}").stat().st_size > 1000


def test_the_demo_compares_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("gensim") is None:
        pytest.skip("the extra 'demo' brings the word pairs")
    pairs = [line.split()[:2] for line in Path(demo.word_pairs()[0]).read_text().splitlines() if line[0] != "#"]
    pairs += [line.split()[:2] for line in Path(demo.word_pairs()[1]).read_text().splitlines() if line[0] != "#"]
    names = {f"{word}.n.01": [word] for pair in pairs for word in pair}
    triples = sorted({(f"{a}.n.01", "hypernym", f"{b}.n.01") for a, b in pairs if a != b})
    glosses = {f"{a}.n.01": [f"{a} is like {b} and {c}"] for (a, b), (c, _) in pairwise(pairs + pairs[:2])}
    monkeypatch.setattr(wordnet, "installed", lambda: tmp_path)
    monkeypatch.setattr(demo, "read_synsets", lambda folder: Synsets(triples, names, glosses))
    monkeypatch.setattr(demo, "SETTINGS", {**FAST, **demo.SETTINGS, "train.epochs": 1, "graph.negatives": 8})
    monkeypatch.setattr(demo, "RANKED", 50)
    monkeypatch.setattr(demo, "ASKED", (triples[0][0], "hypernym", f"like {pairs[0][1]}"))
    printed = io.StringIO()
    demo.run(str(tmp_path / "demo"), Console(file=printed, width=140, markup=False), Silent())  # as the command's
    said = printed.getvalue()
    assert all(f"{name}, Spearman" in said for name in ("simlex999", "wordsim353"))
    assert all(
        name in said for name in (*demo.COLUMNS, "held-out triples, MRR", "one end unseen, Hits@10", "Questions")
    )
    assert f"{names[triples[0][0]][0]}  hypernym  " in said, "an explanation is headed by labels, not ids"
    table = next(line for line in said.splitlines() if line.startswith("held-out triples, MRR"))
    assert len(list(map(float, table.split()[3:]))) == 3, "text alone has no rank, and a figure is no markup"
