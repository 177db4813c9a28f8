"""One battery that every source must pass: what it decodes, counts, adds up and reports, on the small league."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from members import assert_covers
from small import Small, config
from test_train_diverged import Bench
from torch import Tensor

from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.model.text import weigh
from distjoint.registry import SOURCES
from distjoint.table.layout import Layout
from distjoint.train import sources
from distjoint.train.rates import Rates
from distjoint.train.sources.base import LaneVisit, Source
from distjoint.train.sources.cells import DecodedCells
from distjoint.train.sources.triples import DecodedTriples
from distjoint.train.tally import Tally

pytestmark = pytest.mark.unit

RATES = Rates(text=0.5, graph=0.25)
DUAL: dict[str, Any] = {"model.coupling": "dual", "graph.batch": 16}


@dataclass(frozen=True)
class Expected:
    """What is known of a source.

    stream      its samples in the manifest
    besides     how many more a partition has, which are in no file
    unit        what they are called, and the sum that counts them
    sides       of a run, which must train for it to train: `text`, `graph`
    sums        all its sums
    metrics     its metrics
    steps       parts that it changes
    step_size   configuration key of its step size, and its factor in `RATES`
    each_pass   whether it trains on each pass over the triples, leaving gradients of dense parameters
    times       how often each sample is counted, by passes
    mean_over   sum over which the mean of its squared gradients is taken, where that is not the one that counts samples
    coupling    under which it trains
    """

    stream: str
    unit: str
    sides: set[str]
    sums: set[str]
    metrics: set[str]
    steps: set[str]
    step_size: tuple[str, float]
    first: bool = False
    each_pass: bool = False
    times: Callable[[int], int] = lambda passes: 1
    mean_over: str | None = None
    coupling: str = "dual"
    besides: Callable[[Layout, tuple[int, int]], int] = lambda layout, partition: 0

    def samples(self, data: Dataset, partition: tuple[int, int]) -> int:
        return data.manifest.samples(self.stream, *partition) + self.besides(data.layout, partition)

    @property
    def settings(self) -> dict[str, Any]:
        return {"model.coupling": self.coupling, "graph.batch": 16}


EXPECTED = {
    "cells": Expected(
        "cooccurrence",
        "cells",
        {"text"},
        {"text_loss", "cells", "text_seconds", "text_squares"},
        {"text_loss", "cells", "cells_per_second", "text_gradient_norm"},
        {"W", "C", "W.bias", "C.bias", "W.state", "C.state", "W.bias.state", "C.bias.state"},
        ("text.learning_rate", 0.5),
        first=True,
    ),
    "triples": Expected(
        "triples/train",
        "triples",
        {"graph"},
        {
            *("graph_loss", "graph_squares", "graph_batches", "triples", "graph_seconds"),
            *("word_loss", "word_squares", "word_batches", "word_triples"),
        },
        {
            *("graph_loss", "triples", "triples_per_second", "graph_gradient_norm"),
            *("word_graph_loss", "word_graph_gradient_norm"),
        },
        {"X", "W", "C", "X.state", "word.graph_state"},
        ("graph.learning_rate", 0.25),
        each_pass=True,
        times=lambda passes: passes,
    ),
    "mentions": Expected(
        "mentions",
        "mentions",
        {"text", "graph"},
        {"refreshes", "mentions_squares", "mentions", "mentions_seconds"},
        {"refreshes", "mentions", "mentions_per_second", "mentions_gradient_norm"},
        {"T"},
        ("graph.learning_rate", 0.25),
        times=lambda passes: 1 + passes,
        mean_over="refreshes",
        coupling="described",
    ),
    "pairs": Expected(
        "pairs",
        "pairs",
        {"text", "graph"},
        {"pair_loss", "pair_squares", "pairs", "pair_seconds"},
        {"pair_loss", "pairs", "pairs_per_second", "pair_gradient_norm"},
        {"X", "W", "C", "pairs.X.state", "pairs.word.state"},
        ("graph.learning_rate", 0.25),
        times=lambda passes: passes,
        coupling="soft",
        besides=lambda layout, at: int((layout.has_word(at[0]) & layout.has_entity(at[0])).sum()) * (at[0] == at[1]),
    ),
}


@pytest.fixture(params=EXPECTED)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def bench(name: str, paired: str) -> Iterator[Bench]:
    made = Bench(paired, **EXPECTED[name].settings)
    yield made
    made.parts.close()


class Recording(Tally):
    """A tally that notes which sums were added to."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(names)
        self.added: set[str] = set()

    def add(self, name: str, value: float | Tensor) -> None:
        self.added.add(name)
        super().add(name, value)


