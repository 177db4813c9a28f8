"""GloVe: the compiled loop and the mini-batches of GPUs against the plain reference, on random tiles and real text."""

from __future__ import annotations

import importlib
import math
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pydoc_data.topics import topics
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import glove as reference
from world import backend_of

from distjoint.backends import Backend
from distjoint.backends.base import TileCells, WordParts
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.cpu.compiled import announce
from distjoint.backends.cpu.glove import train_tile
from distjoint.backends.torch.glove import train_wave
from distjoint.model.text import first_bad, weigh

pytestmark = pytest.mark.unit

FLOATS = tuple(WordParts.__annotations__)[:8]
"""Fields of WordParts that hold numbers: vectors and biases, then their accumulators."""
BACKENDS = pytest.mark.parametrize("backend", ["cpu", "torch"])


def masks(rows: int, some: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks of frozen rows of W and C: of none, or of every third row and of every second."""
    if not some:
        return torch.empty(0, dtype=torch.bool), torch.empty(0, dtype=torch.bool)
    return torch.arange(rows) % 3 == 0, torch.arange(rows) % 2 == 0


def random_parts(rows: int, dim: int, seed: int = 0, start: float = 1.0, frozen: bool = False) -> WordParts:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return start * (torch.rand(*shape, generator=generator) - 0.5)

    state, bias_state = 1 / dim, 1.0  # small, so that a few steps move far
    return WordParts(
        draw(rows, dim),
        draw(rows, dim),
        draw(rows),
        draw(rows),
        *(torch.full((rows,), value) for value in (state, state, bias_state, bias_state)),
        *masks(rows, frozen),
    )


def random_tile(cells: int, row_base: int, column_base: int, rows: int, seed: int = 0) -> TileCells:
    random = np.random.default_rng(seed)
    log_count, weight = weigh(random.lognormal(0, 2, cells).astype(np.float32), 10, 0.75)
    row, column = random.integers(0, rows, (2, cells)).astype(np.uint16)
    return TileCells(row, column, log_count, weight, row_base, column_base)


def train_reference(parts: WordParts, tile: TileCells, rate: float, dtype: torch.dtype = torch.float64) -> tuple:
    """Cost and parts after the plain trainer, parts unchanged."""
    tensors = [getattr(parts, name).clone().to(dtype) for name in FLOATS]
    cells = [
        torch.from_numpy(tile.row.astype(np.int64)) + tile.row_base,
        torch.from_numpy(tile.column.astype(np.int64)) + tile.column_base,
        torch.from_numpy(tile.log_count).to(dtype),
        torch.from_numpy(tile.weight).to(dtype),
    ]
    cost = reference.train(tensors[:4], tensors[4:], *cells, rate, (parts.W_frozen, parts.C_frozen))
    return float(cost), WordParts(*tensors, parts.W_frozen, parts.C_frozen)


def copy(parts: WordParts) -> WordParts:
    return WordParts(*(None if part is None else part.clone() for part in vars(parts).values()))


def assert_close(actual: WordParts, expected: WordParts, rtol: float, atol: float) -> None:
    for name in FLOATS:
        part, wanted = getattr(actual, name).double(), getattr(expected, name).double()
        torch.testing.assert_close(part, wanted, rtol=rtol, atol=atol, msg=name)


def assert_same_bits(one: WordParts, other: WordParts) -> None:
    for name in FLOATS:
        assert torch.equal(getattr(one, name).view(torch.int32), getattr(other, name).view(torch.int32)), name


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread():
    """Thousands of small operations: waking a second thread for each costs more than it gives."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


CPU = CpuBackend(1)


def cost(backend: Backend, parts: WordParts, tiles: list[TileCells], rate: float = 0.05) -> float:
    """Train a wave, all cells of which are finite."""
    found = backend.wave(parts, tiles, rate)
    assert found.failed is None
    return float(found.cost)


@pytest.fixture(scope="module")
def text() -> tuple[list[list[TileCells]], int]:
    """Waves of 3 x 3 tiles of the words of Python's own help, window 5; and the number of rows."""
    words = " ".join(topics[name] for name in sorted(topics)[:12]).lower().split()
    rank = {word: k for k, (word, count) in enumerate(Counter(words).most_common()) if count >= 3}
    ids = [rank[word] for word in words if word in rank]
    counts: Counter[tuple[int, int]] = Counter()
    for distance in range(1, 6):
        for pair in zip(ids, ids[distance:], strict=False):
            counts[pair] += 1 / distance
            counts[pair[::-1]] += 1 / distance
    cells = np.array(list(counts))
    log_count, weight = weigh(np.array(list(counts.values()), np.float32), 10, 0.75)
    shuffled = np.random.default_rng(0).permutation(len(cells))
    tiles, size = 3, -(-len(rank) // 3)

    def tile(row: int, column: int) -> TileCells:
        at = shuffled[(cells[shuffled] % tiles == (row, column)).all(1)]
        within = (cells[at] // tiles).astype(np.uint16)
        return TileCells(within[:, 0], within[:, 1], log_count[at], weight[at], row * size, column * size)

    return [[tile(row, (row + wave) % tiles) for row in range(tiles)] for wave in range(tiles)], tiles * size


@given(
    dim=st.integers(1, 130),
    rows=st.integers(1, 6),
    cells=st.integers(0, 40),
    seed=st.integers(0, 2**31),
    frozen=st.booleans(),
)
def test_kernel_equals_the_float64_reference_to_float32_rounding(dim, rows, cells, seed, frozen):
    parts = random_parts(3 * rows, dim, seed, frozen=frozen)
    tile = random_tile(cells, rows, 2 * rows, rows, seed)
    expected_cost, expected = train_reference(parts, tile, 0.05)
    assert cost(CPU, parts, [tile]) == pytest.approx(expected_cost, rel=1e-4, abs=1e-6)
    assert_close(parts, expected, rtol=1e-4, atol=1e-5)


@BACKENDS
def test_one_cell_by_hand(backend):
    parts = WordParts(
        torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 2.0]]), torch.tensor([0.5]), torch.tensor([-0.5]),
        torch.tensor([1.5]), torch.tensor([3.5]), torch.tensor([3.0]), torch.tensor([8.0]), *masks(1, False),
    )  # fmt: skip
    zero, one = np.zeros(1, np.uint16), np.ones(1, np.float32)
    # difference = 11 + 0.5 - 0.5 - 9 = 2, weighted 1
    found = backend_of(backend).wave(parts, [TileCells(zero, zero, 9 * one, one / 2, 0, 0)], 0.1)
    # squared gradients: w^2 + c^2 = 25 + 5, times 1
    assert (float(found.cost), float(found.squares), found.failed) == (1.0, 30.0, None)
    # gradient 1: accumulators grow by mean(c^2) = 2.5, mean(w^2) = 12.5 and 1
    assert parts.W_state.item() == 4.0 and parts.C_state.item() == 16.0
    assert parts.W_bias_state.item() == 4.0 and parts.C_bias_state.item() == 9.0
    torch.testing.assert_close(parts.W, torch.tensor([[3 - 0.1 * 1 / 2, 4 - 0.1 * 2 / 2]]))
    torch.testing.assert_close(parts.C, torch.tensor([[1 - 0.1 * 3 / 4, 2 - 0.1 * 4 / 4]]))
    torch.testing.assert_close(parts.W_bias, torch.tensor([0.5 - 0.1 / 2]))
    torch.testing.assert_close(parts.C_bias, torch.tensor([-0.5 - 0.1 / 3]))


