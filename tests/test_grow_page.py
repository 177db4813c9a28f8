"""The commands of docs/grow.md, in the order in which they stand."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import FAST, write_league

import distjoint
from distjoint.cli import app as cli
from distjoint.data.dataset import Dataset
from distjoint.runs.folder import RunFolder

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[1] / "docs/grow.md").read_text()
MORE = {"more": "teamz", "tuesday": "teamy"}
"""Files of later triples, and the team that comes with them."""


def begin(folder: Path) -> None:
    """What is there before: a dataset, a run of it, vectors, and files of what comes later."""
    files, about = write_league(folder), folder / "about.tsv"
    teams = [f"team{letter}" for letter in "abcdefgh"]
    about.write_text("".join(f"{team}\ta club that plays at home in the league of {team}\n" for team in teams))
    for name, team in MORE.items():
        (folder / f"{name}.tsv").write_text(f"coacha\tcoach_of\t{team}\n{team}\tplays_against\tteama\n")
        (folder / f"{name}-about.tsv").write_text(f"{team}\tanother club that plays at home\n")
    vectors = {"teama": np.ones(100), "club": np.zeros(100) + 0.5}
    (folder / "vectors.txt").write_text("".join(f"{k} {' '.join(map(str, v))}\n" for k, v in vectors.items()))
    graph = {"triples": files["train"], "valid": files["valid"], "test": files["test"]}
    distjoint.prepare("data/mine", **graph, descriptions=str(about), min_count=1, shards=4)
    distjoint.train("data/mine", "runs/mine", {**FAST, "model.coupling": "described"})


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with that, to be copied."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        begin(folder)
    return folder


@pytest.fixture
def here(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of it is the folder in which commands run."""
    monkeypatch.chdir(shutil.copytree(begun, tmp_path / "here"))


@pytest.mark.usefixtures("here")
def test_the_commands_grow_what_they_say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = re.findall(r"^distjoint .*$", PAGE, re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        quick = " --set train.epochs=1 --set train.threads=1" if "--init" in line else ""
        monkeypatch.setattr(sys, "argv", (line + quick).split())
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert not stopped.value.code, (line, capsys.readouterr().err)
    grown, tuesday = (Dataset.open(f"data/{name}") for name in ("grown", "tuesday"))
    assert [Path(each.dataset).name for each in tuesday.manifest.grown_from] == ["mine", "grown"]
    assert tuesday.manifest.grown_from[1].fingerprint == grown.manifest.fingerprint()
    entities = tuesday.rows().column("entity").to_pylist()
    assert entities[grown.layout.rows :].count("teamy") == 1 == entities[: grown.layout.rows].count("teamz")
    info = RunFolder.open("runs/tuesday").info
    assert [(Path(each.run).name, each.epochs) for each in info.carried] == [
        ("mine", FAST["train.epochs"]),
        ("grown", 1),
    ]
    assert len(info.old.layout.grown) == 1, "the run had rows of a growth"
    found = distjoint.load("runs/tuesday")
    assert {"teama", "teamz", "teamy"} <= {each.name for each in found.nearest("teamb", k=100, kind="entity")} | {
        "teamb"
    }
    held = distjoint.load("runs/around")
    assert np.allclose(held.vector("club", kind="word"), 0.5, atol=1e-6)


@pytest.mark.usefixtures("here")
def test_the_python_does_the_same() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"distjoint": distjoint}
    exec(compile(code, "grow.py", "exec"), names)
    assert RunFolder.open("runs/grown").info.config.train.epochs == 1
