"""One battery that every backend must pass: each of its operations, against plain torch and numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from problem import Problem, draw
from reference.regulariser import regulariser
from test_backends import GPU
from torch import Tensor

from distjoint.backends.base import NONE, Backend, NotFiniteError, TileCells, WordParts
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.torch.backend import TorchBackend

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module", params=["compiled", "threads", "torch", pytest.param("cuda", marks=GPU)])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    made: Backend
    if request.param in ("compiled", "threads"):
        made = CpuBackend(2 if request.param == "threads" else 1)
    else:
        made = TorchBackend(torch.device("cuda" if request.param == "cuda" else "cpu"))
    yield made
    made.close()


def there(backend: Backend, tensor: Tensor) -> Tensor:
    """A copy where the backend's rows lie."""
    return tensor.clone().to(backend.device)


def test_arrays_go_where_the_rows_lie(backend: Backend) -> None:
    for array in (np.arange(5), np.ones((2, 3), np.float32), np.array([True, False])):
        made = backend.tensor(array)
        assert made.device.type == backend.device.type
        assert np.array_equal(made.cpu().numpy(), array)


def test_work_is_cut_into_slices_that_come_back_in_order(backend: Backend) -> None:
    for count, size in ((0, 4), (1, 4), (9, 4), (8, 4)):
        slices = backend.slices(count, size)
        assert [k for part in slices for k in range(part.start, part.stop)] == list(range(count))
        assert list(backend.map(lambda part: (part.start, part.stop), slices)) == [(s.start, s.stop) for s in slices]
    assert backend.begin(lambda x: x + 1, 2)() == 3


def test_random_numbers_are_even_and_decided_by_the_generator(backend: Backend) -> None:
    one, other = (backend.random(np.random.default_rng(3)) for _ in range(2))
    integers = one.integers(7, (3, 5000))
    assert integers.dtype == torch.int64
    share = integers.flatten().bincount(minlength=7).cpu() / integers.numel()
    torch.testing.assert_close(share, torch.full((7,), 1 / 7), rtol=0, atol=0.02)
    uniform = one.uniform((4, 2500))
    assert uniform.dtype == torch.float64
    assert 0 <= float(uniform.min()) < 0.01
    assert 0.99 < float(uniform.max()) < 1
    kept = one.dropout((100, 100), 0.3)
    assert sorted(kept.unique().tolist()) == [0, pytest.approx(1 / 0.7)]
    assert float(kept.mean()) == pytest.approx(1, abs=0.03)
    assert torch.equal(other.integers(7, (3, 5000)), integers)
    assert torch.equal(other.uniform((4, 2500)), uniform)
    assert torch.equal(other.dropout((100, 100), 0.3), kept)


@pytest.mark.parametrize("chosen", [[True, False, True], [True, True, True], [False, False, False]])
def test_a_mask_is_places_or_all_that_there_are(backend: Backend, chosen: list[bool]) -> None:
    places = backend.compact(there(backend, torch.tensor(chosen)))
    assert places is None or places.tolist() == [k for k, yes in enumerate(chosen) if yes]


@pytest.mark.parametrize("out", [False, True])
def test_rows_are_gathered_and_no_row_is_zero(backend: Backend, out: bool) -> None:
    part = there(backend, draw(6, 5).float())
    index = there(backend, torch.tensor([3, NONE, 0, 3, NONE, 5]))
    into = torch.full((6, 5), torch.nan, device=backend.device) if out else None
    found = backend.gather(part, index, into)
    assert into is None or found.data_ptr() == into.data_ptr()
    expected = part[index.clamp_min(0)] * (index >= 0)[:, None]
    assert torch.equal(found, expected)


def test_the_distinct_rows_are_each_there_once_and_the_rest_is_none(backend: Backend) -> None:
    for ids in ([4], [7, 7, 7], [5, 2, 5, 0, 9, 2, 2]):
        given = there(backend, torch.tensor(ids))
        found = backend.distinct(given, 10)
        rows = found.rows.tolist()
        assert sorted(row for row in rows if row != NONE) == sorted(set(ids))
        assert torch.equal(found.rows[found.inverse], given)
        summed = backend.occurrences(found.inverse, len(rows))
        gradient = there(backend, draw(len(ids), 4).float())
        sums = torch.cat([backend.sum_rows(gradient, summed, part) for part in backend.slices(len(rows), 2)])
        for row, total in zip(rows, sums, strict=True):
            where = [k for k, one in enumerate(ids) if one == row]
            torch.testing.assert_close(total, gradient[where].sum(0))


