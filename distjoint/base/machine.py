"""Cores and memory that this process may use: of the machine, or of its container where that limits them."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Folder of this process's control group, version 2."""
MEMINFO = Path("/proc/meminfo")


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


def available_memory() -> int:
    """Bytes of memory that are free now, of the machine or of its container; page caches count as free."""
    free = memory()
    try:
        lines = MEMINFO.read_text().splitlines()
        free = min(free, next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    except (OSError, StopIteration):
        pass
    limit, used = _limit("memory.max"), _limit("memory.current")
    if limit.isdigit() and used.isdigit():
        cached = next((line.split()[1] for line in _limit("memory.stat").splitlines() if line.startswith("file ")), "0")
        free = min(free, max(0, int(limit) - int(used) + int(cached)))
    return free


def _limit(name: str) -> str:
    """Content of a file of the control group; empty where there is none."""
    try:
        return (CGROUP / name).read_text().strip()
    except OSError:
        return ""
