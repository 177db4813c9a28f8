"""A run finds its dataset: called from anywhere, moved with it, moved alone, made again; and takes no other."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import Rows, write_dataset, write_run
from small import Small, config, info, write_league

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.cli import app as cli
from distjoint.data.dataset import Dataset

pytestmark = pytest.mark.unit

QUESTION = "--head coacha --relation coach_of --top 2"
SETTINGS = {"train.epochs": 1, "loss.alpha": 1}


@pytest.fixture(scope="module")
def made(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder: `data/ds` and `runs/a`, made by relative paths."""
    project = tmp_path_factory.mktemp("made") / "project"
    (project / "data").mkdir(parents=True)
    shutil.copytree(small.graph, project / "data/ds")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        distjoint.train("data/ds", "runs/a", config(SETTINGS))
    return project


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A copy of it, elsewhere."""
    shutil.copytree(made, tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def gone(made: Path, project: Path) -> Any:
    """The place that was noted is not there any more."""
    away = made.rename(made.with_name("away"))
    yield
    away.rename(made)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line; its exit code and what it printed."""

    def go(line: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["distjoint", *line.split()])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out + captured.err

    return go


def commands(run: Path, dataset: str = "") -> list[str]:
    """Every command that needs a run's dataset."""
    return [
        f"predict {run} {QUESTION} {dataset}",
        f"explain {run} coacha coach_of teama -k 0 {dataset}",
        f"evaluate {run} --link-prediction test --json {dataset}",
        f"compare {run} {run} --link-prediction valid {dataset}",
        f"train --resume {run} --set train.epochs=2 {dataset}",
    ]


