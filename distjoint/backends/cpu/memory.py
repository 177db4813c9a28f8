"""How the C library hands out memory: kept once it is freed, because asking the kernel for it anew is slow.

A step allocates and frees some tens of megabytes. By default glibc maps and unmaps each block, and every page of
it faults: that was a sixth of the time of a graph step.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGE = 1 << 30


def keep_freed() -> None:
    """Serve blocks up to 1 GiB from memory that stays with the process; does nothing where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.mallopt(_MMAP_THRESHOLD, _LARGE)
    libc.mallopt(_TRIM_THRESHOLD, _LARGE)
