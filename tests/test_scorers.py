"""One battery that every scorer must pass, TuckER of tests/tucker.py too, and the formula of each from its paper."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

import pytest
import torch
from reference.losses import Compare, similarity
from reference.regulariser import cubed_moduli, regulariser
from torch import Tensor
from tucker import TuckER

from distjoint.base.errors import UsageError
from distjoint.model import scorers
from distjoint.model.scorers import Dense, Scorer
from distjoint.registry import SCORERS

pytestmark = pytest.mark.unit

DIM = 8
NAMES = SCORERS.names()
MEMBERS: list[Scorer] = [*(scorers.scorer(name) for name in NAMES), TuckER()]


def as_complex(vectors: Tensor) -> Tensor:
    return torch.complex(*vectors.chunk(2, -1))


def hamilton() -> Tensor:
    """float64[4, 4, 4]: what basis quaternion x times basis quaternion y holds of basis quaternion z."""
    table = torch.zeros(4, 4, 4, dtype=torch.float64)
    for k in range(4):
        table[0, k, k] = table[k, 0, k] = 1
    for k in range(3):  # i j = k, j k = i, k i = j, and the other way round their negatives
        i, j, k = (1 + (k + step) % 3 for step in range(3))
        table[i, i, 0], table[i, j, k], table[j, i, k] = -1, 1, -1
    return table


def quate(head: Tensor, relation: Tensor, tail: Tensor, _: Dense) -> Tensor:
    h, r, t = (vectors.view(-1, 4, DIM // 4) for vectors in (head, relation, tail))
    return torch.einsum("xyz,nxc,nyc,nzc->n", hamilton(), h, r / r.square().sum(1, keepdim=True).sqrt(), t)


FORMULAS: dict[str, Callable[[Tensor, Tensor, Tensor, Dense], Tensor]] = {
    "transe": lambda h, r, t, _: -(h + r - t).norm(dim=1),
    "distmult": lambda h, r, t, _: (h * r * t).sum(1),
    "complex": lambda h, r, t, _: (as_complex(h) * as_complex(r) * as_complex(t).conj()).sum(1).real,
    "rotate": lambda h, r, t, _: (
        -(as_complex(h) * torch.polar(torch.ones_like(r), r) - as_complex(t)).abs().norm(dim=1)
    ),
    "rescal": lambda h, r, t, _: torch.einsum("ni,nij,nj->n", h, r.view(-1, DIM, DIM), t),
    "quate": quate,
    "tucker": lambda h, r, t, dense: torch.einsum("rij,nr,ni,nj->n", dense["core"], r, h, t),
}
"""Scores of triples by name, as in the papers: float64[n] of vectors float64[n, ...]."""


@pytest.fixture(params=MEMBERS, ids=lambda scorer: scorer.name)
def scorer(request: pytest.FixtureRequest) -> Scorer:
    return request.param


@pytest.fixture(params=["own", "cosine"])
def compare(request: pytest.FixtureRequest, scorer: Scorer) -> Compare:
    return scorer.compare if request.param == "own" else "cosine"


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def triples(scorer: Scorer, count: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Heads, relations, tails; float64[count, ...]."""
    return draw(count, DIM, seed=1), draw(count, scorer.relation_dim(DIM), seed=2), draw(count, DIM, seed=3)


def dense_of(scorer: Scorer) -> dict[str, Tensor]:
    """float64 start values."""
    return {name: value.double() for name, value in scorer.dense(DIM, torch.Generator().manual_seed(4)).items()}


def score(scorer: Scorer, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
    """Of triple after triple; float64[n]."""
    query = scorer.query(head, relation, dense_of(scorer))
    return similarity(query[:, None], tail[:, None], scorer.compare)[:, 0, 0]


def test_every_scorer_is_in_the_registry_under_its_name_and_has_a_formula_here() -> None:
    def below(cls: type) -> set[type]:
        return {cls, *(found for sub in cls.__subclasses__() for found in below(sub))}

    for module in iter_modules(scorers.__path__):
        import_module(f"{scorers.__name__}.{module.name}")
    packaged = {cls for cls in below(Scorer) - {Scorer} if cls.__module__.startswith(scorers.__name__)}
    assert {SCORERS[name] for name in NAMES} == packaged
    assert all(SCORERS[name].name == name for name in NAMES)
    assert set(FORMULAS) == {member.name for member in MEMBERS} == {*NAMES, "tucker"}


# The battery


def test_a_score_is_that_of_the_papers_formula(scorer: Scorer) -> None:
    head, relation, tail = triples(scorer)
    expected = FORMULAS[scorer.name](head, relation, tail, dense_of(scorer))
    torch.testing.assert_close(score(scorer, head, relation, tail), expected)


def test_shapes_broadcast_over_leading_axes(scorer: Scorer, compare: Compare) -> None:
    head, relation = draw(2, 3, DIM), draw(2, 3, scorer.relation_dim(DIM))
    query = scorer.query(head, relation, dense_of(scorer))
    assert query.shape == (2, 3, DIM)
    assert similarity(query, draw(2, 7, DIM), compare).shape == (2, 3, 7)
    every = scorer.query(head[0, :, None], relation[0, None], dense_of(scorer))
    torch.testing.assert_close(every.diagonal().T, query[0])


def test_start_values_are_finite_floats_that_the_generator_alone_decides(scorer: Scorer) -> None:
    def start() -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(0)
        relations = scorer.initial_relations(4, DIM, generator)
        assert relations.shape == (4, scorer.relation_dim(DIM))
        return {"relations": relations, **scorer.dense(DIM, generator)}

    one, other = start(), start()
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in one.values())
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_gradient_is_that_of_autograd(scorer: Scorer) -> None:
    head, relation, gradient = triples(scorer)
    leaves = head.clone().requires_grad_(), relation.clone().requires_grad_()
    dense = dense_of(scorer)
    expected = torch.autograd.grad(scorer.query(*leaves, dense), leaves, gradient)
    with torch.no_grad():
        torch.testing.assert_close(scorer.query_gradient(head, relation, gradient, dense), expected)
        torch.testing.assert_close(Scorer.query_gradient(scorer, head, relation, gradient, dense), expected)


