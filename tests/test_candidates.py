"""One battery that every strategy for candidates must pass, with every sampler: a whole step is that of autograd."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import product
from typing import Any, cast

import numpy as np
import pytest
import torch
from members import alternating, assert_covers
from problem import LAYOUT, RELATIONS, Problem
from reference.couplings import leaves, stepped, term_vectors
from reference.losses import Chunks, Compare, FullQueries, Kind, Objective, full_loss, relation_loss, sampled_loss
from test_coupling_formulas import VECTORS
from torch import Tensor
from world import World

from distjoint.backends import Backend
from distjoint.backends.base import Random
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.torch.backend import TorchBackend
from distjoint.registry import CANDIDATES
from distjoint.table.parts import table_bytes
from distjoint.train import candidates, negatives
from distjoint.train.batches import Batch
from distjoint.train.candidates import CandidateStrategy, candidates_of
from distjoint.train.candidates.sampled import Sampled
from distjoint.train.negatives import Pool, Sampler, Typed, Uniform, Weighted

pytestmark = pytest.mark.unit

RATE = 0.1
Settings = dict[str, Any]


@pytest.fixture(scope="module", params=["cpu", "torch"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    made: Backend = CpuBackend(1) if request.param == "cpu" else TorchBackend(torch.device("cpu"))
    yield made
    made.close()


SAMPLERS: dict[str, tuple[type, Settings]] = {
    "uniform": (Uniform, {}),
    "weighted": (Weighted, {"graph.power": 0.75}),
    "typed": (Typed, {"graph.typed": True}),
    "typed-weighted": (Typed, {"graph.typed": True, "graph.power": 0.75}),
}
"""Every sampler, and the settings that choose it."""
TRAITS = {"sampled": (False, False), "1vsall": (True, True), "kvsall": (True, True)}
"""Whether a batch is queried at one end, and every resident entity is a candidate."""


def test_every_strategy_is_in_the_registry_and_in_this_battery() -> None:
    assert_covers(set(TRAITS), CANDIDATES, CandidateStrategy, candidates)
    assert {name: (kind.one_end, kind.resident) for name in TRAITS for kind in [candidates_of(name)]} == TRAITS


def test_every_sampler_is_in_this_battery(backend: Backend) -> None:
    drawing = {kind for _, kind in inspect.getmembers(negatives, inspect.isclass) if hasattr(kind, "draw")}
    assert drawing - {Sampler, Random} == {kind for kind, _ in SAMPLERS.values()}
    for kind, settings in SAMPLERS.values():
        assert type(Problem(backend, settings).pools[0].sampler) is kind


# Whole steps


class Recording:
    """Keeps the negatives that a strategy draws, of one that draws any."""

    def __init__(self, strategy: CandidateStrategy) -> None:
        self.drawn: Tensor | None = None
        if isinstance(strategy, Sampled):
            self._draw, strategy.draw = strategy.draw, self.draw  # type: ignore[method-assign]

    def draw(self, pool: Pool, random: Random, relation: Tensor, count: int) -> Tensor:
        found = self.drawn = self._draw(pool, random, relation, count)
        return found


class Reference:
    """Loss of a batch and all that it steps, by autograd in float64 over the whole table.

    number   which of the problem's graph losses
    """

    def __init__(self, problem: Problem, number: int) -> None:
        self.problem, self.config = problem, problem.config
        self.trainer = problem.losses[number].trainer
        self.term, self.scorer = self.trainer.term, self.trainer.scorer
        self.leaf = leaves(problem.arena, problem.dense.values)
        self.relation = self.leaf[f"{self.term.prefix}relation"]
        every = torch.arange(problem.arena.rows)
        formula = None if self.term.worded else VECTORS[problem.scheme.coupling.name]
        self.vectors = term_vectors(formula, problem.arena, self.leaf, every)
        graph = self.config.graph
        self.objective = Objective(
            self.scorer,
            cast(Compare, self.trainer.comparison.name),
            self.trainer.comparison.scale,
            cast(Kind, graph.loss),
            graph.margin,
            graph.temperature,
            graph.smoothing,
            graph.n3,
            graph.l2,
        )

    def read(self, relation: np.ndarray, backward: bool) -> Tensor:
        """Relations read from head to tail, or from tail to head."""
        if not backward:
            return self.relation[torch.from_numpy(relation)]
        if self.config.model.reciprocal:
            return self.relation[torch.from_numpy(relation + RELATIONS)]
        return self.scorer.inverse(self.relation[torch.from_numpy(relation)])

    def of(self, rows: np.ndarray) -> Tensor:
        return self.vectors[torch.from_numpy(rows)]

    def prediction(self, batch: Batch) -> Tensor:
        """The auxiliary loss, of which relation it is."""
        target, ends = torch.from_numpy(batch.relation), (self.of(batch.head), self.of(batch.tail))
        found = relation_loss(self.scorer, *ends, self.relation[:RELATIONS], target, weight_of(batch))
        return self.config.graph.relation_weight * found

    def sampled(self, batch: Batch, drawn: np.ndarray) -> Tensor:
        """drawn: int64[2, chunks, n], negatives for tails and for heads"""
        chunk, chunks = min(self.config.graph.chunk, len(batch)), drawn.shape[1]
        places = np.arange(chunks * chunk) % len(batch)
        head, relation, tail = (ids[places].reshape(chunks, chunk) for ids in (batch.head, batch.relation, batch.tail))
        weight = (weight_of(batch)[places] * (np.arange(chunks * chunk) < len(batch))).view(chunks, chunk)
        if self.config.graph.own_end:
            drawn = np.concatenate([np.stack([head, tail]), drawn], axis=2)
        known = np.stack(
            [
                self.is_filtered(side, head, relation, tail, np.concatenate([(tail, head)[side], drawn[side]], axis=1))
                for side in (0, 1)
            ]
        )
        if self.config.graph.own_end:  # another triple's given end is no negative
            known[..., chunk : 2 * chunk] |= ~np.eye(chunk, dtype=np.bool_)
        loss = sampled_loss(
            self.objective,
            Chunks(
                self.of(head),
                self.of(tail),
                self.read(relation, backward=False),
                self.read(relation, backward=True),
                self.of(drawn[1]),
                self.of(drawn[0]),
                weight,
                self.config.graph.in_batch,
                torch.from_numpy(known),
            ),
        )
        return loss + self.prediction(batch) if self.config.graph.relation_weight else loss

    def is_filtered(
        self, side: int, head: np.ndarray, relation: np.ndarray, tail: np.ndarray, places: np.ndarray
    ) -> np.ndarray:
        """bool[chunks, triples, candidates]: known positives, and what a relation's types do not allow; candidate by
        candidate. Never the target itself, which is candidate k of triple k.
        """
        graph, every, domains = self.config.graph, self.problem.triples, self.problem.domains()
        there = set(zip(every.head.tolist(), every.relation.tolist(), every.tail.tolist(), strict=True))
        allowed = domains.tail if side == 0 else domains.head
        found = np.zeros((*head.shape, places.shape[1]), np.bool_)
        for chunk, k, place in np.ndindex(found.shape):
            h, r, t = (int(ids[chunk, k]) for ids in (head, relation, tail))
            candidate = int(places[chunk, place])
            known = ((h, r, candidate) if side == 0 else (candidate, r, t)) in there
            fits = allowed[r, domains.type_of[candidate]]
            wrong = (graph.mask_known and known) or (graph.typed and not fits)
            found[chunk, k, place] = wrong and place != k
        return found

    def full(self, batch: Batch, pool: Pool) -> Tensor:
        """Against all entities of a pool; with all known answers among them where these are the labels."""
        side, labelled = int(batch.side == "head"), batch
        if self.config.graph.candidates == "kvsall":
            labelled = self.with_known_answers(batch, side, pool)
        place = np.full(self.problem.arena.rows, -1)
        place[pool.rows] = np.arange(len(pool))
        ends = [torch.from_numpy(place[rows]) for rows in (labelled.head, labelled.tail)]
        queries = FullQueries(
            self.of(pool.rows),
            ends[side],
            ends[1 - side],
            self.read(labelled.relation, backward=bool(side)),
            weight_of(labelled),
        )
        loss = full_loss(self.objective, queries, cast(Any, self.config.graph.candidates))
        if self.config.graph.relation_weight and not side:
            loss = loss + self.prediction(batch)
        return loss

    def with_known_answers(self, batch: Batch, side: int, pool: Pool) -> Batch:
        """All known triples that answer a query of the batch by an entity of the pool."""
        every = self.problem.triples
        ends, own = (every.head, every.tail), (batch.head, batch.tail)
        queries = set(zip(own[side].tolist(), batch.relation.tolist(), strict=True))
        answers = np.isin(ends[1 - side], pool.rows)
        chosen = [
            yes and query in queries
            for yes, query in zip(answers, zip(ends[side].tolist(), every.relation.tolist(), strict=True), strict=True)
        ]
        return every.select(np.array(chosen))


def weight_of(batch: Batch) -> Tensor:
    return torch.from_numpy(np.ones(len(batch)) if batch.weight is None else batch.weight.astype(np.float64))


def check_step(backend: Backend, settings: Settings, number: int = 0, which: int = 0, weighted: bool = False) -> None:
    """Train a batch; fail unless its loss, and all that it leaves, are the reference's.

    number     of the graph loss
    which      of the batch: odd ones query heads, where one end is queried
    weighted   whether triples have weights
    """
    problem, probe = (Problem(backend, settings, weighted=weighted) for _ in range(2))
    strategy, pool = problem.losses[number], problem.pools[number]
    recording = Recording(strategy)
    batch = problem.chosen(strategy, problem.batch(which))
    step = strategy.plan(batch, pool, backend.random(np.random.default_rng(3)))
    found = step(RATE)
    reference = Reference(probe, number)
    if strategy.resident:
        loss = reference.full(batch, pool)
    else:
        chunks = -(-len(batch) // probe.config.graph.chunk)
        drawn = np.empty((2, chunks, 0), np.int64) if recording.drawn is None else recording.drawn.numpy()
        loss = reference.sampled(batch, drawn)
    loss.backward()
    assert float(found.loss) == pytest.approx(float(loss.detach()), rel=1e-5)
    after = stepped(probe.arena, reference.leaf, RATE)
    for name, value in problem.arena.arrays.items():
        torch.testing.assert_close(value.double(), after[name], rtol=2e-4, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")
    for name, gradient in problem.dense.gradients.items():
        expected = reference.leaf[name].grad
        expected = torch.zeros_like(reference.leaf[name]) if expected is None else expected
        torch.testing.assert_close(gradient.double(), expected, rtol=2e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    learned = [part for part in ("X", "W", "C") if reference.leaf[part].grad is not None]
    assert learned
    assert not any(torch.equal(problem.arena.arrays[part], probe.arena.arrays[part]) for part in learned)


PLAIN: Settings = {"model.scorer": "transe"}
LOSSES: list[Kind] = ["softmax", "logistic", "margin", "adversarial"]


@pytest.mark.parametrize(("sampler", "loss", "in_batch"), alternating(list(SAMPLERS), LOSSES))
def test_a_step_on_sampled_negatives(backend: Backend, sampler: str, loss: Kind, in_batch: bool) -> None:
    check_step(backend, {**PLAIN, **SAMPLERS[sampler][1], "graph.loss": loss, "graph.in_batch": in_batch})


@pytest.mark.parametrize(
    "settings",
    [
        {"graph.mask_known": False},
        {"model.scorer": "complex", "graph.n3": 0.1, "graph.l2": 0.2},
        {"model.scorer": "quate", "graph.n3": 0.1, "model.reciprocal": False},
        {"model.scorer": "rotate", "model.reciprocal": False, "model.cosine": True},
        {"model.scorer": "distmult", "graph.relation_weight": 0.7},
        {"model.scorer": "complex", "graph.relation_weight": 0.7, "graph.negatives": 0, "graph.in_batch": False},
        {"graph.chunk": 64},
        {"graph.chunk": 1},
        {"graph.own_end": True},
        {"graph.own_end": True, "graph.in_batch": False, "model.cosine": True},
        {"graph.own_end": True, "graph.mask_known": False, "graph.negatives": 0},
    ],
    ids=str,
)
def test_a_step_on_sampled_negatives_with_options(backend: Backend, settings: Settings) -> None:
    check_step(backend, settings)


@pytest.mark.parametrize(("versus", "loss", "heads"), alternating(["1vsall", "kvsall"], ["softmax", "logistic"]))
def test_a_step_against_all_entities(backend: Backend, versus: str, loss: str, heads: bool) -> None:
    """Every option with all of them, queried at tails and heads in turn."""
    options: list[Settings] = [
        PLAIN,
        {"model.scorer": "complex", "graph.smoothing": 0.1, "graph.n3": 0.2, "graph.l2": 0.1},
        {"model.scorer": "rotate", "model.reciprocal": False, "model.cosine": True},
        {"model.scorer": "complex", "graph.relation_weight": 0.7},
    ]
    for number, option in enumerate(options):
        which = (number + number // 2 + heads) % 2
        check_step(backend, {**option, "graph.candidates": versus, "graph.loss": loss}, which=which)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_on_triples_with_weights(backend: Backend, loss: Kind) -> None:
    sampled: Settings = {"model.scorer": "distmult", "graph.relation_weight": 0.7, "graph.n3": 0.1}
    check_step(backend, {**sampled, "graph.loss": loss}, weighted=True)
    for versus in ("1vsall", "kvsall") if loss in ("softmax", "logistic") else ():
        options = {**sampled, "graph.smoothing": 0.1, "graph.candidates": versus, "graph.loss": loss}
        for which in (0, 1):
            check_step(backend, options, which=which, weighted=True)


@pytest.mark.parametrize(("coupling", "number"), [("tie", 0), ("dual", 0), ("dual", 1)])
@pytest.mark.parametrize("versus", TRAITS)
def test_a_step_of_every_loss_of_a_coupling(backend: Backend, versus: str, coupling: str, number: int) -> None:
    """The one on words has fewer candidates than known answers: those that are no candidate are no labels."""
    for which in (0, 1):
        check_step(backend, {"model.coupling": coupling, "graph.candidates": versus}, number, which)


# What else is asked of them


@pytest.mark.parametrize("coupling", ["none", "dual", "described"])
@pytest.mark.parametrize("cosine", [True, False])
def test_the_own_end_is_a_negative_of_cosines_of_texts_unless_somebody_says(coupling: str, cosine: bool) -> None:
    settings = {"model.cosine": cosine}
    assert World(coupling, settings).trainer().own_end == (cosine and coupling == "described")
    for said in (True, False):
        assert World(coupling, {**settings, "graph.own_end": said}).trainer().own_end is said


def test_the_known_positives_are_needed_to_mask_negatives_or_to_label_answers() -> None:
    def needed(name: str) -> list[tuple[bool, bool, bool]]:
        return [asked for asked in product((False, True), repeat=3) if candidates_of(name).needs_known(*asked)]

    assert needed("sampled") == [(True, True, False), (True, True, True)]
    assert needed("1vsall") == []
    assert needed("kvsall") == [asked for asked in product((False, True), repeat=3) if not asked[2]]


@pytest.mark.parametrize("name", TRAITS)
def test_memory_is_asked_for_where_every_entity_is_a_candidate(name: str, backend: Backend) -> None:
    kind, rows = candidates_of(name), table_bytes(Problem(backend).scheme.parts, LAYOUT)
    few, many, dropped = (kind.bytes_needed(*sizes) for sizes in ((10, 8, False), (10**7, 8, False), (10**7, 8, True)))
    assert (dropped > many > few > rows) == kind.resident
    assert kind.resident or (few, many, dropped) == (0, 0, 0)


@pytest.mark.parametrize("name", TRAITS)
def test_dropped_coordinates_take_no_part_in_a_step(name: str, backend: Backend) -> None:
    """By masks that leave out nearly everything, most coordinates keep their bits."""
    problem = Problem(backend, {"graph.candidates": name, "graph.dropout": 0.9, "graph.relation_dropout": 0.9})
    before = problem.values()["X"]
    problem.train(1)
    still = (problem.values()["X"] == before).float().mean()
    assert 0.7 < float(still) < 0.99


@pytest.mark.parametrize("name", TRAITS)
def test_a_step_leaves_out_own_vectors_where_there_is_a_text(name: str, backend: Backend) -> None:
    """Of entities with a text some keep X; all others step theirs; every text learns."""
    settings = {"model.coupling": "described", "graph.candidates": name, "graph.own_l2": 0.0, "graph.batch": 64}
    values = {}
    for share in (0.0, 0.5):
        problem = Problem(backend, {**settings, "graph.own_dropout": share})
        text = problem.arena.arrays["T"]
        text[::2].normal_(generator=torch.Generator().manual_seed(0))
        text[1::2].zero_()
        before = problem.values()["X"]
        problem.train(1)
        values[share] = (problem.values()["X"] != before).any(1), problem.values()["T.gradient"].any(1)
    (stepped, learned), (some, too) = values[0.0], values[0.5]
    told = torch.arange(len(stepped)) % 2 == 0
    assert torch.equal(some[~told], stepped[~told])
    assert 0 < some[told].sum() < stepped[told].sum()
    assert torch.equal(too, learned)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_negatives_come_as_often_as_their_weight_says(backend: Backend, sampler: str) -> None:
    problem = Problem(backend, SAMPLERS[sampler][1])
    pool, domains = problem.pools[0], problem.domains()
    weight = np.arange(1.0, len(pool) + 1) ** problem.config.graph.power
    relation = torch.arange(2 * RELATIONS).view(2, RELATIONS) % RELATIONS
    drawn = pool.sampler.draw(backend.random(np.random.default_rng(0)), relation, 20_000)
    assert drawn.shape == (2, 2, 20_000)
    for side, allowed in enumerate((domains.tail, domains.head)):
        expected = np.zeros(problem.arena.rows)
        for kind in range(RELATIONS):
            fits = weight * (allowed[kind][domains.type_of[pool.rows]] if problem.config.graph.typed else 1)
            expected[pool.rows] += fits / fits.sum() / RELATIONS
        for chunk in range(2):
            share = np.bincount(drawn[side, chunk].numpy(), minlength=problem.arena.rows) / drawn.shape[2]
            np.testing.assert_allclose(share, expected, atol=0.02)
            assert not share[expected == 0].any()
