"""GloVe's mathematics that does not depend on where it is computed: targets, weights and first accumulators."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from distjoint.base.arrays import Floats


def weigh(count: Floats, x_max: float, power: float) -> tuple[Floats, Floats]:
    """Targets and weights of counts (Pennington et al. 2014, eq. 9). Check the counts with `first_bad` before.

    count     float32[cells]
    returns   log count, min(1, (count / x_max) ** power); float32[cells] each
    """
    weight = np.power(count * np.float32(1 / x_max), np.float32(power))
    return np.log(count), np.minimum(weight, np.float32(1), out=weight)


def first_bad(count: Floats) -> int:
    """Index of the first count that is not a finite number above 0; -1 where all are good."""
    if not len(count) or (count.min() > 0 and count.max() < np.inf):
        return -1
    return int(np.argmin((count > 0) & (count < np.inf)))


def initial_states(learning_rate: float) -> tuple[float, float]:
    """Start values of the accumulators: of vectors (W_state, C_state) and of biases.

    With them and a rate of 1 the steps are those of Stanford's glove.c, which keeps its eta inside the accumulators
    of vectors, and out of the biases: eta g / sqrt(1 + sum (eta g)^2) = g / sqrt(1 / eta^2 + sum g^2). A rare row so
    moves as by plain gradient descent. The same eta in front of the root fits no worse but embeds worse: SimLex .09
    against .15 on 12 M tokens.
    """
    return min(learning_rate**-2, 1e30), 1.0


def with_rate(state: Tensor, before: float, after: float) -> Tensor:
    """Accumulators of vectors as if they had started from another learning rate: float32[rows] to the same."""
    return state + (initial_states(after)[0] - initial_states(before)[0])
