"""One battery that every scorer must pass, with its own comparison and with cosines; then what each one claims."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import pytest
import torch
from torch import Tensor

from distjoint.model import scorers
from distjoint.model.scorers import Compare, Scorer, default_scale, similarity
from distjoint.model.scorers import scorer as scorer_named
from distjoint.registry import SCORERS

pytestmark = pytest.mark.unit

DIM = 8
NAMES = sorted(SCORERS.names())


@pytest.fixture(params=NAMES)
def scorer(request: pytest.FixtureRequest) -> Scorer:
    return scorer_named(request.param)


@pytest.fixture(params=["own", "cosine"])
def compare(request: pytest.FixtureRequest, scorer: Scorer) -> Compare:
    return scorer.compare if request.param == "own" else "cosine"


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def triples(scorer: Scorer, count: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Heads, relations, tails; float64[count, ...]."""
    return draw(count, DIM, seed=1), draw(count, scorer.relation_dim(DIM), seed=2), draw(count, DIM, seed=3)


def score(name: str, head: Tensor, relation: Tensor, tail: Tensor, compare: Compare | None = None) -> Tensor:
    """Of aligned rows; float64[n]."""
    query = scorer_named(name).query(head, relation)
    return similarity(query[:, None], tail[:, None], compare or scorer_named(name).compare)[:, 0, 0]


def test_every_scorer_is_listed_under_its_name() -> None:
    def below(cls: type) -> set[type]:
        return {cls, *(found for sub in cls.__subclasses__() for found in below(sub))}

    for module in iter_modules(scorers.__path__):
        import_module(f"{scorers.__name__}.{module.name}")
    assert {SCORERS[name] for name in NAMES} == below(Scorer) - {Scorer}
    assert all(SCORERS[name].name == name for name in NAMES)


def test_shapes_broadcast_over_leading_axes(scorer: Scorer, compare: Compare) -> None:
    head, relation = draw(2, 3, DIM), draw(2, 3, scorer.relation_dim(DIM))
    query = scorer.query(head, relation)
    assert query.shape == (2, 3, DIM)
    assert similarity(query, draw(2, 7, DIM), compare).shape == (2, 3, 7)
    assert scorer.inverse(relation).shape == relation.shape
    start = scorer.initial_relations(4, DIM, torch.Generator().manual_seed(0))
    assert (start.shape, start.dtype) == ((4, scorer.relation_dim(DIM)), torch.float32)


def test_the_gradient_by_hand_is_that_of_autograd(scorer: Scorer) -> None:
    head, relation, gradient = triples(scorer)
    head.requires_grad_()
    relation.requires_grad_()
    expected = torch.autograd.grad(scorer.query(head, relation), (head, relation), gradient)
    with torch.no_grad():
        torch.testing.assert_close(scorer.query_gradient(head, relation, gradient), expected)
        torch.testing.assert_close(Scorer.query_gradient(scorer, head, relation, gradient), expected)


def test_the_head_asked_for_backwards_has_the_score_of_the_tail(scorer: Scorer) -> None:
    head, relation, tail = triples(scorer)
    forward = score(scorer.name, head, relation, tail)
    backward = score(scorer.name, tail, scorer.inverse(relation), head)
    torch.testing.assert_close(forward, backward)


def test_the_inverse_of_the_inverse_is_the_relation_and_inversion_is_linear(scorer: Scorer) -> None:
    _, relation, _ = triples(scorer)
    other = relation.flip(0)
    assert torch.equal(scorer.inverse(scorer.inverse(relation)), relation)
    torch.testing.assert_close(scorer.inverse(relation + other), scorer.inverse(relation) + scorer.inverse(other))
    # Its own transpose: what carries gradients back through it.
    torch.testing.assert_close((scorer.inverse(relation) * other).sum(), (relation * scorer.inverse(other)).sum())


def test_scale_multiplies_the_score_and_a_cosine_is_bounded(scorer: Scorer, compare: Compare) -> None:
    head, relation, tail = triples(scorer)
    query = scorer.query(head, relation)
    plain = similarity(query, tail, compare)
    torch.testing.assert_close(similarity(query, tail, compare, 3.0), 3 * plain)
    if compare == "cosine":
        assert plain.abs().max() <= 1 + 1e-12
        torch.testing.assert_close(similarity(query, 5 * tail, compare), plain)
    assert default_scale(compare) > 0


def test_transe_is_the_distance_from_head_plus_relation_to_tail() -> None:
    head, relation, tail = triples(scorer_named("transe"))
    expected = -(head + relation - tail).norm(dim=1)
    torch.testing.assert_close(score("transe", head, relation, tail), expected)


def test_distmult_is_symmetric_in_head_and_tail() -> None:
    head, relation, tail = triples(scorer_named("distmult"))
    expected = (head * relation * tail).sum(1)
    torch.testing.assert_close(score("distmult", head, relation, tail), expected)
    torch.testing.assert_close(score("distmult", tail, relation, head), expected)


def as_complex(vectors: Tensor) -> Tensor:
    return torch.complex(*vectors.chunk(2, -1))


def test_complex_is_the_real_part_of_the_hermitian_product() -> None:
    head, relation, tail = triples(scorer_named("complex"))
    expected = (as_complex(head) * as_complex(relation) * as_complex(tail).conj()).sum(1).real
    torch.testing.assert_close(score("complex", head, relation, tail), expected)


def test_complex_is_antisymmetric_where_the_relation_is_imaginary_and_symmetric_where_it_is_real() -> None:
    head, relation, tail = triples(scorer_named("complex"))
    real, imaginary = relation.clone(), relation.clone()
    real[:, DIM // 2 :] = 0
    imaginary[:, : DIM // 2] = 0
    torch.testing.assert_close(score("complex", head, imaginary, tail), -score("complex", tail, imaginary, head))
    torch.testing.assert_close(score("complex", head, real, tail), score("complex", tail, real, head))


def test_rotate_turns_each_coordinate_by_the_relations_angle() -> None:
    rotate = scorer_named("rotate")
    head, relation, tail = triples(rotate)
    turned = as_complex(head) * torch.polar(torch.ones_like(relation), relation)
    torch.testing.assert_close(as_complex(rotate.query(head, relation)), turned)
    torch.testing.assert_close(score("rotate", head, relation, tail), -(turned - as_complex(tail)).abs().norm(dim=1))


def test_rotate_by_zero_changes_nothing_and_turns_add_up() -> None:
    rotate = scorer_named("rotate")
    head, relation, _ = triples(rotate)
    assert torch.equal(rotate.query(head, torch.zeros_like(relation)), head)
    other = relation.flip(0)
    both = rotate.query(rotate.query(head, relation), other)
    torch.testing.assert_close(both, rotate.query(head, relation + other))
    torch.testing.assert_close(both.norm(dim=1), head.norm(dim=1))


def test_rescal_is_the_bilinear_form_of_the_relations_matrix() -> None:
    head, relation, tail = triples(scorer_named("rescal"))
    expected = torch.einsum("ni,nij,nj->n", head, relation.view(-1, DIM, DIM), tail)
    torch.testing.assert_close(score("rescal", head, relation, tail), expected)
