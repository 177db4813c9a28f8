"""What the runners of ../peers.py share: what is asked of them, the clock of training, and snapshots of vectors.

A runner is a process in the Python of another trainer, so this needs numpy alone. It is told what to train by a JSON
file, and trains until it is told to stop. As often as `every` seconds of training it saves its vectors, prints one
line of JSON and waits for a line on standard input, `go` or `stop`; while it waits nothing trains and the clock
stands still.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Vectors = tuple[Floats, Floats]
"""Entities, float32[entities, dim], and relations, float32[R or 2 R, dim]: complex ones as real halves, then
imaginary halves; 2 R where the second half predicts heads."""


class StopError(Exception):
    """The target is reached, or the time is over."""


@dataclass(frozen=True)
class Task:
    """What is to be trained.

    triples              int64[n, 3] in a .npy file: head, relation, tail
    scorer, dim          complex or distmult; reals
    in_batch, uniform    negatives per positive and side; a system that has one kind takes as many as both together
    rate, batch          the learning rate of AdaGrad, and triples per step
    n3                   weight of the nuclear 3-norm: loss(tail) + loss(head) + n3 (|h|^3 + |t|^3 + |r|^3) per triple
    every, limit         seconds of training between two snapshots, and in all
    all_entities         for PyKEEN: candidates are all entities, not drawn ones
    folder               for snapshots and for what the system writes besides
    source               where the system's sources are, for one that is not installed
    """

    triples: str
    entities: int
    relations: int
    scorer: str
    dim: int
    in_batch: int
    uniform: int
    rate: float
    batch: int
    n3: float
    seed: int
    threads: int
    every: float
    limit: float
    folder: str
    all_entities: bool = False
    source: str | None = None

    @classmethod
    def read(cls) -> Task:
        """From the JSON file that the command line names."""
        return cls(**json.loads(Path(sys.argv[1]).read_text()))

    @property
    def negatives(self) -> int:
        return self.in_batch + self.uniform

    def load(self) -> NDArray[np.int64]:
        return np.asarray(np.load(self.triples), np.int64)


class Clock:
    """Seconds of training and triples trained, and the snapshots on the way."""

    def __init__(self, task: Task) -> None:
        self.task, self.seconds, self.triples, self.saved = task, 0.0, 0.0, 0.0
        self._began: float | None = None
        # What libraries print must not come between the lines of JSON.
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def start(self) -> None:
        """Go, or go on; nothing where it goes already."""
        if self._began is None:
            self._began = time.perf_counter()

    def stop(self) -> None:
        if self._began is not None:
            self.seconds += time.perf_counter() - self._began
            self._began = None

    def trained(self, triples: float, vectors: Callable[[], Vectors]) -> None:
        """So many triples more; a snapshot where one is due. raises StopError; the clock is as it was, but for that"""
        running = self._began is not None
        self.stop()
        self.triples += triples
        if self.seconds - self.saved >= self.task.every or self.seconds >= self.task.limit:
            self.saved = self.seconds
            self._snapshot(vectors())
        if running:
            self.start()

    def _snapshot(self, vectors: Vectors) -> None:
        file = Path(self.task.folder) / "vectors.npz"
        np.savez(file, entity=vectors[0], relation=vectors[1])
        line = {"seconds": self.seconds, "triples": round(self.triples), "vectors": str(file)}
        print(json.dumps(line), file=self._out, flush=True)
        if sys.stdin.readline().strip() != "go":
            raise StopError