def test_the_gradient_has_the_shapes_of_its_vectors_for_any_leading_axes(scorer: Scorer) -> None:
    head, relation, gradient = (vectors.view(2, 3, -1) for vectors in triples(scorer, 6))
    d_head, d_relation = scorer.query_gradient(head, relation, gradient, dense_of(scorer))
    flat = scorer.query_gradient(*(x.flatten(0, 1) for x in (head, relation, gradient)), dense_of(scorer))
    assert (d_head.shape, d_relation.shape) == (head.shape, relation.shape)
    torch.testing.assert_close((d_head.flatten(0, 1), d_relation.flatten(0, 1)), flat)


def test_the_gradient_for_dense_parameters_is_that_of_autograd(scorer: Scorer) -> None:
    head, relation, gradient = triples(scorer)
    dense = {name: value.requires_grad_() for name, value in dense_of(scorer).items()}
    query = scorer.query(head, relation, dense)
    expected = torch.autograd.grad(query, list(dense.values()), gradient) if dense else ()
    with torch.no_grad():
        found = scorer.dense_gradient(head, relation, gradient, dense)
    assert list(found) == list(dense)
    torch.testing.assert_close(tuple(found.values()), expected)


def test_a_head_is_scored_by_the_inverse_relation_as_the_tail_is_by_the_relation(scorer: Scorer) -> None:
    head, relation, tail = triples(scorer)
    if not scorer.invertible:
        with pytest.raises(UsageError, match=rf"scorer '{scorer.name}' .* set model\.reciprocal to true"):
            scorer.inverse(relation)
        return
    assert scorer.inverse(relation).shape == relation.shape
    backward = score(scorer, tail, scorer.inverse(relation), head)
    torch.testing.assert_close(backward, score(scorer, head, relation, tail))


def test_the_inverse_of_the_inverse_is_the_relation_and_inversion_is_linear(scorer: Scorer) -> None:
    if not scorer.invertible:
        return
    _, relation, _ = triples(scorer)
    other = relation.flip(0)
    assert torch.equal(scorer.inverse(scorer.inverse(relation)), relation)
    torch.testing.assert_close(scorer.inverse(relation + other), scorer.inverse(relation) + scorer.inverse(other))
    # Its own transpose: what carries gradients back through it.
    torch.testing.assert_close((scorer.inverse(relation) * other).sum(), (relation * scorer.inverse(other)).sum())


def test_scale_multiplies_the_score_and_a_cosine_is_bounded(scorer: Scorer, compare: Compare) -> None:
    head, relation, tail = triples(scorer)
    query = scorer.query(head, relation, dense_of(scorer))
    plain = similarity(query, tail, compare)
    torch.testing.assert_close(similarity(query, tail, compare, 3.0), 3 * plain)
    if compare == "cosine":
        assert plain.abs().max() <= 1 + 1e-12
        torch.testing.assert_close(similarity(query, 5 * tail, compare), plain)


def test_a_scorer_is_linear_in_the_relation_where_it_says_so(scorer: Scorer) -> None:
    head, relation, tail = triples(scorer)
    other = relation.flip(0)
    both = score(scorer, head, 2 * relation + other, tail)
    apart = 2 * score(scorer, head, relation, tail) + score(scorer, head, other, tail)
    linear = torch.allclose(both, apart)
    assert linear or not scorer.linear_in_relation
    assert scorer.compare == "dot" or not scorer.linear_in_relation


def test_a_query_is_the_product_that_the_scorer_says(scorer: Scorer) -> None:
    head, relation, _ = triples(scorer)
    query = scorer.query(head, relation, dense_of(scorer))
    if scorer.product == "real":
        torch.testing.assert_close(query, head * relation)
    elif scorer.product == "complex":
        torch.testing.assert_close(as_complex(query), as_complex(head) * as_complex(relation))