def test_bits_do_not_depend_on_the_number_of_threads(text):
    waves, rows = text
    results = []
    for threads in (1, 2, 3):
        parts, backend = random_parts(rows, 37, start=1 / 37), CpuBackend(threads)
        found = [backend.wave(parts, wave, 0.05) for wave in waves]
        backend.close()
        results.append((found, parts))
    for found, parts in results[1:]:
        assert found == results[0][0]
        assert_same_bits(parts, results[0][1])


@BACKENDS
def test_rows_of_other_tiles_stay_as_they_are(backend):
    before = random_parts(12, 33)
    parts = copy(before)
    cost(backend_of(backend), parts, [random_tile(50, 4, 8, 4)])
    for name in FLOATS:
        others = slice(4, 8) if name.startswith("W") else slice(8, 12)
        changed = (getattr(parts, name) != getattr(before, name)).reshape(12, -1).any(1)
        assert changed[others].all() and changed.sum() == 4, name


@BACKENDS
def test_frozen_rows_take_no_step_nor_do_their_biases(backend):
    before = random_parts(12, 33, frozen=True)
    parts = copy(before)
    cost(backend_of(backend), parts, [random_tile(100, 0, 0, 12)])
    for name in FLOATS:
        frozen = parts.W_frozen if name.startswith("W") else parts.C_frozen
        changed = (getattr(parts, name) != getattr(before, name)).reshape(12, -1).any(1)
        assert torch.equal(changed, ~frozen), name


