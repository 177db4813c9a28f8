"""What is frozen takes no step: whole parts, as a run is told, and single rows."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import Small, assert_same_bits, config, tensors
from world import World, backend_of, draw

from distjoint.base.errors import UsageError
from distjoint.train import train
from distjoint.train.worker import Worker

pytestmark = pytest.mark.unit

GROUPS = {
    "words": {"W", "W.state", "W.bias", "W.bias.state"},
    "contexts": {"C", "C.state", "C.bias", "C.bias.state"},
    "entities": {"X", "X.state"},
    "relations": {"relation", "relation.state", "word_relation", "word_relation.state"},
    "map": {"map", "map.state"},
}
FROZEN = [
    ["words", "contexts"],
    ["words", "entities", "map"],
    ["contexts", "relations", "map"],
    ["entities", "relations"],
]
"""Of any two groups, each is frozen once without the other."""


WITH = [*(("dual", frozen) for frozen in FROZEN), *zip(("none", "tie", "tie", "none"), FROZEN, strict=True)]
"""The coupling that has all groups freezes each; the others, which have fewer, share them."""


@pytest.mark.parametrize(("coupling", "frozen"), WITH, ids=str)
def test_what_is_frozen_keeps_its_bits_and_all_else_learns(
    frozen: list[str], coupling: str, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, np.ndarray] = {}
    begin, dense = Worker.begin, Worker.__init__

    def noted(self: Worker, shard: int) -> Any:
        parts = begin(self, shard)
        started.update({f"{shard}/{name}": value.numpy().copy() for name, value in parts.items()})
        return parts

    def made(self: Worker, *rest: Any) -> None:
        dense(self, *rest)
        started.update(
            {f"dense/{name}": value.numpy().copy() for name, value in self.parts.resources.dense.tensors().items()}
        )

    monkeypatch.setattr(Worker, "begin", noted)
    monkeypatch.setattr(Worker, "__init__", made)
    settings = config({"train.freeze": frozen, "model.coupling": coupling, "train.epochs": 1})
    train(small.joint, str(tmp_path / "run"), settings)
    after = tensors(tmp_path / "run")
    held = set().union(*(GROUPS[name] for name in frozen))
    held |= {"word.graph_state"} if {"words", "contexts"} <= set(frozen) else set()
    changed = {name.partition("/")[2] for name, value in started.items() if not np.array_equal(value, after[name])}
    there = {name.partition("/")[2] for name in after}
    # Coupled by `none`, words have no part in the graph: its accumulators of them are not there.
    assert changed == there - held


def test_each_group_is_frozen_without_each_other() -> None:
    for one, other in permutations(GROUPS, 2):
        assert any(one in frozen and other not in frozen for frozen in FROZEN), (one, other)


def test_a_frozen_run_is_the_same_by_any_number_of_threads(small: Small, tmp_path: Path) -> None:
    for threads in (1, 3):
        settings = config({"train.freeze": "words, relations", "train.threads": threads})
        train(small.joint, str(tmp_path / str(threads)), settings)
    assert_same_bits(tensors(tmp_path / "1"), tensors(tmp_path / "3"))


def test_only_groups_can_be_frozen() -> None:
    assert config({"train.freeze": "words,map"}).train.freeze == ("words", "map")
    with pytest.raises(UsageError, match=r"train\.freeze\.0 = 'verbs': choose words, contexts, .*, map"):
        config({"train.freeze": ["verbs"]})


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize(
    ("coupling", "term"), [("none", "graph"), ("tie", "graph"), ("dual", "graph"), ("dual", "word")]
)
def test_rows_that_are_frozen_take_no_step_and_others_step_as_ever(coupling: str, term: str, backend: str) -> None:
    free, frozen = (World(coupling, {}, backend_of(backend)) for _ in range(2))
    for seed, name in enumerate(("X", "W", "C")):
        frozen.arena.frozen[name] = draw(len(frozen.arena.arrays[name]), seed=seed) > 0
    masks, before = frozen.arena.frozen, frozen.parts()
    masks = {**masks, "X.state": masks["X"], "word.graph_state": masks["W"] & masks["C"]}
    for world in (free, frozen):
        world.step(world.loss(term), world.batch(world.rows_of(term), 200), world.pool(world.rows_of(term)))
    expected, found = free.after(), frozen.after()
    for name, value in found.items():
        if name in masks:
            rows = masks[name]
            assert torch.equal(value[rows], before[name][rows]), name
            torch.testing.assert_close(value[~rows], expected[name][~rows])
        else:
            assert torch.equal(value, expected[name]), name
    assert any(not torch.equal(expected[name], found[name]) for name in masks)
