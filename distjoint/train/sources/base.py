"""What a source is: one kind of sample with its files, decoding, batches, step and sums.

A lane runs a list of sources and knows none of them by name or position. A source of a worker is made once; `visit`
gives its work on one visit, which the lane does a few units at a time.
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from distjoint.backends import Backend
from distjoint.backends.base import NONE, NotFiniteError
from distjoint.base.arrays import Ints
from distjoint.base.errors import DivergedError
from distjoint.base.progress import short
from distjoint.config import Config
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.data.manifest import Manifest
from distjoint.registry import SOURCES
from distjoint.table.arena import Arena
from distjoint.table.parts import Part
from distjoint.train.dense import Dense
from distjoint.train.rates import Rates
from distjoint.train.schedule import Visit
from distjoint.train.stream import Decoder, Stream
from distjoint.train.tally import Tally


@dataclass(frozen=True)
class Resources:
    """What the sources of a worker share.

    stream   decoded partitions, by the sources' decoders
    dense    dense parameters, with the sums of their gradients
    """

    scheme: Scheme
    dataset: Dataset
    arena: Arena
    backend: Backend
    stream: Stream
    dense: Dense

    @property
    def config(self) -> Config:
        return self.scheme.config

    @property
    def manifest(self) -> Manifest:
        return self.dataset.manifest

    @cached_property
    def degree(self) -> Ints:
        """int64[rows], by row id: training triples of an entity; one without any serves as no negative."""
        return np.asarray(self.dataset.rows(["degree"]).column("degree").to_numpy())

    def trained_rows(self, visit: Visit) -> tuple[Ints, Ints]:
        """Arena rows and row ids of a visit's entities that have a training triple: int64[n] each."""
        arena, shards = self.arena, visit.shards
        ids = np.concatenate([arena.layout.rows_of(shard) for shard in shards])
        rows = np.concatenate([arena.base(shard) + np.arange(arena.layout.shard_rows(shard)) for shard in shards])
        trained = self.degree[ids] > 0
        return rows[trained], ids[trained]


@dataclass(frozen=True)
class LaneVisit:
    """A visit of a lane, and what the lane does after it.

    passes      over the visit's triples
    following   the lane's next visit and its epoch: what it begins with is read ahead
    """

    visit: Visit
    epoch: int
    passes: int = 1
    following: tuple[int, Visit] | None = None

    def place(self) -> str:
        """Where this is, for a message."""
        return f"epoch {self.epoch + 1}, groups {self.visit.groups[0]} and {self.visit.groups[1]}"


class VisitWork(ABC):
    """A source's work on one visit.

    units   waves of tiles, or batches
    done    how many are done
    """

    name: str
    """The source's."""
    key: str
    """Configuration key of its step size."""
    unit: ClassVar[str] = "batch"
    """What its units are called."""

    def __init__(self, units: int, assigned: LaneVisit) -> None:
        self.units, self.done, self.assigned = units, 0, assigned
        self._failed: Tensor | None = None

    def due(self, share: int, steps: int) -> int:
        """Units to be done now, where `share` of `steps` equal steps' work is to be done after this one."""
        return self.units * share // steps - self.done

    @abstractmethod
    def do(self, count: int, rates: Rates, tally: Tally) -> None:
        """Train the next units.

        raises   DivergedError before any row is stepped by a loss or gradient that is not finite
        """

    def look(self, backend: Backend, where: str, *values: float | Tensor) -> Tensor | None:
        """Look at a unit's loss and squared gradients before rows are stepped by it, as `Backend.check` does.

        raises   DivergedError that says where
        """
        try:
            allowed = backend.check(*values)
        except NotFiniteError:
            raise DivergedError(self.message(where), self.key) from None
        if allowed is not None:
            self.note(allowed)
        return allowed

    def note(self, finite: Tensor) -> None:
        """Remember on the device, which is not waited for, the first unit whose loss or gradient was not finite."""
        if self._failed is None:
            self._failed = torch.full((), NONE, device=finite.device)
        self._failed = torch.where((self._failed < 0) & ~finite, self.done, self._failed)

    def verify(self) -> None:
        """Look whether all that was noted was finite. raises DivergedError"""
        if self._failed is not None and (number := int(self._failed)) >= 0:
            raise DivergedError(self.message(f"{self.unit} {number} of {self.units}"), self.key)

    def message(self, where: str) -> str:
        """What a DivergedError says."""
        place = f"{self.assigned.place()}, {where}"
        return f"{self.name}: the loss or a gradient is not a finite number ({place}); no row was stepped by it"

    @abstractmethod
    def release(self) -> None:
        """The visit is over: what was read for it may go."""