@BACKENDS
def test_a_rows_pace_is_a_factor_on_its_steps_and_its_biases(backend):
    before, tile = random_parts(12, 33), random_tile(1, 0, 6, 6)
    row, column = int(tile.row[0]), 6 + int(tile.column[0])
    moved = {}
    for name, pace in (("none", None), ("one", torch.ones(12)), ("half", torch.full((12,), 0.5))):
        parts = replace(copy(before), W_pace=pace, C_pace=pace)
        cost(backend_of(backend), parts, [tile])
        moved[name] = parts
    for name in FLOATS:
        at = row if name.startswith("W") else column
        whole, half = (getattr(moved[k], name)[at] - getattr(before, name)[at] for k in ("none", "half"))
        assert torch.equal(getattr(moved["one"], name), getattr(moved["none"], name)), name
        torch.testing.assert_close(half, whole if name.endswith("state") else whole / 2, rtol=1e-4, atol=1e-6)


def test_real_text_is_learned_alike_by_kernel_and_mini_batches(text):
    waves, rows = text
    cells = sum(len(tile.row) for wave in waves for tile in wave)
    costs = {}
    for name in ("cpu", "torch"):
        parts, backend = random_parts(rows, 50, start=1 / 50), backend_of(name, 2)
        costs[name] = [sum(cost(backend, parts, wave) for wave in waves) / cells for _ in range(5)]
        backend.close()
        assert all(after < before for before, after in pairwise(costs[name]))
    assert costs["cpu"][-1] < 0.6 * costs["cpu"][0]
    # Measured: 0.4 % apart.
    assert costs["torch"][-1] == pytest.approx(costs["cpu"][-1], rel=0.02)


@pytest.mark.parametrize("frozen", [False, True])
def test_mini_batches_of_one_cell_equal_the_reference(frozen):
    parts, tile = random_parts(9, 20, frozen=frozen), random_tile(60, 3, 6, 3)
    parts = replace(parts, **{name: getattr(parts, name).double() for name in FLOATS})
    expected_cost, expected = train_reference(parts, tile, 0.05)
    assert float(train_wave(parts, [tile], 0.05, batch=1).cost) == pytest.approx(expected_cost, rel=1e-12)
    assert_close(parts, expected, rtol=1e-12, atol=1e-14)


def spoilt_tiles() -> list[TileCells]:
    """Three tiles of four cells between rows of their own; cell 2 of the second tile meets row 5 of W."""
    places = np.arange(4, dtype=np.uint16)
    return [TileCells(np.roll(places, 1), places, *np.ones((2, 4), np.float32), base, base) for base in (0, 4, 8)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e25])
