"""One battery that every loss on triples must pass: values and gradients of its paper's formula, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args

import pytest
import torch
from members import assert_covers
from reference.losses import Kind, ranking_loss
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.torch.backend import TorchBackend
from distjoint.model import losses
from distjoint.model.losses import TripleLoss, loss_of
from distjoint.model.losses.base import CrossEntropy
from distjoint.registry import LOSSES

pytestmark = pytest.mark.unit

NAMES = get_args(Kind)
MARGIN, TEMPERATURE = 1.5, 0.7
CHUNKS, TRIPLES, NEGATIVES = 2, 4, 5
CPU = torch.device("cpu")
CROSS_ENTROPY: dict[torch.dtype, CrossEntropy] = {
    torch.float64: TorchBackend(CPU).cross_entropy,
    torch.float32: CpuBackend(1).cross_entropy,
}
CLOSE: dict[torch.dtype, dict[str, float]] = {
    torch.float64: {"rtol": 1e-10, "atol": 1e-12},
    torch.float32: {"rtol": 1e-4, "atol": 1e-6},
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def plain(kind: str, target: Tensor, scores: Tensor, negative: Tensor) -> Tensor:
    """Loss of each query by the reference, which finds the target of query i in column i."""
    together = torch.cat([torch.diag_embed(target), scores], -1)
    counted = torch.cat([torch.zeros_like(torch.diag_embed(target), dtype=torch.bool), negative], -1)
    return ranking_loss(cast(Kind, kind), together, counted, MARGIN, TEMPERATURE)


def by_formula(kind: str) -> TripleLoss:
    """The same loss as a user would add it: of `of_queries` alone, with its gradient from autograd."""

    def of_queries(self: TripleLoss, target: Tensor, scores: Tensor, negative: Tensor) -> Tensor:
        return plain(kind, target, scores, negative)

    return type("Formula", (TripleLoss,), {"name": f"formula_{kind}", "of_queries": of_queries})(MARGIN, TEMPERATURE)


class Example:
    """Scores of some queries and all that belongs to them, with one query that has no negative, and padding."""

    def __init__(self, in_batch: bool, masked: bool) -> None:
        width = NEGATIVES + (TRIPLES if in_batch else 0)
        self.scores = 3 * draw(2, CHUNKS, TRIPLES, width)
        self.target = None if in_batch else 3 * draw(2, CHUNKS, TRIPLES, seed=1)
        self.weight = draw(CHUNKS, TRIPLES, seed=2).abs()
        self.weight[-1, 2:] = 0
        self.mask = None
        if masked:
            self.mask = draw(2, CHUNKS, TRIPLES, width, seed=3) > 0.5
            self.mask[0, 0, 1] = True
            if in_batch:
                self.mask.diagonal(dim1=-2, dim2=-1).fill_(False)

    def negative(self) -> Tensor:
        negative = torch.ones_like(self.scores, dtype=torch.bool) if self.mask is None else ~self.mask
        if self.target is None:
            negative = negative & ~torch.eye(TRIPLES, self.scores.shape[-1], dtype=torch.bool)
        return negative

    def expected(self, kind: str) -> tuple[Tensor, ...]:
        """Weighted loss of the reference, and the gradients of all that it is made of."""
        leaves = [tensor.clone().requires_grad_() for tensor in (self.scores, self.target) if tensor is not None]
        target = leaves[0].diagonal(dim1=-2, dim2=-1) if self.target is None else leaves[1]
        loss = (plain(kind, target, leaves[0], self.negative()) * self.weight).sum()
        return loss.detach(), *torch.autograd.grad(loss, leaves)

    def found(self, loss: TripleLoss, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the loss makes of it; it may take the memory of what it is given."""
        scores, weight = self.scores.to(dtype, copy=True), self.weight.to(dtype)
        target = None if self.target is None else self.target.to(dtype, copy=True)
        with torch.no_grad():
            value, *gradients = loss.sampled(scores, target, weight, self.mask, CROSS_ENTROPY[dtype])
        return torch.as_tensor(value, dtype=dtype), *gradients


