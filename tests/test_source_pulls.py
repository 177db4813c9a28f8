"""Sources: what they say in metrics and in the epoch's line, and those whose samples pull on two rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from small import Small, config
from test_coupling_formulas import Plain
from torch import Tensor

from distjoint.base.errors import DivergedError
from distjoint.couplings.scheme import Scheme, initial_shard
from distjoint.couplings.views import Own, Word
from distjoint.data.dataset import Dataset
from distjoint.data.streams import PAIRS
from distjoint.registry import OPTIMIZERS, SOURCES
from distjoint.table.parts import Part
from distjoint.train.build import Parts, build, local_place
from distjoint.train.plan import plan
from distjoint.train.rates import Rates
from distjoint.train.schedule import Visit, schedule
from distjoint.train.sources.base import LaneVisit, Resources, Source, sources_of
from distjoint.train.sources.pulls import Pull, PullSource
from distjoint.train.tally import Tally

pytestmark = pytest.mark.unit


DATA = {"cells": "text", "triples": "graph"}
"""Which of the small datasets has samples of a source."""
FULL = Rates(1.0, 1.0)


class Bench:
    """A worker's parts with all shards resident, and the only visit of an epoch."""

    def __init__(self, dataset: str, **settings: Any) -> None:
        self.data = Dataset.open(dataset)
        self.config = config({"train.groups": 2, **settings})
        self.parts: Parts = build(plan(self.data, dataset, self.config, 1), self.data, local_place(1))
        self.arena = self.parts.resources.arena
        for shard in range(self.data.layout.shards):
            self.arena.put(shard, initial_shard(self.parts.resources.scheme, self.data.layout, shard))

    def source(self, name: str) -> Source:
        return next(source for source in self.parts.sources if source.name == name)

    def visit(self, epoch: int = 0) -> LaneVisit:
        visit = schedule(self.data.layout.shards, 0, epoch, 2, 1).rounds[0].visits[0]
        assert isinstance(visit, Visit)
        return LaneVisit(visit, epoch)

    def values(self) -> dict[str, Tensor]:
        return {name: array.clone() for name, array in self.arena.arrays.items()}


