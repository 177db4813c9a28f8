"""Relations and entities that training never saw: `prepare` counts them, `evaluate` tells them apart, answers warn."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from test_prepare_unseen import write

import distjoint
from distjoint.base.errors import DistjointWarning
from distjoint.cli import app as cli
from distjoint.data.dataset import Dataset
from distjoint.evaluate.comparison import measures_of
from distjoint.evaluate.report import Report
from distjoint.evaluate.tables import as_text
from distjoint.storage import locate

pytestmark = pytest.mark.unit

TRAIN = [("ada", "knows", "bob"), ("bob", "knows", "cy"), ("cy", "likes", "ada"), ("dee", "likes", "bob")]
VALID = [("ada", "knows", "cy")]
TEST = [("ada", "hates", "cy"), ("bob", "fears", "dee"), ("ada", "fears", "eve"), ("ada", "likes", "bob")]
WRONG = [("ada", "hates", "bob"), ("ada", "likes", "cy")]
SETTINGS = {"model.dim": 4, "train.epochs": 2, "train.threads": 1, "graph.negatives": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """A run, and the summary of its dataset."""
    folder = tmp_path_factory.mktemp("untrained")
    splits = {"triples": TRAIN, "valid": VALID, "test": TEST, "valid_negatives": WRONG[1:], "test_negatives": WRONG}
    files: dict[str, Any] = {name: write(folder / name, triples) for name, triples in splits.items()}
    (folder / "labels.tsv").write_text("flo\tFlorence\n" + "".join(f"{name}\t{name}\n" for name in ("ada", "bob")))
    summary = distjoint.prepare(str(folder / "data"), **files, labels=str(folder / "labels.tsv"))
    distjoint.train(str(folder / "data"), str(folder / "run"), SETTINGS)
    return str(folder / "run"), summary


@pytest.fixture
def run(made: tuple[str, Any]) -> str:
    return made[0]


def test_prepare_says_what_training_never_sees(made: tuple[str, Any]) -> None:
    run, summary = made
    assert summary.counts["unseen_relation/test"] == 3 and summary.counts["unseen/test"] == 1
    assert "unseen_relation/valid" not in summary.counts and "unseen_relation/train" not in summary.counts
    says = "with a relation that no training triple has"
    assert f"Triples of test {says}: 3, of 2 relations (such as ada hates cy)." in summary.notes
    assert f"Triples of test_negatives {says}: 1, of 1 relation (such as ada hates bob)." in summary.notes
    assert "Triples of test with an entity that no training triple has: 1 (such as ada fears eve)." in summary.notes
    assert not any("of valid" in note or "of train " in note for note in summary.notes)
    assert "1 with an entity not seen in training, 3 with a relation not seen in training" in as_text(summary)
    assert Dataset.open(str(Path(run).parent / "data")).manifest.counts == summary.counts


def test_a_relation_that_loses_all_its_triples_to_a_held_out_share_is_said_too(tmp_path: Path) -> None:
    triples = [(f"e{k}", f"r{k}", f"e{k + 1}") for k in range(20)]
    summary = distjoint.prepare(str(tmp_path / "data"), triples=write(tmp_path / "t", triples), valid_fraction=0.2)
    assert summary.counts["unseen_relation/valid"] == 4
    assert any("relation that no training triple has: 4, of 4 relations" in note for note in summary.notes)


def test_evaluation_has_a_row_for_them(run: str) -> None:
    report = distjoint.evaluate(run, link_prediction="test", classify=True)
    tree = report.to_dict()["link_prediction"]
    ranks = report.links.ranks
    assert tree["unseen_relations"] == ["fears", "hates"] and tree["unseen_relation"]["triples"] == 3
    chosen = ranks.unseen_relation
    expected = (1 / ranks.head[chosen] + 1 / ranks.tail[chosen]).mean() / 2
    assert tree["unseen_relation"]["mrr"] == pytest.approx(expected)
    text = as_text(report)
    assert "│ unseen relation │" in text
    assert "Triples whose relation no training triple has: 3, of 2 relations (such as fears)." in text
    assert report.to_dict()["classification"]["unseen_relation"] == 4 and "triple has: 4. Its vector" in text
    report.save(locate(run))
    again = Report.read(locate(run))
    assert again is not None and again.to_dict() == report.to_dict()
    assert {each.name: each.value() for each in measures_of(again)}["MRR, unseen relation"] == pytest.approx(expected)
    seen = distjoint.evaluate(run, link_prediction="valid")
    assert "unseen_relation" not in seen.to_dict()["link_prediction"] and "no training triple has" not in as_text(seen)


def test_answers_of_chance_are_warned_of(run: str) -> None:
    vectors = distjoint.load(run)
    relation, entity = "relation hates: no training triple has it", "entity eve: no training triple names it"
    for says, ask in (
        ([relation], lambda: vectors.predict("ada", "hates")),
        ([relation], lambda: vectors.predict(relation="hates", tail="bob")),
        ([entity], lambda: vectors.predict("eve", "knows")),
        ([entity, relation], lambda: vectors.explain("eve", "hates", "ada", top=0)),
        ([entity], lambda: vectors.score("ada", "knows", "eve")),
        (["entity flo: no training"], lambda: vectors.nearest("Florence")),
    ):
        with pytest.warns(DistjointWarning) as caught:
            ask()
        assert len(caught) == len(says)
        for warning, begins in zip(caught, says, strict=True):
            assert str(warning.message).startswith(begins) and warning.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vectors.predict("ada", "knows"), vectors.explain("ada", "likes", "cy"), vectors.nearest("ada")


def test_the_command_line_warns_in_a_line(
    run: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for line, lines in (
        (f"predict {run} --head eve --relation fears", 2),
        (f"predict {run} --head ada --relation knows", 0),
    ):
        monkeypatch.setattr(sys, "argv", ["distjoint", *line.split(), "--json"])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        err = capsys.readouterr().err
        assert not stopped.value.code and err.count("\n") == err.count("distjoint: warning: ") == lines


def test_an_entity_that_is_described_has_a_vector_that_means_something(tmp_path: Path) -> None:
    (tmp_path / "about.tsv").write_text("".join(f"{name}\t{name} likes red tea\n" for name in ("ada", "bob", "eve")))
    files = {"triples": write(tmp_path / "t", TRAIN), "test": write(tmp_path / "u", TEST)}
    distjoint.prepare(str(tmp_path / "data"), **files, descriptions=str(tmp_path / "about.tsv"), min_count=1)
    settings = {**SETTINGS, "model.coupling": "described", "train.epochs": 1}
    distjoint.train(str(tmp_path / "data"), str(tmp_path / "run"), settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert distjoint.load(str(tmp_path / "run")).predict("eve", "knows")