def test_every_loss_is_in_the_registry_and_in_this_battery() -> None:
    assert_covers(set(NAMES), LOSSES, TripleLoss, losses)


# The battery


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradients_are_those_of_the_formula(
    name: str, in_batch: bool, masked: bool, dtype: torch.dtype
) -> None:
    example = Example(in_batch, masked)
    expected = example.expected(name)
    for loss in (loss_of(name, MARGIN, TEMPERATURE), by_formula(name)):
        found = example.found(loss, dtype)
        assert (found[2] is None) == in_batch
        for value, wanted in zip([part for part in found if part is not None], expected, strict=True):
            assert value.dtype == dtype
            torch.testing.assert_close(value.double(), wanted, **CLOSE[dtype])


@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_padding_and_filtered_candidates_have_no_gradient_and_change_no_other(name: str, in_batch: bool) -> None:
    example = Example(in_batch, masked=True)
    found = example.found(loss_of(name, MARGIN, TEMPERATURE), torch.float64)
    assert not found[1][:, -1, 2:].any()
    assert example.mask is not None
    assert not found[1][example.mask].any()
    example.scores[example.mask] = draw(int(example.mask.sum()), seed=7)
    example.scores[:, -1, 2:] += 1
    again = example.found(loss_of(name, MARGIN, TEMPERATURE), torch.float64)
    for one, other in zip(found, again, strict=True):
        if one is not None and other is not None:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_far_scores_make_no_loss_infinite(name: str) -> None:
    example = Example(in_batch=False, masked=False)
    example.scores *= 200
    for dtype in CLOSE:
        found = example.found(loss_of(name, 1.0, 1.0), dtype)
        assert all(bool(part.isfinite().all()) for part in found if part is not None)


OVER_ALL: dict[str, tuple[bool, Callable[[Tensor, Tensor], Tensor]]] = {
    "softmax": (True, lambda scores, labels: cross_entropy(scores, labels, reduction="none")),
    "logistic": (
        False,
        lambda scores, labels: binary_cross_entropy_with_logits(scores, labels, reduction="none").sum(1),
    ),
}
"""Losses over all candidates: whether the answers of a query share one target, and torch's own formula, by query."""


def test_every_loss_over_all_candidates_has_a_formula_here() -> None:
    assert {name for name in NAMES if LOSSES[name].over_all} == OVER_ALL.keys()


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("name", OVER_ALL)
def test_over_all_candidates_it_is_less_the_weighed_answers_the_whole_loss(name: str, dtype: torch.dtype) -> None:
    queries, candidates = 5, 9
    shares, formula = OVER_ALL[name]
    loss = loss_of(name, MARGIN, TEMPERATURE)
    assert loss.shares_target == shares
    scores, weight = 3 * draw(queries, candidates), draw(queries, seed=1).abs()
    labels = (draw(queries, candidates, seed=2) > 0).double()
    labels[:, 0] = 1
    labels /= labels.sum(1, keepdim=True) if shares else 1
    leaf = scores.clone().requires_grad_()
    expected = (weight * formula(leaf, labels)).sum()
    expected.backward()
    with torch.no_grad():
        given = scores.to(dtype, copy=True)
        found = loss.over_candidates(given, weight.to(dtype), CROSS_ENTROPY[dtype])
    answers = weight[:, None] * labels
    torch.testing.assert_close(
        torch.as_tensor(found).double() - (answers * scores).sum(), expected.detach(), **CLOSE[dtype]
    )
    torch.testing.assert_close(given.double() - answers, leaf.grad, **CLOSE[dtype])


# What a loss lacks is said


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OVER_ALL])
def test_a_loss_for_sampled_negatives_says_so(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"loss '{name}' is for sampled negatives"):
        loss_of(name, 1.0, 1.0).over_candidates(draw(2, 3), draw(2), CROSS_ENTROPY[torch.float64])


def test_a_loss_that_defines_nothing_is_named() -> None:
    empty: Any = type("Empty", (TripleLoss,), {"name": "empty"})()
    with pytest.raises(NotImplementedError, match="loss 'empty' defines neither of_queries nor sampled"):
        Example(in_batch=True, masked=False).found(empty, torch.float64)
