"""A graph loss over all entities: equal to the plain reference, whole steps included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from members import alternating
from reference.losses import FullQueries, Objective, full_loss, relation_loss
from small import Small, Train, config, history, tensors
from world import World, backend_of

from distjoint.model import scorers
from distjoint.model.comparisons import comparison_of
from distjoint.optim.base import EPSILON
from distjoint.registry import SCORERS
from distjoint.train import train
from distjoint.train.batches import Batch, shuffled
from distjoint.train.candidates import everything
from distjoint.train.known import KnownPositives

pytestmark = pytest.mark.unit

SETTINGS: list[dict[str, Any]] = [
    *[
        {"graph.candidates": versus, "model.scorer": scorer, "graph.loss": "softmax" if even else "logistic"}
        for versus, scorer, even in alternating(("1vsall", "kvsall"), SCORERS.names())
    ],
    {"graph.candidates": "1vsall", "graph.smoothing": 0.1, "graph.n3": 0.2, "model.scorer": "complex"},
    {"graph.candidates": "kvsall", "graph.smoothing": 0.1, "graph.l2": 0.2, "model.scorer": "distmult"},
    {"graph.candidates": "kvsall", "graph.loss": "logistic", "graph.smoothing": 0.1, "model.scorer": "transe"},
    {"graph.candidates": "1vsall", "graph.relation_weight": 0.7, "model.scorer": "complex"},
    {"graph.candidates": "1vsall", "model.norm": 1, "model.scorer": "transe"},
    {"graph.candidates": "1vsall", "model.cosine": True, "model.scorer": "complex"},
    {"graph.candidates": "1vsall", "model.reciprocal": False, "model.scorer": "rotate"},
]


def world_of(settings: dict[str, Any], backend: str = "cpu", threads: int = 1) -> World:
    return World("none", {"model.cosine": False, **settings}, backend_of(backend, threads))


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a batch has several slices of queries, of candidates, and blocks of scores."""
    monkeypatch.setattr(everything, "QUERIES", 3)
    monkeypatch.setattr(everything, "CANDIDATES", 8)
    monkeypatch.setattr(everything, "ROOM", 500)


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("side", ["tail", "head"])
@pytest.mark.parametrize(("settings", "swapped"), alternating(SETTINGS), ids=str)
def test_a_step_is_that_of_the_plain_reference(settings: dict[str, Any], swapped: bool, side: Any) -> None:
    """Tails on one backend, heads on the other: which is which takes turns."""
    backend = "cpu" if (side == "tail") == swapped else "torch"
    world, probe = world_of(settings, backend), world_of(settings)
    pool = np.random.default_rng(1).permutation(world.entities())
    triples = world.batch(pool[:5], 21)  # few entities, so that queries have several answers
    _, first = np.unique(np.stack([triples.head, triples.relation, triples.tail]), axis=1, return_index=True)
    batch = Batch(triples.head[first], triples.relation[first], triples.tail[first], side)
    found = world.step(world.loss(), batch, world.pool(pool))

    own, model = probe.config.graph, probe.config.model
    X = probe.arena.arrays["X"].double().requires_grad_()
    relation = probe.dense.values["relation"].double().requires_grad_()
    entities, place = X[probe.arena.entity_index[pool]], np.full(world.arena.rows, -1)
    place[pool] = np.arange(len(pool))
    head, tail = (torch.from_numpy(place[ends]) for ends in (batch.head, batch.tail))
    scorer = scorers.scorer(model.scorer)
    comparison = comparison_of(scorer, model.cosine, model.norm, model.scale)
    read = relation[torch.from_numpy(batch.relation)]
    if side == "head":
        back = relation[torch.from_numpy(batch.relation + world.RELATIONS)] if model.reciprocal else None
        read = scorer.inverse(read) if back is None else back
    objective = Objective(
        scorer, comparison.name, comparison.scale, own.loss, smoothing=own.smoothing, n3=own.n3, l2=own.l2
    )
    source, answer = (tail, head) if side == "head" else (head, tail)
    expected = full_loss(objective, FullQueries(entities, source, answer, read), own.candidates)
    if own.relation_weight and side == "tail":
        target = torch.from_numpy(batch.relation)
        known = relation_loss(scorer, entities[head], entities[tail], relation[: world.RELATIONS], target)
        expected = expected + own.relation_weight * known
    expected.backward()
    assert found == pytest.approx(expected.item(), rel=1e-5)
    state = probe.arena.arrays["X.state"].double() + X.grad.square().mean(1)
    stepped = X.detach() - 0.1 * X.grad / (state + EPSILON).sqrt()[:, None]
    after = world.after()
    torch.testing.assert_close(after["X.state"].double(), state, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after["X"].double(), stepped, rtol=2e-4, atol=2e-5)
    torch.testing.assert_close(after["relation"].double(), relation.grad, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("side", ["tail", "head"])
def test_labels_of_kvsall_are_all_answers_that_are_known(side: Any) -> None:
    """A part of the answers in the batch, the others known: the same as if all were there."""
    one, other = (world_of({"graph.candidates": "kvsall", "graph.n3": 0.1}) for _ in range(2))
    pool = one.entities()
    drawn = one.batch(pool[:5], 30)
    triples = np.unique(np.stack([drawn.head, drawn.relation, drawn.tail]), axis=1)
    known = KnownPositives(Batch(*triples), one.arena.rows, one.backend)
    questions = triples[[0, 1] if side == "tail" else [2, 1]]
    _, first = np.unique(questions, axis=1, return_index=True)
    some = first[: len(first) // 2]
    queried = (questions[:, :, None] == questions[:, None, some]).all(0).any(1)
    assert queried.sum() > len(some)
    found = one.step(one.loss(), Batch(*triples[:, some], side), one.pool(pool, known))
    expected = other.step(other.loss(), Batch(*triples[:, queried], side), other.pool(pool))
    assert found == pytest.approx(expected, rel=1e-6)
    after = other.after()
    for name, value in one.after().items():
        torch.testing.assert_close(value, after[name], rtol=1e-5, atol=1e-6)


def test_a_step_has_the_same_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(everything, "QUERIES", 4)

    def step(threads: int) -> tuple[float, dict[str, torch.Tensor]]:
        settings = {"graph.candidates": "1vsall", "graph.dropout": 0.3, "graph.relation_dropout": 0.2}
        world = world_of(settings, threads=threads)
        triples = world.batch(world.entities(), 301)
        batch = Batch(triples.head, triples.relation, triples.tail, "tail")
        value = world.step(world.loss(), batch, world.pool(world.entities()), seed=1)
        world.backend.close()
        return value, world.after()

    one, found = step(1)
    for threads in (2, 3):
        other, also = step(threads)
        assert one == other
        assert all(torch.equal(value, also[name]) for name, value in found.items())


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_grouped_batches_hold_each_triple_once_for_each_end_and_no_question_twice(
    count: int, kinds: int, size: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    triples = Batch(rng.integers(0, kinds, count), rng.integers(0, 2, count), np.arange(count) % 7)
    batches = list(shuffled(triples, size, True, rng))
    assert len(batches) == 2 * -(-count // size)
    for side in ("tail", "head"):
        parts = [batch for batch in batches if batch.side == side]
        all_of = [np.concatenate([getattr(part, name) for part in parts]) for name in ("head", "relation", "tail")]
        assert sorted(zip(*all_of, strict=True)) == sorted(
            zip(triples.head, triples.relation, triples.tail, strict=True)
        )
        source = "head" if side == "tail" else "tail"
        questions = [set(zip(getattr(part, source), part.relation, strict=True)) for part in parts]
        assert sum(map(len, questions)) == len(set().union(*questions))


@pytest.mark.parametrize(("lanes", "versus"), [(1, "kvsall"), (2, "1vsall")])
def test_a_run_learns_and_is_the_same_again(
    small: Small, known: Train, tmp_path: Path, versus: str, lanes: int
) -> None:
    settings = config(
        {
            "graph.candidates": versus,
            "graph.dropout": 0.1,
            "graph.warmup": 0.2,
            "graph.decay": "cosine",
            "train.epochs": 3,
            "train.lanes": lanes,
        }
    )
    made = train(small.graph, str(tmp_path / "one"), settings)
    train(small.graph, str(tmp_path / "two"), settings)
    assert made.history[-1]["graph_loss"] < made.history[0]["graph_loss"]
    assert made.history[0]["triples"] == history(known({}, small.graph))[0]["triples"]
    one, two = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(two[name])) for name, value in one.items())
