"""How the C library hands out memory: kept once it is freed, because asking the kernel for it anew is slow.

A step allocates and frees some tens of megabytes. By default glibc maps and unmaps each block, and every page of
it faults: that was a sixth of the time of a graph step.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
LARGE, DEFAULT = 1 << 30, 128 << 10
"""Bytes: blocks up to which are kept, and glibc's own limit."""


@contextmanager
def keep_freed() -> Iterator[None]:
    """Serve blocks up to 1 GiB from memory that stays with the process; glibc's defaults again afterwards.

    It does nothing where there is no glibc.
    """
    limit_blocks(LARGE)
    try:
        yield
    finally:
        limit_blocks(DEFAULT)


def limit_blocks(size: int) -> None:
    """Map and trim blocks above a size only."""
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_THRESHOLD, size)
        libc.mallopt(_TRIM_THRESHOLD, size)