def test_a_coordinate_of_the_query_depends_on_that_coordinate_of_the_entity_alone(scorer: Scorer) -> None:
    """Where several reals make one, they are the equal parts of the last axis: what the nuclear 3-norm is taken of."""
    assert scorer.multiple == {"complex": 2, "rotate": 2, "quate": 4}.get(scorer.name, 1)
    if scorer.multiple == 1:
        return
    head, relation, _ = triples(scorer, 1)
    changed = head.view(scorer.multiple, -1).clone()
    changed[:, 1] += 1
    queries = (scorer.query(entity, relation).view(scorer.multiple, -1) for entity in (head, changed.view(1, -1)))
    differ = (next(queries) != next(queries)).any(0)
    assert differ.tolist() == [False, True, *[False] * (DIM // scorer.multiple - 2)]


# What each one claims


def test_distmult_is_symmetric_in_head_and_tail() -> None:
    distmult = scorers.scorer("distmult")
    head, relation, tail = triples(distmult)
    torch.testing.assert_close(score(distmult, head, relation, tail), score(distmult, tail, relation, head))


def test_complex_is_antisymmetric_where_the_relation_is_imaginary_and_symmetric_where_it_is_real() -> None:
    scorer = scorers.scorer("complex")
    head, relation, tail = triples(scorer)
    real, imaginary = relation.clone(), relation.clone()
    real[:, DIM // 2 :] = 0
    imaginary[:, : DIM // 2] = 0
    torch.testing.assert_close(score(scorer, head, imaginary, tail), -score(scorer, tail, imaginary, head))
    torch.testing.assert_close(score(scorer, head, real, tail), score(scorer, tail, real, head))


def test_rotate_by_zero_changes_nothing_and_turns_add_up() -> None:
    rotate = scorers.scorer("rotate")
    head, relation, _ = triples(rotate)
    assert torch.equal(rotate.query(head, torch.zeros_like(relation)), head)
    other = relation.flip(0)
    both = rotate.query(rotate.query(head, relation), other)
    torch.testing.assert_close(both, rotate.query(head, relation + other))
    torch.testing.assert_close(both.norm(dim=1), head.norm(dim=1))


def test_quate_turns_and_never_stretches_and_is_complex_where_two_parts_are_zero() -> None:
    quate, complex_ = scorers.scorer("quate"), scorers.scorer("complex")
    head, relation, _ = triples(quate)
    torch.testing.assert_close(quate.query(head, relation).norm(dim=1), head.norm(dim=1))
    torch.testing.assert_close(quate.query(head, 3 * relation), quate.query(head, relation))
    started = quate.initial_relations(9, DIM, torch.Generator().manual_seed(0))
    torch.testing.assert_close(started.view(9, 4, -1).norm(dim=1), torch.ones(9, DIM // 4))
    half = DIM // 2
    head[:, half:] = relation[:, half:] = 0
    angle = relation[:, :half] / as_complex(relation[:, :half]).abs().repeat(1, 2)
    torch.testing.assert_close(quate.query(head, relation)[:, :half], complex_.query(head[:, :half], angle))


def test_a_core_tensor_gets_the_sum_of_all_triples_outer_products() -> None:
    tucker = TuckER()
    head, relation, gradient = triples(tucker)
    found = tucker.dense_gradient(head, relation, gradient, dense_of(tucker))["core"]
    torch.testing.assert_close(found, torch.einsum("nr,ni,nj->rij", relation, head, gradient))


# The regulariser


def test_the_nuclear_norm_is_of_moduli_of_whole_coordinates() -> None:
    vectors = draw(5, 12)
    torch.testing.assert_close(cubed_moduli(1, vectors), vectors.abs() ** 3)
    torch.testing.assert_close(cubed_moduli(2, vectors), as_complex(vectors).abs() ** 3)
    torch.testing.assert_close(cubed_moduli(4, vectors), vectors.view(5, 4, 3).norm(dim=1) ** 3)
    assert torch.equal(cubed_moduli(2, vectors[:, :3]), vectors[:, :3].abs() ** 3)


@pytest.mark.parametrize("multiple", [1, 2, 4])
def test_the_regulariser_weighs_vectors_and_has_a_gradient_even_at_zero(multiple: int) -> None:
    vectors, weight = draw(5, 8), draw(5, seed=1).abs()
    cubes, squares = cubed_moduli(multiple, vectors).sum(1), vectors.square().sum(1)
    found = regulariser(multiple, vectors, weight, 0.3, 0.4)
    torch.testing.assert_close(found, (weight * (0.3 * cubes + 0.2 * squares)).sum())
    assert regulariser(multiple, vectors, weight, 0.0, 0.0) == 0
    zero = torch.zeros(1, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(regulariser(multiple, zero, torch.ones(1), 1.0, 1.0), zero)
    assert not gradient.any()
