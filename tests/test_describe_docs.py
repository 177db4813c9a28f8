"""The examples of docs/describe.md, in the order in which they stand, on the small league."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from small import Small, Train

import distjoint
from distjoint.cli.app import app
from distjoint.data.dataset import Dataset

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[1] / "docs/describe.md").read_text()


@pytest.fixture
def here(small: Small, known: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples name."""
    given = Path(small.joint).parent
    for name, target in {
        "data/mine": Path(small.joint),
        "runs/joint": known({"train.validate_every": 1}),
        "text.txt": given / "text.txt",
        "kg/train.tsv": given / "train.tsv",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(target)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for block in re.findall(r"^```(?:python)?\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        if not block.startswith("distjoint "):
            exec(block, {"distjoint": distjoint})
            assert "antisymmetric" in capsys.readouterr().out
            continue
        for line in block.strip().split("\n"):
            app(shlex.split(line)[1:], standalone_mode=False)
            out = capsys.readouterr().out
            assert json.loads(out)["kind"] == "dataset" if line.endswith("--json") else len(out) > 500
    assert "<table>" in (here / "mine.html").read_text()
    mine, reviewed = (Dataset.open(f"data/{name}").manifest.counts["aligned"] for name in ("mine", "reviewed"))
    assert mine == reviewed > 0


def test_the_page_has_every_chapter(here: Path) -> None:
    found = distjoint.describe("data/mine").to_dict()
    chapters = set(re.findall(r"^\| (\w+) \|", PAGE.partition("## Of a dataset")[2], re.MULTILINE))
    assert found.keys() - {"format", "kind", "url"} <= chapters
