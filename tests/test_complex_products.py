"""The fast product of complex vectors against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distjoint.kernels.complex_products import times

pytestmark = pytest.mark.unit


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("conjugate", [True, False])
@pytest.mark.parametrize("shape", [(6,), (5, 34), (2, 3, 4, 8), (0, 6)])
def test_products_are_those_of_complex_numbers(shape: tuple[int, ...], conjugate: bool) -> None:
    one, other = draw(*shape, seed=0), draw(*shape, seed=1)
    a, b = (torch.complex(*x.double().chunk(2, -1)) for x in (one, other))
    expected = a * (b.conj() if conjugate else b)
    found = times(one, other, conjugate)
    assert found is not None
    torch.testing.assert_close(found.double(), torch.cat([expected.real, expected.imag], -1), rtol=1e-6, atol=1e-6)


def test_a_part_of_a_larger_tensor_is_as_good() -> None:
    whole, other = draw(3, 5, 8, seed=0), draw(3, 2, 8, seed=1)
    found, expected = times(whole[:, :2], other, False), times(whole[:, :2].clone(), other, False)
    assert found is not None and expected is not None and torch.equal(found, expected)


def test_what_torch_must_compute_is_left_to_it() -> None:
    one, other = draw(3, 8, seed=0), draw(3, 8, seed=1)
    assert times(one.double(), other.double(), False) is None
    assert times(one.requires_grad_(), other, False) is None  # autograd would not see it
    with torch.no_grad():
        assert times(one, other, False) is not None
    assert times(one, draw(8, seed=2), False) is None  # of two shapes
