"""Backends: the same operations compiled for CPUs, and in torch for GPUs. Chosen once, from the device."""

from __future__ import annotations

from distjoint.backends.base import Backend
from distjoint.backends.choice import backend_of, choose_device

__all__ = ["Backend", "backend_of", "choose_device"]
