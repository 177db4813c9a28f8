"""The examples of CONTRIBUTING.md do what it says: each is added, used in a run of its own, and taken out again."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import Small, config, tensors
from test_coupling_formulas import (
    Plain,
    assert_entities_begin_as_given,
    assert_steps_follow_the_gradient,
    assert_views_agree,
)

import distjoint
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.base.errors import UsageError
from distjoint.data.dataset import Dataset
from distjoint.data.streams import PAIRS
from distjoint.model.losses import loss_of
from distjoint.registry import ALL, CANDIDATES, OPTIMIZERS, SOURCES
from distjoint.train.run import Result

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = {
    name: code
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for name in re.findall(r"^# (\w+)\.py", code)
}
SETTINGS: dict[str, dict[str, Any]] = {
    "squared_margin": {"graph.loss": "squared_margin", "model.cosine": False},
    "total": {"model.coupling": "total"},
    "rmsprop": {"graph.optimizer": "rmsprop", "graph.optimizer_options.decay": 0.9, "graph.learning_rate": 0.01},
    "leash": {"model.coupling": "leash", "model.coupling_options.length": 0.5},
    "shared": {"graph.candidates": "shared"},
    "npz": {},
}
"""What a run needs to be told to use each."""


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of an example, imported as `--plugin` does; what it adds is gone after the test."""
    name = request.param
    (tmp_path / f"{name}.py").write_text(EXAMPLES[name])
    monkeypatch.syspath_prepend(tmp_path)
    before = [set(registry.names()) for registry in ALL]
    OPTIMIZERS.add(Plain)
    yield importlib.import_module(name)
    for registry, names in zip(ALL, before, strict=True):
        for added in set(registry.names()) - names:
            registry.remove(added)
    sys.modules.pop(name)


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", [name], indirect=True)


def run(dataset: str, folder: Path, name: str, **settings: Any) -> Result:
    """A run that uses an example, from training to link prediction."""
    made = distjoint.train(dataset, str(folder), config({**SETTINGS[name], "train.epochs": 2, **settings}))
    found = distjoint.evaluate(str(folder), link_prediction="valid").to_dict()["link_prediction"]
    assert np.isfinite(found["mrr"])
    return made


def test_every_example_is_run_here() -> None:
    assert set(EXAMPLES) == set(SETTINGS)


def test_every_registry_and_file_of_the_table_is_there() -> None:
    rows = re.findall(r"^\| [\w ]+ \| `([\w/]+\.py)` \| `(\w+)`", PAGE, re.MULTILINE)
    assert {name for _, name in rows} == {name for name in dir(sys.modules["distjoint.registry"]) if name.isupper()} - {
        "ALL"
    }
    assert [place for place, _ in rows if not (ROOT / "distjoint" / place).is_file()] == []


@of("squared_margin")
def test_the_loss(example: Any, small: Small, tmp_path: Path) -> None:
    scores, weight = torch.randn(2, 1, 3, 3), torch.rand(1, 3)
    leaf = scores.clone().requires_grad_()
    apart = (leaf - leaf.diagonal(dim1=-2, dim2=-1)[..., None] + 1.5).clamp_min(0).square() * (1 - torch.eye(3))
    expected = (apart.sum(-1) / 2 * weight).sum()
    expected.backward()
    found, gradient, _ = loss_of("squared_margin", 1.5, 1.0).sampled(scores, None, weight, None, lambda *_: scores)
    torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(gradient, leaf.grad)
    run(small.graph, tmp_path / "run", "squared_margin")


@of("total")
def test_the_coupling(example: Any, small: Small, tmp_path: Path) -> None:
    def formula(own: torch.Tensor, word: torch.Tensor, *_: object) -> torch.Tensor:
        return own + word

    assert_views_agree("total", formula, CpuBackend(1))
    assert_steps_follow_the_gradient("total", formula, CpuBackend(1))
    assert_entities_begin_as_given("total", CpuBackend(1))
    run(small.joint, tmp_path / "run", "total")


@of("rmsprop")
def test_the_optimizer(example: Any, small: Small, tmp_path: Path) -> None:
    run(small.graph, tmp_path / "run", "rmsprop")
    assert (tensors(tmp_path / "run")["0/X.square"] > 0).any()
    with pytest.raises(UsageError, match=r"optimizer_options=.*rmsprop does not take them"):
        run(small.graph, tmp_path / "no", "rmsprop", **{"graph.optimizer_options.dekay": 1.0})


@of("leash")
def test_the_source_and_its_coupling(example: Any, paired: str, tmp_path: Path) -> None:
    first, last = run(paired, tmp_path / "run", "leash", **{"train.epochs": 6}).history[::5]
    assert first["leashes"] == last["leashes"] == Dataset.open(paired).manifest.counts[PAIRS]
    assert last["leash_loss"] < 0.5 * first["leash_loss"]
    assert last["leashes_step_size"] == last["triples_step_size"]
    (words,) = SOURCES["leashes"].epoch_words(last)
    assert words.startswith("leash loss 0.")
    near = distjoint.load(str(tmp_path / "run")).nearest("teama", of="entity", kind="word", k=3)
    assert len(near) == 3
    with pytest.raises(
        UsageError, match=r"model\.coupling_options=\{'length': 0\.5, 'pull': 1\.0\}: leash does not take them"
    ):
        run(paired, tmp_path / "no", "leash", **{"model.coupling_options.pull": 1.0})


@of("shared")
def test_the_candidates(example: Any, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[torch.Tensor] = []
    plain = CANDIDATES["shared"].draw

    def recorded(*args: Any) -> torch.Tensor:
        drawn.append(plain(*args))
        return drawn[-1]

    monkeypatch.setattr(CANDIDATES["shared"], "draw", recorded)
    run(small.graph, tmp_path / "run", "shared")
    assert {len(rows) for rows in drawn} == {2}
    assert max(rows.shape[1] for rows in drawn) > 1
    assert all(torch.equal(rows, rows[:, :1].expand_as(rows)) for rows in drawn)


@of("npz")
def test_the_export_format(example: Any, small: Small, tmp_path: Path) -> None:
    run(small.joint, tmp_path / "run", "npz")
    loaded = distjoint.load(str(tmp_path / "run"))
    assert loaded.export(str(tmp_path / "vectors.npz"), "npz") == len(loaded)
    found = np.load(tmp_path / "vectors.npz")
    for space in (loaded.words, loaded.entities):
        assert found[f"{space.kind}_names"].tolist() == list(space.names)
        assert np.array_equal(found[space.kind], space.vectors)
