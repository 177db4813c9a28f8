"""Row-wise AdaGrad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from distjoint.optim.base import EPSILON, Optimizer


class AdaGrad(Optimizer):
    """AdaGrad (Duchi et al. 2011) with one accumulator a row, as in PyTorch-BigGraph (Lerer et al. 2019).

    The accumulator grows by the mean of the row's squared gradient; the step is rate * gradient / sqrt(accumulator).
    """

    name: ClassVar[str] = "adagrad"

    def state(self, width: int) -> dict[str, int]:
        return {"state": 0}

    def update(self, gradient: Tensor, state: Mapping[str, Tensor], rate: float) -> Tensor:
        accumulator = state["state"]
        accumulator += gradient.square().mean(1)
        return rate * gradient / (accumulator + EPSILON).sqrt()[:, None]
