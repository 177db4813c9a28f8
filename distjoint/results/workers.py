"""Work on many blocks by several threads, its results in the order of the blocks.

Threads, since they share the table, its names and its known triples; what takes long, products and searches in numpy,
torch and Arrow, lets others run meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from distjoint.base.machine import cores

_T = TypeVar("_T")
_R = TypeVar("_R")


def in_order(workers: int, blocks: Iterable[_T], work: Callable[[_T], _R]) -> Iterator[_R]:
    """What is made of each block, in their order; at most one more than `workers` of them are in memory.

    The first is made before there are threads: so is what all share, and is made when it is first needed.

    raises   what `work` raises; blocks that have not begun are then left
    """
    remaining = iter(blocks)
    for first in remaining:
        yield work(first)
        break
    if workers == 1:
        yield from map(work, remaining)
        return
    waiting = deque[Future[_R]]()
    with _shared_cores(workers), ThreadPoolExecutor(workers, "answers") as pool:
        try:
            for block in remaining:
                waiting.append(pool.submit(work, block))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            yield from (each.result() for each in waiting)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _shared_cores(workers: int) -> Iterator[None]:
    """Let each thread's products have its share of the cores, not all of them."""
    import sys

    torch = sys.modules.get("torch")  # not loaded by neighbours, which do without
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, cores() // workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
