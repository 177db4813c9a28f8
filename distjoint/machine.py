"""What this process may use of its machine: cores and memory, as a container limits them too."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores this process may run on: the machine's, those it is bound to, or the container's share of them."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _limit("cpu.max").partition(" ")  # "200000 100000" is two cores, "max 100000" all
    return min(count, max(1, math.ceil(int(quota) / int(period)))) if quota.isdigit() and period.isdigit() else count


def memory() -> int:
    """Bytes of memory this process may fill: the machine's, or less where the container is limited."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _limit("memory.max")
    return min(physical, int(limit)) if limit.isdigit() else physical


def _limit(name: str) -> str:
    """A limit of this process's control group, version 2; empty where there is none."""
    try:
        return (_CGROUP / name).read_text().strip()
    except OSError:
        return ""