class Source(ABC):
    """One kind of sample.

    sums    names of what it adds to a tally
    first   whether it goes first where one must (`Coupling.reads_words`)
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """What its loss is called: `text` for `text_loss`."""
    unit: ClassVar[str]
    """What its samples are called: `cells` for `cells_per_second`."""
    digits: ClassVar[int] = 3
    """Of its loss, in the line about an epoch."""
    first: ClassVar[bool] = False
    compared: ClassVar[bool] = False
    """Whether its updates of words are compared with those of another source that says so (`train/agreement.py`)."""
    spawn_key: ClassVar[int | None] = None
    """What sets its random numbers apart from those of other sources; None for a checksum of its name."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    @classmethod
    def trains(cls, scheme: Scheme) -> bool:
        """Whether a run of this scheme reads it: where the coupling does."""
        return cls.name in scheme.coupling.sources

    @classmethod
    def check(cls, scheme: Scheme, dataset: Dataset) -> None:
        """Look at a dataset before a run begins. raises UsageError where it lacks what the source reads"""
        return None

    @classmethod
    def parts(cls, scheme: Scheme) -> list[Part]:
        """The parts of the table that it brings along, such as the state of its steps; none here."""
        return []

    @classmethod
    @abstractmethod
    def decoder(cls, dataset: Dataset, config: Config) -> Decoder:
        """How its partitions are read."""

    @classmethod
    def visit_samples(cls, scheme: Scheme, dataset: Dataset, visit: Visit, passes: int) -> int:
        """How many samples a visit trains, those of each pass counted again; by the manifest.

        A source that does not say takes no time in a plan.
        """
        return 0

    @classmethod
    def working_bytes(cls, scheme: Scheme, manifest: Manifest, visit: Visit) -> int:
        """About what its work on a visit takes, besides the table and decoded partitions; nothing to speak of here.

        Measured, not counted: `scripts/bench/plan.py` compares it with processes.
        """
        return 0

    @classmethod
    def batches_of(cls, scheme: Scheme, manifest: Manifest, visit: Visit) -> int:
        """Batches of a visit that leave gradients of dense parameters; known without reading any."""
        return 0

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of what it adds to a tally: its loss, squared gradients, samples and seconds."""
        return (f"{self.title}_loss", f"{self.title}_squares", self.unit, f"{self.title}_seconds")

    @abstractmethod
    def visit(self, assigned: LaneVisit) -> VisitWork:
        """Its work on a visit."""

    def batches(self, visit: Visit) -> int:
        """As `batches_of`, of the source's own scheme and dataset."""
        return self.batches_of(self.resources.scheme, self.resources.manifest, visit)

    def metrics(self, sums: Mapping[str, float], workers: int) -> dict[str, float]:
        """Means and rates by the names they have in metrics.jsonl; none where it trained nothing.

        workers   that trained at the same time: seconds are summed over them
        """
        count = sums[self.unit]
        if not count:
            return {}
        return {
            f"{self.title}_loss": sums[f"{self.title}_loss"] / count,
            self.unit: count,
            f"{self.unit}_per_second": count * workers / max(sums[f"{self.title}_seconds"], 1e-9),
            f"{self.title}_gradient_norm": math.sqrt(sums[f"{self.title}_squares"] / count),
        }

    def step_size(self, rates: Rates) -> float:
        """Its step size at a moment of the run: the graph's, unless it has one of its own."""
        return rates.graph * self.resources.config.graph.learning_rate

    @classmethod
    def epoch_words(cls, metrics: Mapping[str, Any]) -> list[str]:
        """What the line about an epoch says of it; nothing where it trained nothing."""
        if f"{cls.title}_loss" not in metrics:
            return []
        loss, speed = metrics[f"{cls.title}_loss"], short(metrics[f"{cls.unit}_per_second"])
        return [f"{cls.title} loss {loss:.{cls.digits}f} ({speed} {cls.unit}/s)"]

    @classmethod
    def generator(cls, config: Config, epoch: int, visit: Visit) -> np.random.Generator:
        """Its random numbers on a visit: of (seed, epoch, repeat, groups) alone."""
        own = zlib.crc32(cls.name.encode()) if cls.spawn_key is None else cls.spawn_key
        of_visit = [config.train.seed, epoch, visit.repeat, *visit.groups]
        return np.random.default_rng(np.random.SeedSequence(of_visit, spawn_key=(own,)))


def sources_of(scheme: Scheme) -> list[type[Source]]:
    """The sources that a run of this scheme trains, in their order."""
    kinds: list[type[Source]] = [SOURCES[name] for name in SOURCES.names()]
    return [kind for kind in kinds if kind.trains(scheme)]
