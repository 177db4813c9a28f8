"""One battery that every optimizer must pass: its paper's update row by row, on either backend, and in real runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from members import assert_covers
from small import Small, assert_same_bits, config, tensors
from torch import Tensor

import distjoint
from distjoint import optim
from distjoint.backends import Backend
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.torch.backend import TorchBackend
from distjoint.base.errors import UsageError
from distjoint.couplings.base import DenseParameter
from distjoint.optim import Optimizer, optimizer_of, step_rows
from distjoint.registry import OPTIMIZERS
from distjoint.train.dense import Dense

pytestmark = pytest.mark.unit

ROWS, DIM, RATE = 7, 5, 0.1
Row = tuple[list[float], dict[str, Any]]


def adagrad(row: list[float], gradient: list[float], state: dict[str, Any]) -> list[float]:
    """Duchi et al. 2011 with one accumulator a row (Lerer et al. 2019): the mean of the row's squares is added."""
    state["state"] = state.get("state", 0.0) + sum(g * g for g in gradient) / len(gradient)
    return [x - RATE * g / math.sqrt(state["state"]) for x, g in zip(row, gradient, strict=True)]


def adam(row: list[float], gradient: list[float], state: dict[str, Any]) -> list[float]:
    """Kingma & Ba 2015, algorithm 1, with the mean square of a row as its one second moment."""
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8
    t = state["steps"] = state.get("steps", 0) + 1
    state["mean"] = [
        beta1 * m + (1 - beta1) * g for m, g in zip(state.get("mean", [0.0] * len(row)), gradient, strict=True)
    ]
    mean_square = sum(g * g for g in gradient) / len(gradient)
    state["square"] = beta2 * state.get("square", 0.0) + (1 - beta2) * mean_square
    root = math.sqrt(state["square"] / (1 - beta2**t)) + epsilon
    return [x - RATE * m / (1 - beta1**t) / root for x, m in zip(row, state["mean"], strict=True)]


PAPERS: dict[str, Callable[[list[float], list[float], dict[str, Any]], list[float]]] = {
    "adagrad": adagrad,
    "adam": adam,
}
"""New values of a row, given its gradient; its state is changed."""
FLOATS = {"adagrad": {"state": 0}, "adam": {"mean": DIM, "square": 0, "steps": 0}}
"""Floats of state of a row of DIM numbers."""


@pytest.fixture(params=PAPERS)
def optimizer(request: pytest.FixtureRequest) -> Optimizer:
    return optimizer_of(request.param)


