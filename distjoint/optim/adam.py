"""Row-wise Adam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from distjoint.base.errors import UsageError
from distjoint.optim.base import Optimizer


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1) with one second moment a row, stepping only rows that have a gradient.

    First moments are kept by coordinate. The number of steps, which the bias correction needs, is a row's own, since
    rows step at different times. So a row of `width` numbers keeps width + 2 floats, AdaGrad's one.

    beta1, beta2   decay of the moments, in [0, 1)
    epsilon        added to the root of the second moment
    """

    name: ClassVar[str] = "adam"

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        for option, value in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= value < 1:
                raise UsageError(f"graph.optimizer_options: {option} = {value}; it must lie in [0, 1)")
        if not epsilon > 0:
            raise UsageError(f"graph.optimizer_options: epsilon = {epsilon}; it must be above 0")
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def state(self, width: int) -> dict[str, int]:
        return {"mean": width, "square": 0, "steps": 0}

    def update(self, gradient: Tensor, state: Mapping[str, Tensor], rate: float) -> Tensor:
        mean, square, steps = state["mean"], state["square"], state["steps"]
        steps += 1
        mean.mul_(self.beta1).add_(gradient, alpha=1 - self.beta1)
        square.mul_(self.beta2).add_(gradient.square().mean(1), alpha=1 - self.beta2)
        corrected = mean / (1 - self.beta1**steps)[:, None]
        root = (square / (1 - self.beta2**steps)).sqrt() + self.epsilon
        return rate * corrected / root[:, None]
