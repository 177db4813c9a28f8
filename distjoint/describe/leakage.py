"""Leakage between splits: which held-out triples are answered by a training triple of the same or another relation.

A triple of a symmetric relation is answered by its reversal in training; one of an inverse pair by the reversal in the
other relation; one of near-duplicates by the same ends in the other. Whoever copies those answers, and knows nothing
else, has figures that a model must be compared with: Toutanova and Chen 2015 found them in FB15k, Dettmers et al. 2018
in WN18. The rule gives 1 to every entity that it copies and 0 to all others, and is ranked as models are: filtered,
among the entities of all splits, ties at their mean. No triple need be scored for that: ranks follow from counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distjoint.base.arrays import Bools, Doubles, Ints
from distjoint.base.progress import Progress
from distjoint.data.dataset import Triples
from distjoint.describe.keys import NumberedGraph, contains, distinct, occurrences
from distjoint.describe.page import Chapter, Figures, Value
from distjoint.describe.patterns import KINDS, PairKind, RelationPair
from distjoint.evaluate.ranks import figures

_SHOWN = 25
_MEASURES = ("mrr", "hits@1", "hits@10")


@dataclass(frozen=True)
class RelationLeak:
    """Leakage of one relation's held-out triples.

    triples   how many there are
    given     those of them that a training triple answers
    by        kind of pair -> those that it answers; some triples are answered by several kinds
    figures   `mrr`, `hits@1`, `hits@10` of the copying rule over both directions
    """

    relation: str
    triples: int
    given: int
    by: Mapping[PairKind, int]
    figures: Mapping[str, float]


@dataclass(frozen=True)
class SplitLeak:
    """Leakage of a split.

    split       `valid` or `test`
    triples     how many it has
    given       those that a training triple of a symmetric, inverse or duplicate relation answers
    by          the same by kind of pair; some triples are answered by several kinds
    linked      those whose ends are linked by some training triple, of any relation, either way around
    repeated    those that are training triples themselves
    figures     of the copying rule, as `evaluate` has them of a model: `mrr`, `hits@1`, ..., `optimistic`, ...
    relations   of each relation with triples in the split, most of them first
    """

    split: str
    triples: int
    given: int
    by: Mapping[PairKind, int]
    linked: int
    repeated: int
    figures: Mapping[str, Any]
    relations: Sequence[RelationLeak]

    @property
    def share(self) -> float:
        """Share of the split's triples that are given."""
        return self.given / self.triples

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "share": self.share}


@dataclass(frozen=True)
class Leakage:
    """Leakage of the held-out splits that have triples.

    candidates   entities that answers are ranked among: those of all splits
    """

    splits: Sequence[SplitLeak]
    candidates: int

    @classmethod
    def of(cls, graph: NumberedGraph, pairs: Sequence[RelationPair], progress: Progress) -> Leakage:
        """Leakage by pairs of relations, as `patterns` finds them."""
        held = [split for split in ("valid", "test") if len(graph.splits.get(split, ()))]
        if not held:
            return cls((), int(graph.named.sum()))
        with progress.task("leakage", len(held)) as task:
            copies = {kind: copied(graph, [pair for pair in pairs if pair.kind == kind]) for kind in KINDS}
            rule = CopyRule(graph, distinct(np.concatenate([*copies.values()])))
            links = _links(graph)
            found = []
            for split in held:
                found.append(_of_split(graph, split, copies, rule, links))
                task.advance()
        return cls(found, int(graph.named.sum()))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"candidates": self.candidates, "splits": {split.split: split.to_dict() for split in self.splits}}

    def chapter(self) -> Chapter:
        sentences = [
            "Given: a training triple of the same, the inverse or a duplicate relation has the answer. The rule copies "
            f"those answers and knows nothing else; it is ranked as models are: filtered, among {self.candidates:,} "
            "entities, ties at their mean. A model that does no better has learned no more than that.",
            "Linked: some training triple has the same two ends, of whatever relation.",
        ]
        rows: list[Sequence[Value]] = [
            (
                each.split,
                each.triples,
                each.share,
                *(each.by[kind] / each.triples for kind in KINDS),
                each.linked / each.triples,
                each.repeated / each.triples,
                *(each.figures[measure] for measure in _MEASURES),
            )
            for each in self.splits
        ]
        columns = ("split", "triples", "given", *(f"by {kind}" for kind in KINDS), "linked", "in training")
        shares = columns[2:]
        tables = [Figures("Answers that training gives away", (*columns, *_titles()), rows, shares)]
        for each in self.splits:
            leaking = [relation for relation in each.relations if relation.given]
            if not leaking:
                continue
            lines: list[Sequence[Value]] = [
                (
                    relation.relation,
                    relation.triples,
                    relation.given / relation.triples,
                    *(relation.by[kind] / relation.triples for kind in KINDS),
                    *(relation.figures[measure] for measure in _MEASURES),
                )
                for relation in leaking[:_SHOWN]
            ]
            names = ("relation", "triples", "given", *(f"by {kind}" for kind in KINDS))
            rest = len(each.relations) - len(leaking)
            note = f"{rest:,} of {len(each.relations):,} relations have no such triple." if rest else ""
            if len(leaking) > _SHOWN:
                note = f"The first {_SHOWN} of {len(leaking):,}; --json has all. {note}".strip()
            tables.append(Figures(f"{each.split}, by relation", (*names, *_titles()), lines, names[2:], "given", note))
        return Chapter("Leakage", sentences, tables)


