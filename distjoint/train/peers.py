"""A watch over the other workers of a run: one that is silent for too long is taken for dead.

Where a process dies its connections close, and every collective that waits for it fails at once. A machine that
vanishes, or a process that is frozen, closes nothing: those that wait for it would wait as long as the slowest honest
work may take. So each worker says in a key-value store, every few seconds and from a thread of its own, that it
lives, and one that hears nothing from a peer leaves: the run can then go on from its last checkpoint.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]

_BEAT = 5.0
SILENCE = 40.0
"""Seconds without a beat after which a worker is given up."""
_LEFT = "left"
_LEAVING = 2.0


class Heartbeat:
    """Heartbeat of this worker, and a watch over the others'; every worker of the process group has one.

    A context: left in good order, it says so.

    leave   called with a sentence when a peer is silent; by default says it and ends the process
    """

    def __init__(
        self, beat: float = _BEAT, silence: float = SILENCE, leave: Callable[[str], None] | None = None
    ) -> None:
        self._rank, self._workers = dist.get_rank(), dist.get_world_size()
        self._beat, self._silence, self._leave = beat, silence, leave or _end
        self._store = self._join()
        self._done = threading.Event()
        self._store.set(self._key(self._rank), "0")
        dist.barrier()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Heartbeat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Say that this worker leaves in good order."""
        self._done.set()
        self._thread.join(_LEAVING)

    def _join(self) -> TCPStore:
        """The store, of rank 0."""
        timeout, port = timedelta(seconds=self._silence), [0]
        host = os.environ["MASTER_ADDR"]
        store = None
        if self._rank == 0:
            store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout)
            port = [store.port]
        dist.broadcast_object_list(port)
        return store or TCPStore(host, port[0], is_master=False, timeout=timeout)

    def _run(self) -> None:
        heard = {rank: ("", time.monotonic()) for rank in range(self._workers) if rank != self._rank}
        count = 0
        try:
            while not self._done.wait(self._beat):
                count += 1
                self._store.set(self._key(self._rank), str(count))
                for rank, (last, since) in list(heard.items()):
                    found, now = self._store.get(self._key(rank)).decode(), time.monotonic()
                    if found == _LEFT:
                        del heard[rank]
                    elif found != last:
                        heard[rank] = (found, now)
                    elif now - since > self._silence:
                        return self._leave(f"worker {rank} has not been heard of for {now - since:.0f} s")
            self._store.set(self._key(self._rank), _LEFT)
        except dist.DistError as error:
            if not self._done.wait(_LEAVING):  # else it was the first of all to end
                self._leave(f"worker 0 does not answer ({str(error).splitlines()[0]})")

    @staticmethod
    def _key(rank: int) -> str:
        return f"beat/{rank}"


def _end(reason: str) -> None:
    """Leave at once: the thread that trains may be waiting where no exception reaches it."""
    print(f"distjoint: {reason}; leaving, so that the run can go on from its last checkpoint", file=sys.stderr)
    sys.stderr.flush()
    os._exit(1)