def test_the_first_cell_that_is_not_finite_is_named_and_steps_nothing(bad):
    """The kernel stops there: cells after it in its tile are not trained either, those of other tiles are."""
    parts, tiles = random_parts(12, 33), spoilt_tiles()
    parts.W[5, 32], parts.C[6, 32] = bad, 0.5
    before = copy(parts)
    found = CPU.wave(parts, tiles, 0.05)
    assert found.failed == (1, 2)
    assert math.isfinite(found.cost)
    changed = (parts.C != before.C).any(1) & (parts.C_bias != before.C_bias)
    assert changed.tolist() == [True] * 4 + [True, True, False, False] + [True] * 4
    assert torch.equal(parts.W[5].view(torch.int32), before.W[5].view(torch.int32))


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e25])
def test_in_mini_batches_what_is_not_finite_shows_in_the_cost_and_steps_nothing(bad):
    parts, tiles = random_parts(12, 33), spoilt_tiles()
    parts.W[5, 32], parts.C[6, 32] = bad, 0.5
    before = copy(parts)
    found = backend_of("torch").wave(parts, tiles, 0.05)
    assert not math.isfinite(found.cost)
    changed = (parts.C != before.C).any(1) & (parts.C_bias != before.C_bias)
    assert changed.tolist() == [True] * 6 + [False] + [True] * 5
    assert torch.equal(parts.W[5].view(torch.int32), before.W[5].view(torch.int32))
    assert all(bool(getattr(parts, name).isfinite().all()) for name in FLOATS if name != "W")


@BACKENDS
def test_nothing_to_train_costs_nothing(backend):
    made, parts = backend_of(backend, 2), random_parts(4, 5)
    before = copy(parts)
    assert cost(made, parts, []) == 0.0
    assert cost(made, parts, [random_tile(0, 0, 0, 4)] * 2) == 0.0
    assert_same_bits(parts, before)
    made.close()


def test_read_only_and_strided_cells_need_no_compilation_of_their_own():
    parts, tile = random_parts(12, 33), random_tile(50, 4, 8, 4)
    expected = copy(parts)
    cost(CPU, expected, [tile])
    arrays = {name: np.repeat(getattr(tile, name), 2)[::2] for name in ("row", "column", "log_count", "weight")}
    for array in (*arrays.values(), tile.row):
        array.setflags(write=False)
    for cells in (replace(tile, **arrays), tile):
        actual = random_parts(12, 33)
        cost(CPU, actual, [cells])
        assert_same_bits(actual, expected)
    assert len(train_tile.signatures) == 1


@BACKENDS
def test_a_cell_outside_the_table_is_refused(backend):
    with pytest.raises(ValueError, match=r"column is \d+, the table has 8 rows"):
        backend_of(backend).wave(random_parts(8, 5), [random_tile(50, 0, 6, 4)], 0.05)


def test_counts_are_weighed_as_glove_does():
    count = np.array([0.1, 1, 5, 10, 1e6], np.float32)
    log_count, weight = weigh(count, 10, 0.75)
    np.testing.assert_allclose(log_count, np.log(count.astype(np.float64)), rtol=1e-6)
    np.testing.assert_allclose(weight, np.minimum(1, (count.astype(np.float64) / 10) ** 0.75), rtol=1e-6)
    assert log_count.dtype == weight.dtype == np.float32


@pytest.mark.parametrize("value", [0.0, -2.0, math.nan, math.inf, -math.inf])
def test_the_first_bad_count_is_found(value):
    assert first_bad(np.array([1, 2, value, 3, value], np.float32)) == 2


def test_good_counts_have_no_bad_one():
    assert first_bad(np.array([1e-3, 1e30], np.float32)) == -1
    assert first_bad(np.zeros(0, np.float32)) == -1


def test_compilation_is_announced_once_and_only_when_it_happens(tmp_path, monkeypatch):
    source = "from distjoint.backends.cpu.compiled import compiled\n@compiled\ndef {}(x):\n    return x + 1\n"
    source = source.format("one") + source.format("two")
    (tmp_path / "loops.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    said: list[str] = []
    with announce(SimpleNamespace(say=said.append), seconds=3):
        loops = importlib.import_module("loops")
        assert loops.one(1) + loops.two(1) == 4
    assert said == ["compiling kernels (once, about 3 s)"]
    del sys.modules["loops"]
    with announce(SimpleNamespace(say=said.append)):
        assert importlib.import_module("loops").one(1) == 2
    assert len(said) == 1
