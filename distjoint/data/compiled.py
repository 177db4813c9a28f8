"""How the loops of `data` are compiled: exact sums, no GIL, a cache on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

# Imported for what it does: it finds a place for the cache where the package's own folder is not writable.
from distjoint.backends.cpu import compiled as _cache  # noqa: F401


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the GIL, so that plain threads run it side by side; numba's own pool would fight with them."""
    return numba.njit(nogil=True, cache=True)(function)
