"""Speed: samples a second of a core, measured here by a probe, or quoted from what was measured elsewhere.

A probe trains for some seconds by the product's own code: the run's configuration on the dataset's samples where these
are few enough to begin at once, else on a sample of the same proportions, drawn by Zipf's law.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from distjoint.backends.cpu.memory import keep_freed
from distjoint.base.progress import Progress, Task
from distjoint.config import Config
from distjoint.couplings.base import RELATION
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.data.streams import triples_of
from distjoint.plan.imagined import ImaginedDataset, shrunk
from distjoint.runs.folder import RunInfo
from distjoint.train import agreement
from distjoint.train.beginning import Beginning
from distjoint.train.build import Parts, build, local_place, scheme_of
from distjoint.train.epoch import passes_of, rounds_of, sync_points
from distjoint.train.lane import Lane
from distjoint.train.on_storage import dense_shapes
from distjoint.train.plan import plan
from distjoint.train.rates import rates
from distjoint.train.residency import Parking, Residency
from distjoint.train.schedule import Round, Visit
from distjoint.train.sources.base import LaneVisit, sources_of
from distjoint.train.tally import Tally
from distjoint.train.warm_up import warm_up
from distjoint.train.worker import one_torch_thread

_MOST = 400_000
"""Rows, and samples of a stream, of a dataset that a probe makes up."""
_MOST_OF_ITS_OWN = 4_000_000
"""Those of a dataset that it begins at once."""
_PATIENCE = 4
"""Times as long as it may, that a probe trains where some source's turn has not come."""
_WARM = 3
"""Steps that are not measured: the first ones read and compile."""
QUOTED = "figures of an AMD Zen 4 machine, 2 cores, measured for this package"
_QUOTED_TRIPLES = 109e3 * 200 * 100
"""Triples a second of a core, times dimensions and candidates: ComplEx, 200 reals, 100 a side: 218 k/s on two."""
_QUOTED_CELLS = 2.4e9
"""Cells a second of a core, times dimensions: 100 dimensions 43.9 M/s on two, 300 dimensions 17.5 M/s."""
_QUOTED_PULLS = 3e8
"""Mentions, or pairs, a second of a core, times dimensions."""
_QUOTED_SETUP = 2e-7
"""Seconds of a core for each row and known triple of a visit that begins."""


@dataclass(frozen=True)
class Speed:
    """What a core does.

    rates     samples a second by what its source calls them: `triples`, `cells`, `mentions`, `pairs`
    setup     seconds for each row and training triple of a visit, before its first batch
    said      where these are from, in words
    measured  whether a probe measured them
    """

    rates: Mapping[str, float]
    setup: float
    said: str
    measured: bool = False

    def seconds(self, samples: Mapping[str, float], rows: float, cores: int) -> float:
        """Of a visit on so many cores, each as fast as one is."""
        return (sum(count / self.rates[unit] for unit, count in samples.items() if count) + self.setup * rows) / cores


def quoted(scheme: Scheme) -> Speed:
    """Figures of another machine, by the number of operations of a sample."""
    graph, dim = scheme.config.graph, scheme.dim
    terms = max(1, sum(name.endswith(RELATION) for name in dense_shapes(scheme, 1)))
    candidates = graph.negatives + graph.chunk * graph.in_batch
    known = {
        "triples": _QUOTED_TRIPLES / (dim * max(candidates, 20) * terms),
        "cells": _QUOTED_CELLS / dim,
        "mentions": _QUOTED_PULLS / dim,
        "pairs": _QUOTED_PULLS / dim / 4,
    }
    named = {kind.unit: known.get(kind.unit, known["pairs"]) for kind in sources_of(scheme)}
    return Speed(named, _QUOTED_SETUP, f"{QUOTED}; by the number of multiplications. --probe measures this machine")


def probe(config: Config, data: Dataset, groups: int, seconds: float, progress: Progress) -> Speed:
    """Train for some seconds and look how fast each source is. It writes no run, and keeps nothing.

    groups   of the run: a visit of the probe has as large a share of the table as the run's
    """
    counts, layout = data.manifest.counts, data.layout
    sizes = (layout.rows, counts.get("triples/train", 0), counts.get("cells", 0), counts.get("mentions", 0))
    own = not isinstance(data, ImaginedDataset) and max(sizes) <= _MOST_OF_ITS_OWN
    sample = data if own else shrunk(data, _MOST)
    alone = {"lanes": None, "groups": min(groups, sample.layout.shards), "memory": None, "init": None, "freeze": ()}
    unmeasured = {"validate_every": 0, "patience": 0, "final_test": False}
    train = config.train.model_copy(update=alone | unmeasured)
    info = plan(sample, "probe", config.model_copy(update={"train": train}), 1)
    with progress.task("measuring this machine's speed", total=seconds) as bar:
        measured = _Probe(info, sample).run(seconds, bar)
    what = "the dataset's own samples" if own else f"samples drawn for {sample.layout.rows:,} rows"
    said = f"a probe of this machine: {measured.spent:.2g} s on {what}, {measured.threads} threads"
    others = quoted(scheme_of(info)).rates
    if missing := sorted(others.keys() - measured.rates.keys()):
        said += f"; {', '.join(missing)} did not come to train, and are {QUOTED}"
    return Speed({**others, **measured.rates}, measured.setup, said, measured=True)


