"""Names of settings that other trainers have: whoever writes one is told what it is called here. And what a scorer that
is named alone does otherwise than its paper.
"""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from small import FAST, Small
from test_lock import Heard

import distjoint
from distjoint.base.errors import UsageError
from distjoint.base.foreign import FOREIGN, meant_by
from distjoint.base.options import spelling
from distjoint.cli import app as cli
from distjoint.config import Config
from distjoint.data.request import PrepareOptions
from distjoint.optim import optimizer_of
from distjoint.recipes import recipes
from distjoint.recipes.load import load_config
from distjoint.registry import LOSSES, SCORERS
from distjoint.train.papers import unlike_the_paper

pytestmark = pytest.mark.unit

PYKEEN = """
model_kwargs: {embedding_dim: 64}
training_kwargs:
  num_epochs: 5
  batch_size: 256
optimizer: Adam
optimizer_kwargs: {lr: 0.01}
"""


def keys() -> set[str]:
    return {f"{section}.{key}" for section, keys in Config().model_dump().items() for key in keys}


def test_every_name_stands_for_something_that_exists() -> None:
    known = keys() | {f"prepare {spelling(each)}" for each in fields(PrepareOptions)}
    known |= {f"graph.optimizer_options.{name}" for name in vars(optimizer_of("adam", {}))}
    for name, meant in FOREIGN.items():
        assert name == name.lower() and name.isidentifier()
        assert meant and set(meant) <= known, name


@pytest.mark.parametrize(
    ("setting", "meant"),
    [
        ("embedding_dim=64", "'model.dim'"),
        ("model.hidden_dim=64", "'model.dim'"),
        ("train.max_epochs=5", "'train.epochs'"),
        ("n-epochs=5", "'train.epochs'"),
        ("maxEpochs=5", "'train.epochs'"),
        ("lr=.1", "'graph.learning_rate' or 'text.learning_rate'"),
        ("batch_size=9", "'graph.batch'"),
        ("negative_sample_size=9", "'graph.negatives'"),
        ("gamma=12", "'graph.margin'"),
        ("margin=1", "'graph.margin'"),
        ("regularization=.1", "'graph.n3' or 'graph.l2'"),
        ("adversarial_temperature=1", "'graph.temperature'"),
        ("optimizer=adam", "'graph.optimizer'"),
        ("window_size=5", "'prepare --window'"),
        ("vector_size=50", "'model.dim'"),
        ("x_max=100", "'loss.x_max'"),
        ("text.x_max=100", "'loss.x_max'"),
        ("graph.epochs=3", "'train.epochs'"),
        ("train.coupling=tie", "'model.coupling'"),
        ("model=TransE", "'model.scorer'"),
        ("loss=margin", "'graph.loss'"),
    ],
)
def test_whoever_writes_one_is_told_the_key(setting: str, meant: str) -> None:
    key, _, value = setting.partition("=")
    for overrides in ([setting], {key: value}):
        with pytest.raises(UsageError) as caught:
            load_config(overrides=overrides)
        said = str(caught.value)
        assert f"did you mean {meant}?" in said and key in said and "\n" not in said


def test_a_file_for_another_trainer_is_told_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "pykeen.yaml").write_text(PYKEEN)
    with pytest.raises(UsageError) as caught:
        load_config(str(tmp_path / "pykeen.yaml"))
    for key, meant in (
        ("model_kwargs.embedding_dim", "model.dim"),
        ("training_kwargs.num_epochs", "train.epochs"),
        ("training_kwargs.batch_size", "graph.batch"),
        ("optimizer", "graph.optimizer"),
        ("optimizer_kwargs.lr", "graph.learning_rate"),
    ):
        assert re.search(rf"unknown key '{key}'; did you mean '{meant}'", str(caught.value))


def test_python_and_the_command_line_tell_it_too(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    with pytest.raises(UsageError, match=r"'num_epochs'; did you mean 'train\.epochs'\?"):
        distjoint.train(small.graph, run, {"num_epochs": 5})
    with pytest.raises(UsageError, match=r"no option 'embedding_dim'; it is a setting: config=\{'model.dim': \.\.\.\}"):
        distjoint.train(small.graph, run, embedding_dim=5)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="no option 'vocab_min_count'; did you mean 'min_count'"):
        distjoint.prepare(run, vocab_min_count=5)  # type: ignore[call-arg]
    distjoint.train(small.graph, run, {**FAST, "train.epochs": 1})
    with pytest.raises(UsageError, match=r"did you mean 'train\.epochs'"):
        distjoint.train(resume=run, settings={"epochs": 5})
    for line, says in (
        (f"train {small.graph} --out {run} --lr .1", "--set graph.learning_rate=..."),
        (f"train --resume {run} --set num_epochs=5", "did you mean 'train.epochs'?"),
        (f"nearest {run} x --lr 1", "--lr"),
    ):
        monkeypatch.setattr(sys, "argv", ["distjoint", *line.split()])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        err = capsys.readouterr().err
        assert stopped.value.code == 2 and says in err and err.count("\n") == 1


def test_names_that_nobody_has_mean_nothing() -> None:
    assert meant_by("model.zzz") == () and meant_by("") == ()


# Scorers and their papers


def test_a_scorer_named_alone_says_what_its_paper_does_otherwise(small: Small, tmp_path: Path) -> None:
    for name in SCORERS.names():
        said = unlike_the_paper(load_config(overrides={"model.scorer": name}))
        assert said is not None and f"{name}: its paper ({SCORERS[name].paper})" in said
        settings = dict(re.findall(r"--set (\S+)=(\S+)", said))
        assert (
            unlike_the_paper(load_config(overrides=[f"model.scorer={name}", *map("=".join, settings.items())])) is None
        )
    assert unlike_the_paper(Config()) is None  # nobody has asked for one
    for own in ({"model.cosine": True}, {"graph.loss": "softmax"}):  # what is asked for is not said
        said = unlike_the_paper(load_config(overrides={"model.scorer": "transe", **own}))
        assert said is not None and next(iter(own)) not in said
    assert all(unlike_the_paper(load_config(recipe=name)) is None for name in recipes())
    heard = Heard()
    for data, out in ((small.graph, "a"), (small.text, "b")):
        settings = {**FAST, "train.epochs": 1, "model.scorer": "rotate"}
        distjoint.train(data, str(tmp_path / out), settings, progress=heard)
    (said,) = (line for line in heard.lines if "its paper" in line)
    assert "rotate: its paper (Sun et al. 2019) compares by distance and has the loss adversarial" in said


def test_the_manual_has_the_papers_of_all_scorers() -> None:
    text = (Path(distjoint.__file__).parents[1] / "docs/graph.md").read_text()
    rows = {cells[0].strip("` "): [cell.strip() for cell in cells] for line in text.splitlines()
            if len(cells := line.strip("|").split("|")) == 6}  # fmt: skip
    for name in SCORERS.names():
        scorer, (_, paper, compare, loss, settings, here) = SCORERS[name], rows[name]
        assert paper == scorer.paper and here == "cosine, softmax"
        assert compare == {"dot": "dot product"}.get(scorer.compare, scorer.compare)
        assert loss == (scorer.paper_loss or loss) and loss.split()[0] not in set(LOSSES.names()) - {scorer.paper_loss}
        config: Any = load_config(overrides=["model.scorer=" + name, *re.findall(r"`(\S+)`", settings)])
        assert unlike_the_paper(config) is None
