"""Distinct rows, sums and AdaGrad steps against plain numpy; the same bits for any number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distjoint.backends.cpu.rows import EPSILON, RowKernels

pytestmark = pytest.mark.unit

ROWS, DIM = 40, 5
ids = st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=120).map(lambda x: np.array(x, np.int64))


@pytest.fixture(scope="module")
def kernels() -> Iterator[RowKernels]:
    made = RowKernels(ROWS, 1)
    yield made
    made.close()


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(ids)
def test_distinct_rows_come_in_order_of_appearance_with_their_occurrences(
    kernels: RowKernels, rows: np.ndarray
) -> None:
    found = kernels.distinct(rows)
    assert found.rows.tolist() == list(dict.fromkeys(rows.tolist()))
    assert np.array_equal(found.rows[found.inverse], rows)
    where = found.occurrences()
    assert (where.starts[0], where.starts[-1]) == (0, len(rows))
    for k, row in enumerate(found.rows):
        occurrences = where.order[where.starts[k] : where.starts[k + 1]]
        assert occurrences.tolist() == np.flatnonzero(rows == row).tolist()


def test_no_rows_are_no_trouble(kernels: RowKernels) -> None:
    found = kernels.distinct(np.empty(0, np.int64))
    assert len(found.rows) == 0
    assert kernels.sum_rows(torch.empty(0, DIM), found.occurrences(), slice(0, 0)).shape == (0, DIM)
    kernels.step(torch.ones(3, DIM), torch.ones(3), found.rows, torch.empty(0, DIM), 0.1)


@given(ids, st.data())
def test_sums_are_those_of_numpy(kernels: RowKernels, rows: np.ndarray, data: st.DataObject) -> None:
    """Of all occurrences or of the first few, over any cut of the distinct rows."""
    found = kernels.distinct(rows)
    some = data.draw(st.integers(0, len(rows)))
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(found.rows))] * 2)))
    gradient = draw(some, DIM, seed=data.draw(st.integers(0, 9)))
    expected = np.zeros((ROWS, DIM))
    np.add.at(expected, rows[:some], gradient.astype(np.float64))
    occurrences = found.occurrences(found.inverse[:some])
    summed = kernels.sum_rows(torch.from_numpy(gradient), occurrences, slice(first, last))
    np.testing.assert_allclose(summed.numpy(), expected[found.rows[first:last]], rtol=1e-5, atol=1e-5)


@given(st.permutations(range(ROWS)), st.integers(1, ROWS), st.floats(1e-3, 2.0))
def test_steps_are_row_wise_adagrad(kernels: RowKernels, order: list[int], count: int, rate: float) -> None:
    rows, gradient = np.array(order[:count], np.int64), draw(count, DIM)
    part, state = draw(ROWS, DIM, seed=1), np.abs(draw(ROWS, seed=2))
    first, second, shared = (
        torch.from_numpy(part.copy()),
        torch.from_numpy(part.copy() * 2),
        torch.from_numpy(state.copy()),
    )
    kernels.step_pair(first, second, shared, rows, torch.from_numpy(gradient), rate)
    alone, own = torch.from_numpy(part.copy()), torch.from_numpy(state.copy())
    kernels.step(alone, own, rows, torch.from_numpy(gradient), rate)
    states = state.astype(np.float64)
    states[rows] += (gradient.astype(np.float64) ** 2).mean(1)
    step = np.zeros((ROWS, DIM))
    step[rows] = rate * gradient / np.sqrt(states[rows] + EPSILON)[:, None]
    for actual, expected in (
        (own, states), (shared, states), (alone, part - step), (first, part - step / 2), (second, part * 2 - step / 2)
    ):  # fmt: skip
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_gradient_of_zero_moves_nothing_even_at_the_first_step(kernels: RowKernels) -> None:
    part = torch.ones(ROWS, DIM)
    kernels.step(part, torch.zeros(ROWS), np.arange(ROWS), torch.zeros(ROWS, DIM), 0.1)
    assert bool((part == 1).all())


def test_results_of_a_map_keep_their_order() -> None:
    kernels = RowKernels(1, 3)
    assert list(kernels.map(lambda x: x * x, range(20))) == [x * x for x in range(20)]
    kernels.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_work_begun_ahead_is_done_in_order_and_raises_where_it_is_waited_for(threads: int) -> None:
    kernels, done = RowKernels(1, threads), list[int]()

    def work(number: int) -> int:
        done.append(sum(kernels.map(int, [number, 0])))  # it may use the threads itself
        if number == 2:
            raise ValueError("two")
        return number

    first, second = kernels.begin(work, 1), kernels.begin(work, 2)
    assert first() == 1
    with pytest.raises(ValueError, match="two"):
        second()
    assert done == [1, 2]
    kernels.close()
