"""Triples as sorted keys: one int64 each, so that sets of millions of triples are compared without a loop over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distjoint.base.arrays import Bools, Ints
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Dataset, Triples
from distjoint.data.streams import SPLITS


@dataclass(frozen=True)
class NumberedGraph:
    """Splits of a graph, their entities numbered from 0 in order of row id.

    splits      `train`, `valid`, `test`: triples by number of entity, as many as the dataset has
    rows        int64[entities]: row id of each
    relations   names by id
    """

    splits: Mapping[str, Triples]
    rows: Ints
    relations: Sequence[str]

    @classmethod
    def of(cls, data: Dataset) -> NumberedGraph:
        """The graph of a dataset. raises DistjointError where it is too large for keys of 63 bits"""
        layout = data.layout
        rows = np.flatnonzero(layout.is_entity(np.arange(layout.rows)))
        names = data.relations().column("name").to_pylist()
        check_size(len(rows), len(names), str(data.folder))
        number = np.full(layout.rows, -1, np.int64)
        number[rows] = np.arange(len(rows))
        splits = {}
        for split in SPLITS:
            triples = data.split(split)
            splits[split] = Triples(number[triples.head], triples.relation, number[triples.tail])
        return cls(splits, rows, names)

    @property
    def entities(self) -> int:
        """Number of entities, those that no triple names among them."""
        return len(self.rows)

    @property
    def train(self) -> Triples:
        """The training triples."""
        return self.splits["train"]

    @cached_property
    def known(self) -> Triples:
        """The triples of all splits, one split after the other."""
        return Triples.together(*self.splits.values())

    @cached_property
    def named(self) -> Bools:
        """bool[entities]: which entities some triple of some split names. They are the candidates of ranking."""
        named = np.zeros(self.entities, np.bool_)
        named[self.known.head] = named[self.known.tail] = True
        return named

    @cached_property
    def degree(self) -> Ints:
        """int64[entities]: training triples that name each entity; a loop counts twice."""
        return self.out_degree + np.bincount(self.train.tail, minlength=self.entities)

    @cached_property
    def out_degree(self) -> Ints:
        """int64[entities]: training triples whose head each entity is."""
        return np.bincount(self.train.head, minlength=self.entities)

    @cached_property
    def train_keys(self) -> Ints:
        """int64[n], ascending and distinct: keys of the training triples."""
        return distinct(self.keys(self.train))

    @cached_property
    def known_keys(self) -> Ints:
        """int64[n], ascending and distinct: keys of the triples of all splits."""
        return distinct(self.keys(self.known))

    def keys(self, triples: Triples) -> Ints:
        """int64[n]: relation, head and tail in one number, which sorts by these in this order."""
        return self.triple_keys(triples.relation, triples.head, triples.tail)

    def triple_keys(self, relation: Ints, head: Ints, tail: Ints) -> Ints:
        """The same of three arrays."""
        return (relation * self.entities + head) * self.entities + tail

    def end_keys(self, relation: Ints, end: Ints) -> Ints:
        """int64[n]: relation and one end in one number."""
        return relation * self.entities + end

    def pair_keys(self, head: Ints, tail: Ints) -> Ints:
        """int64[n]: both ends in one number."""
        return head * self.entities + tail

    def triples(self, keys: Ints) -> Triples:
        """The triples of some keys."""
        rest, tail = np.divmod(keys, max(self.entities, 1))
        relation, head = np.divmod(rest, max(self.entities, 1))
        return Triples(head, relation, tail)


def check_size(entities: int, relations: int, dataset: str) -> None:
    """Raise DistjointError, which names the dataset, where keys of so many would not fit 63 bits."""
    if entities**2 * max(relations, 1) >= 2**63:
        raise DistjointError(
            f"{dataset}: {entities:,} entities and {relations:,} relations are too many for 'describe': entities x "
            "entities x relations must stay below 2^63; describe a dataset of part of its triples"
        )


def distinct(keys: Ints) -> Ints:
    """int64[m]: the keys, ascending, each once."""
    keys = np.sort(keys)
    if not len(keys):
        return keys
    first = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    return keys[first]


def contains(keys: Ints, wanted: Ints) -> Bools:
    """bool[n]: which of the wanted are among the keys, which ascend."""
    if not len(keys):
        return np.zeros(len(wanted), np.bool_)
    places = np.searchsorted(keys, wanted)
    places[places == len(keys)] = 0
    return np.asarray(keys[places] == wanted)


def occurrences(keys: Ints, wanted: Ints) -> Ints:
    """int64[n]: how often each of the wanted is among the keys, which ascend."""
    return np.searchsorted(keys, wanted, "right") - np.searchsorted(keys, wanted, "left")