def trained(dataset: str, name: str, epoch: int, portions: int) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The rows after a source's work on a visit, done in so many portions, and its sums."""
    bench = Bench(dataset, **{"graph.batch": 8})
    source = bench.source(name)
    work, tally = source.visit(bench.visit(epoch)), Tally(source.sums)
    assert work.units > portions
    for portion in range(portions):
        work.do(work.units * (portion + 1) // portions - work.done, FULL, tally)
    assert work.done == work.units
    work.verify()
    work.release()
    bench.parts.close()
    return bench.values(), tally.sums()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("name", DATA)
def test_a_visit_is_trained_alike_in_any_portions_and_otherwise_in_another_epoch(name: str, small: Small) -> None:
    dataset = getattr(small, DATA[name])
    once, sums = trained(dataset, name, 0, 1)
    again, summed = trained(dataset, name, 0, 3)
    assert same(once, again)
    assert {key: value for key, value in sums.items() if "seconds" not in key} == {
        key: value for key, value in summed.items() if "seconds" not in key
    }
    assert not same(once, trained(dataset, name, 1, 1)[0])


@pytest.mark.parametrize("name", DATA)
def test_metrics_are_means_of_the_sums_and_the_epochs_line_has_them(name: str, small: Small) -> None:
    bench, kind = Bench(getattr(small, DATA[name])), SOURCES[name]
    _, sums = trained(getattr(small, DATA[name]), name, 0, 1)
    found = bench.source(name).metrics(sums, workers=2)
    assert found[f"{kind.title}_loss"] == pytest.approx(sums[f"{kind.title}_loss"] / sums[kind.unit])
    assert found[kind.unit] == sums[kind.unit] > 0
    assert found[f"{kind.unit}_per_second"] == pytest.approx(2 * sums[kind.unit] / sums[f"{kind.title}_seconds"])
    assert found[f"{kind.title}_gradient_norm"] > 0
    (words,) = kind.epoch_words(found)
    assert words.startswith(f"{kind.title} loss ")
    assert words.endswith(f" {kind.unit}/s)")
    assert bench.source(name).metrics(dict.fromkeys(sums, 0.0), workers=2) == {}
    assert kind.epoch_words({"epoch": 1}) == []
    assert bench.source(name).step_size(FULL) > 0
    bench.parts.close()


def test_parts_and_random_numbers_are_a_sources_own(small: Small) -> None:
    bench = Bench(small.joint)
    scheme, visit = bench.parts.resources.scheme, bench.visit().visit
    every, trained = [SOURCES[name] for name in SOURCES.names()], sources_of(scheme)
    assert sorted(part.name for kind in trained for part in kind.parts(scheme)) == sorted(bench.arena.arrays)
    parts = [part.name for kind in every for part in kind.parts(scheme)]
    assert len(set(parts)) == len(parts)
    draws = [SOURCES[name].generator(bench.config, 0, visit).integers(1 << 62) for name in SOURCES.names()]
    assert len(set(draws)) == len(draws)
    bench.parts.close()


# Sources of samples that pull on two rows


class Pulled(PullSource):
    """Half the squared distance of X and W + C of each pair, by its weight."""

    name, title, unit = "pulled", "pulled", "pairs"
    stream, columns = PAIRS, ("entity", "word", "weight")

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        table = resources.arena, resources.backend, resources.scheme.optimizer
        self.entities, self.words = Own(*table, "pulled.X."), Word(*table, "pulled.word.")

    @classmethod
    def trains(cls, scheme: Scheme) -> bool:
        return scheme.text and scheme.graph

    @classmethod
    def parts(cls, scheme: Scheme) -> list[Part]:
        return [*scheme.state("pulled.X.", "entity"), *scheme.state("pulled.word.", "word")]

    def pulls(self, first: Tensor, second: Tensor, weight: Tensor) -> tuple[Tensor, list[Pull]]:
        apart = self.entities.gather(first) - self.words.gather(second)
        gradient = weight * apart
        pulls = [Pull(self.entities, first, gradient), Pull(self.words, second, -gradient)]
        return (gradient * apart).sum() / 2, pulls


@pytest.fixture
def pulled(paired: str) -> Iterator[str]:
    """URL of a dataset whose pairs a source trains."""
    SOURCES.add(Pulled)
    OPTIMIZERS.add(Plain)
    yield paired
    SOURCES.remove("pulled")
    OPTIMIZERS.remove("plain")


def test_pulls_that_meet_in_a_row_are_summed_before_it_steps(pulled: str) -> None:
    """Gradient descent by one batch of all partitions: that of autograd on all pairs."""
    bench = Bench(pulled, **{"graph.optimizer": "plain", "graph.batch": 1000, "model.coupling": "none"})
    source, arena = bench.source("pulled"), bench.arena
    work, tally, before = source.visit(bench.visit()), Tally(source.sums), bench.values()
    rows = bench.data.layout.shard_rows
    assert work.units == 1
    work.do(1, FULL, tally)
    leaves, rate = {name: before[name].clone().requires_grad_() for name in ("X", "W", "C")}, source.step_size(FULL)
    loss = torch.zeros(())
    for i, j in (p for p in bench.visit().visit.counted if bench.data.manifest.samples(PAIRS, *p)):
        pairs = bench.data.samples(PAIRS, i, j, {"entity": rows(i), "word": rows(j), "weight": None})
        entity = arena.entity_index[torch.from_numpy(pairs["entity"].astype(np.int64)) + arena.base(i)]
        word = arena.word_index[torch.from_numpy(pairs["word"].astype(np.int64)) + arena.base(j)]
        apart = leaves["X"][entity] - leaves["W"][word] - leaves["C"][word]
        loss = loss + (torch.from_numpy(pairs["weight"])[:, None] * apart.square() / 2).sum()
    loss.backward()
    expected = {}
    for name, share in (("X", 1.0), ("W", 0.5), ("C", 0.5)):
        gradient = leaves[name].grad
        assert gradient is not None
        expected[name] = before[name] - rate * share * gradient
    assert tally.sums()["pulled_loss"] == pytest.approx(loss.item())
    for name in ("X", "W", "C"):
        torch.testing.assert_close(arena.arrays[name], expected[name])
    assert tally.sums()["pairs"] == bench.data.manifest.counts[PAIRS] == 24
    bench.parts.close()


def test_a_source_of_pulls_passes_the_battery(pulled: str) -> None:
    once, _ = trained(pulled, "pulled", 0, 1)
    assert same(once, trained(pulled, "pulled", 0, 2)[0])


def test_a_dataset_without_the_stream_has_no_units(small: Small, pulled: str) -> None:
    bench = Bench(small.joint)
    work = bench.source("pulled").visit(bench.visit())
    assert work.units == 0
    bench.parts.close()


def test_a_pair_that_is_not_finite_is_named_before_a_row_is_stepped(pulled: str) -> None:
    bench = Bench(pulled)
    source = bench.source("pulled")
    pair = next(p for p in bench.visit().visit.counted if bench.data.manifest.samples(PAIRS, *p))
    rows = bench.data.layout.shard_rows
    entity = bench.data.samples(PAIRS, *pair, {"entity": rows(pair[0])})["entity"][0]
    row = bench.arena.base(pair[0]) + int(entity)
    name = bench.data.rows(["entity"]).column("entity")[bench.arena.row_id(row)]
    bench.arena.arrays["X"][bench.arena.entity_index[row]] = float("nan")
    before = bench.values()
    said = rf"pulled: .*batch 1 of 1, partition \({pair[0]}, \d+\), '{name}' with 'topic\w+'\); no row was stepped"
    with pytest.raises(DivergedError, match=said):
        source.visit(bench.visit()).do(1, FULL, Tally(source.sums))
    assert all(
        torch.equal(value.view(torch.int32), before[name].view(torch.int32)) for name, value in bench.values().items()
    )
    bench.parts.close()
