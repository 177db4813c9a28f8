"""Splits beside each other: unseen entities and relations, and how the graph hangs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distjoint.base.arrays import Bools
from distjoint.data.dataset import Triples
from distjoint.describe.keys import NumberedGraph
from distjoint.describe.page import Chapter, Figures, Value


@dataclass(frozen=True)
class SplitFigures:
    """One split against training.

    triples            how many
    entities           that its triples name
    relations          likewise
    unseen_entities    of those entities, the ones that no training triple names
    one_unseen, both_unseen    triples with one such end, and with two
    unseen_relations   relations of its triples that no training triple has
    unseen_relation_triples    triples of those
    """

    split: str
    triples: int
    entities: int
    relations: int
    unseen_entities: int
    one_unseen: int
    both_unseen: int
    unseen_relations: int
    unseen_relation_triples: int


@dataclass(frozen=True)
class Components:
    """Connected components, directions aside.

    of         which triples connect: `train` or `all`
    count      how many there are, entities that no such triple names aside
    largest    entities of the largest ones, up to five
    entities   in all of them
    """

    of: str
    count: int
    largest: tuple[int, ...]
    entities: int


@dataclass(frozen=True)
class Connections:
    """Splits and components.

    unnamed   entities that no triple of any split names
    """

    splits: Sequence[SplitFigures]
    components: Sequence[Components]
    unnamed: int

    @classmethod
    def of(cls, graph: NumberedGraph) -> Connections:
        seen = graph.degree > 0
        trained = np.bincount(graph.train.relation, minlength=len(graph.relations)) > 0
        splits = [_of_split(name, triples, seen, trained) for name, triples in graph.splits.items() if len(triples)]
        components = [_components("train", graph.train, graph.entities)]
        if len(graph.known) > len(graph.train):
            components.append(_components("all", graph.known, graph.entities))
        return cls(splits, components, int((~graph.named).sum()))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "splits": {each.split: asdict(each) for each in self.splits},
            "components": [asdict(each) for each in self.components],
            "unnamed": self.unnamed,
        }

    def chapter(self) -> Chapter:
        rows: list[Sequence[Value]] = [
            (
                each.split,
                each.triples,
                each.entities,
                each.relations,
                each.unseen_entities,
                each.one_unseen,
                each.both_unseen,
                each.unseen_relation_triples,
            )
            for each in self.splits
        ]
        columns = ("split", "triples", "entities", "relations", "unseen entities", "one end unseen", "both unseen")
        sentences = [
            "Unseen: no training triple has it. A graph alone learns nothing of such entities; their text may."
        ]
        if self.unnamed:
            sentences.append(f"{self.unnamed:,} entities are named by no triple at all.")
        parts: list[Sequence[Value]] = [
            (
                each.of,
                each.count,
                each.largest[0] if each.largest else 0,
                each.largest[0] / each.entities if each.largest else None,
                ", ".join(f"{size:,}" for size in each.largest[1:]),
            )
            for each in self.components
        ]
        names = ("triples", "components", "entities of the largest", "share", "of the next ones")
        tables = [
            Figures("Splits", (*columns, "relation unseen"), rows),
            Figures("Connected components", names, parts, ("share",), note="Directions aside."),
        ]
        return Chapter("Splits and components", sentences, tables)


def _of_split(split: str, triples: Triples, seen: Bools, trained: Bools) -> SplitFigures:
    entities, relations = np.flatnonzero(_named(triples, len(seen))), np.unique(triples.relation)
    unseen = (~seen[triples.head]).astype(np.int64) + ~seen[triples.tail]
    return SplitFigures(
        split,
        len(triples),
        len(entities),
        len(relations),
        int((~seen[entities]).sum()),
        int((unseen == 1).sum()),
        int((unseen == 2).sum()),
        int((~trained[relations]).sum()),
        int((~trained[triples.relation]).sum()),
    )


def _components(of: str, triples: Triples, entities: int) -> Components:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(triples), np.int8)
    _, label = connected_components(coo_array((ones, (triples.head, triples.tail)), shape=(entities, entities)), False)
    named = _named(triples, entities)
    sizes = np.bincount(label[named])
    sizes = np.sort(sizes[sizes > 0])[::-1]
    return Components(of, len(sizes), tuple(sizes[:5].tolist()), int(named.sum()))


def _named(triples: Triples, entities: int) -> Bools:
    """bool[entities]: which entities some triple names."""
    named = np.zeros(entities, np.bool_)
    named[triples.head] = named[triples.tail] = True
    return named
