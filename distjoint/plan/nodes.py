"""Types of machines, by the names that clouds give them.

Memory, cores and network are the sellers' own. Disks are what local NVMe drives are sold for, or the default volume.
Prices are list prices on demand, for a Linux machine in us-east-1 or us-central1, as they were when this was written;
nobody keeps them up to date. `--price` is what counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from distjoint.base.errors import UsageError
from distjoint.base.machine import cores, memory

NETWORK, DISK = 10.0, 500.0
"""Gbit/s and MB/s of a machine of which nothing is known."""


@dataclass(frozen=True)
class Node:
    """A machine.

    cores     hardware threads, as clouds count them
    memory    bytes
    network   Gbit/s
    disk      MB/s of its local disk
    price     USD an hour; None where it is not known
    """

    name: str
    cores: int
    memory: int
    network: float
    disk: float
    price: float | None


_GIB = 1 << 30


def nodes() -> dict[str, Node]:
    """The types that are known, by name."""
    types = (
        Node("c6i.8xlarge", 32, 64 * _GIB, 12.5, 500, 1.36),
        Node("m6i.8xlarge", 32, 128 * _GIB, 12.5, 500, 1.536),
        Node("r6i.2xlarge", 8, 64 * _GIB, 3.1, 500, 0.504),
        Node("r6i.8xlarge", 32, 256 * _GIB, 12.5, 500, 2.016),
        Node("r6i.32xlarge", 128, 1024 * _GIB, 50, 500, 8.064),
        Node("i4i.8xlarge", 32, 256 * _GIB, 18.75, 2000, 2.746),
        Node("i4i.32xlarge", 128, 1024 * _GIB, 75, 8000, 10.982),
        Node("n2-highmem-32", 32, 256 * _GIB, 32, 500, 2.096),
    )
    return {node.name: node for node in types}


def node_of(name: str | None) -> Node:
    """A type by its name; this machine for None. raises UsageError for an unknown one"""
    if name is None:
        return Node("this machine", cores(), memory(), NETWORK, DISK, None)
    known = nodes()
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(known)}"
        raise UsageError(
            f"--node {name}: no such type; {hint} Of any other, give --memory, --cores, --network, --disk and --price"
        )
    return known[name]