def _titles() -> tuple[str, ...]:
    return tuple(f"rule {measure}".replace("mrr", "MRR").replace("hits", "Hits") for measure in _MEASURES)


def copied(graph: NumberedGraph, pairs: Sequence[RelationPair]) -> Ints:
    """int64[n], ascending and distinct: keys of the triples that training triples stand for by some pairs."""
    bounds = np.searchsorted(graph.train_keys, np.arange(len(graph.relations) + 1) * graph.entities**2)
    parts = [np.empty(0, np.int64)]
    for pair in pairs:
        for source, target in {(pair.first, pair.second), (pair.second, pair.first)}:
            said = graph.triples(graph.train_keys[bounds[source] : bounds[source + 1]])
            head, tail = (said.head, said.tail) if pair.kind == "duplicate" else (said.tail, said.head)
            if pair.kind == "symmetric":  # a loop is its own reversal, and no answer
                apart = head != tail
                head, tail = head[apart], tail[apart]
            parts.append(graph.triple_keys(np.full(len(head), target), head, tail))
    return distinct(np.concatenate(parts))


class CopyRule:
    """Ranks of right answers by a rule that gives 1 to copied triples and 0 to all others."""

    def __init__(self, graph: NumberedGraph, copies: Ints) -> None:
        """copies: int64[n], ascending and distinct keys of the copied triples"""
        known = graph.known_keys
        wrong = graph.triples(copies[~contains(known, copies)])
        right = graph.triples(known)
        self._graph, self._copies, self._candidates = graph, copies, int(graph.named.sum())
        self._wrong = self._by_query(wrong)
        self._right = self._by_query(right)

    def _by_query(self, triples: Triples) -> tuple[Ints, Ints]:
        """int64[n] each, ascending: the query for its head, and the one for its tail, of every triple."""
        ends = triples.tail, triples.head
        of_head, of_tail = (np.sort(self._graph.end_keys(triples.relation, end)) for end in ends)
        return of_head, of_tail

    def copies(self, triples: Triples) -> Bools:
        """bool[n]: which triples the rule copies."""
        return contains(self._copies, self._graph.keys(triples))

    def ranks(self, triples: Triples) -> list[tuple[Doubles, Ints]]:
        """Of heads, then of tails: float64[n], filtered ranks with ties at their mean, and int64[n], what ties.

        triples   by number, all of them known
        """
        found, given = [], self.copies(triples)
        for wrong, right, end in zip(self._wrong, self._right, (triples.tail, triples.head), strict=True):
            query = self._graph.end_keys(triples.relation, end)
            # Other right answers are no candidates; of the rest, some are copied and wrong.
            above = occurrences(wrong, query)
            others = self._candidates - occurrences(right, query)
            tied = np.where(given, above, others - above)
            found.append((1 + np.where(given, 0, above) + tied / 2, tied))
        return found


def _links(graph: NumberedGraph) -> Ints:
    """int64[n], ascending and distinct: keys of pairs of entities that a training triple links, in both orders."""
    train = graph.train
    return distinct(np.append(graph.pair_keys(train.head, train.tail), graph.pair_keys(train.tail, train.head)))


def _of_split(
    graph: NumberedGraph, split: str, copies: Mapping[PairKind, Ints], rule: CopyRule, links: Ints
) -> SplitLeak:
    triples = graph.splits[split]
    keys = graph.keys(triples)
    given = rule.copies(triples)
    by = {kind: contains(copies[kind], keys) for kind in KINDS}
    ranks = rule.ranks(triples)
    order = np.argsort(triples.relation, kind="stable")
    ids, begin = np.unique(triples.relation[order], return_index=True)
    relations = []
    for relation, chosen in zip(ids.tolist(), np.split(order, begin[1:]), strict=True):
        of_it = figures(*((rank[chosen], tied[chosen]) for rank, tied in ranks))
        relations.append(
            RelationLeak(
                graph.relations[relation],
                len(chosen),
                int(given[chosen].sum()),
                {kind: int(mask[chosen].sum()) for kind, mask in by.items()},
                {measure: of_it[measure] for measure in _MEASURES},
            )
        )
    return SplitLeak(
        split,
        len(triples),
        int(given.sum()),
        {kind: int(mask.sum()) for kind, mask in by.items()},
        int(contains(links, graph.pair_keys(triples.head, triples.tail)).sum()),
        int(contains(graph.train_keys, keys).sum()),
        {name: value for name, value in figures(*ranks).items() if name != "triples"},
        sorted(relations, key=lambda each: (-each.triples, each.relation)),
    )