def test_a_run_is_used_from_any_folder(made: Path, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = info(made / "runs/a")
    assert noted["dataset"] == str(made / "data/ds") and noted["dataset_from_here"] == "../../data/ds"
    assert noted["dataset_fingerprint"] == Dataset.open(str(made / "data/ds")).manifest.fingerprint()
    monkeypatch.chdir(tmp_path)
    code, said = call(commands(made / "runs/a")[0])
    assert code == 0 and "team" in said


@pytest.mark.usefixtures("gone")
def test_run_and_dataset_move_together(project: Path, call: Any) -> None:
    for line in commands(project / "runs/a"):
        assert call(line)[0] == 0, line
    assert info(project / "runs/a")["dataset"] == str(project / "data/ds")  # noted when it was resumed


@pytest.mark.usefixtures("gone")
def test_a_dataset_that_moved_alone_is_given(made: Path, project: Path, call: Any) -> None:
    run, moved = project / "runs/a", (project / "data/ds").rename(project / "elsewhere")
    for line in commands(run):
        code, said = call(line)
        if line.startswith("explain"):  # says that it is explained without
            assert code == 0 and "the dataset was not read" in said
        else:
            assert code == 1 and "no such dataset" in said and "--dataset" in said, line
            assert f"{made / 'data/ds'}" in said and f"{project / 'data/ds'}" in said
    lines = [*commands(run, f"--dataset {moved}"), f"export {run} --out {project}/v.txt --dataset {moved}"]
    for line in [*lines, f"nearest {run} teama --dataset {moved}"]:
        code, said = call(line)
        assert code == 0 and "not read" not in said, line
    assert info(run)["dataset"] == str(moved)  # noted when it was resumed
    assert call(commands(run)[0])[0] == 0


def test_another_dataset_is_refused_by_name_everywhere(project: Path, small: Small, call: Any) -> None:
    run, theirs = project / "runs/a", Dataset.open(small.known).manifest.fingerprint()
    before = (run / "run.json").read_bytes()
    lines = [*commands(run, f"--dataset {small.known}"), f"export {run} --out {project}/v.txt --dataset {small.known}"]
    parts = small.known, theirs, info(run)["dataset"], info(run)["dataset_fingerprint"], str(run)
    for line in lines:
        code, said = call(line)
        assert code == 1 and said.count("\n") == 1 and all(part in said for part in parts), line
    for do in (
        lambda: distjoint.load(str(run), dataset=small.known),
        lambda: distjoint.evaluate(str(run), link_prediction="test", dataset=small.known),
        lambda: distjoint.train(small.known, resume=str(run)),
        lambda: distjoint.train(small.known, str(run), config(SETTINGS), go_on=True),
        lambda: distjoint.compare([str(run), str(run)], link_prediction="test", dataset=[small.known]),
    ):
        with pytest.raises(DistjointError, match="is not the dataset"):
            do()
    assert (run / "run.json").read_bytes() == before
    code, said = call(f"train {small.known} --out {project}/b --dataset {small.known}")
    assert code == 2 and "--dataset" in said


def test_the_same_content_will_do_wherever_its_input_lay(tmp_path: Path) -> None:
    """What differs is the manifest's record of the options, which names the input."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files = write_league(tmp_path / name)
        distjoint.prepare(str(tmp_path / name / "ds"), triples=files["train"], test=files["test"], shards=2)
    one, two = (Dataset.open(str(tmp_path / name / "ds")) for name in ("one", "two"))
    assert one.checksum() != two.checksum() and one.manifest.fingerprint() == two.manifest.fingerprint()
    run = str(tmp_path / "run")
    distjoint.train(str(tmp_path / "one/ds"), run, config(SETTINGS))
    first = distjoint.evaluate(run, link_prediction="test").to_dict()
    shutil.rmtree(tmp_path / "one")
    assert distjoint.evaluate(run, link_prediction="test", dataset=str(tmp_path / "two/ds")).to_dict() == first
    assert distjoint.train(str(tmp_path / "two/ds"), resume=run, settings={"train.epochs": 2}).last_epoch == 2
    distjoint.prepare(str(tmp_path / "less"), triples=files["train"], shards=2)
    with pytest.raises(DistjointError, match="is not the dataset"):
        distjoint.load(run, dataset=str(tmp_path / "less"))


def test_a_run_of_an_earlier_version_is_found_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It noted the path as it was typed, and no fingerprint."""
    rows = Rows(entities=["a", "b", "c"], relations=["r"])
    (tmp_path / "p").mkdir()
    monkeypatch.chdir(tmp_path / "p")
    data = write_dataset(Path("ds"), rows, train=[("a", "r", "b"), ("b", "r", "c")], test=[("a", "r", "c")])
    write_run(Path("runs/old"), data, entities=np.eye(3, 4), dense={"relation": np.ones((2, 4))})
    assert info("runs/old")["dataset"] == "ds" and info("runs/old")["dataset_fingerprint"] is None
    monkeypatch.chdir(tmp_path)
    assert distjoint.load("p/runs/old").predict("b", "r", known="exclude")
    Path("ds").mkdir()
    Path("ds/manifest.json").write_bytes(Path("p/ds/manifest.json").read_bytes() + b"\n")  # another one, nearer
    assert distjoint.load("p/runs/old").predict("b", "r", known="exclude")
    shutil.rmtree("p/ds")
    with pytest.raises(DistjointError, match=r"^ds: is not the dataset p/runs/old was trained on"):
        distjoint.load("p/runs/old").predict("b", "r", known="exclude")


@pytest.mark.usefixtures("gone")
def test_compare_gives_each_run_its_own(project: Path, small: Small, tmp_path: Path, call: Any) -> None:
    other = tmp_path / "known"
    shutil.copytree(small.known, other)
    distjoint.train(str(other), str(tmp_path / "b"), config(SETTINGS))
    moved = [(project / "data/ds").rename(tmp_path / "ds1"), other.rename(tmp_path / "ds2")]
    line = f"compare {project}/runs/a {tmp_path}/b --link-prediction valid --json --dataset {moved[1]} {moved[0]}"
    code, said = call(line)
    assert code == 0 and '"measures"' in said
