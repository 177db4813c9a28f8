"""Named vectors of words or of entities, for word tests, neighbours and exports.

Look-ups forgive case and spaces. Cosines are of vectors standardised by column unless raw ones are wanted: a few GloVe
columns carry frequency and little else, and outweigh the others in a cosine (RW .146 raw, .503 standardised for
the public 840 B vectors).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distjoint.base.arrays import Bools, Floats, Ints
from distjoint.base.prefixes import Prefixes
from distjoint.data.naming import Cleaning, folded
from distjoint.evaluate.candidates import entity_rows
from distjoint.evaluate.options import VectorKind
from distjoint.evaluate.trained import TrainedVectors


@dataclass(frozen=True)
class Space:
    """Vectors of one kind and their names.

    kind       words or entities
    names      str[n]: the name of each vector
    aliases    further names and the index of each one's vector; where several vectors share one, the first listed
    vectors    float32[n, dim]
    prefixes   by which names may be written, and are shown
    """

    kind: VectorKind
    names: Sequence[str]
    vectors: Floats
    aliases: Sequence[tuple[str, int]] = ()
    prefixes: Prefixes = field(default_factory=Prefixes)

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int | None:
        """The index of a name: as it is written, by a prefix, cleaned as a dataset's names are, or with underscores for
        spaces; whatever its case and Unicode form.
        """
        clean = Cleaning().clean(name)
        for key in (name, self.prefixes.whole(clean) or clean, clean.replace(" ", "_")):
            if key in self._exact:
                return self._exact[key]
            if (fold := folded(key)) in self._folded:
                return self._folded[fold]
        return None

    def find_all(self, names: Iterable[str]) -> Ints:
        """int64[n]: the index of each name, -1 where it is unknown."""
        return np.array([-1 if (index := self.find(name)) is None else index for name in names], np.int64)

    def similar_names(self, name: str, count: int = 3) -> list[str]:
        """Names spelt much like this one, nearest first."""
        clean = Cleaning().clean(name)
        key = folded(self.prefixes.whole(clean) or clean).replace(" ", "_")
        # difflib is slow: on a large vocabulary, only names that begin like this one and are about as long.
        near = [
            other
            for other in self._folded
            if other[:1] == key[:1] and abs(len(other) - len(key)) <= max(2, len(key) // 3)
        ]
        found = get_close_matches(key, near[:50_000], n=count)
        return list(dict.fromkeys(self.prefixes.shown(self.names[self._folded[other]]) for other in found))

    def unit(self, standardize: bool) -> Floats:
        """float32[n, dim]: vectors of length one, whose products are cosines.

        standardize   columns to mean 0 and deviation 1 first
        """
        return self._standard if standardize else self._raw

    def to_unit(self, vectors: Floats, standardize: bool) -> Floats:
        """Other vectors of this space scaled likewise: float32[n, dim] to float32[n, dim]."""
        return _unit(self._standardized(vectors) if standardize else vectors)

    def select(self, which: Bools) -> Space:
        """The names at some places, bool[n], with their vectors and aliases."""
        number, places = np.cumsum(which) - 1, np.flatnonzero(which)
        aliases = [(name, int(number[place])) for name, place in self.aliases if which[place]]
        names = [self.names[place] for place in places.tolist()]
        return Space(self.kind, names, self.vectors[places], aliases, self.prefixes)

    def with_vectors(self, *halves: Floats) -> Space:
        """The names with other vectors: one, float32[n, dim], as it is; several side by side, columns standardised."""
        spaces = [replace(self, vectors=vectors) for vectors in halves]
        if len(spaces) == 1:
            return spaces[0]
        return replace(self, vectors=np.hstack([space._standardized(space.vectors) for space in spaces]))

    def _standardized(self, vectors: Floats) -> Floats:
        return (vectors - self._moments[0]) / self._moments[1]

    @cached_property
    def _exact(self) -> dict[str, int]:
        index: dict[str, int] = {}
        for place, name in enumerate(self.names):
            index.setdefault(name, place)
        return index

    @cached_property
    def _folded(self) -> dict[str, int]:
        index: dict[str, int] = {}
        for place, name in enumerate(self.names):
            index.setdefault(folded(name), place)
        for name, place in self.aliases:
            index.setdefault(folded(name), place)
        return index

    @cached_property
    def _moments(self) -> tuple[Floats, Floats]:
        """float32[dim] each: mean and standard deviation of the columns."""
        mean, deviation = self.vectors.mean(0, dtype=np.float64), self.vectors.std(0, dtype=np.float64)
        return mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32)

    @cached_property
    def _standard(self) -> Floats:
        return self.to_unit(self.vectors, True)

    @cached_property
    def _raw(self) -> Floats:
        return _unit(self.vectors)


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), np.float32)


@dataclass(frozen=True)
class Spaces:
    """Words and entities of a run, in order of row id; a space is empty where its kind was not trained.

    labels    label of each entity, or its word where it has none; None where that is its name
    degrees   int64[entities]: training triples that each is in
    said      bool[entities]: whose vector means something without any, by what words say of them
    grams     n-grams of names
    """

    words: Space
    entities: Space
    labels: Sequence[str | None]
    degrees: Ints
    said: Bools
    grams: Space
    prefixes: Prefixes

    def readable(self, entity: int) -> str | None:
        """What people may read instead of an entity's name: its label, its word, or its name by a prefix."""
        return self.labels[entity] or self.prefixes.short(self.entities.names[entity])

    def shown(self, entity: int) -> str:
        """An entity's name, by a prefix where it has one."""
        return self.prefixes.shown(self.entities.names[entity])


