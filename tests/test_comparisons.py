"""One battery that every comparison must pass: scores by formula, gradients by autograd, and keys that rank alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from members import assert_covers, names_of
from torch import Tensor

from distjoint.evaluate.queries import TIE
from distjoint.model import comparisons
from distjoint.model.comparisons import Comparison, comparison_of
from distjoint.model.scorers import scorer
from distjoint.registry import COMPARISONS, SCORERS

pytestmark = pytest.mark.unit

SCALE, DIM = 2.5, 6
FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "dot": lambda q, c: (q * c).sum(-1),
    "cosine": lambda q, c: (q * c).sum(-1) / (q.square().sum(-1) * c.square().sum(-1)).sqrt(),
    "cosine_of_parts": lambda q, c: (q * c).sum(-1) / (q.norm(dim=-1) * c.norm(dim=-1)),  # of one part
    "distance": lambda q, c: -(q - c).square().sum(-1).sqrt(),
    "manhattan": lambda q, c: -(q - c).abs().sum(-1),
}
"""Scores of query i and candidate i, not scaled: float64[..., n, dim] each to float64[..., n]."""
SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "dot": lambda q, c: c,
    "cosine": lambda q, c: c / (q.norm(dim=-1, keepdim=True) * c.norm(dim=-1, keepdim=True)),
    "cosine_of_parts": lambda q, c: c / (q.norm(dim=-1, keepdim=True) * c.norm(dim=-1, keepdim=True)),
    "distance": lambda q, c: (c - q) / (q - c).norm(dim=-1, keepdim=True),
    "manhattan": lambda q, c: (c - q).sign(),
}
"""By which vector the parts of a query make these scores, norms held fixed."""


@pytest.fixture(params=FORMULAS)
def comparison(request: pytest.FixtureRequest) -> Comparison:
    return COMPARISONS[request.param](SCALE)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def formula(comparison: Comparison, q: Tensor, c: Tensor) -> Tensor:
    """float64[..., n, m]: scores of all queries with all candidates."""
    return SCALE * FORMULAS[comparison.name](q[..., :, None, :], c[..., None, :, :])


def test_every_comparison_is_in_the_registry_and_in_this_battery() -> None:
    assert_covers(set(FORMULAS), COMPARISONS, Comparison, comparisons)
    assert SLOPES.keys() == FORMULAS.keys()


# The battery


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_scores_are_those_of_the_formula(comparison: Comparison, leading: tuple[int, ...]) -> None:
    q, c = draw(*leading, 4, DIM), draw(*leading, 5, DIM, seed=1)
    found, _ = comparison.scores(comparison.embed(q)[0], comparison.embed(c)[0])
    torch.testing.assert_close(found, formula(comparison, q, c))


def test_scores_go_where_they_are_wanted(comparison: Comparison) -> None:
    q, c = (comparison.embed(draw(n, DIM, seed=n))[0] for n in (4, 5))
    out = torch.full((9, 5), torch.nan, dtype=torch.float64)
    found, _ = comparison.scores(q, c, out[3:7])
    assert found.data_ptr() == out[3:7].data_ptr()
    torch.testing.assert_close(out[3:7], comparison.scores(q, c)[0])
    assert out[[0, 1, 2, 7, 8]].isnan().all()


@pytest.mark.parametrize("leading", [(), (2, 3)])
@pytest.mark.parametrize("into", [False, True])
def test_gradients_of_scores_are_those_of_autograd(
    comparison: Comparison, leading: tuple[int, ...], into: bool
) -> None:
    q, c, gradient = (draw(*leading, *shape, seed=k) for k, shape in enumerate(((4, DIM), (5, DIM), (4, 5))))
    leaves = q.clone().requires_grad_(), c.clone().requires_grad_()
    expected = torch.autograd.grad(formula(comparison, *leaves), leaves, gradient)
    (q, q_norms), (c, c_norms) = comparison.embed(q), comparison.embed(c)
    _, distance = comparison.scores(q, c)
    ready = comparison.score_backward(gradient.clone(), distance)
    d_c = torch.full_like(c, torch.nan) if into else None
    d_q = comparison.vector_backward(ready, q, c)
    made = comparison.vector_backward(ready.transpose(-1, -2), c, q, d_c)
    assert d_c is None or torch.equal(d_c, made)
    torch.testing.assert_close(comparison.embed_backward(d_q, q, q_norms), expected[0])
    torch.testing.assert_close(comparison.embed_backward(made, c, c_norms), expected[1])


@pytest.mark.parametrize("leading", [(), (2, 3)])
def test_pairs_are_the_diagonal_of_all_scores_gradients_too(comparison: Comparison, leading: tuple[int, ...]) -> None:
    q, c, gradient = draw(*leading, 4, DIM), draw(*leading, 4, DIM, seed=1), draw(*leading, 4, seed=2)
    leaves = q.clone().requires_grad_(), c.clone().requires_grad_()
    expected = formula(comparison, *leaves).diagonal(dim1=-2, dim2=-1)
    gradients = torch.autograd.grad(expected, leaves, gradient)
    (q, q_norms), (c, c_norms) = comparison.embed(q), comparison.embed(c)
    found, distance = comparison.pairs(q, c)
    torch.testing.assert_close(found, expected.detach())
    before = draw(*leading, 4, DIM, seed=3)
    d_q, d_c = before.clone(), torch.full_like(c, torch.nan)
    comparison.pair_backward(comparison.score_backward(gradient.clone(), distance), q, c, d_q, d_c)
    # The gradient of the query is added to what is there; embedding is linear in it.
    there = comparison.embed_backward(before, q, q_norms)
    torch.testing.assert_close(comparison.embed_backward(d_q, q, q_norms) - there, gradients[0])
    torch.testing.assert_close(comparison.embed_backward(d_c, c, c_norms), gradients[1])


@pytest.mark.parametrize("same", [False, True])
def test_zero_vectors_and_equal_ones_have_finite_scores_and_gradients(comparison: Comparison, same: bool) -> None:
    q = draw(3, DIM).float() if same else torch.zeros(3, DIM)
    (q, norms), (c, _) = comparison.embed(q), comparison.embed(q.clone())
    scores, distance = comparison.scores(q, c)
    gradient = comparison.score_backward(torch.ones_like(scores), distance)
    found = comparison.embed_backward(comparison.vector_backward(gradient, q, c), q, norms)
    assert scores.isfinite().all()
    assert found.isfinite().all()


def test_keys_rank_the_candidates_of_a_query_as_scores_do(comparison: Comparison) -> None:
    q, c = (comparison.embed(draw(n, DIM, seed=n) * torch.linspace(0.1, 3, n)[:, None])[0] for n in (20, 50))
    out = torch.empty(20, 50, dtype=torch.float64)
    assert comparison.rank_key(q, c, out) is out
    assert torch.equal(out.argsort(1), comparison.scores(q, c)[0].argsort(1))


def test_keys_of_pairs_are_those_of_all_and_rounding_bounds_how_far_float32_is_off(comparison: Comparison) -> None:
    size = torch.logspace(-2, 2, 400)[:, None]
    q, c = (comparison.embed((draw(400, 200, seed=seed) * size).float())[0] for seed in (0, 1))
    c = torch.lerp(c, q, torch.linspace(0, 1, 400)[:, None])  # from apart to equal
    exact = comparison.rank_key_pairs(q.double(), c.double())
    every = comparison.rank_key(q.double(), c.double(), torch.empty(400, 400, dtype=torch.float64))
    torch.testing.assert_close(every.diagonal(), exact)
    rounding = comparison.rank_rounding(q, c)
    together = comparison.rank_key(q, c, torch.empty(400, 400)).diagonal()
    for found in (comparison.rank_key_pairs(q, c), together):
        assert ((found.double() - exact).abs() <= TIE * rounding).all()


def test_the_scale_multiplies_scores_and_has_a_default(comparison: Comparison) -> None:
    q, c = (comparison.embed(draw(n, DIM, seed=n))[0] for n in (4, 5))
    default = COMPARISONS[comparison.name]()
    assert default.scale == (10.0 if comparison.name.startswith("cosine") else 1.0)
    plain = default.scores(q, c)[0] / default.scale
    torch.testing.assert_close(comparison.scores(q, c)[0], SCALE * plain)


@pytest.mark.parametrize("leading", [(), (2,)])
def test_slopes_take_a_score_apart(comparison: Comparison, leading: tuple[int, ...]) -> None:
    q, c, part = (draw(*leading, 4, DIM, seed=seed) for seed in (0, 1, 2))
    score = SCALE * FORMULAS[comparison.name](q, c)
    of_q, of_c = comparison.slopes(q, c)
    torch.testing.assert_close(of_q, SCALE * SLOPES[comparison.name](q, c))
    torch.testing.assert_close(of_c, SCALE * SLOPES[comparison.name](c, q))
    # Parts add up to the vector, and their shares to the score: all of it, or with what the other vector makes.
    shares = (of_q * part).sum(-1) + (of_q * (q - part)).sum(-1)
    rest = 0 if comparison.name in ("dot", "cosine", "cosine_of_parts") else (of_c * c).sum(-1)
    torch.testing.assert_close(shares + rest, score)


def test_what_it_says_of_itself_is_so(comparison: Comparison) -> None:
    q, c = draw(4, DIM), draw(5, DIM, seed=1)
    embedded, norms = comparison.embed(q)
    assert (norms is not None) == comparison.has_units
    if comparison.has_units:
        torch.testing.assert_close(embedded.norm(dim=1), torch.ones(4, dtype=torch.float64))
        torch.testing.assert_close(embedded * norms, q)
    else:
        assert embedded is q
    product = torch.allclose(formula(comparison, q, c), SCALE * q @ c.T)
    assert product == comparison.is_product


# Which one a run takes


@pytest.mark.parametrize("name", names_of(SCORERS))
def test_a_run_compares_by_cosine_where_wanted_else_as_its_scorer_does(name: str) -> None:
    kind = scorer(name)
    assert kind.compare in FORMULAS
    assert comparison_of(kind, cosine=True, norm=2, scale=None).name == "cosine"
    assert comparison_of(kind, cosine=False, norm=2, scale=None).name == kind.compare
    first = comparison_of(kind, cosine=False, norm=1, scale=3.0)
    assert first.name == ("manhattan" if kind.compare == "distance" else kind.compare)
    assert first.scale == 3.0