@pytest.fixture(params=["cpu", "torch"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    made = CpuBackend(1) if request.param == "cpu" else TorchBackend(torch.device("cpu"))
    yield made
    made.close()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def copied(state: dict[str, Tensor], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    return {name: values.to(dtype or values.dtype, copy=True) for name, values in state.items()}


class Table:
    """Rows that some steps have given states of their own, row by row as the paper says, and as tensors."""

    def __init__(self, name: str) -> None:
        self.name, self.rows = name, draw(ROWS, DIM).tolist()
        self.states: list[dict[str, Any]] = [{} for _ in range(ROWS)]
        for number in range(3):
            for row in range(number, ROWS):  # not all as often
                self.step(row, draw(ROWS, DIM, seed=number + 1)[row].tolist())

    def step(self, row: int, gradient: list[float]) -> None:
        self.rows[row] = PAPERS[self.name](self.rows[row], gradient, self.states[row])

    def values(self) -> Tensor:
        return torch.tensor(self.rows, dtype=torch.float64)

    def state(self) -> dict[str, Tensor]:
        empty = {name: [0.0] * floats if floats else 0.0 for name, floats in FLOATS[self.name].items()}
        return {
            name: torch.tensor([state.get(name, empty[name]) for state in self.states], dtype=torch.float64)
            for name in empty
        }


def test_every_optimizer_is_in_the_registry_and_in_this_battery() -> None:
    assert_covers(set(PAPERS), OPTIMIZERS, Optimizer, optim)


# The battery


def test_it_declares_its_state_and_starts_it_at_zero(optimizer: Optimizer) -> None:
    assert optimizer.state(DIM) == FLOATS[optimizer.name]
    made = optimizer.new_state(ROWS, DIM)
    assert {name: tuple(values.shape) for name, values in made.items()} == {
        name: (ROWS, floats) if floats else (ROWS,) for name, floats in FLOATS[optimizer.name].items()
    }
    assert all(values.dtype == torch.float32 and not values.any() for values in made.values())


def test_an_update_is_that_of_the_paper_whenever_a_row_was_stepped_before(optimizer: Optimizer) -> None:
    table, gradient = Table(optimizer.name), draw(ROWS, DIM, seed=9)
    values, state = table.values(), table.state()
    assert state.keys() == FLOATS[optimizer.name].keys()
    values -= optimizer.update(gradient, state, RATE)
    for row in range(ROWS):
        table.step(row, gradient[row].tolist())
    torch.testing.assert_close(values, table.values(), rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(state, table.state(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["adagrad", "adam"])
def test_the_first_step_of_a_row_has_the_size_of_the_rate(name: str) -> None:
    optimizer = optimizer_of(name)
    gradient = 1e-3 * draw(ROWS, DIM)
    step = optimizer.update(gradient, copied(optimizer.new_state(ROWS, DIM), torch.float64), RATE)
    size = step.square().mean(1).sqrt()
    torch.testing.assert_close(size, torch.full_like(size, RATE), rtol=1e-3, atol=0)


INDEX = [4, -1, 0, 6, -1, 2]
ALLOWED = [True, True, False, True, False, True]
MASKS = {"all": None, "some": torch.tensor(ALLOWED), "yes": torch.tensor(True), "no": torch.tensor(False)}


def stepped(mask: str) -> list[int]:
    """Places of INDEX whose rows step."""
    allowed = {"all": [True] * 6, "some": ALLOWED, "yes": [True] * 6, "no": [False] * 6}[mask]
    return [k for k, row in enumerate(INDEX) if row >= 0 and allowed[k]]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_rows_step_and_all_others_keep_their_bits(
    optimizer: Optimizer, backend: Backend, parts: int, mask: str
) -> None:
    """NONE stands several times; its gradient, and one that may not step, is not even finite."""
    table, gradient, state = Table(optimizer.name), draw(len(INDEX), DIM, seed=9), {}
    values = [table.values().float() + k for k in range(parts)]
    before = [part.clone() for part in values]
    state = copied(table.state(), torch.float32)
    old = copied(state)
    given = gradient.float()
    others = [k for k in range(len(INDEX)) if k not in stepped(mask)]
    given[others] = torch.tensor([math.nan, math.inf, -math.inf, 1e38, 0.0])
    backend.step(optimizer, values, state, torch.tensor(INDEX), given, RATE, MASKS[mask])
    for k in stepped(mask):
        table.step(INDEX[k], gradient[k].tolist())
    for k, part in enumerate(values):
        torch.testing.assert_close(part.double() - k, table.values(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(copied(state, torch.float64), table.state(), rtol=1e-5, atol=1e-6)
    still = [row for row in range(ROWS) if row not in {INDEX[k] for k in stepped(mask)}]
    for now, then in (*zip(values, before, strict=True), *((state[name], old[name]) for name in old)):
        assert torch.equal(now[still], then[still])


def test_the_compiled_step_is_the_plain_one(optimizer: Optimizer) -> None:
    rng, cpu = np.random.default_rng(0), CpuBackend(1)
    for parts in (1, 2):
        tables = [[draw(50, 33, seed=k).float() for k in range(parts)] for _ in range(2)]
        states = [optimizer.new_state(50, 33) for _ in range(2)]
        for number in range(4):
            index = torch.from_numpy(rng.permutation(50)[:30] - 5).clamp_min(-1)
            gradient = draw(30, 33, seed=number).float()
            step_rows(optimizer, tables[0], states[0], index, gradient, RATE)
            cpu.step(optimizer, tables[1], states[1], index, gradient, RATE)
        torch.testing.assert_close(tables[0], tables[1], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(states[0], states[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("by_row", [True, False])
def test_dense_parameters_step_by_row_or_by_number(optimizer: Optimizer, backend: Backend, by_row: bool) -> None:
    start, width = draw(3, 4), 4 if by_row else 1
    parameter = DenseParameter(start.float(), "relations", RATE / 2, by_row)
    frozen = DenseParameter(start.float(), "map", RATE)
    dense = Dense({"one": parameter, "still": frozen}, optimizer, {"map"}, backend)
    rows, states = start.view(-1, width).tolist(), [{} for _ in range(12 // width)]
    for number in range(3):
        gradient = draw(3, 4, seed=number + 1)
        dense.gradients["one"] += gradient
        dense.gradients["still"] += gradient
        squares = dense.sync(factor=2.0)
        torch.testing.assert_close(squares["one"].double(), gradient.square().sum(), rtol=1e-5, atol=0)
        assert not dense.gradients["one"].any()
        for k, row in enumerate(gradient.view(-1, width).tolist()):
            rows[k] = PAPERS[optimizer.name](rows[k], row, states[k])
    found, wanted = dense.values["one"].double().view(-1, width), torch.tensor(rows, dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(dense.values["still"], start.float())
    named = {f"one.{name}" for name in FLOATS[optimizer.name]}
    assert named <= dense.tensors().keys()
    assert all(
        dense.tensors()[f"one.{name}"].shape == (start.shape if floats or not by_row else (3,))
        for name, floats in FLOATS[optimizer.name].items()
    )


# In a run


@pytest.mark.parametrize("name", PAPERS)
def test_a_run_keeps_the_state_and_goes_on_with_the_bits_of_one_that_never_stopped(
    name: str, small: Small, tmp_path: Path
) -> None:
    settings = {
        "model.coupling": "dual",
        "model.scorer": "complex",
        "graph.optimizer": name,
        "graph.learning_rate": 0.02,
    }
    through, broken = str(tmp_path / "through"), str(tmp_path / "broken")
    made = distjoint.train(small.joint, through, config({**settings, "train.epochs": 2}))
    distjoint.train(small.joint, broken, config({**settings, "train.epochs": 1}))
    distjoint.train(resume=broken, settings={"train.epochs": 2})
    found = tensors(through)
    assert_same_bits(found, tensors(broken))
    assert made.history[-1]["graph_loss"] < made.history[0]["graph_loss"]
    for part in ("X.", "word.graph_"):
        kept = {file.partition(part)[2] for file in found if f"/{part}" in file}
        assert kept == FLOATS[name].keys()
        assert all(found[f"0/{part}{state}"].any() for state in kept)
    for parameter in ("relation", "word_relation", "map"):
        kept = {key.rpartition(".")[2] for key in found if key.startswith(f"dense/{parameter}.")}
        assert kept == FLOATS[name].keys()
        assert all(found[f"dense/{parameter}.{state}"].any() for state in kept)


@pytest.mark.parametrize("name", PAPERS)
def test_an_option_that_it_does_not_take_is_refused_by_name(name: str, small: Small, tmp_path: Path) -> None:
    settings = {"graph.optimizer": name, "graph.optimizer_options.momentum": 0.5}
    with pytest.raises(UsageError, match=rf"graph.optimizer_options=.*momentum.*{name} does not take"):
        distjoint.train(small.graph, str(tmp_path / "run"), config(settings))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta1": 1.0}, r"beta1 = 1.0; it must lie in \[0, 1\)"),
        ({"beta2": -0.1}, r"beta2 = -0.1; it must lie in \[0, 1\)"),
        ({"epsilon": 0.0}, r"epsilon = 0.0; it must be above 0"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_name(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=f"graph.optimizer_options: {message}"):
        optimizer_of("adam", options)


def test_options_reach_the_optimizer() -> None:
    made: Any = optimizer_of("adam", {"beta1": 0.5, "beta2": 0.6, "epsilon": 0.1})
    state = {name: values.double() for name, values in made.new_state(1, 2).items()}
    step = made.update(torch.tensor([[3.0, 4.0]], dtype=torch.float64), state, 1.0)
    root = math.sqrt(12.5) + 0.1
    torch.testing.assert_close(step, torch.tensor([[3 / root, 4 / root]], dtype=torch.float64))
    torch.testing.assert_close(state["square"], torch.tensor([0.4 * 12.5], dtype=torch.float64))


def test_an_unknown_optimizer_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="optimizer 'sgd': choose adagrad, adam"):
        optimizer_of("sgd")
