"""The graph's loss against all entities: equal to the plain reference, whole steps included."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from distjoint.train.full import FullLoss
from hypothesis import given
from hypothesis import strategies as st
from reference.losses import FullQueries, Objective, full_loss, relation_loss
from small import Small, config, tensors
from test_graph_step import World

from distjoint.backends.cpu.rows import EPSILON, RowKernels
from distjoint.couplings.views import Own
from distjoint.model import scorers
from distjoint.model.scorers import comparison
from distjoint.registry import SCORERS
from distjoint.train import full, train
from distjoint.train.batches import Batch, shuffled
from distjoint.train.negatives import Known, Pool

pytestmark = pytest.mark.unit

SETTINGS: list[dict[str, Any]] = [
    *[
        {"graph.candidates": versus, "graph.loss": loss, "model.scorer": scorer}
        for versus, loss, scorer in product(("1vsall", "kvsall"), ("softmax", "logistic"), sorted(SCORERS.names()))
    ],
    {"graph.candidates": "1vsall", "graph.smoothing": 0.1, "graph.n3": 0.2, "model.scorer": "complex"},
    {"graph.candidates": "kvsall", "graph.smoothing": 0.1, "graph.l2": 0.2, "model.scorer": "distmult"},
    {"graph.candidates": "kvsall", "graph.loss": "logistic", "graph.smoothing": 0.1, "model.scorer": "transe"},
    {"graph.candidates": "1vsall", "graph.relation_weight": 0.7, "model.scorer": "complex"},
    {"graph.candidates": "1vsall", "model.norm": 1, "model.scorer": "transe"},
    {"graph.candidates": "1vsall", "model.cosine": True, "model.scorer": "complex"},
    {"graph.candidates": "1vsall", "model.reciprocal": False, "model.scorer": "rotate"},
]


def world_of(settings: dict[str, Any]) -> World:
    return World("none", {"model.cosine": False, **settings})


def loss_of(world: World, threads: int = 1) -> FullLoss:
    kernels = RowKernels(world.arena.rows, threads)
    return FullLoss(
        world.config, Own(world.arena, kernels), kernels, world.relation, world.relation_gradient, world.map_gradient
    )


@pytest.mark.parametrize("side", ["tail", "head"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_step_is_that_of_the_plain_reference(
    settings: dict[str, Any], side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full, "_QUERIES", 3)  # so that there are several pieces, and blocks
    monkeypatch.setattr(full, "ROOM", 500)
    world, probe = world_of(settings), world_of(settings)
    pool = np.random.default_rng(1).permutation(world.entities())
    triples = world.batch(pool[:5], 21)  # few entities, so that queries have several answers
    _, first = np.unique(np.stack([triples.head, triples.relation, triples.tail]), axis=1, return_index=True)
    batch = Batch(triples.head[first], triples.relation[first], triples.tail[first], side)
    found = loss_of(world).plan(batch, Pool(pool), np.random.default_rng(0))(0.1)

    own, model = probe.config.graph, probe.config.model
    X = probe.arena.arrays["X"].double().requires_grad_()
    relation = probe.relation.double().requires_grad_()
    place = np.full(world.arena.rows, -1)
    place[pool] = np.arange(len(pool))
    head, tail = (torch.from_numpy(place[ends]) for ends in (batch.head, batch.tail))
    scorer = scorers.scorer(model.scorer)
    read = relation[torch.from_numpy(batch.relation)]
    if side == "head":
        back = relation[torch.from_numpy(batch.relation + world.RELATIONS)] if model.reciprocal else None
        read = scorer.inverse(read) if back is None else back
    objective = Objective(
        scorer,
        comparison(scorer, model.cosine, model.norm),
        10.0 if model.cosine else 1.0,
        own.loss,
        smoothing=own.smoothing,
        n3=own.n3,
        l2=own.l2,
    )
    source, answer = (tail, head) if side == "head" else (head, tail)
    expected = full_loss(
        objective, FullQueries(X[probe.arena.entity_index[pool]], source, answer, read), own.candidates
    )
    if own.relation_weight and side == "tail":
        entities, target = X[probe.arena.entity_index[pool]], torch.from_numpy(batch.relation)
        known = relation_loss(scorer, entities[head], entities[tail], relation[: world.RELATIONS], target)
        expected = expected + own.relation_weight * known
    expected.backward()
    assert found == pytest.approx(expected.item(), rel=1e-5)
    state = probe.arena.arrays["X.state"].double() + X.grad.square().mean(1)
    stepped = X.detach() - 0.1 * X.grad / (state + EPSILON).sqrt()[:, None]
    torch.testing.assert_close(world.arena.arrays["X.state"].double(), state, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(world.arena.arrays["X"].double(), stepped, rtol=2e-4, atol=2e-5)
    torch.testing.assert_close(world.relation_gradient.double(), relation.grad, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("side", ["tail", "head"])
def test_labels_of_kvsall_are_all_answers_that_are_known(side: Any) -> None:
    """A part of the answers in the batch, the others known: the same as if all were there."""
    one, other = (world_of({"graph.candidates": "kvsall", "graph.n3": 0.1}) for _ in range(2))
    pool = one.entities()
    drawn = one.batch(pool[:5], 30)
    triples = np.unique(np.stack([drawn.head, drawn.relation, drawn.tail]), axis=1)
    known = Known(Batch(*triples), one.arena.rows)
    given = triples[[0, 1] if side == "tail" else [2, 1]]
    _, first = np.unique(given, axis=1, return_index=True)
    some = first[: len(first) // 2]
    asked = (given[:, :, None] == given[:, None, some]).all(0).any(1)
    assert asked.sum() > len(some)
    found = loss_of(one).plan(Batch(*triples[:, some], side), Pool(pool, known=known), np.random.default_rng(0))(0.1)
    expected = loss_of(other).plan(Batch(*triples[:, asked], side), Pool(pool), np.random.default_rng(0))(0.1)
    assert found == pytest.approx(expected, rel=1e-6)
    after = {**other.parts(), "relation": other.relation_gradient}
    for name, value in {**one.parts(), "relation": one.relation_gradient}.items():
        torch.testing.assert_close(value, after[name], rtol=1e-5, atol=1e-6)


def test_a_step_has_the_same_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full, "_QUERIES", 4)

    def step(threads: int) -> tuple[float, dict[str, torch.Tensor]]:
        world = world_of({"graph.candidates": "1vsall", "graph.dropout": 0.3, "graph.relation_dropout": 0.2})
        batch = world.batch(world.entities(), 301)
        loss = loss_of(world, threads)
        asked = Batch(batch.head, batch.relation, batch.tail, "tail")
        value = loss.plan(asked, Pool(world.entities()), np.random.default_rng(1))(0.1)
        loss.kernels.close()
        return value, {**world.parts(), "relation": world.relation_gradient}

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
        given_end = "head" if side == "tail" else "tail"
        asked = [set(zip(getattr(part, given_end), part.relation, strict=True)) for part in parts]
        assert sum(map(len, asked)) == len(set().union(*asked))


@pytest.mark.parametrize("versus", ["1vsall", "kvsall"])
@pytest.mark.parametrize("lanes", [1, 2])
def test_a_run_learns_and_is_the_same_again(small: Small, tmp_path: Any, versus: str, lanes: int) -> None:
    settings = config(
        {
            "graph.candidates": versus,
            "graph.dropout": 0.1,
            "graph.warmup": 0.2,
            "graph.decay": "cosine",
            "train.epochs": 5,
            "train.lanes": lanes,
        }
    )
    made = train(small.graph, str(tmp_path / "one"), settings)
    train(small.graph, str(tmp_path / "two"), settings)
    assert made.history[-1]["graph_loss"] < made.history[0]["graph_loss"]
    assert made.history[0]["triples"] == train(small.graph, str(tmp_path / "s"), config({})).history[0]["triples"]
    one, two = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    assert all(torch.equal(torch.as_tensor(value), torch.as_tensor(two[name])) for name, value in one.items())
