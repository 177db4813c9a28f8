"""Which device a process has, and the backend of a device: asked here and nowhere else.

Apart from the room's `__init__`, where the name `torch` is that of our own room once it is imported.
"""

from __future__ import annotations

import os

import torch

from distjoint.backends.base import Backend


def choose_device() -> torch.device:
    """The device of this process: its GPU where there is one (by local rank, of several), else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)  # collectives of objects take the current one
    return device


def backend_of(device: torch.device, threads: int) -> Backend:
    """The backend of a device."""
    if device.type == "cpu":
        from distjoint.backends.cpu.backend import CpuBackend

        return CpuBackend(threads)
    from distjoint.backends.torch.backend import TorchBackend

    return TorchBackend(device, threads)