@dataclass(frozen=True)
class _Measured:
    rates: dict[str, float]
    setup: float
    spent: float
    threads: int


def _have_trained(parts: Parts, first: Mapping[str, float], tally: Tally) -> bool:
    """Whether each source has trained something since."""
    now = tally.sums()
    return all(now[source.unit] > first[source.unit] for source in parts.sources)


class _Probe:
    """A lane at work, without a run. A core's speed is a thread's share of what all of them do together."""

    def __init__(self, info: RunInfo, data: Dataset) -> None:
        self._info, self._data, self._scheme = info, data, scheme_of(info)
        self._place = local_place(info.config.train.threads)

    def run(self, seconds: float, bar: Task) -> _Measured:
        with ExitStack() as stack:
            stack.enter_context(keep_freed())
            stack.enter_context(one_torch_thread())
            parts, parking = build(self._info, self._data, self._place), Parking(on_disk=False)
            stack.callback(parts.close)
            stack.callback(parking.close)
            begin = Beginning(self._info, parts.resources).shard
            residency = Residency(parts.resources.arena, parking, 0, lambda _: 0, begin)
            warm_up(self._scheme, parts.backend)
            round_ = rounds_of(self._info, 1, repeats=1)[0]
            residency.settle(round_)
            return self._train(parts, round_, seconds, bar)

    def _train(self, parts: Parts, round_: Round, seconds: float, bar: Task) -> _Measured:
        visit = next(visit for visit in round_.visits if visit)
        tally = Tally([*(name for source in parts.sources for name in source.sums), *agreement.SUMS])
        steps = sync_points(self._info, self._scheme, self._data.manifest, round_)
        begun, setup, spent, first, done = time.perf_counter(), 0.0, 0.0, tally.sums(), 0
        epoch = 1
        while time.perf_counter() - begun < seconds:
            start = time.perf_counter()
            lane = Lane(parts.resources, parts.sources, LaneVisit(visit, epoch, passes_of(self._info)), tally)
            took = time.perf_counter() - start
            # The first visit is cold: known positives, say, are read then; where all is resident they stay.
            setup = took if epoch <= 2 else (setup + took) / 2
            for step in range(steps):
                start = time.perf_counter()
                lane.advance(step, steps, rates(self._scheme, 0.5))
                if parts.resources.dense.values:
                    parts.resources.dense.sync(1.0)
                took, done = time.perf_counter() - start, done + 1
                if done <= _WARM < steps:
                    first = tally.sums()
                else:
                    spent += took
                bar.advance(took)
                late = time.perf_counter() - begun
                if late > _PATIENCE * seconds or (late > seconds and _have_trained(parts, first, tally)):
                    break
            epoch += 1
        return self._found(parts, first, tally.sums(), setup, spent, visit)

    def _found(
        self,
        parts: Parts,
        first: Mapping[str, float],
        last: Mapping[str, float],
        setup: float,
        spent: float,
        visit: Visit,
    ) -> _Measured:
        """Rates of sources by the time of their own, less what steps take besides."""
        sums = {name: last[name] - first[name] for name in last}
        own = {source.unit: sums[f"{source.title}_seconds"] for source in parts.sources}
        share = sum(own.values()) / max(spent, 1e-9)
        found = {
            unit: sums[unit] / time_ * min(1.0, share) / self._place.threads
            for unit, time_ in own.items()
            if sums[unit] and time_
        }
        weight = visit_weight(self._data, visit)
        return _Measured(found, setup * self._place.threads / weight, spent, self._place.threads)


def visit_weight(data: Dataset, visit: Visit) -> int:
    """Rows and training triples of a visit: what it takes to begin one goes by them."""
    triples = sum(data.manifest.samples(triples_of("train"), *partition) for partition in visit.partitions)
    return sum(data.layout.shard_rows(shard) for shard in visit.shards) + triples
