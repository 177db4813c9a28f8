"""How a shard begins in a run: from a checkpoint, from vectors that were given, or as the seed decides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from distjoint.base.arrays import Ints
from distjoint.couplings.scheme import Scheme, initial_shard
from distjoint.model.text import with_rate
from distjoint.runs.folder import Checkpoint, RunInfo
from distjoint.table.layout import Layout
from distjoint.table.parts import Shard
from distjoint.train.changes import first_value
from distjoint.train.initial import begin_with
from distjoint.train.sources.base import Resources


def usual(scheme: Scheme, layout: Layout, degree: Ints, shard: int) -> Shard:
    """A shard as the seed decides. degree: int64[rows]: training triples of an entity"""
    parts = initial_shard(scheme, layout, shard)
    if "X" in parts and scheme.coupling.unseen_begin_at_zero:
        unseen = degree[layout.rows_of(shard)[layout.has_entity(shard)]] == 0
        parts["X"][torch.from_numpy(unseen)] = 0
    return parts


@dataclass(frozen=True)
class Beginning:
    """Where the shards that no worker has yet come from.

    on        what the worker's sources share: the scheme, the layout, degrees
    start     the checkpoint that is resumed; None at the beginning
    initial   vectors of `train.init`, by shard; None without it
    """

    info: RunInfo
    on: Resources
    start: Checkpoint | None = None
    initial: Checkpoint | None = None

    def shard(self, shard: int) -> Shard:
        """The parts of a shard by name."""
        if self.start:
            return self._resumed(self.start, shard)
        scheme, layout = self.on.scheme, self.on.manifest.layout
        parts = usual(scheme, layout, self.on.degree, shard)
        if self.initial:
            parts = begin_with(parts, self.initial.shard(shard), scheme, layout, shard, self._maps)
        return parts

    @cached_property
    def _maps(self) -> dict[str, Tensor]:
        """Dense parameters that do not begin as usual, as they begin: not as they are by now."""
        return self.initial.dense() if self.initial else {}

    def _resumed(self, start: Checkpoint, shard: int) -> Shard:
        """A shard of a checkpoint. The text's learning rate may have changed since: it lies in the accumulators."""
        parts, rate = start.shard(shard), self.info.config.text.learning_rate
        before = start.manifest.text_learning_rate or first_value(self.info, "text.learning_rate")
        if "W" in parts and before != rate:
            parts |= {name: with_rate(parts[name], before, rate) for name in ("W.state", "C.state")}
        return parts
