"""Relations by kind: how many answers they have, whether they are symmetric, antisymmetric or like transitive ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distjoint.base.progress import Progress
from distjoint.describe.composition import CLOSED, MOST, Composition
from distjoint.describe.keys import NumberedGraph, distinct
from distjoint.describe.page import Chapter, Figures, Value
from distjoint.describe.patterns import Overlaps, RelationPair, find_pairs, wanted_share
from distjoint.evaluate.breakdown import CATEGORIES, MANY, categories

ANTISYMMETRIC = 0.05
"""Share of reversed triples up to which a relation is antisymmetric."""
_SHOWN = 25
"""Lines of a table for people; JSON has all."""


@dataclass(frozen=True)
class RelationFigures:
    """One relation.

    train              its training triples
    category           `1-1`, `1-N`, `N-1`, `N-N` or `not in training`
    tails_per_head, heads_per_tail    means over those that it has; None where training has none
    loops              triples whose ends are one entity
    symmetric_share    of its triples that are no loops, those whose reversal is in it too; None where there are none
    paths              paths of two steps
    composition_share  of those with three different entities, the closed ones; None where there are none
    sampled            whether only some of the paths were walked
    kinds              those of `symmetric`, `symmetric in part`, `antisymmetric`, `transitive-like` that it is
    """

    name: str
    train: int
    category: str
    tails_per_head: float | None
    heads_per_tail: float | None
    loops: int
    symmetric_share: float | None
    paths: int
    composition_share: float | None
    sampled: bool
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class GraphRelations:
    """The relations of a graph, by their training triples.

    relations       each of them, in order of id: most frequent first
    pairs           symmetric ones, inverse pairs and near-duplicates
    share           of the triples of both relations, from which those are such; in training it is `wanted_share`
    """

    relations: Sequence[RelationFigures]
    pairs: Sequence[RelationPair]
    share: float
    wanted_share: float

    @classmethod
    def of(cls, graph: NumberedGraph, share: float, seed: int, progress: Progress) -> GraphRelations:
        """Look at all relations. share: of the whole data's triples, from which relations are a pair"""
        names, train = graph.relations, graph.triples(graph.train_keys)
        with progress.task("relations in pairs"):
            overlaps = Overlaps.of(graph, graph.train_keys)
            pairs = find_pairs(graph, share, overlaps)
        with progress.task("paths of relations", len(names), "relations") as task:
            composed = Composition.of(graph, seed, task)
        heads, tails = (
            np.bincount(distinct(graph.end_keys(train.relation, end)) // max(graph.entities, 1), minlength=len(names))
            for end in (train.head, train.tail)
        )
        category = categories(train, len(names))
        themselves = {pair.first for pair in pairs if pair.kind == "symmetric"}
        symmetry, composition = overlaps.symmetry, composed.share
        found = []
        for r, name in enumerate(names):
            n = int(overlaps.triples[r])
            symmetric, closed = _number(symmetry[r]), _number(composition[r])
            found.append(
                RelationFigures(
                    name=name,
                    train=n,
                    category=CATEGORIES[category[r]],
                    tails_per_head=n / int(heads[r]) if n else None,
                    heads_per_tail=n / int(tails[r]) if n else None,
                    loops=n - int(overlaps.directed[r]),
                    symmetric_share=symmetric,
                    paths=int(composed.paths[r]),
                    composition_share=closed,
                    sampled=int(composed.paths[r]) > MOST,
                    kinds=_kinds(r in themselves, symmetric, closed),
                )
            )
        return cls(found, pairs, share, wanted_share(graph, share))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        names = [each.name for each in self.relations]
        return {
            "share": self.share,
            "wanted_share": self.wanted_share,
            "antisymmetric_below": ANTISYMMETRIC,
            "transitive_from": CLOSED,
            "by_kind": [dict(zip(("kind", "relations", "triples"), line, strict=True)) for line in self.by_kind()],
            "relations": [asdict(each) for each in self.relations],
            "pairs": [pair.to_dict(names) for pair in self.pairs],
        }

    def by_kind(self) -> list[tuple[str, int, int]]:
        """Of every kind that there is: its name, relations, and their training triples."""
        kinds: dict[str, list[int]] = {name: [] for name in CATEGORIES}
        for each in self.relations:
            for kind in (each.category, *each.kinds):
                kinds.setdefault(kind, []).append(each.train)
        for kind in ("inverse", "duplicate"):
            members = {r for pair in self.pairs if pair.kind == kind for r in (pair.first, pair.second)}
            kinds[f"in {kind} pairs"] = [self.relations[r].train for r in members]
        return [(kind, len(triples), sum(triples)) for kind, triples in kinds.items() if triples]

    def share_of(self, kind: str) -> float:
        """Share of the training triples whose relation is of a kind."""
        every = sum(each.train for each in self.relations)
        return sum(triples for name, _, triples in self.by_kind() if name == kind) / every if every else 0.0

    def chapter(self) -> Chapter:
        every = sum(each.train for each in self.relations)
        kinds: list[Sequence[Value]] = [
            (kind, count, triples, triples / every if every else 0.0) for kind, count, triples in self.by_kind()
        ]
        sentences = [
            f"N is {MANY:g} answers or more on average (Bordes et al. 2013). Symmetric, inverse and duplicate: at "
            f"least {self.wanted_share:.3f} of the training triples of both relations have their counterpart there, or "
            f"{self.share:g} of those of all splits. "
            f"Antisymmetric: at most {ANTISYMMETRIC:g} have; symmetric in part: what lies between. Transitive-like: at "
            f"least {CLOSED:g} of the paths h, m, t of a relation are closed by it."
        ]
        tables = [
            Figures("Relations by kind", ("kind", "relations", "train triples", "share"), kinds, ("share",), "share"),
            self._table(),
        ]
        if self.pairs:
            tables.append(self._pair_table())
        return Chapter("Relations", sentences, tables)

    def _table(self) -> Figures:
        rows: list[Sequence[Value]] = [
            (
                each.name,
                each.train,
                each.category,
                each.tails_per_head,
                each.heads_per_tail,
                each.symmetric_share,
                each.composition_share,
                ", ".join(each.kinds),
            )
            for each in self.relations[:_SHOWN]
        ]
        columns = ("relation", "train", "category", "tails per head", "heads per tail", "reversed", "closed", "kind")
        notes = [_more(len(self.relations))]
        if any(each.sampled for each in self.relations[:_SHOWN]):
            notes.append(
                f"Where a relation has more than {MOST:,} paths, so many are drawn to see how many are closed."
            )
        return Figures("Each relation", columns, rows, ("reversed", "closed"), note=" ".join(filter(None, notes)))

    def _pair_table(self) -> Figures:
        names = [each.name for each in self.relations]
        rows: list[Sequence[Value]] = [
            (
                pair.kind,
                names[pair.first],
                names[pair.second] if pair.kind != "symmetric" else "",
                pair.common,
                pair.share,
                pair.share_second if pair.kind != "symmetric" else None,
                pair.found_in,
            )
            for pair in self.pairs[:_SHOWN]
        ]
        columns = ("pair", "relation", "other", "in both", "of the first", "of the other", "by")
        shares = ("of the first", "of the other")
        return Figures("Relations that say the same", columns, rows, shares, note=_more(len(self.pairs)))


def _more(count: int) -> str:
    return f"The first {_SHOWN} of {count:,}; --json has all." if count > _SHOWN else ""


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _kinds(is_symmetric: bool, reversed_share: float | None, closed: float | None) -> tuple[str, ...]:
    kinds = ["symmetric"] if is_symmetric else []
    if reversed_share is not None and not is_symmetric:
        kinds.append("antisymmetric" if reversed_share <= ANTISYMMETRIC else "symmetric in part")
    if closed is not None and closed >= CLOSED:
        kinds.append("transitive-like")
    return tuple(kinds)
