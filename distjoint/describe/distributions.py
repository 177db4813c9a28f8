"""Distributions of counts: degrees of entities, frequencies of words; by percentiles and a histogram of a few bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distjoint.base.arrays import Ints
from distjoint.describe.keys import NumberedGraph
from distjoint.describe.page import Chapter, Figures, Value

PERCENTILES = (0, 10, 25, 50, 75, 90, 99, 100)
_EDGES = (0, 1, 2, 4, 10, 32, 100, 1_000, 10_000, 100_000)
"""Where bins begin; the last one has no end."""


@dataclass(frozen=True)
class Distribution:
    """Distribution of a count over things.

    of            what is counted, in words
    things        how many have a count
    mean          of the counts
    percentiles   `0` to `100` -> count
    histogram     bins in words -> how many things have a count in it; bins outside of all counts are left out
    """

    of: str
    things: int
    mean: float
    percentiles: Mapping[str, float]
    histogram: Mapping[str, int]

    @classmethod
    def of_counts(cls, of: str, counts: Ints) -> Distribution | None:
        """None of no counts."""
        if not len(counts):
            return None
        found = np.percentile(counts, PERCENTILES, method="lower")
        bins = np.bincount(np.searchsorted(_EDGES, counts, "right") - 1, minlength=len(_EDGES))
        filled = np.flatnonzero(bins)
        inside = range(int(filled[0]), int(filled[-1]) + 1)
        return cls(
            of,
            len(counts),
            float(counts.mean()),
            {str(at): float(value) for at, value in zip(PERCENTILES, found, strict=True)},
            {_called(k): int(bins[k]) for k in inside},
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def table(self, things: str) -> Figures:
        """The histogram, with the percentiles under it. things: what they are called"""
        rows: list[Sequence[Value]] = [(name, count, count / self.things) for name, count in self.histogram.items()]
        return Figures(
            self.of, ("count", things, "share"), rows, shares=("share",), bar=things, note=f"{self.in_words()}."
        )

    def in_words(self) -> str:
        """Mean and percentiles in a line."""
        names = {"0": "least", "50": "median", "100": "most"}
        parts = [f"{names.get(at, at + ' %')} {value:,.0f}" for at, value in self.percentiles.items()]
        return f"mean {self.mean:,.1f}; {', '.join(parts)}"


@dataclass(frozen=True)
class Degrees:
    """Degrees of entities by training triples: how many name an entity, and those with it as head and as tail."""

    of_entities: Distribution | None
    as_head: Distribution | None
    as_tail: Distribution | None

    @classmethod
    def of(cls, graph: NumberedGraph) -> Degrees:
        return cls(
            Distribution.of_counts("Training triples of an entity", graph.degree),
            Distribution.of_counts("As their head", graph.out_degree),
            Distribution.of_counts("As their tail", graph.degree - graph.out_degree),
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def chapter(self) -> Chapter:
        tables = [self.of_entities.table("entities")] if self.of_entities else []
        return Chapter(
            "Degrees", [f"{each.of}: {each.in_words()}." for each in (self.as_head, self.as_tail) if each], tables
        )


def _called(k: int) -> str:
    """A bin in words."""
    start = _EDGES[k]
    if k + 1 == len(_EDGES):
        return f"{start:,} or more"
    last = _EDGES[k + 1] - 1
    return f"{start:,}" if last == start else f"{start:,}-{last:,}"
