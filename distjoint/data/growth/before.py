"""What an earlier dataset has, by numbers: words, n-grams, entities and relations in order of their ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Doubles, Ints
from distjoint.base.prefixes import Prefixes
from distjoint.data.alignment import Alignment, Sample
from distjoint.data.dataset import Dataset
from distjoint.data.knowledge import Knowledge
from distjoint.data.mentions import Mentions, no_mentions
from distjoint.data.naming import Cleaning, NameIds
from distjoint.data.streams import MENTIONS, NEGATIVES, PAIRS, SPLITS, triples_of
from distjoint.data.triples import Graph
from distjoint.data.types import NAME as TYPES
from distjoint.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Before:
    """An earlier dataset. What is read of it is read once, when it is first asked for."""

    data: Dataset

    @cached_property
    def of_word(self) -> Ints:
        """int64[words]: the row of each word of the vocabulary."""
        return self._named("word")

    @cached_property
    def of_gram(self) -> Ints:
        """int64[grams]: the row of each n-gram."""
        return self._named("gram")

    @cached_property
    def of_entity(self) -> Ints:
        """int64[entities]: the row of each entity."""
        return self._named("entity")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words, none of which a text has been searched for yet."""
        counts = self._rows.column("count").to_numpy()[self.of_word].astype(np.int64)
        return Vocabulary(self._names("word", self.of_word), counts, np.full(len(self.of_word), -1, np.int64))

    @cached_property
    def grams(self) -> list[str]:
        return self._names("gram", self.of_gram)

    @cached_property
    def relations(self) -> list[str]:
        return list(self.data.relations().column("name").to_pylist())

    def knowledge(self, nfc: bool) -> Knowledge:
        """The graph, with the first label and the types of each entity that has any.

        nfc   whether names that come are brought to Unicode's form NFC
        """
        graph = Graph(cleaning=Cleaning(nfc))
        for names, known in (
            (graph.entities, self._names("entity", self.of_entity)),
            (graph.relations, self.relations),
        ):
            _number(names, known)
        graph.splits["train"] = np.zeros((0, 3), np.int64)
        for split in (*SPLITS, *NEGATIVES):
            if triples_of(split) in self.data.manifest.streams:
                graph.splits[split], weights = self._triples(split)
                graph.weights = weights if split == "train" and self.data.is_weighted else graph.weights
        labels = zip(graph.entities.list(), self._names("label", self.of_entity), strict=True)
        named = {entity: [label] for entity, label in labels if label is not None}
        return Knowledge(
            graph,
            named or None,
            self._types(),
            relation_labels=self._relation_labels(),
            prefixes=Prefixes(self.data.manifest.prefixes),
        )

    def mentions(self) -> Mentions:
        """What is said of entities."""
        if MENTIONS not in self.data.manifest.streams:
            return no_mentions()
        entity, word, weight, named = (np.concatenate(parts) for parts in zip(*self._mentions(), strict=True))
        order = np.lexsort((word, entity))
        known = named[order] if self.data.tells_names else None
        return Mentions(entity[order], word[order], weight[order], known, self.grams)

    def alignment(self) -> Alignment:
        """Pairs that share a row, and the others."""
        of_row = {row: word for word, row in enumerate(self.of_word.tolist())}
        shared = {k: (of_row[row], "") for k, row in enumerate(self.of_entity.tolist()) if row in of_row}
        return Alignment(shared, list(self._pairs()))

    @cached_property
    def _rows(self) -> pa.Table:
        return self.data.rows()

    def _named(self, column: str) -> Ints:
        """Rows that have a name of a kind, ascending."""
        if column not in self._rows.column_names:
            return np.zeros(0, np.int64)
        return np.flatnonzero(self._rows.column(column).is_valid().to_numpy())

    def _names(self, column: str, rows: Ints) -> list[str]:
        return list(self._rows.column(column).take(pa.array(rows)).to_pylist()) if len(rows) else []

    @cached_property
    def _ids(self) -> list[Ints]:
        return [self.data.layout.rows_of(shard) for shard in range(self.data.layout.shards)]

    def _triples(self, split: str) -> tuple[Ints, Doubles]:
        """Triples of a split by numbers, int64[n, 3], and their weights."""
        rows, weights = [np.zeros((0, 3), np.int64)], [np.zeros(0)]
        for span in self.data.manifest.streams[triples_of(split)]:
            found = self.data.triples(span.i, span.j, split)
            head, tail = self._ids[span.i][found.head], self._ids[span.j][found.tail]
            places = self.data.layout.entity_places
            rows.append(np.stack([places(head), found.relation, places(tail)], axis=1))
            weights.append(np.ones(len(found)) if found.weight is None else found.weight.astype(np.float64))
        return np.concatenate(rows), np.concatenate(weights)

    def _relation_labels(self) -> dict[str, str]:
        table = self.data.relations()
        if "label" not in table.column_names:
            return {}
        labels = zip(self.relations, table.column("label").to_pylist(), strict=True)
        return {name: label for name, label in labels if label is not None}

    def _types(self) -> dict[str, list[str]] | None:
        if not self.data.has_types:
            return None
        table, names = self.data.read(TYPES, None), self._rows.column("entity")
        types: dict[str, list[str]] = {}
        for row, name in zip(table.column("row").to_pylist(), table.column("type").to_pylist(), strict=True):
            types.setdefault(names[row].as_py(), []).append(name)
        return types

    def _mentions(self) -> Iterator[tuple[Ints, Ints, Doubles, Doubles]]:
        layout, columns = self.data.layout, ("weight", "named" if self.data.tells_names else "weight")
        for span in self.data.manifest.streams[MENTIONS]:
            limits = {"entity": layout.shard_rows(span.i), "word": layout.shard_rows(span.j)}
            found = self.data.samples(MENTIONS, span.i, span.j, limits | dict.fromkeys(columns))
            weight, named = (found[name].astype(np.float64) for name in columns)
            entity, word = self._ids[span.i][found["entity"]], self._ids[span.j][found["word"]]
            yield layout.entity_places(entity), layout.mentioned(word), weight, named

    def _pairs(self) -> Iterator[Sample]:
        layout = self.data.layout
        for span in self.data.manifest.streams.get(PAIRS, ()):
            table = self.data.read_span(span, ["entity", "word", "weight", "how"])
            entity, word = (
                self._ids[shard][table.column(name).to_numpy()]
                for shard, name in ((span.i, "entity"), (span.j, "word"))
            )
            numbers = layout.entity_places(entity).tolist(), layout.mentioned(word).tolist()
            columns = table.column("weight").to_pylist(), table.column("how").to_pylist()
            yield from (Sample(*each) for each in zip(*numbers, *columns, strict=True))


def _number(names: NameIds, known: list[str]) -> None:
    names.add_all(known)
    assert len(names) == len(known), "names of rows are distinct"
