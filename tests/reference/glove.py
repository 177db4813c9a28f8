"""The GloVe objective and its optimizer in plain torch, one cell at a time with gradients from autograd. Slow, of any
dtype, and the reference that the compiled kernel and the GPU path are tested against.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def objective(w: Tensor, c: Tensor, w_bias: Tensor, c_bias: Tensor, log_count: Tensor, weight: Tensor) -> Tensor:
    """GloVe's weighted squared difference per cell, halved as in Stanford's program.

    Pennington et al. 2014, eq. 8: f(X_ij) (w_i . c_j + b_i + b_j - log X_ij)^2, with f of eq. 9.

    w, c             float[..., dim]
    w_bias, c_bias   float[...]
    log_count        float[...]; log X
    weight           float[...]; f(X)
    returns          float[...]
    """
    return 0.5 * weight * ((w * c).sum(-1) + w_bias + c_bias - log_count) ** 2


def cost(parameters: Sequence[Tensor], row: Tensor, column: Tensor, log_count: Tensor, weight: Tensor) -> Tensor:
    """Sum of the objective over cells, nothing changed.

    parameters   W, C (float[rows, dim]), W_bias, C_bias (float[rows])
    row, column  int64[cells]
    returns      float[]
    """
    W, C, W_bias, C_bias = parameters
    return objective(W[row], C[column], W_bias[row], C_bias[column], log_count, weight).sum()


def train(
    parameters: Sequence[Tensor],
    states: Sequence[Tensor],
    row: Tensor,
    column: Tensor,
    log_count: Tensor,
    weight: Tensor,
    rate: float,
    frozen: Sequence[Tensor],
) -> Tensor:
    """Train on the cells in their order, in place.

    AdaGrad (Duchi et al. 2011) with one accumulator per row, as in PyTorch-BigGraph (Lerer et al. 2019): it grows by
    the mean of the row's squared gradient, then the row moves by -rate * gradient / sqrt(accumulator).

    parameters   W, C (float[rows, dim]), W_bias, C_bias (float[rows])
    states       their accumulators, float[rows] each, > 0
    row, column  int64[cells]
    frozen       bool[rows] each, or empty for none: rows of W and of C that take no step, nor do their biases
    returns      float[]; sum of the objective of each cell before its step
    """
    total = log_count.new_zeros(())
    for k in range(len(row)):
        places = (row[k], column[k], row[k], column[k])
        leaves = [part[at].detach().requires_grad_() for part, at in zip(parameters, places, strict=True)]
        w, c, w_bias, c_bias = leaves
        value = objective(w, c, w_bias, c_bias, log_count[k], weight[k])
        gradients = torch.autograd.grad(value, leaves)
        for part, state, at, gradient, still in zip(
            parameters, states, places, gradients, (*frozen, *frozen), strict=True
        ):
            if len(still) and still[at]:
                continue
            state[at] += gradient.square().mean()
            part[at] -= rate * gradient / state[at].sqrt()
        total += value.detach()
    return total