def source_of(bench: Bench, name: str) -> Source:
    return next(source for source in bench.parts.sources if source.name == name)


def partitions(data: Dataset) -> list[tuple[int, int]]:
    return list(product(range(data.layout.shards), repeat=2))


def test_every_source_is_in_the_registry_and_in_this_battery() -> None:
    assert_covers(set(EXPECTED), SOURCES, Source, sources)


# Files


def test_a_partition_takes_the_bytes_that_are_told_beforehand(name: str, paired: str) -> None:
    data = Dataset.open(paired)
    decoder = SOURCES[name].decoder(data, config(EXPECTED[name].settings))
    filled = 0
    for partition in partitions(data):
        count = EXPECTED[name].samples(data, partition)
        assert bool(decoder.bytes(partition)) == bool(count)
        if count:
            decoded = decoder.decode(partition)
            assert decoder.bytes(partition) == sum(
                part.nbytes for field in fields(decoded) if (part := getattr(decoded, field.name)) is not None
            )
            filled += 1
    assert filled > 5


def test_decoded_cells_are_the_datasets_tile_by_tile(small: Small) -> None:
    data, settings = Dataset.open(small.text), config({"loss.x_max": 5.0, "loss.power": 0.5})
    decoder, tiles = SOURCES["cells"].decoder(data, settings), range(data.layout.tiles_per_shard)
    for i, j in partitions(data)[::7]:
        decoded, expected = decoder.decode((i, j)), data.cells(i, j)
        assert isinstance(decoded, DecodedCells)
        found = []
        for a, b in product(tiles, tiles):
            tile = decoded.tile(a, b, int(data.layout.tile_offsets[i, a]), int(data.layout.tile_offsets[j, b]), (i, j))
            if tile is not None:
                rows, columns = tile.row.astype(int) + tile.row_base, tile.column.astype(int) + tile.column_base
                found += list(zip(rows, columns, tile.log_count, tile.weight, strict=True))
                assert tile.partition == (i, j)
        log_count, weight = weigh(expected.count, 5.0, 0.5)
        columns = (expected.row.astype(int), expected.column.astype(int), log_count, weight)
        assert sorted(found) == sorted(zip(*columns, strict=True))
        assert len(found) == data.manifest.samples("cooccurrence", i, j)


def test_decoded_triples_are_the_datasets(small: Small) -> None:
    data = Dataset.open(small.graph)
    decoder, every = SOURCES["triples"].decoder(data, config(DUAL)), []
    ids = [data.layout.rows_of(shard) for shard in range(data.layout.shards)]
    for i, j in partitions(data):
        if data.manifest.samples("triples/train", i, j):
            decoded = decoder.decode((i, j))
            assert isinstance(decoded, DecodedTriples)
            every += list(zip(ids[i][decoded.head], decoded.relation, ids[j][decoded.tail], strict=True))
    train = data.split("train")
    assert sorted(every) == sorted(zip(train.head, train.relation, train.tail, strict=True))


# What a run asks of it


def test_it_trains_where_its_sides_do(name: str) -> None:
    sides, settings = EXPECTED[name].sides, EXPECTED[name].settings
    for text, graph in ((True, True), (True, False), (False, True)):
        there = {side for side, on in (("text", text), ("graph", graph)) if on}
        assert SOURCES[name].trains(Scheme.of(config(settings), text, graph)) == (sides <= there)
    for alpha, side in ((0.0, "text"), (1.0, "graph")):
        scheme = Scheme.of(config({**settings, "loss.alpha": alpha}), True, True)
        assert SOURCES[name].trains(scheme) == (sides == {side})


def test_what_it_says_of_itself_is_so(name: str, bench: Bench) -> None:
    source, expected = source_of(bench, name), EXPECTED[name]
    assert (source.unit, source.first) == (expected.unit, expected.first)
    key, factor = expected.step_size
    section, _, field = key.partition(".")
    size = getattr(getattr(bench.parts.resources.config, section), field)
    assert source.step_size(RATES) == pytest.approx(factor * size)
    assert source.visit(bench.assigned).key == key


def test_a_visit_adds_to_the_sums_that_are_declared_and_to_no_other(name: str, bench: Bench) -> None:
    source = source_of(bench, name)
    assert set(source.sums) == EXPECTED[name].sums
    assert len(source.sums) == len(set(source.sums))
    tally, work = Recording(source.sums), source.visit(bench.assigned)
    work.do(work.units, RATES, tally)
    assert tally.added == EXPECTED[name].sums


