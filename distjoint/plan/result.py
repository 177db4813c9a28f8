"""The plan of a run, as an object, a table and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from distjoint.base.progress import short
from distjoint.base.sizes import in_bytes
from distjoint.plan.forecast import Epoch
from distjoint.plan.nodes import Node
from distjoint.plan.speed import Speed
from distjoint.train.memory import Memory


@dataclass(frozen=True)
class PartBytes:
    """A part of the table.

    of          the rows that have it: `word` or `entity`
    holds       `vectors`, `optimizer` or `text`, what is made of words anew
    row, total  bytes of one row, and of all
    """

    name: str
    of: str
    holds: str
    row: int
    total: int


@dataclass(frozen=True)
class Plan:
    """What a run takes and costs.

    what         is planned: the dataset's URL, or its sizes
    counts       words, entities, triples, cells ... of the dataset
    parts        of the table
    dataset, checkpoint, checkpoints   bytes on storage; all of those that are kept
    shards, groups, lanes, workers     of the run
    memory       bytes of a worker
    available    bytes that a worker may take
    epoch        what moves and how long it takes; bytes of all workers
    epochs       of the run
    speed, node  what hours and price are reckoned by
    bound        what an epoch waits for most: `memory` where it does not fit, `compute`, `disk` or `network`
    advice       what to change so that it fits, or is faster
    assumptions  what the figures take for granted
    """

    what: str
    counts: dict[str, int]
    parts: tuple[PartBytes, ...]
    dataset: int
    checkpoint: int
    checkpoints: int
    shards: int
    groups: int
    lanes: int
    workers: int
    coupling: str
    memory: Memory
    available: int
    epoch: Epoch
    epochs: int
    speed: Speed
    node: Node
    bound: str
    advice: tuple[str, ...]
    assumptions: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether a worker has the memory that it takes."""
        return self.memory.total <= self.available

    @property
    def table(self) -> int:
        """Bytes of the table, with the state of its optimizer."""
        return sum(part.total for part in self.parts)

    @property
    def hours(self) -> float:
        """Of the whole run, with its checkpoints; without start and validations."""
        return self.epochs * (self.epoch.seconds + self.epoch.checkpoint) / 3600

    @property
    def price(self) -> float | None:
        """USD of the whole run; None where nobody said what a node costs."""
        return None if self.node.price is None else self.hours * self.workers * self.node.price

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON has it: bytes, seconds, hours, USD."""
        found = asdict(self)
        found["memory"]["total"] = self.memory.total
        return found | {"table": self.table, "fits": self.fits, "hours": self.hours, "price": self.price}

    def line(self) -> str:
        """The plan in one line."""
        price = "" if self.price is None else f", {self.price:,.0f} USD"
        return (
            f"table {in_bytes(self.table)}, {in_bytes(self.memory.total)} of memory a worker, "
            f"{_time(self.epoch.seconds)} an epoch, {_time(3600 * self.hours)} in all{price}; bound by {self.bound}"
        )

    def rows(self) -> Iterator[tuple[str, str]]:
        """The lines of the table: what, and how much."""
        counts = (("words", "words"), ("entities", "entities"), ("triples/train", "triples"), ("cells", "cells"))
        yield self.what, ", ".join(f"{short(self.counts[key])} {name}" for key, name in counts if self.counts.get(key))
        yield from self._sizes()
        node, epoch = self.node, self.epoch
        groups = f"{self.groups} groups of {self.shards} shards"
        yield "run", f"coupling {self.coupling}, {self.lanes} lanes on {self.workers} workers, {groups}"
        machine = f"{node.cores} cores, {in_bytes(self.available)}, {node.network:g} Gbit/s, disk {node.disk:g} MB/s"
        yield "node", f"{node.name}: {machine}"
        parts = ", ".join(f"{name} {in_bytes(size)}" for name, size in asdict(self.memory).items() if size)
        yield "memory a worker", f"{in_bytes(self.memory.total)}: {parts}" + ("" if self.fits else "; DOES NOT FIT")
        samples = [f"{short(count)} {unit}" for unit, count in epoch.samples.items()]
        yield "epoch", ", ".join([f"{epoch.visits:,} visits in {epoch.rounds:,} rounds", *samples])
        by_network = f"{in_bytes(epoch.sent)} of shards and {in_bytes(epoch.summed)} of gradients by network"
        yield "moved an epoch", f"{in_bytes(epoch.parked)} by disk, {by_network}"
        each = f"computing {epoch.compute:,.3g}, disk {epoch.disk:,.3g}, network {epoch.network:,.3g}"
        yield "seconds an epoch", f"{epoch.seconds:,.3g}: {each}; a checkpoint {epoch.checkpoint:,.3g}"
        price = "" if self.price is None else f", {self.price:,.2f} USD"
        yield "in all", f"{_time(3600 * self.hours)} for {self.epochs} epochs{price}"
        yield "bound by", self.bound
        yield "speed", self.speed.said
        yield from (("to change", advice) for advice in self.advice)
        yield from (("taken for granted", assumption) for assumption in self.assumptions)

    def _sizes(self) -> Iterator[tuple[str, str]]:
        for of in ("word", "entity"):
            row = {name: sum(p.row for p in self.parts if p.of == of and p.holds == name) for name in _HOLDS}
            if any(row.values()):
                yield f"bytes a row, {of}", ", ".join(f"{size:,} {name}" for name, size in row.items() if size)
        sums = {name: sum(part.total for part in self.parts if part.holds == name) for name in _HOLDS}
        yield "table", f"{in_bytes(self.table)}: " + ", ".join(f"{name} {in_bytes(n)}" for name, n in sums.items() if n)
        checkpoints = f"checkpoint {in_bytes(self.checkpoint)}, {in_bytes(self.checkpoints)} of them kept"
        yield "on storage", f"dataset {in_bytes(self.dataset)}, {checkpoints}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column()
        before = ""
        for name, value in self.rows():
            table.add_row("" if name == before else name, value)
            before = name
        yield table


_HOLDS = ("vectors", "optimizer", "text")


def _time(seconds: float) -> str:
    """Seconds for people."""
    for unit, factor in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds:.3g} seconds"
