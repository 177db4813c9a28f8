"""What an optimizer is: how a row's gradient and state make its step.

State is kept by row, and an optimizer says how many floats of it a row needs. `update` is the mathematics, in plain
torch operations on any device; a backend may have a faster way to the same step (backends/cpu/adagrad.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from distjoint.base.errors import UsageError
from distjoint.registry import OPTIMIZERS

EPSILON = 1e-10

State = dict[str, Tensor]
"""State of some rows by name: float[rows], or float[rows, width]."""


class Optimizer(ABC):
    """Row-wise optimizer: one step for each row that has a gradient, whatever its width."""

    name: ClassVar[str]

    @abstractmethod
    def state(self, width: int) -> dict[str, int]:
        """Floats of state of a row of `width` numbers, by name: 0 for a single float, which has no axis of its own."""

    @abstractmethod
    def update(self, gradient: Tensor, state: Mapping[str, Tensor], rate: float) -> Tensor:
        """The step to subtract from some rows; their state is changed in place.

        gradient   float[rows, width]
        state      as `state` says, of these rows
        rate       step size
        returns    float[rows, width]
        """

    def new_state(self, rows: int, width: int, device: torch.device | None = None) -> State:
        """State of rows that have not been stepped: zero."""
        shapes = {name: (rows, floats) if floats else (rows,) for name, floats in self.state(width).items()}
        return {name: torch.zeros(shape, device=device) for name, shape in shapes.items()}


def step_rows(
    optimizer: Optimizer,
    parts: Sequence[Tensor],
    state: Mapping[str, Tensor],
    index: Tensor,
    gradient: Tensor,
    rate: float,
    allowed: Tensor | None = None,
) -> None:
    """Step rows of a table in place, in plain torch operations that never wait for the device.

    parts      float[table rows, width] each; a vector that is their sum: each takes the step
    state      of the table's rows, changed where they are stepped
    index      int64[n]: distinct rows, or -1 for none
    gradient   float[n, width]
    allowed    bool[n] or bool[]: what may step; None for all
    """
    valid = index >= 0 if allowed is None else (index >= 0) & allowed
    rows = index.clamp_min(0)
    old = {name: values[rows] for name, values in state.items()}
    new = {name: values.clone() for name, values in old.items()}
    step = optimizer.update(torch.where(valid[:, None], gradient, 0.0), new, rate)
    # Changes are added, and are zero for what does not step: there row 0 may stand several times.
    for name, values in state.items():
        change = new[name] - old[name]
        keep = valid if change.dim() == 1 else valid[:, None]
        values.index_add_(0, rows, torch.where(keep, change, 0.0))
    step = torch.where(valid[:, None], step, 0.0)
    for part in parts:
        part.index_add_(0, rows, step, alpha=-1)


def optimizer_of(name: str, options: Mapping[str, Any] | None = None) -> Optimizer:
    """The optimizer of a name, with its options. raises UsageError for an unknown name or option"""
    kind = OPTIMIZERS[name]
    try:
        found: Optimizer = kind(**(options or {}))
    except TypeError as error:
        raise UsageError(
            f"graph.optimizer_options={dict(options or {})}: {name} does not take them ({error})"
        ) from error
    return found
