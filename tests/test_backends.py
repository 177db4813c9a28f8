"""The torch backend trains to the values of the compiled one: each operation, and whole steps of every member.

On CPU tensors here; on a GPU too where there is one (marker `gpu`). Dropout is left out, whose masks lie over the
distinct rows of a batch, and these have an order of their own on each backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from members import alternating, names_of
from problem import ComparableBackend, Problem
from tucker import TuckER

from distjoint.backends.base import Backend, NotFiniteError
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.torch.backend import TorchBackend
from distjoint.registry import CANDIDATES, COUPLINGS, LOSSES, OPTIMIZERS, SCORERS

pytestmark = pytest.mark.unit

GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
Settings = dict[str, Any]


@pytest.fixture(scope="module")
def cpu() -> Iterator[Backend]:
    backend = CpuBackend(1)
    yield backend
    backend.close()


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=GPU)])
def other(request: pytest.FixtureRequest) -> Backend:
    """The torch backend, with rows on a device."""
    return ComparableBackend(torch.device(request.param))


# Whole steps


def train_alike(cpu: Backend, other: Backend, settings: Settings, batches: int = 2) -> Problem:
    """Train a problem on either backend; fail unless losses, gradients, rows, states and dense parameters agree."""
    made, again = Problem(cpu, settings), Problem(other, settings)
    start = made.values()
    for one, also in zip(made.train(batches), again.train(batches), strict=True):
        assert also.allowed is None or bool(also.allowed)
        assert float(also.loss) == pytest.approx(float(one.loss), rel=1e-4, abs=1e-4)
        assert float(also.squares) == pytest.approx(float(one.squares), rel=1e-3, abs=1e-4)
    values = again.values()
    for name, value in made.values().items():
        torch.testing.assert_close(values[name], value, rtol=5e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    assert not torch.equal(made.values()["relation"], start["relation"])
    return made


COMPARED: list[Settings] = [
    *({"model.scorer": name, "model.cosine": cosine} for name, cosine in product(names_of(SCORERS), (False, True))),
    {"model.scorer": "transe", "model.norm": 1},
]
"""Every scorer by every comparison that it may have."""


def named(settings: Settings) -> str:
    return "-".join(f"{key.partition('.')[2]}={value}" for key, value in settings.items())


def test_every_pair_with_what_alternates_is_met() -> None:
    losses, kinds = names_of(LOSSES), (names_of(COUPLINGS), names_of(CANDIDATES), names_of(OPTIMIZERS))
    met = [(named(compared), *rest) for compared, *rest in alternating(COMPARED, losses)]
    assert {(compared, truth) for compared, _, truth in met} == set(product(map(named, COMPARED), (True, False)))
    assert {(loss, truth) for _, loss, truth in met} == set(product(losses, (True, False)))
    for number, names in enumerate(kinds):
        found = {(made[number], made[-1]) for made in alternating(*kinds)}
        assert found == set(product(names, (True, False)))


@pytest.mark.parametrize(("compared", "loss", "in_batch"), alternating(COMPARED, names_of(LOSSES)), ids=str)
def test_every_scorer_comparison_and_loss(
    cpu: Backend, other: Backend, compared: Settings, loss: str, in_batch: bool
) -> None:
    train_alike(cpu, other, {**compared, "graph.loss": loss, "graph.in_batch": in_batch})


OVER_ALL = [name for name in names_of(CANDIDATES) if name != "sampled"]


OVER_ALL_LOSSES = [name for name in names_of(LOSSES) if LOSSES[name].over_all]


def over_all() -> list[tuple[Settings, str, str]]:
    """Every scorer and comparison with all candidates, and in turn a loss: each loss with either candidates too."""
    places = product(range(len(COMPARED)), range(len(OVER_ALL)))
    return [(COMPARED[i], OVER_ALL[j], OVER_ALL_LOSSES[(i + j) % len(OVER_ALL_LOSSES)]) for i, j in places]


def test_every_loss_is_met_over_all_candidates() -> None:
    met = over_all()
    assert {(candidates, loss) for _, candidates, loss in met} == set(product(OVER_ALL, OVER_ALL_LOSSES))
    assert {(named(each), loss) for each, _, loss in met} == set(product(map(named, COMPARED), OVER_ALL_LOSSES))


@pytest.mark.parametrize(("compared", "candidates", "loss"), over_all(), ids=str)
def test_every_scorer_comparison_and_loss_over_all_candidates(
    cpu: Backend, other: Backend, compared: Settings, candidates: str, loss: str
) -> None:
    train_alike(cpu, other, {**compared, "graph.loss": loss, "graph.candidates": candidates})


@pytest.mark.parametrize(
    ("coupling", "candidates", "optimizer", "reciprocal"),
    alternating(names_of(COUPLINGS), names_of(CANDIDATES), names_of(OPTIMIZERS)),
)
def test_every_coupling_candidates_and_optimizer(
    cpu: Backend, other: Backend, coupling: str, candidates: str, optimizer: str, reciprocal: bool
) -> None:
    settings: Settings = {
        "model.coupling": coupling,
        "model.scorer": "complex",
        "model.reciprocal": reciprocal,
        "graph.candidates": candidates,
        "graph.optimizer": optimizer,
    }
    train_alike(cpu, other, settings)


COMPLEX: Settings = {"model.scorer": "complex"}
OPTIONS: list[Settings] = [
    {"graph.mask_known": False},
    {"graph.power": 0.75},
    {"graph.typed": True, "graph.power": 0.75, "graph.in_batch": False},
    {"graph.batch": 64, "graph.chunk": 64},
    {"graph.chunk": 1, "graph.negatives": 7},
    {"graph.negatives": 0},
    {"model.scale": 3.0},
    {**COMPLEX, "graph.n3": 0.1, "graph.l2": 0.2},
    {"model.scorer": "quate", "graph.n3": 0.1, "graph.candidates": "1vsall"},
    {**COMPLEX, "graph.relation_weight": 0.7},
    {**COMPLEX, "graph.relation_weight": 0.7, "graph.candidates": "1vsall"},
    {**COMPLEX, "graph.relation_weight": 0.7, "graph.negatives": 0, "graph.in_batch": False},
    {"graph.smoothing": 0.1, "graph.candidates": "1vsall"},
    {"graph.smoothing": 0.1, "graph.candidates": "kvsall", "graph.loss": "logistic"},
    {"model.coupling": "dual", "graph.own_l2": 0.4, "graph.typed": True},
    {"model.coupling": "dual", "train.freeze": ["entities", "map"]},
    {"model.coupling": "tie", "train.freeze": ["words"]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=named)
def test_every_option(cpu: Backend, other: Backend, options: Settings) -> None:
    train_alike(cpu, other, options)


@pytest.mark.parametrize("candidates", names_of(CANDIDATES))
def test_a_scorer_with_dense_parameters_of_its_own(cpu: Backend, other: Backend, candidates: str) -> None:
    SCORERS.add(TuckER)
    try:
        settings = {"model.scorer": "tucker", "graph.candidates": candidates, "model.coupling": "dual"}
        made = train_alike(cpu, other, settings)
        assert {"scorer.core", "word_scorer.core"} <= made.values().keys()
    finally:
        SCORERS.remove("tucker")


@pytest.mark.parametrize("candidates", names_of(CANDIDATES))
@pytest.mark.parametrize("optimizer", names_of(OPTIMIZERS))
def test_a_batch_that_is_not_finite_steps_no_row(cpu: Backend, other: Backend, candidates: str, optimizer: str) -> None:
    """The compiled backend says so at once; the torch backend goes on without having waited for the answer."""
    settings = {"model.coupling": "dual", "graph.candidates": candidates, "graph.optimizer": optimizer}
    for backend in (cpu, other):
        problem = Problem(backend, settings)
        row = int(problem.batch(0).head[0])
        problem.arena.arrays["X"][problem.arena.entity_index[row], 3] = torch.nan
        before = problem.values()
        step = problem.losses[0].plan(problem.batch(0), problem.pools[0], backend.random(np.random.default_rng(0)))
        if backend is cpu:
            with pytest.raises(NotFiniteError):
                step(0.1)
        else:
            allowed = step(0.1).allowed
            assert allowed is not None
            assert not bool(allowed)
            problem.dense.sync(1.0)
        after = problem.values()
        for name in problem.arena.arrays:
            assert torch.equal(after[name].view(torch.int32), before[name].view(torch.int32)), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("candidates", names_of(CANDIDATES))
def test_a_step_on_a_gpu_never_waits_for_it(candidates: str) -> None:
    problem = Problem(TorchBackend(torch.device("cuda")), {"model.coupling": "dual", "graph.candidates": candidates})
    problem.train(1)  # what waits once, such as the first allocation, has
    torch.cuda.set_sync_debug_mode("error")
    try:
        problem.train(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
