"""Distinct rows, sums and AdaGrad steps against plain numpy; work for threads, in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from world import backend_of

from distjoint.backends.base import NONE
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.cpu.rows import Occurrences
from distjoint.optim import optimizer_of
from distjoint.optim.base import EPSILON

pytestmark = pytest.mark.unit

ROWS, DIM = 40, 5
CPU = CpuBackend(1)
ADAGRAD = optimizer_of("adagrad")
BACKENDS = pytest.mark.parametrize("backend", ["cpu", "torch"])
ids = st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=120).map(lambda x: np.array(x, np.int64))


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(ids)
def test_distinct_rows_come_in_order_of_appearance_with_their_occurrences(rows: np.ndarray) -> None:
    found = CPU.distinct(torch.from_numpy(rows), ROWS)
    assert found.rows.tolist() == list(dict.fromkeys(rows.tolist()))
    assert np.array_equal(found.rows[found.inverse], rows)
    where = Occurrences.of(found.inverse, len(found.rows))
    assert (where.starts[0], where.starts[-1]) == (0, len(rows))
    for k, row in enumerate(found.rows.tolist()):
        occurrences = where.order[where.starts[k] : where.starts[k + 1]]
        assert occurrences.tolist() == np.flatnonzero(rows == row).tolist()


def test_no_rows_are_no_trouble() -> None:
    found = CPU.distinct(torch.empty(0, dtype=torch.int64), ROWS)
    assert len(found.rows) == 0
    assert CPU.sum_rows(torch.empty(0, DIM), CPU.occurrences(found.inverse, 0), slice(0, 0)).shape == (0, DIM)
    CPU.step(ADAGRAD, [torch.ones(3, DIM)], {"state": torch.ones(3)}, found.rows, torch.empty(0, DIM), 0.1)


@given(ids, st.data())
def test_sums_are_those_of_numpy(rows: np.ndarray, data: st.DataObject) -> None:
    """Of all occurrences or of the first few, over any slice of the distinct rows."""
    found = CPU.distinct(torch.from_numpy(rows), ROWS)
    some = data.draw(st.integers(0, len(rows)))
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(found.rows))] * 2)))
    gradient = draw(some, DIM, seed=data.draw(st.integers(0, 9)))
    expected = np.zeros((ROWS, DIM))
    np.add.at(expected, rows[:some], gradient.astype(np.float64))
    occurrences = CPU.occurrences(found.inverse[:some], len(found.rows))
    summed = CPU.sum_rows(torch.from_numpy(gradient), occurrences, slice(first, last))
    np.testing.assert_allclose(summed.numpy(), expected[found.rows.numpy()[first:last]], rtol=1e-5, atol=1e-5)


@BACKENDS
@given(st.permutations(range(ROWS)), st.integers(1, ROWS), st.floats(1e-3, 2.0), st.sampled_from([None, "all", "some"]))
def test_steps_are_row_wise_adagrad(backend: str, order: list[int], count: int, rate: float, allowed: str) -> None:
    """Of rows that are rows and may step, of one part or of two that share their state."""
    made, rows, gradient = backend_of(backend), np.array(order[:count], np.int64), draw(count, DIM)
    rows[::7] = NONE
    may = {None: None, "all": torch.tensor(True), "some": torch.arange(count) % 3 != 1}[allowed]
    stepping = (rows != NONE) & (may is None or np.broadcast_to(may.numpy(), rows.shape))
    part, state = draw(ROWS, DIM, seed=1), np.abs(draw(ROWS, seed=2))
    alone, first, second = (torch.from_numpy(part * factor) for factor in (1, 1, 2))
    own, shared = torch.from_numpy(state.copy()), torch.from_numpy(state.copy())
    index, given_ = torch.from_numpy(rows), torch.from_numpy(gradient)
    made.step(ADAGRAD, [alone], {"state": own}, index, given_, rate, may)
    made.step(ADAGRAD, [first, second], {"state": shared}, index, given_, rate / 2, may)
    states, step, chosen = state.astype(np.float64), np.zeros((ROWS, DIM)), rows[stepping]
    states[chosen] += (gradient[stepping].astype(np.float64) ** 2).mean(1)
    step[chosen] = rate * gradient[stepping] / np.sqrt(states[chosen] + EPSILON)[:, None]
    for actual, expected in (
        (own, states), (shared, states), (alone, part - step), (first, part - step / 2), (second, part * 2 - step / 2)
    ):  # fmt: skip
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-5, atol=1e-5)


@BACKENDS
def test_a_batch_that_may_not_step_changes_no_bit(backend: str) -> None:
    part, state, gradient = (torch.from_numpy(draw(ROWS, DIM, seed=seed)) for seed in range(3))
    state = state[:, 0].abs().contiguous()
    kept = part.clone(), state.clone()
    gradient[3] = torch.nan
    refused = torch.tensor(False)
    backend_of(backend).step(ADAGRAD, [part], {"state": state}, torch.arange(ROWS), gradient, 0.1, refused)
    assert torch.equal(part, kept[0])
    assert torch.equal(state, kept[1])


@BACKENDS
def test_a_gradient_of_zero_moves_nothing_even_at_the_first_step(backend: str) -> None:
    part, state = torch.ones(ROWS, DIM), {"state": torch.zeros(ROWS)}
    backend_of(backend).step(ADAGRAD, [part], state, torch.arange(ROWS), torch.zeros(ROWS, DIM), 0.1)
    assert bool((part == 1).all())


def test_results_of_a_map_keep_their_order() -> None:
    backend = CpuBackend(3)
    assert list(backend.map(lambda x: x * x, range(20))) == [x * x for x in range(20)]
    backend.close()


@pytest.mark.parametrize(("backend", "threads"), [("cpu", 1), ("cpu", 3), ("torch", 1)])
def test_work_begun_ahead_is_done_in_order_and_raises_where_it_is_waited_for(backend: str, threads: int) -> None:
    made, done = backend_of(backend, threads), list[int]()

    def work(number: int) -> int:
        done.append(sum(made.map(int, [number, 0])))  # it may use the threads itself
        if number == 2:
            raise ValueError("two")
        return number

    first, second = made.begin(work, 1), made.begin(work, 2)
    assert first() == 1
    with pytest.raises(ValueError, match="two"):
        second()
    assert done == [1, 2]
    made.close()
