"""Cores and memory that this process may use: of the machine, or of its container where that limits them."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Folder of this process's control group, version 2."""


def cores() -> int:
    """Number of cores this process may run on: those it is bound to, or fewer where the container is limited."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _limit("cpu.max").partition(" ")  # "200000 100000" is two cores, "max 100000" all
    return min(count, max(1, math.ceil(int(quota) / int(period)))) if quota.isdigit() and period.isdigit() else count


def memory() -> int:
    """Bytes of memory this process may use: the machine's, or fewer where the container is limited."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _limit("memory.max")
    return min(physical, int(limit)) if limit.isdigit() else physical


def _limit(name: str) -> str:
    """Content of a file of the control group; empty where there is none."""
    try:
        return (CGROUP / name).read_text().strip()
    except OSError:
        return ""
