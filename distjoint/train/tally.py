"""What workers count while they train: plain sums by name, so that those of several workers add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

SECONDS = "seconds"
"""Of the epoch, of each worker."""


class Tally:
    """Sums over an epoch. What is added may lie on a device, which is not waited for.

    names    of the sums; the same on every worker
    before   sums to go on from, of an earlier version perhaps: what has another name is left out, what is missing is 0
    """

    def __init__(self, names: Iterable[str], before: Mapping[str, float] | None = None) -> None:
        before = before or {}
        self._sums: dict[str, float | Tensor] = {name: before.get(name, 0.0) for name in [*names, SECONDS]}

    def add(self, name: str, value: float | Tensor) -> None:
        self._sums[name] = self._sums[name] + (value.double() if isinstance(value, Tensor) else value)

    def sums(self) -> dict[str, float]:
        """All sums as numbers; waits for the device."""
        return {name: float(value) for name, value in self._sums.items()}

    def over_workers(self, device: torch.device) -> dict[str, float]:
        """The sums of all workers' tallies; every worker calls it."""
        sums = self.sums()
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return sums
        names = sorted(sums)
        values = torch.tensor([sums[name] for name in names], dtype=torch.float64, device=device)
        dist.all_reduce(values)
        return dict(zip(names, values.tolist(), strict=True))
