"""The compiled passes of the graph's step against plain torch in float64, at any size: vectors are 16 numbers wide, and
what is left over takes other ways.
"""

from __future__ import annotations

import math

import pytest
import torch
from distjoint.backends.cpu.comparison import Objective
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distjoint.backends.cpu.queries import Products, Queries
from distjoint.backends.cpu.softmax import softmax
from distjoint.model import scorers
from distjoint.registry import SCORERS

pytestmark = pytest.mark.unit


def plain_softmax(scores: Tensor, own: Tensor, weight: Tensor, refused: Tensor) -> tuple[float, Tensor, Tensor]:
    """Loss, and gradients of scores and of the right answers' own, by autograd; float64."""
    scores, own = (x.double().requires_grad_() for x in (scores, own))
    every = torch.cat([own[..., None], scores.masked_fill(refused, -torch.inf)], -1)
    loss = (weight.double() * (every.logsumexp(-1) - own)).sum()
    d_scores, d_own = torch.autograd.grad(loss, (scores, own))
    return loss.item(), d_scores, d_own


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(0, 70),
    triples=st.integers(1, 4),
    masked=st.booleans(),
    spread=st.sampled_from([1.0, 30.0, 1e4]),
    seed=st.integers(0, 10**6),
)
def test_softmax_beside_right_answers(width: int, triples: int, masked: bool, spread: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores, own = (
        torch.randn(*shape, generator=generator) * spread for shape in ((2, 3, triples, width), (2, 3, triples))
    )
    weight, refused = torch.rand(3, triples, generator=generator), torch.rand(scores.shape, generator=generator) < 0.3
    loss, d_scores, d_own = plain_softmax(scores, own, weight, refused if masked else torch.zeros_like(refused))
    found = softmax(scores, own, weight, refused if masked else None)
    assert found == pytest.approx(loss, rel=1e-5, abs=1e-5)
    torch.testing.assert_close(scores.double(), d_scores, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(own.double(), d_own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 17, None])
def test_a_loss_that_is_no_number_shows(bad: float, place: int | None) -> None:
    scores, own = torch.zeros(2, 1, 1, 18), torch.zeros(2, 1, 1)
    if place is None:
        own[1] = bad
    else:
        scores[1, 0, 0, place] = bad
    assert not math.isfinite(softmax(scores, own, torch.ones(1, 1), None))


@settings(max_examples=40, deadline=None)
@given(
    scorer=st.sampled_from([name for name in SCORERS.names() if scorers.scorer(name).product]),
    half=st.integers(1, 40),
    in_batch=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_products_are_queries(scorer: str, half: int, in_batch: bool, seed: int) -> None:
    dim, rows, relations, chunks, triples, negatives, cut = 2 * half, 7, 3, 4, 5, 2, slice(1, 3)
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    vectors, ways, d_candidates = draw(rows, dim), draw(2 * relations, dim), draw(2, chunks, triples + negatives, dim)
    places = torch.randint(rows, (2, chunks, triples + negatives), generator=generator)
    relation = torch.randint(relations, (chunks, triples), generator=generator)
    d_vectors, d_own = draw(2, 2, triples, dim), None if in_batch else draw(2, 2, triples)
    objective = Objective(scorers.scorer(scorer), "dot", 1.5, in_batch=in_batch)
    right, asked = vectors.double()[places[:, cut, :triples]], torch.stack([relation[cut], relation[cut] + relations])
    wanted = d_candidates.double()
    own = wanted[:, cut, :triples]
    plain = Queries(objective, right, right.flip(0), ways.double()[asked], asked, own, own)
    fast = Products(objective, vectors, places, ways, relation, d_candidates, cut)

    torch.testing.assert_close(fast.vectors.double(), plain.vectors, rtol=1e-5, atol=1e-5)
    if not in_batch:
        torch.testing.assert_close(fast.own.double(), plain.own, rtol=1e-5, atol=1e-4)
    sums = []
    for queries in (plain, fast):
        kind = queries.vectors.dtype
        found, gradient = queries.back(
            d_vectors.to(kind, copy=True), None if d_own is None else d_own.to(kind, copy=True)
        )
        sums.append(torch.zeros(2 * relations, dim, dtype=torch.float64).index_add_(0, found, gradient.double()))
    torch.testing.assert_close(sums[1], sums[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(d_candidates.double(), wanted, rtol=1e-4, atol=1e-4)
