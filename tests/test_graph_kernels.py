"""The compiled passes of a graph loss against plain torch in float64, at any size: vectors are 16 numbers wide, and
what is left over takes other ways.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from world import backend_of

from distjoint.backends.base import QueryTables
from distjoint.backends.cpu.queries import ProductQueries
from distjoint.backends.queries import TorchQueries
from distjoint.model.comparisons.dot import Dot
from distjoint.model.scorers import scorer
from distjoint.registry import SCORERS

pytestmark = pytest.mark.unit


def plain(scores: Tensor, target: Tensor, weight: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The weighted loss and its gradients, by autograd; float64."""
    scores, target = (x.double().requires_grad_() for x in (scores, target))
    total = torch.cat([target[..., None], scores.masked_fill(mask, -torch.inf)], -1).logsumexp(-1)
    loss = (weight.double() * (total - target)).sum()
    d_scores, d_target = torch.autograd.grad(loss, (scores, target))
    return loss.detach(), d_scores, d_target


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@given(
    width=st.integers(0, 70),
    triples=st.integers(1, 4),
    masked=st.booleans(),
    spread=st.sampled_from([1.0, 30.0, 1e4]),
    seed=st.integers(0, 10**6),
)
def test_cross_entropy_beside_targets(
    backend: str, width: int, triples: int, masked: bool, spread: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores, target = (
        torch.randn(*shape, generator=generator) * spread for shape in ((2, 3, triples, width), (2, 3, triples))
    )
    weight, mask = torch.rand(3, triples, generator=generator), torch.rand(scores.shape, generator=generator) < 0.3
    loss, *gradients = plain(scores, target, weight, mask if masked else torch.zeros_like(mask))
    found = backend_of(backend).cross_entropy(scores, weight, target, None, mask if masked else None)
    assert float(found) == pytest.approx(float(loss), rel=1e-5, abs=1e-5 * spread)
    for one, wanted in zip((scores, target), gradients, strict=True):
        torch.testing.assert_close(one.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 17, None])
def test_a_score_that_is_no_number_shows(backend: str, bad: float, place: int | None) -> None:
    scores, target = torch.zeros(2, 1, 1, 18), torch.zeros(2, 1, 1)
    assert math.isfinite(backend_of(backend).cross_entropy(scores, torch.ones(1, 1), target, None, None))
    if place is None:
        target[1] = bad
    else:
        scores[1, 0, 0, place] = bad
    assert not math.isfinite(backend_of(backend).cross_entropy(scores, torch.ones(1, 1), target, None, None))


@given(
    name=st.sampled_from([name for name in SCORERS.names() if SCORERS[name].product]),
    half=st.integers(1, 40),
    in_batch=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_products_are_queries(name: str, half: int, in_batch: bool, seed: int) -> None:
    dim, rows, relations, chunks, triples, negatives, some = 2 * half, 7, 3, 4, 5, 2, slice(1, 3)
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    vectors, relation_vectors = draw(rows, dim), draw(2 * relations, dim)
    d_candidates = draw(2, chunks, triples + negatives, dim)
    places = torch.randint(rows, (2, chunks, triples + negatives), generator=generator)
    relation = torch.randint(relations, (chunks, triples), generator=generator)
    d_vectors, d_target = draw(2, 2, triples, dim), None if in_batch else draw(2, 2, triples)

    def tables(dtype: torch.dtype) -> QueryTables:
        made, summed = vectors.to(dtype), d_candidates.to(dtype, copy=True)
        own = summed[:, :, :triples]
        return QueryTables(made, made, places, relation_vectors.to(dtype), relation, {}, summed, own)

    wide, single = tables(torch.float64), tables(torch.float32)
    plain = TorchQueries(scorer(name), Dot(1.5), in_batch, wide, some)
    fast = ProductQueries(scorer(name).product == "complex", 1.5, in_batch, single, some)
    torch.testing.assert_close(fast.vectors.double(), plain.vectors, rtol=1e-5, atol=1e-5)
    if in_batch:
        assert fast.target is plain.target is None
    else:
        torch.testing.assert_close(fast.target.double(), plain.target, rtol=1e-5, atol=1e-4)
    sums = []
    for queries, dtype in ((plain, torch.float64), (fast, torch.float32)):
        given_target = None if d_target is None else d_target.to(dtype, copy=True)
        found, gradient, dense = queries.backward(d_vectors.to(dtype, copy=True), given_target)
        assert dense == {}
        sums.append(torch.zeros(2 * relations, dim, dtype=torch.float64).index_add_(0, found, gradient.double()))
    torch.testing.assert_close(sums[1], sums[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(single.d_candidates.double(), wide.d_candidates, rtol=1e-4, atol=1e-4)
