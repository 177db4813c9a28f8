"""Rows of the table: which word and which entity has which row, and the tables of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Ints
from distjoint.data.alignment import Alignment
from distjoint.data.triples import Graph
from distjoint.data.vocabulary import Vocabulary
from distjoint.table.layout import Layout, choose_tiles

LEAST_MEAN_PARTITION = 1 << 16
MOST_SHARDS = 64


@dataclass(frozen=True)
class Rows:
    """Row ids by rank within kind: words alone, aligned pairs, entities alone.

    of_word      int64[words]: the row of each word of the vocabulary
    of_entity    int64[entities]: the row of each entity
    of_gram      int64[grams]: the row of each n-gram of names
    words, aligned, entities    rows of each kind; n-grams are words
    before       layout of the table that this one grew from, whose rows have their ids
    """

    of_word: Ints
    of_entity: Ints
    of_gram: Ints
    words: int
    aligned: int
    entities: int
    before: Layout | None = None

    @property
    def grams(self) -> int:
        """How many of `words` are n-grams of names."""
        return len(self.of_gram)

    @property
    def of_mentioned(self) -> Ints:
        """int64[words of the vocabulary + grams]: the row of each word, then of each gram."""
        return np.append(self.of_word, self.of_gram)

    def __len__(self) -> int:
        return self.words + self.aligned + self.entities

    def layout(self, shards: int) -> Layout:
        if (before := self.before) is not None:
            added = self.words - before.words, self.aligned - before.aligned, self.entities - before.entities
            return before.grow(*added, self.grams - before.grams)
        # What is trained tile by tile are the rows of words.
        tiles = choose_tiles(self.words - self.grams + self.aligned, shards)
        return Layout(shards, tiles, self.words, self.aligned, self.entities, self.grams)

    def aligned_ends(self, triples: Ints) -> dict[int, int]:
        """How many of the triples, int64[n, 3] by entity, have 0, 1 and 2 ends that share a row with a word."""
        shares = np.isin(self.of_entity, self.of_word)
        ends = shares[triples[:, 0]].astype(np.int64) + shares[triples[:, 2]]
        return dict(enumerate(np.bincount(ends, minlength=3).tolist()))


def number_rows(words: int, grams: int, entities: Sequence[str], degrees: Ints, alignment: Alignment) -> Rows:
    """Rows by rank: words (already by falling count) keep their order, grams follow those that are words alone;
    entities go by degree, then by name.
    """
    entity_of = {word: entity for entity, (word, _) in alignment.shared.items()}
    of_word, of_entity = np.empty(words, np.int64), np.empty(len(entities), np.int64)
    alone = [word for word in range(words) if word not in entity_of]
    of_word[alone] = np.arange(len(alone))
    pairs = sorted(entity_of)
    first = len(alone) + grams
    of_word[pairs] = first + np.arange(len(pairs))
    of_entity[[entity_of[word] for word in pairs]] = first + np.arange(len(pairs))
    rest = [entity for entity in range(len(entities)) if entity not in alignment.shared]
    rest.sort(key=lambda entity: (-degrees[entity], entities[entity]))
    of_entity[rest] = first + len(pairs) + np.arange(len(rest))
    return Rows(of_word, of_entity, np.arange(len(alone), first), first, len(pairs), len(rest))


def choose_shards(samples: int, rows: int) -> int:
    """Number of shards: a power of two, 8 to 64, for which a mean partition of the larger stream holds 64 k samples.

    At least 8, so that a laptop can use up to 4 lanes; a table of a few rows gets fewer.
    """
    shards = 8 if rows >= 64 else 4 if rows >= 8 else 2
    while shards < MOST_SHARDS and samples / (2 * shards) ** 2 >= LEAST_MEAN_PARTITION:
        shards *= 2
    return shards


def rows_table(
    rows: Rows,
    words: Vocabulary,
    grams: Sequence[str],
    graph: Graph,
    degrees: Ints,
    labels: Mapping[str, Sequence[str]],
) -> pa.Table:
    """rows.parquet, in order of row."""
    word: list[str | None] = [None] * len(rows)
    entity: list[str | None] = [None] * len(rows)
    label: list[str | None] = [None] * len(rows)
    count, degree = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for name, row in zip(words.words, rows.of_word.tolist(), strict=True):
        word[row] = name
    for name, row in zip(graph.entities.list(), rows.of_entity.tolist(), strict=True):
        entity[row] = name
        if name in labels:
            label[row] = labels[name][0]
    count[rows.of_word], degree[rows.of_entity] = words.counts, degrees
    columns = {
        "row": pa.array(np.arange(len(rows), dtype=np.int64)),
        "entity": pa.array(entity, pa.string()),
        "label": pa.array(label, pa.string()),
        "word": pa.array(word, pa.string()),
        "count": pa.array(count),
        "degree": pa.array(degree),
    }
    if grams:
        gram: list[str | None] = [None] * len(rows)
        for name, row in zip(grams, rows.of_gram.tolist(), strict=True):
            gram[row] = name
        columns["gram"] = pa.array(gram, pa.string())
    return pa.table(columns)


def number_relations(names: Sequence[str], frequencies: Ints, labels: Mapping[str, str]) -> tuple[Ints, pa.Table]:
    """int64[relations], the id of each by falling frequency in training, then by name; and relations.parquet."""
    return relations_table(
        sorted(range(len(names)), key=lambda k: (-frequencies[k], names[k])), names, frequencies, labels
    )


def relations_table(
    order: Sequence[int], names: Sequence[str], frequencies: Ints, labels: Mapping[str, str]
) -> tuple[Ints, pa.Table]:
    """As `number_relations`. order: the relations in order of their ids"""
    ids = np.empty(len(names), np.int64)
    ids[order] = np.arange(len(names))
    columns = {
        "id": pa.array(np.arange(len(names), dtype=np.int64)),
        "name": pa.array([names[k] for k in order], pa.string()),
        "frequency": pa.array(frequencies[order].astype(np.int64) if len(names) else np.zeros(0, np.int64)),
    }
    if labels:
        columns["label"] = pa.array([labels.get(names[k]) for k in order], pa.string())
    return ids, pa.table(columns)
