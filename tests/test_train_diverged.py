"""A step looks before it leaps: what is not finite is found, and named, before any row is stepped by it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import Small, config, tensors

import distjoint
from distjoint.base.errors import DivergedError
from distjoint.couplings.scheme import initial_shard
from distjoint.data.dataset import Dataset
from distjoint.registry import LOSSES
from distjoint.train.build import Parts, build, local_place
from distjoint.train.plan import plan
from distjoint.train.rates import Rates
from distjoint.train.schedule import Visit, schedule
from distjoint.train.sources.base import LaneVisit, VisitWork
from distjoint.train.tally import Tally

pytestmark = pytest.mark.unit


class Bench:
    """A worker's parts with all shards resident, and the only visit of its first epoch."""

    def __init__(self, dataset: str, **settings: Any) -> None:
        data = Dataset.open(dataset)
        info = plan(data, dataset, config({"train.groups": 2, **settings}), workers=1)
        self.parts: Parts = build(info, data, local_place(1))
        self.arena = self.parts.resources.arena
        for shard in range(data.layout.shards):
            self.arena.put(shard, initial_shard(self.parts.resources.scheme, data.layout, shard))
        visit = schedule(data.layout.shards, 0, 0, 2, 1).rounds[0].visits[0]
        assert isinstance(visit, Visit)
        self.assigned, self.data = LaneVisit(visit, epoch=0), data

    def work(self, name: str) -> tuple[VisitWork, Tally]:
        source = next(source for source in self.parts.sources if source.name == name)
        return source.visit(self.assigned), Tally(source.sums)

    def copy(self) -> dict[str, torch.Tensor]:
        return {name: array.clone() for name, array in self.arena.arrays.items()}

    def row(self, column: str, name: str) -> int:
        """The arena row of a name."""
        row_id = self.data.rows([column]).column(column).to_pylist().index(name)
        (shard,), (offset,) = self.data.layout.locate(np.array([row_id]))
        return self.arena.base(int(shard)) + int(offset)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bit by bit, NaN too."""
    return all(torch.equal(value.view(torch.int32), other[name].view(torch.int32)) for name, value in one.items())


@pytest.mark.parametrize("candidates", ["sampled", "1vsall", "kvsall"])
@pytest.mark.parametrize("coupling", ["none", "tie", "dual"])
def test_a_planted_nan_is_named_and_steps_no_row(small: Small, coupling: str, candidates: str) -> None:
    settings = {"model.coupling": coupling, "graph.candidates": candidates, "graph.batch": 1000}
    bench = Bench(small.joint, **settings)
    work, tally = bench.work("triples")
    rates = Rates(1.0, 1.0)
    work.do(1, rates, tally)
    row = bench.row("entity", "city_3")  # without a word; in the second batch, which has all triples
    bench.arena.arrays["X"][bench.arena.entity_index[row]] = math.nan
    before = bench.copy()
    assigned = LaneVisit(bench.assigned.visit, bench.assigned.epoch, passes=4)
    source = next(source for source in bench.parts.sources if source.name == "triples")
    again = source.visit(assigned)
    with pytest.raises(DivergedError) as raised:
        again.do(1, rates, Tally(source.sums))
    shard = bench.arena.shard_of(row)
    message = str(raised.value)
    assert message.startswith(
        "triples: the loss or a gradient is not a finite number (epoch 1, groups 0 and 1, batch 1 of"
    )
    assert "'city_3'" in message
    assert f"{shard})" in message or f"({shard}," in message
    assert "is not finite" in message
    assert message.endswith("no row was stepped by it")
    assert same(bench.copy(), before)
    bench.parts.close()


def test_the_nth_batch_is_named(small: Small) -> None:
    """Batches before it trained; the failing one is the nth of the visit, not the nth that was due."""
    bench = Bench(small.graph, **{"graph.batch": 16})
    work, tally = bench.work("triples")
    work.do(3, Rates(1.0, 1.0), tally)
    bench.arena.arrays["X"].fill_(math.inf)
    before = bench.copy()
    with pytest.raises(DivergedError, match=rf"batch 4 of {work.units}, partition \(\d+, \d+\), triple '"):
        work.do(work.units - 3, Rates(1.0, 1.0), tally)
    assert same(bench.copy(), before)
    bench.parts.close()


def test_a_cell_that_is_not_finite_is_named_and_steps_nothing(small: Small) -> None:
    bench = Bench(small.text)
    work, tally = bench.work("cells")
    bench.arena.arrays["W"].fill_(math.nan)
    before = bench.copy()
    with pytest.raises(DivergedError) as raised:
        work.do(work.units, Rates(1.0, 1.0), tally)
    message = str(raised.value)
    assert "cells: the loss or a gradient is not a finite number (epoch 1, groups 0 and 1, partition (" in message
    assert ", wave 1 of " in message
    assert "W of it are not finite" in message
    assert raised.value.key == "text.learning_rate"
    assert same(bench.copy(), before)
    bench.parts.close()


def test_cells_before_the_one_that_fails_are_trained(small: Small) -> None:
    bench = Bench(small.text)
    work, tally = bench.work("cells")
    row = bench.row("word", "commona")
    place = int(bench.arena.word_index[row])
    bench.arena.arrays["C"][place] = math.inf
    before = bench.copy()
    with pytest.raises(DivergedError, match=r"cell '.*' with 'commona': C of it are not finite"):
        work.do(work.units, Rates(1.0, 1.0), tally)
    after = bench.copy()
    assert torch.equal(after["C"][place], before["C"][place])
    assert not same(after, before)
    assert after["W"].isfinite().all()
    bench.parts.close()


@pytest.mark.parametrize(("source", "unit"), [("cells", "wave"), ("triples", "batch")])
def test_what_a_device_noted_is_named_at_the_end_of_the_visit(small: Small, source: str, unit: str) -> None:
    bench = Bench(small.joint)
    work, _ = bench.work(source)
    work.verify()
    for finite in (True, False, True, False):
        work.done += 1
        work.note(torch.tensor(finite))
    with pytest.raises(DivergedError, match=rf"{source}: .* {unit} 2 of {work.units}\)"):
        work.verify()
    bench.parts.close()


def test_the_message_of_a_run_has_the_advice_that_fits(small: Small, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    distjoint.train(small.graph, run, config({"train.epochs": 1}))
    saved = tensors(run)
    with pytest.raises(DivergedError) as raised:
        distjoint.train(resume=run, settings={"graph.learning_rate": 1e38, "train.epochs": 3})
    message = str(raised.value)
    assert "checkpoints/epoch-00001 is kept" in message
    assert f"distjoint train --resume {run} --set graph.learning_rate=5e+37 (or a smaller model.scale" in message
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "failed"
    assert {name: value.tobytes() for name, value in tensors(run).items()} == {
        name: value.tobytes() for name, value in saved.items()
    }
    assert distjoint.train(resume=run, settings={"graph.learning_rate": 0.05}).metrics["epoch"] == 3


def test_gradient_norms_and_step_sizes_are_metrics(small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = {"graph.decay": "linear", "train.epochs": 2, "model.coupling": "dual"}
    distjoint.train(small.joint, str(run), config(settings))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    norms = {"text", "graph", "word_graph", "relation", "word_relation", "map"}
    for line in lines:
        assert all(line[f"{name}_gradient_norm"] > 0 for name in norms)
    assert [line["triples_step_size"] for line in lines] == [pytest.approx(0.05), 0]
    assert [line["cells_step_size"] for line in lines] == [pytest.approx(0.05)] * 2
    assert any((run / "tensorboard").iterdir())


def test_a_loss_of_a_users_own_that_fails_is_found_too(small: Small, tmp_path: Path) -> None:
    from distjoint.model.losses import TripleLoss

    class Failing(TripleLoss):
        """Infinite in its second batch."""

        name = "failing"
        batches = 0

        def of_queries(self, target: torch.Tensor, scores: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
            Failing.batches += 1
            return target * (math.inf if Failing.batches > 2 else 1.0)

    LOSSES.add(Failing)
    try:
        with pytest.raises(DivergedError, match=r"triples: .* \(epoch 1, .*there is no checkpoint yet"):
            distjoint.train(small.graph, str(tmp_path / "run"), config({"graph.loss": "failing", "graph.batch": 16}))
    finally:
        LOSSES.remove("failing")