@pytest.mark.parametrize(("n3", "l2"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.4), (0.3, 0.4)])
@pytest.mark.parametrize("multiple", [1, 2, 4])
def test_the_regulariser_is_that_of_the_reference(backend: Backend, multiple: int, n3: float, l2: float) -> None:
    vectors, weight, before = draw(6, 8), draw(6, seed=1).abs(), draw(6, 8, seed=2)
    weight[2] = 0
    leaf = vectors.clone().requires_grad_()
    expected = regulariser(multiple, leaf, weight, n3, l2)
    if expected.requires_grad:
        expected.backward()
    gradient = there(backend, before.float())
    found = backend.regularise(
        multiple, n3, l2, there(backend, vectors.float()), there(backend, weight.float()), gradient
    )
    assert float(found) == pytest.approx(float(expected.detach()), rel=1e-5)
    pull = leaf.grad if leaf.grad is not None else torch.zeros_like(vectors)
    torch.testing.assert_close(gradient.cpu().double(), before + pull, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("where", ["apart", "among", "unknown"])
@pytest.mark.parametrize("width", [0, 1, 5, 40])
def test_the_cross_entropy_is_that_of_torch(backend: Backend, width: int, where: str, masked: bool) -> None:
    """Targets stand apart, are among the candidates, or are not known; far scores do not overflow."""
    if not width and where != "apart":
        return
    scores, target = 30 * draw(2, 3, 4, width), 30 * draw(2, 3, 4, seed=1) if where == "apart" else None
    weight = draw(3, 4, seed=2).abs()
    place = torch.tensor([0, width - 1, width // 2, width // 3]).clamp_min(0) if where == "among" else None
    mask = draw(2, 3, 4, width, seed=3) > 0.5 if masked else None
    if mask is not None and where == "unknown":
        mask[..., 0] = False
    if mask is not None and place is not None:
        mask[..., torch.arange(4), place] = False
    leaves = [x for x in (scores, target) if x is not None]
    for leaf in leaves:
        leaf.requires_grad_()
    counted = scores if mask is None else scores.masked_fill(mask, -torch.inf)
    together = counted if target is None else torch.cat([counted, target[..., None]], -1)
    loss = together.logsumexp(-1)
    if target is not None:
        loss = loss - target
    elif place is not None:
        loss = loss - scores[..., torch.arange(4), place]
    expected = (loss * weight).sum()
    gradients = torch.autograd.grad(expected, leaves)
    given = [there(backend, leaf.detach().float()) for leaf in leaves]
    others = [None if x is None else there(backend, x) for x in (weight.float(), place, mask)]
    assert others[0] is not None
    found = backend.cross_entropy(given[0], others[0], given[1] if target is not None else None, *others[1:])
    assert float(found) == pytest.approx(float(expected.detach()), rel=1e-5)
    for one, wanted in zip(given, gradients, strict=True):
        torch.testing.assert_close(one.cpu().double(), wanted, rtol=1e-4, atol=1e-5)


def test_a_look_at_numbers_finds_what_is_not_finite(backend: Backend) -> None:
    good, bad = there(backend, torch.tensor(2.0)), [torch.tensor(value) for value in (torch.nan, torch.inf)]
    for values in ((good, 0.5), (0.5,)):
        assert backend.check(*values) in (None, True)
    for value in bad:
        try:
            allowed = backend.check(good, there(backend, value))
        except NotFiniteError:
            continue
        assert allowed is not None
        assert not bool(allowed)


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("in_batch", [False, True])
def test_the_filter_mask_marks_known_positives_and_types_that_do_not_fit(
    backend: Backend, in_batch: bool, typed: bool
) -> None:
    problem = Problem(backend, {"graph.typed": typed})
    every, rng = problem.triples, np.random.default_rng(2)
    there_ = set(zip(every.head.tolist(), every.relation.tolist(), every.tail.tolist(), strict=True))
    batch, rows = problem.batch(0).select(slice(0, 20)), problem.entities()
    head, relation, tail = (backend.tensor(ids).view(4, 5) for ids in (batch.head, batch.relation, batch.tail))
    candidates = backend.tensor(rng.choice(rows, (2, 4, 12)))
    if in_batch:
        candidates[0, :, :5], candidates[1, :, :5] = tail, head
    mask = problem.pools[0].filter_mask(head, relation, tail, candidates, in_batch, backend)
    assert mask is not None
    domains, marked = problem.domains(), 0
    for side, chunk, k, place in np.ndindex(mask.shape):
        h, r, t = (int(ids[chunk, k]) for ids in (head, relation, tail))
        candidate = int(candidates[side, chunk, place])
        known = ((h, r, candidate) if side == 0 else (candidate, r, t)) in there_
        fits = (domains.tail if side == 0 else domains.head)[r, domains.type_of[candidate]]
        own = in_batch and place == k
        assert bool(mask[side, chunk, k, place]) == (not own and (known or (typed and not fits)))
        marked += bool(mask[side, chunk, k, place])
    assert 0 < marked < mask.numel()


# Waves of tiles


def word_parts(backend: Backend, rows: int, dim: int) -> WordParts:
    vectors = [draw(rows, dim, seed=seed).float() for seed in (0, 1)]
    biases = [draw(rows, seed=seed).float() for seed in (2, 3)]
    states = [draw(rows, seed=seed).float().abs() + 0.5 for seed in range(4, 8)]
    frozen, pace = torch.zeros(0, dtype=torch.bool), torch.zeros(0)
    each = (*vectors, *biases, *states, frozen, frozen, pace, pace)
    return WordParts(*(there(backend, part) for part in each))


def tile_of(rows: np.ndarray, columns: np.ndarray, row_base: int, column_base: int, seed: int = 0) -> TileCells:
    rng = np.random.default_rng(seed)
    log_count, weight = rng.normal(size=(2, len(rows))).astype(np.float32)
    return TileCells(rows.astype(np.uint16), columns.astype(np.uint16), log_count, abs(weight), row_base, column_base)


def wave_of() -> list[TileCells]:
    """Two tiles in which no row and no column comes twice: whatever the order of cells, the result is the same."""
    rng = np.random.default_rng(0)
    return [tile_of(rng.permutation(8)[:6], rng.permutation(8)[:6], 8 * k, 8 * (1 - k), seed=k) for k in range(2)]


def expected_wave(parts: WordParts, rate: float) -> tuple[WordParts, float, float]:
    """Parts, cost and squared gradients after a wave, in float64: of each row its only cell."""
    new = WordParts(*(part.cpu().double() if part.is_floating_point() else part.cpu() for part in vars(parts).values()))
    cost = squares = 0.0
    for tile in wave_of():
        i, j = torch.from_numpy(tile.row.astype(int)) + tile.row_base, torch.from_numpy(tile.column.astype(int))
        j += tile.column_base
        log_count, weight = (torch.from_numpy(x).double() for x in (tile.log_count, tile.weight))
        w, c = new.W[i], new.C[j]
        difference = (w * c).sum(1) + new.W_bias[i] + new.C_bias[j] - log_count
        gradient = weight * difference
        cost += float((0.5 * gradient * difference).sum())
        squares += float((gradient.square() * (w.square().sum(1) + c.square().sum(1))).sum())
        for at, other, part, state, bias, bias_state, frozen, pace in (
            (i, c, new.W, new.W_state, new.W_bias, new.W_bias_state, new.W_frozen, new.W_pace),
            (j, w, new.C, new.C_state, new.C_bias, new.C_bias_state, new.C_frozen, new.C_pace),
        ):
            own = rate * pace[at] if len(pace) else torch.full((len(at),), rate)
            g = gradient if not len(frozen) else gradient * ~frozen[at]
            state[at] += g.square() * other.square().mean(1)
            part[at] -= (own * g / state[at].sqrt())[:, None] * other
            bias_state[at] += g.square()
            bias[at] -= own * g / bias_state[at].sqrt()
    return new, cost, squares


@pytest.mark.parametrize("frozen", ["none", "some", "paced"])
def test_a_wave_is_an_adagrad_step_of_every_cell(backend: Backend, frozen: str) -> None:
    parts = word_parts(backend, 16, 33)
    if frozen == "some":
        masks = [torch.arange(16) % 3 == 0, torch.ones(16, dtype=torch.bool)]
        parts = WordParts(*list(vars(parts).values())[:8], *(there(backend, mask) for mask in masks))
        parts = replace(parts, W_pace=there(backend, torch.zeros(0)), C_pace=there(backend, torch.zeros(0)))
    if frozen == "paced":
        paces = [there(backend, draw(16, seed=seed).float().abs()) for seed in (8, 9)]
        parts = replace(parts, W_pace=paces[0], C_pace=paces[1])
    expected, cost, squares = expected_wave(parts, 0.3)
    found = backend.wave(parts, wave_of(), 0.3)
    assert found.failed is None
    assert float(found.cost) == pytest.approx(cost, rel=1e-5)
    assert float(found.squares) == pytest.approx(squares, rel=1e-5)
    for name, part in vars(parts).items():
        torch.testing.assert_close(part.cpu().double(), vars(expected)[name].double(), rtol=1e-4, atol=1e-5, msg=name)


def test_an_empty_wave_costs_nothing(backend: Backend) -> None:
    parts = word_parts(backend, 16, 5)
    for tiles in ([], [tile_of(np.empty(0), np.empty(0), 0, 8)]):
        found = backend.wave(parts, tiles, 0.3)
        assert (float(found.cost), float(found.squares), found.failed) == (0, 0, None)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30])
def test_a_cell_that_is_not_finite_steps_nothing_and_is_seen(backend: Backend, bad: float) -> None:
    parts, tiles = word_parts(backend, 16, 33), wave_of()
    i, j = int(tiles[1].row[2]) + tiles[1].row_base, int(tiles[1].column[2]) + tiles[1].column_base
    parts.W[i, 5] = bad
    before = WordParts(*(part.clone() for part in vars(parts).values()))
    found = backend.wave(parts, tiles, 0.3)
    assert found.failed == (1, 2) or not bool(torch.as_tensor(found.cost).isfinite())
    for name, part in vars(parts).items():
        if len(part):
            at = i if name.startswith("W") else j
            assert torch.equal(part[at].isnan(), vars(before)[name][at].isnan()), name
            torch.testing.assert_close(part[at], vars(before)[name][at], rtol=0, atol=0, equal_nan=True, msg=name)
            assert not torch.equal(part, vars(before)[name])
