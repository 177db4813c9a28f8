"""Dense parameters: relations, maps, scorers' own. Small, the same on every worker, synced by torch DDP.

Their gradients are computed by hand and summed here; at a sync point the sums go through one autograd function into
DDP, which adds them over the workers, and the optimizer steps once. A run without dense parameters, or alone in its
process, builds no DDP.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from distjoint.backends import Backend
from distjoint.couplings.base import DenseParameter
from distjoint.optim import Optimizer, State


class Dense:
    """Dense parameters with their gradients and optimizer state.

    parameters   how they begin, by name
    frozen       groups of them that take no step
    pace         factor on the step sizes of each row of a parameter, by name: float32[rows] or [1]; none for 1
    """

    def __init__(
        self,
        parameters: Mapping[str, DenseParameter],
        optimizer: Optimizer,
        frozen: Collection[str],
        backend: Backend,
        pace: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._optimizer, self._backend, device = optimizer, backend, backend.device
        self._by_row = {name: one.by_row for name, one in parameters.items()}
        self._rates = {name: one.rate for name, one in parameters.items()}
        self._pace = {name: values.to(device)[:, None] for name, values in (pace or {}).items()}
        self._frozen = {name for name, one in parameters.items() if one.group in frozen}
        self.values = {name: one.value.to(device) for name, one in parameters.items()}
        self.gradients = {name: torch.zeros_like(value) for name, value in self.values.items()}
        self.states = {name: self._new_state(name, value) for name, value in self.values.items()}
        self._ddp = _wrap(self.values) if self.values else None

    def sync(self, factor: float) -> dict[str, Tensor]:
        """Sum the gradients over the workers, step, and start new sums.

        factor    of the step sizes: alpha's share
        returns   squared norms of the gradients, by parameter
        raises    NotFiniteError before anything is stepped, where a backend knows at once
        """
        if self._ddp is not None:
            _sum_over_workers(self._ddp, self.gradients)
        squares = {name: gradient.square().sum() for name, gradient in self.gradients.items()}
        allowed = self._backend.check(*squares.values())
        for name, value in self.values.items():
            rows, own = self._rows(name, self.gradients[name]), self._rows(name, value)
            if name not in self._frozen:
                rows = rows if allowed is None else torch.where(allowed, rows, 0.0)
                step = self._step(name, rows, factor * self._rates[name])
                own -= step if allowed is None else torch.where(allowed, step, 0.0)
            self.gradients[name].zero_()
        return squares

    def _step(self, name: str, gradient: Tensor, rate: float) -> Tensor:
        """The step of a parameter, whose state is changed; rows of pace 0 keep theirs, and take none."""
        pace, state = self._pace.get(name), self.states[name]
        if pace is None:
            return self._optimizer.update(gradient, state, rate)
        held = pace[:, 0] == 0
        before = {kind: values.clone() for kind, values in state.items()} if bool(held.any()) else {}
        step = self._optimizer.update(gradient, state, rate) * pace
        for kind, values in before.items():
            state[kind].copy_(torch.where(held if values.dim() == 1 else held[:, None], values, state[kind]))
        return step

    def tensors(self) -> dict[str, Tensor]:
        """Values and states by the names they have in a checkpoint."""
        return {**self.values, **self._named_states()}

    def begin(self, tensors: Mapping[str, Tensor]) -> None:
        """Start values of some rows, `NAME.place`, of each parameter; states stay as they are."""
        for name, value in self.values.items():
            if name in tensors:
                value[tensors[f"{name}.place"].to(value.device)] = tensors[name].to(value.device)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        for name, own in self.tensors().items():
            own.copy_(tensors[name])

    def _rows(self, name: str, values: Tensor) -> Tensor:
        """The rows that an optimizer sees: a parameter's own, or one for each of its numbers."""
        return values if self._by_row[name] else values.view(-1, 1)

    def _new_state(self, name: str, value: Tensor) -> State:
        rows, width = self._rows(name, value).shape
        return self._optimizer.new_state(rows, width, value.device)

    def _named_states(self) -> dict[str, Tensor]:
        found = {}
        for name, value in self.values.items():
            for kind, state in self.states[name].items():
                found[f"{name}.{kind}"] = state if self._by_row[name] else state.view(value.shape)
        return found


class _Holder(nn.Module):
    """Gives DDP parameters of the shapes to be synced; their values are never used."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.places = nn.ParameterList([nn.Parameter(torch.zeros_like(value)) for value in values.values()])

    def forward(self, gradients: list[Tensor]) -> Tensor:
        return _Inject.apply(gradients, *self.places)  # type: ignore[no-untyped-call]


class _Inject(torch.autograd.Function):
    """Hands gradients computed elsewhere to the parameters as if they came from a loss."""

    @staticmethod
    def forward(ctx: Any, gradients: list[Tensor], *places: Tensor) -> Tensor:
        ctx.gradients = gradients
        return places[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.gradients


def _wrap(values: dict[str, Tensor]) -> DistributedDataParallel | None:
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return None
    return DistributedDataParallel(_Holder(values), broadcast_buffers=False)  # of one device, where the values lie


def _sum_over_workers(ddp: DistributedDataParallel, gradients: dict[str, Tensor]) -> None:
    ddp(list(gradients.values())).backward()
    for gradient, place in zip(gradients.values(), ddp.module.places, strict=True):
        assert place.grad is not None
        gradient.copy_(place.grad).mul_(dist.get_world_size())  # DDP averages; lanes are to be summed
        place.grad.zero_()
