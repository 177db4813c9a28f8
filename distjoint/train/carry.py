"""A run that goes on from another, on a dataset that grew from the other's: what its rows begin as.

Rows that the other run had keep all they had: every part, and the state of its optimizer; so do relations and maps. The
map from the old table to the new is the layouts' (`table.layout`): ids stay, so a row is old where its id is below the
number of the other's rows. Rows that are new begin as in any run; beside a text that the coupling reads, near zero.

All of it is written to the new run's folder as if it were a checkpoint taken before the first epoch, from which workers
take their shards. So the run can be killed at any time, and the other one may be deleted once this one has begun. A
grown run is then no other than one that is resumed, except that its epochs begin at 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distjoint.backends import backend_of
from distjoint.base.arrays import Bools
from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.progress import Progress
from distjoint.config import Config
from distjoint.couplings.base import RELATION
from distjoint.couplings.scheme import RESIDUAL, Scheme, spread_of
from distjoint.data.dataset import Dataset
from distjoint.data.of_run import open_dataset
from distjoint.data.streams import MENTIONS
from distjoint.model.text import with_rate
from distjoint.runs.checkpoint import Position, write_beginning
from distjoint.runs.folder import CarriedFrom, Checkpoint, RunFolder, RunInfo
from distjoint.storage import Location, Options
from distjoint.table.layout import Layout
from distjoint.table.parts import Shard
from distjoint.train.beginning import usual
from distjoint.train.build import build_dense, scheme_of
from distjoint.train.changes import first_value
from distjoint.train.initial import FOLDER, Found, begin_with

_STAYS = ("graph.optimizer", "graph.optimizer_options")
"""Keys that must be the other run's, besides all of section `model`: else what it has would mean something else."""


@dataclass(frozen=True)
class Old:
    """The run that another goes on from.

    checkpoint   its result
    relations    how many it has
    """

    run: RunFolder
    checkpoint: Checkpoint
    relations: int

    @classmethod
    def open(cls, url: str, options: Options | None) -> Old:
        """raises DistjointError where there is no run with a result"""
        run = RunFolder.open(url, options)
        return cls(run, run.result(), len(run.relations()))

    @property
    def config(self) -> Config:
        """Its configuration, for a run that begins by what it has."""
        config = self.run.info.config
        return config.model_copy(update={"train": config.train.model_copy(update={"init": None})})

    def check(self, info: RunInfo, data: Dataset) -> str:
        """Look whether a run can go on from this one; returns the fingerprint of its dataset.

        raises DistjointError where the dataset did not grow from its; UsageError for settings that must stay
        """
        mine, ours = self.run.info, info.config.model_dump(mode="json")
        theirs = mine.config.model_dump(mode="json")
        pairs = {f"model.{key}": (value, ours["model"][key]) for key, value in theirs["model"].items()}
        for key in _STAYS:
            section, _, name = key.partition(".")
            pairs[key] = theirs[section][name], ours[section][name]
        wrong = [f"{key} is {old} and must stay, not {new}" for key, (old, new) in pairs.items() if old != new]
        if wrong:
            raise UsageError(f"{self.run.folder}: {'; '.join(wrong)}; leave it out, or train without --from")
        if mine.coupling != info.coupling or not set(mine.sources) <= set(info.sources):
            raise UsageError(
                f"{self.run.folder}: trained {' and '.join(mine.sources)} by coupling {mine.coupling}; on "
                f"{data.folder} {' and '.join(info.sources)} would train, by coupling {info.coupling}; set loss.alpha "
                "so that the same sides train, or train without --from"
            )
        fingerprint = mine.dataset_fingerprint or open_dataset(self.run).manifest.fingerprint()
        known = [each.fingerprint for each in data.manifest.grown_from] + [data.manifest.fingerprint()]
        if fingerprint not in known or not data.layout.grew_from(self.run.layout):
            raise DistjointError(
                f"{data.folder}: did not grow from the dataset of {self.run.folder} ({mine.dataset}, fingerprint "
                f"{fingerprint}), so their rows are not the same; make one that did: distjoint prepare --from "
                f"{self.run.folder} --out NEW ..."
            )
        return fingerprint

    def noted(self, info: RunInfo, fingerprint: str) -> RunInfo:
        """A run with the note that it goes on from this one."""
        mine = self.run.info
        this = CarriedFrom(
            run=self.run.folder.absolute,
            checkpoint=str(mine.result),
            dataset_fingerprint=fingerprint,
            layout=mine.layout,
            relations=self.relations,
            epochs=Position.of(str(mine.result)).epoch,
        )
        return info.model_copy(update={"carried": (*mine.carried, this)})