def read_spaces(trained: TrainedVectors) -> Spaces:
    """All vectors of a checkpoint with their names. raises DistjointError when a file is missing or damaged"""
    run, layout, table = trained.run, trained.layout, trained.run.rows()
    dim, sources = run.info.config.model.dim, run.info.sources
    worded = np.empty((layout.with_word if "text" in sources else 0, dim), np.float32)
    entities = np.empty((layout.with_entity if "graph" in sources else 0, dim), np.float32)
    entity_ids, said = entity_rows(layout), np.zeros(len(entities), np.bool_)
    for shard in range(layout.shards):
        of_words, of_entities, of_text = trained.words_and_entities(shard)
        if of_words is not None:
            worded[layout.word_places(layout.rows_of(shard)[layout.has_word(shard)])] = of_words.numpy()
        if of_entities is not None and of_text is not None:
            places = layout.entity_places(entity_ids[shard])
            entities[places], said[places] = of_entities.numpy(), of_text.numpy()
    of_rows = table.take(layout.word_rows) if layout.grown else table.slice(0, layout.with_word)
    words, grams = (_named(of_rows, column, worded) for column in ("word", "gram"))
    below = table.take(layout.entity_rows) if layout.grown else table.slice(layout.words)
    below = below.slice(0, len(entities))
    ids, labels = below.column("entity").to_pylist(), below.column("label").to_pylist()
    degrees = below.column("degree").combine_chunks().to_numpy(zero_copy_only=False).astype(np.int64)
    named = zip(ids, labels, below.column("word").to_pylist(), strict=True)
    readable = [_readable(*names) for names in named]
    prefixes = Prefixes(run.info.prefixes)
    named_entities = Space("entity", ids, entities, _aliases(below), prefixes)
    return Spaces(words, named_entities, readable, degrees, said, grams, prefixes)


def _named(table: pa.Table, column: str, vectors: Floats) -> Space:
    """Those vectors of the first rows that a column names."""
    names = table.column(column).slice(0, len(vectors)) if column in table.column_names else pa.nulls(len(vectors))
    named = names.is_valid().to_numpy(zero_copy_only=False)
    chosen = vectors if named.all() else vectors[named]
    return Space("word", names.drop_null().to_pylist(), chosen)


def _readable(entity: str, label: str | None, word: str | None) -> str | None:
    """What people may read instead of an entity's id: its label or the word of its row; None where that is the id."""
    if label is not None and label != entity:
        return label
    return word if word is not None and word.casefold() != entity.replace(" ", "_").casefold() else None


def _aliases(entities: pa.Table) -> list[tuple[str, int]]:
    """Words, then labels of entities, with their indices; of entities with one label the most frequent first."""
    order = pc.sort_indices(entities, [("degree", "descending")]).to_numpy()
    pairs: list[tuple[str, int]] = []
    for column in ("word", "label"):
        names = entities.column(column).to_pylist()
        pairs += [(names[index], int(index)) for index in order if names[index] is not None]
    pairs += [(name.replace(" ", "_"), index) for name, index in pairs if " " in name]
    return pairs


def unknown(what: str, name: str, spaces: Sequence[Space]) -> str:
    """Error message for an unknown name, with the nearest names."""
    near = list(dict.fromkeys(other for space in spaces for other in space.similar_names(name)))[:3]
    return f"unknown {what} '{name}'" + (f"; did you mean {', '.join(near)}?" if near else "")
