"""Scorers of entities in parts: the formula, gradients by hand against autograd, and what relations read backwards."""

from __future__ import annotations

import pytest
import torch
from members import names_of
from torch import Tensor
from tucker import TuckER

from distjoint.model.scorers import scorer
from distjoint.model.scorers.base import Scorer
from distjoint.model.weighed import Weighed, in_parts
from distjoint.registry import SCORERS

pytestmark = pytest.mark.unit

DIM, PARTS, ROWS = 8, 3, 5
MEMBERS: list[Scorer] = [*(scorer(name) for name in names_of(SCORERS)), TuckER()]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def drawn(kind: Weighed) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Entities, relations and parameters of a scorer."""
    dense = {name: value.double() for name, value in kind.dense(DIM, torch.Generator().manual_seed(3)).items()}
    return draw(ROWS, PARTS * DIM, seed=1), draw(ROWS, kind.relation_dim(DIM), seed=2), dense


@pytest.fixture(params=MEMBERS, ids=lambda member: member.name)
def kind(request: pytest.FixtureRequest) -> Weighed:
    return Weighed(request.param, PARTS)


def test_a_relation_weighs_the_parts_of_either_end(kind: Weighed) -> None:
    entity, relation, dense = drawn(kind)
    inner, given, wanted = relation[:, : -2 * PARTS], relation[:, -2 * PARTS : -PARTS], relation[:, -PARTS:]
    whole = sum((given[:, k : k + 1] * entity[:, k * DIM : (k + 1) * DIM] for k in range(PARTS)), torch.zeros(()))
    query = kind.scorer.query(whole, inner, dense)
    expected = torch.cat([wanted[:, k : k + 1] * query for k in range(PARTS)], 1)
    torch.testing.assert_close(kind.query(entity, relation, dense), expected)
    # Axes in front change nothing.
    folded = kind.query(entity[None, :, None], relation[None, :, None], dense)
    torch.testing.assert_close(folded[0, :, 0], expected)


def test_gradients_are_those_of_autograd(kind: Weighed) -> None:
    entity, relation, dense = drawn(kind)
    gradient = draw(ROWS, PARTS * DIM, seed=4)
    leaves = [entity.clone().requires_grad_(), relation.clone().requires_grad_()]
    parameters = {name: value.clone().requires_grad_() for name, value in dense.items()}
    kind.query(*leaves, parameters).backward(gradient)
    found = kind.query_gradient(entity, relation, gradient, dense)
    for one, leaf in zip(found, leaves, strict=True):
        torch.testing.assert_close(one, leaf.grad)
    of_dense = kind.dense_gradient(entity, relation, gradient, dense)
    assert of_dense.keys() == dense.keys()
    for name, value in of_dense.items():
        torch.testing.assert_close(value, parameters[name].grad)


def test_parts_weigh_alike_at_first(kind: Weighed) -> None:
    made = kind.initial_relations(4, DIM, torch.Generator().manual_seed(0))
    inner = kind.scorer.initial_relations(4, DIM, torch.Generator().manual_seed(0))
    assert made.shape == (4, kind.relation_dim(DIM))
    torch.testing.assert_close(made, torch.cat([inner, torch.ones(4, 2 * PARTS)], 1))


def test_a_relation_read_backwards_changes_its_weights_over(kind: Weighed) -> None:
    if not kind.invertible:
        return
    _, relation, _ = drawn(kind)
    back = kind.inverse(relation)
    torch.testing.assert_close(back[:, -PARTS:], relation[:, -2 * PARTS : -PARTS])
    torch.testing.assert_close(kind.inverse(back), relation)
    gradient = draw(*relation.shape, seed=6)  # its own transpose: it carries gradients back
    leaf = relation.clone().requires_grad_()
    kind.inverse(leaf).backward(gradient)
    torch.testing.assert_close(kind.inverse(gradient), leaf.grad)


def test_a_configuration_of_one_part_has_the_scorer_itself() -> None:
    assert in_parts(scorer("rotate"), 1) is scorer("rotate")
    two = in_parts(scorer("rotate"), 2)
    assert isinstance(two, Weighed) and two.parts == 2 and two.scorer is scorer("rotate")