def write_carried(
    old: Old, run: Location, info: RunInfo, data: Dataset, found: Found | None, progress: Progress
) -> None:
    """Write what a run begins as to its folder.

    found   vectors of `train.init`, which new rows begin with
    """
    scheme, layout = scheme_of(info), data.layout
    degree = np.asarray(data.rows(["degree"]).column("degree").to_numpy())
    described = _described(data) if scheme.coupling.reads_text else np.zeros(layout.rows, np.bool_)
    dense = _dense(old, scheme, info, data, found)
    begun = 0

    def shards() -> Iterator[Shard]:
        nonlocal begun
        with progress.task("taking over rows", layout.shards, "shards") as task:
            for shard in range(layout.shards):
                parts = usual(scheme, layout, degree, shard)
                _shrink(parts, scheme, layout, shard, described)
                if found:
                    given = found.shard(shard, old.run.layout.rows)
                    parts = begin_with(parts, given, scheme, layout, shard, dense)
                    begun += len(given["word.place"]) + len(given["entity.place"])
                _take(old, parts, scheme, layout, shard)
                yield parts
                task.advance(1)

    write_beginning(run / FOLDER, info, shards(), dense, info.config.text.learning_rate)
    rows, before = layout.rows, old.run.layout.rows
    said = f", and have {begun:,} of these vectors" if found else ""
    progress.say(f"{run}: {before:,} rows go on from {old.checkpoint.folder}, {rows - before:,} are new{said}")


def _take(old: Old, parts: Shard, scheme: Scheme, layout: Layout, shard: int) -> None:
    """Put what the other run has of a shard's rows in their places."""
    theirs, before = old.checkpoint.shard(shard), old.run.layout
    places = {
        "word": _places(before, layout, shard, "word"),
        "entity": _places(before, layout, shard, "entity"),
    }
    mine = old.run.info
    rates = (
        old.checkpoint.manifest.text_learning_rate or first_value(mine, "text.learning_rate"),
        scheme.config.text.learning_rate,
    )
    for part in scheme.parts:
        if part.made or part.name not in theirs:
            continue
        values = theirs[part.name]
        if part.name in ("W.state", "C.state") and rates[0] != rates[1]:
            values = with_rate(values, *rates)
        parts[part.name][places[part.of]] = values


def _places(before: Layout, layout: Layout, shard: int, of: str) -> Tensor:
    """int64[rows of before]: where rows of a shard lie now among those of the kind, in order of where they lay."""
    ids = []
    for each in (before, layout):
        rows = each.rows_of(shard)
        ids.append(rows[each.is_word(rows) if of == "word" else each.is_entity(rows)])
    order = np.argsort(ids[1], kind="stable")
    return torch.from_numpy(order[np.searchsorted(ids[1][order], ids[0])])


def _described(data: Dataset) -> Bools:
    """bool[rows]: entities of which something is said."""
    layout, found = data.layout, np.zeros(data.layout.rows, np.bool_)
    for span in data.manifest.streams.get(MENTIONS, ()):
        entity = data.samples(MENTIONS, span.i, span.j, {"entity": layout.shard_rows(span.i)})["entity"]
        found[layout.rows_of(span.i)[np.unique(entity)]] = True
    return found


def _shrink(parts: Shard, scheme: Scheme, layout: Layout, shard: int, described: Bools) -> None:
    """X of entities that have text begins near zero; beside a word it does already."""
    if "X" not in parts or not scheme.coupling.reads_text:
        return
    rows = layout.rows_of(shard)
    rows = rows[layout.is_entity(rows)]
    with_text = torch.from_numpy(described[rows] & ~layout.is_word(rows))
    parts["X"][with_text] *= RESIDUAL / spread_of(scheme.config)


def _dense(old: Old, scheme: Scheme, info: RunInfo, data: Dataset, found: Found | None) -> dict[str, Tensor]:
    """Relations and maps with the state of their steps: the other run's, and new relations after its."""
    backend = backend_of(torch.device("cpu"), 1)
    try:
        count = data.manifest.counts.get("relations", 0)
        dense = build_dense(scheme, count, backend)
        if found:
            dense.begin(found.tables.tensors())
        begun = dense.tensors()
    finally:
        backend.close()
    theirs = old.checkpoint.dense()
    for name, values in begun.items():
        if name not in theirs:
            continue
        if name.rpartition(".")[0].endswith(RELATION) or name.endswith(RELATION):
            _take_relations(values, theirs[name], old.relations, count)
        else:
            values.copy_(theirs[name])
    return begun


def _take_relations(values: Tensor, theirs: Tensor, before: int, count: int) -> None:
    """Relations keep their ids; the rows by which heads are predicted come after those of all relations."""
    values[:before] = theirs[:before]
    if len(values) > count:
        values[count : count + before] = theirs[before:]
