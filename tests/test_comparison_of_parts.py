"""The cosine of parts: of a weighed query that of the query and the weighed candidate; gradients against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distjoint.model.comparisons import comparison_of
from distjoint.model.comparisons.parts import CosineOfParts
from distjoint.model.scorers import scorer
from distjoint.model.weighed import in_parts

pytestmark = pytest.mark.unit

PARTS, DIM, QUERIES, CANDIDATES = 3, 4, 5, 7
COMPARED = CosineOfParts(3.5, PARTS)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_cosine_of_a_query_and_a_candidate_as_the_query_weighs_it() -> None:
    query, weights, candidates = (
        draw(QUERIES, DIM, seed=1),
        draw(QUERIES, PARTS, seed=2),
        draw(CANDIDATES, PARTS, DIM, seed=3),
    )
    weighed = torch.einsum("qp,cpd->qcd", weights, candidates)
    expected = 3.5 * torch.nn.functional.cosine_similarity(query[:, None], weighed, dim=2)
    q, c = (weights[:, :, None] * query[:, None]).flatten(1), candidates.flatten(1)
    for one, other in ((q, c), (COMPARED.embed(q)[0], COMPARED.embed(c)[0])):
        torch.testing.assert_close(COMPARED.scores(one, other)[0], expected)
        torch.testing.assert_close(COMPARED.pairs(one, other[:QUERIES])[0], expected.diagonal())
        key = COMPARED.rank_key(one, other, torch.empty_like(expected))
        torch.testing.assert_close(key * 3.5, expected)
        torch.testing.assert_close(COMPARED.rank_key_pairs(one, other[:QUERIES]) * 3.5, expected.diagonal())


@pytest.mark.parametrize("kept", [False, True])
def test_gradients_are_those_of_autograd(kept: bool) -> None:
    q, c = (
        draw(2, QUERIES, PARTS * DIM, seed=1).requires_grad_(),
        draw(2, CANDIDATES, PARTS * DIM, seed=2).requires_grad_(),
    )
    gradient = draw(2, QUERIES, CANDIDATES, seed=3)
    COMPARED.scores(q, c)[0].backward(gradient)
    with torch.no_grad():
        _, distance = COMPARED.scores(q, c)
        ready = COMPARED.score_backward(gradient.clone(), distance)
        told = distance if kept else None
        back = None if told is None else told.transpose(1, 2)
        torch.testing.assert_close(COMPARED.vector_backward(ready, q, c, distance=told), q.grad)
        out = torch.empty_like(c)
        found = COMPARED.vector_backward(ready.transpose(1, 2), c, q, out, back)
    assert found.data_ptr() == out.data_ptr()
    torch.testing.assert_close(found, c.grad)


def test_gradients_of_pairs_are_those_of_autograd() -> None:
    q, c = draw(QUERIES, PARTS * DIM, seed=1).requires_grad_(), draw(QUERIES, PARTS * DIM, seed=2).requires_grad_()
    gradient = draw(QUERIES, seed=3)
    COMPARED.pairs(q, c)[0].backward(gradient)
    with torch.no_grad():
        _, distance = COMPARED.pairs(q, c)
        d_q, d_c = torch.ones_like(q), torch.empty_like(c)
        COMPARED.pair_backward(COMPARED.score_backward(gradient.clone(), distance), q, c, d_q, d_c)
    torch.testing.assert_close(d_q - 1, q.grad)
    torch.testing.assert_close(d_c, c.grad)


def test_slopes_make_the_score() -> None:
    q, c = draw(QUERIES, PARTS * DIM, seed=1), draw(QUERIES, PARTS * DIM, seed=2)
    of_query, of_candidate = COMPARED.slopes(q, c)
    scores = COMPARED.pairs(q, c)[0]
    torch.testing.assert_close((of_query * q).sum(1), scores)
    torch.testing.assert_close((of_candidate * c).sum(1), scores)


def test_scorers_of_parts_compare_so_by_cosine() -> None:
    found = comparison_of(in_parts(scorer("rotate"), PARTS), True, 2, None)
    assert isinstance(found, CosineOfParts) and found.parts == PARTS and found.scale == 10
    assert not isinstance(comparison_of(scorer("rotate"), True, 2, None), CosineOfParts)