@pytest.mark.parametrize("passes", [1, 3])
def test_a_visit_has_the_units_that_it_says_and_trains_every_sample_once_a_pass(
    name: str, passes: int, bench: Bench
) -> None:
    source, expected = source_of(bench, name), EXPECTED[name]
    visit = bench.assigned.visit
    work = source.visit(LaneVisit(visit, epoch=0, passes=passes))
    tally = Recording(source.sums)
    assert work.done == 0
    work.do(work.units - 1, RATES, tally)
    work.do(1, RATES, tally)
    assert work.done == work.units > 1
    samples = sum(expected.samples(bench.data, partition) for partition in visit.partitions)
    assert samples == sum(expected.samples(bench.data, partition) for partition in partitions(bench.data))
    assert tally.sums()[expected.unit] == samples * expected.times(passes)
    with pytest.raises(StopIteration):
        work.do(1, RATES, tally)
    work.verify()
    work.release()


def test_a_visit_in_pieces_has_the_bits_of_one_in_a_single_run(name: str, paired: str) -> None:
    found = []
    for pieces in (1, 4):
        bench = Bench(paired, **EXPECTED[name].settings)
        work, tally = bench.work(name)
        for k in range(pieces):
            work.do(work.units * (k + 1) // pieces - work.done, RATES, tally)
        sums = {key: value for key, value in tally.sums().items() if "seconds" not in key}
        found.append((bench.copy(), sums))
        bench.parts.close()
    assert found[0][1] == found[1][1]
    assert all(torch.equal(value, found[1][0][part]) for part, value in found[0][0].items())


def test_only_its_own_rows_are_stepped(name: str, bench: Bench) -> None:
    source, before = source_of(bench, name), bench.copy()
    work = source.visit(bench.assigned)
    work.do(work.units, RATES, Recording(source.sums))
    changed = {part for part, value in bench.copy().items() if not torch.equal(value, before[part])}
    assert changed == EXPECTED[name].steps


def test_metrics_are_means_over_what_was_trained(name: str, bench: Bench) -> None:
    source, expected = source_of(bench, name), EXPECTED[name]
    work, tally = source.visit(bench.assigned), Recording(source.sums)
    assert source.metrics(tally.sums(), workers=1) == {}
    work.do(work.units, RATES, tally)
    sums = tally.sums()
    found, count, title = source.metrics(sums, workers=2), sums[expected.unit], source.title
    assert found.keys() == expected.metrics
    if f"{title}_loss" in expected.sums:
        assert found[f"{title}_loss"] == pytest.approx(sums[f"{title}_loss"] / count)
    assert found[expected.unit] == count
    assert found[f"{expected.unit}_per_second"] == pytest.approx(2 * count / sums[f"{title}_seconds"])
    means = sums[f"{title}_squares"] / sums.get(expected.mean_over or f"{title}_batches", count)
    assert found[f"{title}_gradient_norm"] == pytest.approx(means**0.5)
    if name == "triples":
        assert found["word_graph_loss"] == pytest.approx(sums["word_loss"] / sums["word_triples"])


@pytest.mark.parametrize("candidates", ["sampled", "1vsall", "kvsall"])
def test_batches_that_leave_dense_gradients_are_known_beforehand(name: str, candidates: str, paired: str) -> None:
    bench = Bench(paired, **{**EXPECTED[name].settings, "graph.candidates": candidates})
    source = source_of(bench, name)
    if not EXPECTED[name].each_pass:
        assert source.batches(bench.assigned.visit) == 0
    else:
        once = -(-bench.data.manifest.counts[EXPECTED[name].stream] // 16)
        assert source.batches(bench.assigned.visit) == once * (1 if candidates == "sampled" else 2)
        work = source.visit(LaneVisit(bench.assigned.visit, epoch=0, passes=3))
        assert work.units == 3 * source.batches(bench.assigned.visit)
    bench.parts.close()


# The losses of a coupling on triples


@pytest.mark.parametrize(
    ("coupling", "candidates"),
    [("dual", "sampled"), ("dual", "1vsall"), ("dual", "kvsall"), ("none", "sampled"), ("tie", "sampled")],
)
def test_the_loss_on_words_takes_the_triples_between_words(small: Small, coupling: str, candidates: str) -> None:
    bench = Bench(small.joint, **{**DUAL, "model.coupling": coupling, "graph.candidates": candidates})
    work, tally = bench.work("triples")
    work.do(work.units, RATES, tally)
    words = np.array([word is not None for word in bench.data.rows(["word"]).column("word").to_pylist()])
    train, sums = bench.data.split("train"), tally.sums()
    between = int((words[train.head] & words[train.tail]).sum())
    assert 0 < between < len(train)
    assert sums["triples"] == len(train)
    assert ("word_triples" in sums) == (coupling == "dual")
    if coupling == "dual":
        assert sums["word_triples"] == between
    bench.parts.close()
