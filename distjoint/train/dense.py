"""Dense parameters: relations and the map of `dual`. Small, the same on every worker, synced by torch DDP.

Kernels compute their gradients by hand and add them up here; at a sync point the sums go through one autograd
function into DDP, which adds them over the workers, and AdaGrad is applied once. A run without dense
parameters, or alone in its process, builds no DDP.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from distjoint.backends.cpu.rows import EPSILON
from distjoint.config import Config
from distjoint.model import scorers
from distjoint.table.parts import Scheme


class Dense:
    """Dense parameters with their gradients and optimizer state.

    relations   relations of the dataset; with reciprocal ones the second half of the rows are their inverses
    """

    def __init__(self, scheme: Scheme, config: Config, relations: int, device: torch.device) -> None:
        self.values: dict[str, Tensor] = {}
        generator = torch.Generator().manual_seed(config.train.seed)
        rows, scorer = relations * (2 if config.model.reciprocal else 1), scorers.scorer(config.model.scorer)
        if scheme.graph:
            self.values["relation"] = scorer.initial_relations(rows, scheme.dim, generator)
        if scheme.coupling == "dual":
            self.values["word_relation"] = scorer.initial_relations(rows, scheme.dim, generator)
            self.values["map"] = torch.eye(scheme.dim)
        self.values = {name: value.to(device) for name, value in self.values.items()}
        self.gradients = {name: torch.zeros_like(value) for name, value in self.values.items()}
        self.states = {
            name: torch.zeros_like(value) if name == "map" else value.new_zeros(len(value))
            for name, value in self.values.items()
        }
        self.rates = dict.fromkeys(self.values, config.graph.learning_rate)
        self.rates["map"] = config.graph.map_learning_rate
        self._frozen = {name for name in self.values if ("map" if name == "map" else "relations") in scheme.frozen}
        self._ddp = _wrap(self.values) if self.values else None

    def sync(self, factor: float) -> None:
        """Sum the gradients over the workers, step, and start new sums.

        factor   of the step sizes: alpha's share
        """
        if self._ddp is not None:
            _sum_over_workers(self._ddp, self.gradients)
        for name, value in self.values.items():
            gradient, state, rate = self.gradients[name], self.states[name], factor * self.rates[name]
            if name in self._frozen:
                pass
            elif name == "map":
                state += gradient.square()
                value -= rate * gradient / (state + EPSILON).sqrt()
            else:
                state += gradient.square().mean(1)
                value -= rate * gradient / (state + EPSILON).sqrt()[:, None]
            gradient.zero_()

    def tensors(self) -> dict[str, Tensor]:
        """Values and states by the names they have in a checkpoint."""
        return {**self.values, **{f"{name}.state": state for name, state in self.states.items()}}

    def load(self, tensors: dict[str, Tensor]) -> None:
        for name, own in self.tensors().items():
            own.copy_(tensors[name])


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
    device = next(iter(values.values())).device
    return DistributedDataParallel(
        _Holder(values).to(device), device_ids=[device] if device.type == "cuda" else None, broadcast_buffers=False
    )


def _sum_over_workers(ddp: DistributedDataParallel, gradients: dict[str, Tensor]) -> None:
    ddp(list(gradients.values())).backward()
    for gradient, place in zip(gradients.values(), ddp.module.places, strict=True):
        assert place.grad is not None
        gradient.copy_(place.grad).mul_(dist.get_world_size())  # DDP averages; lanes are to be summed
        place.grad.zero_()
