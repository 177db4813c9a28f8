"""Named vectors of words or of entities, for word tests, neighbours and exports.

Look-ups forgive case and spaces. Cosines are of vectors standardised by column unless raw ones are wanted: a few GloVe
columns carry frequency and little else, and outweigh the others in a cosine (RW .146 raw, .503 standardised for
the public 840 B vectors).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from distjoint.base.arrays import Bools, Doubles, Floats, Ints
from distjoint.base.prefixes import Prefixes
from distjoint.base.progress import Progress
from distjoint.evaluate.derived import BesideVectors, ChosenVectors
from distjoint.evaluate.names import Aliases, NameColumn, NameIndex, NameTable, Readable, names_at, numbers_of
from distjoint.evaluate.options import VectorKind
from distjoint.evaluate.stored import RowReader, StoredVectors, read_shard
from distjoint.evaluate.trained import TrainedVectors


@dataclass(frozen=True)
class Space:
    """Vectors of one kind and their names.

    kind       words or entities
    names      str[n]: the name of each vector
    aliases    further names and the index of each one's vector; where several vectors share one, the first listed
    vectors    float32[n, dim]; of a table larger than the memory for it `StoredVectors`, which are read as they are
               indexed, and by blocks
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
        return self._index.find(name)

    def find_all(self, names: Iterable[str]) -> Ints:
        """int64[n]: the index of each name, -1 where it is unknown."""
        return self._index.find_all(names)

    def similar_names(self, name: str, count: int = 3) -> list[str]:
        """Names spelt much like this one, nearest first."""
        return list(dict.fromkeys(self.prefixes.shown(self.names[at]) for at in self._index.similar(name, count)))

    def unit(self, standardize: bool) -> Floats:
        """float32[n, dim]: vectors of length one, whose products are cosines.

        standardize   columns to mean 0 and deviation 1 first
        """
        return self._standard if standardize else self._raw

    def unit_of(self, places: Ints, standardize: bool) -> Floats:
        """`unit` at some places: float32[n, dim]."""
        if isinstance(self.vectors, StoredVectors):
            return self.to_unit(self.vectors[places], standardize)
        return self.unit(standardize)[places]

    def to_unit(self, vectors: Floats, standardize: bool) -> Floats:
        """Other vectors of this space scaled likewise: float32[n, dim] to float32[n, dim]."""
        return _unit(self.standardized(vectors) if standardize else vectors)

    def select(self, which: Bools) -> Space:
        """The names at some places, bool[n], with their vectors and aliases."""
        places, vectors = np.flatnonzero(which), self.vectors
        chosen: Any = ChosenVectors(vectors, places) if isinstance(vectors, StoredVectors) else vectors[places]
        names, aliases = self.names, self.aliases
        few = names.select(places) if isinstance(names, NameColumn) else [names[place] for place in places.tolist()]
        if isinstance(aliases, Aliases):
            return Space(self.kind, few, chosen, aliases.among(which), self.prefixes)
        number = np.cumsum(which) - 1
        others = [(name, int(number[place])) for name, place in aliases if which[place]]
        return Space(self.kind, few, chosen, others, self.prefixes)

    def with_vectors(self, *halves: Floats) -> Space:
        """The names with other vectors: one, float32[n, dim], as it is; several side by side, columns standardised."""
        spaces = [replace(self, vectors=vectors) for vectors in halves]
        if len(spaces) == 1:
            return spaces[0]
        if any(isinstance(space.vectors, StoredVectors) for space in spaces):
            beside: Any = BesideVectors([(space.vectors, space.standardized) for space in spaces])  # type: ignore[misc]
            return replace(self, vectors=beside)
        return replace(self, vectors=np.hstack([space.standardized(space.vectors) for space in spaces]))

    def standardized(self, vectors: Floats) -> Floats:
        """Vectors with the columns of this space's brought to mean 0 and deviation 1."""
        return (vectors - self._moments[0]) / self._moments[1]

    @cached_property
    def _index(self) -> NameIndex:
        return NameIndex(self.names, self.aliases, self.prefixes)

    @cached_property
    def _moments(self) -> tuple[Floats, Floats]:
        """float32[dim] each: mean and standard deviation of the columns."""
        if isinstance(self.vectors, StoredVectors):
            mean, deviation = _moments_by_block(self.vectors)
        else:
            mean, deviation = self.vectors.mean(0, dtype=np.float64), self.vectors.std(0, dtype=np.float64)
        return mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32)

    @cached_property
    def _standard(self) -> Floats:
        return self.to_unit(np.asarray(self.vectors), True)

    @cached_property
    def _raw(self) -> Floats:
        return _unit(np.asarray(self.vectors))


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), vectors.dtype)


@dataclass(frozen=True)
class Spaces:
    """Words and entities of a run, in order of row id; a space is empty where its kind was not trained.

    table   names of rows, and what else there is of them
    said    bool[entities]: whose vector means something without any triple, by what words say of them; None where
            vectors stay in their files, whose blocks tell
    grams   n-grams of names; as many as there are, without vectors where these stay in their files
    """

    words: Space
    entities: Space
    table: NameTable
    said: Bools | None
    grams: Sequence[str]
    prefixes: Prefixes

    def readable(self, entity: int) -> str | None:
        """What people may read instead of an entity's name: its label, its word, or its name by a prefix."""
        return self.all_readable(np.array([entity]))[0]

    def all_readable(self, entities: Ints) -> list[str | None]:
        """The same of many entities."""
        labels, names = names_at(self.labels, entities), names_at(self.entities.names, entities)
        return [label or self.prefixes.short(name) for label, name in zip(labels, names, strict=True)]

    def shown(self, entity: int) -> str:
        """An entity's name, by a prefix where it has one."""
        return self.prefixes.shown(self.entities.names[entity])

    @cached_property
    def labels(self) -> Sequence[str | None]:
        """Label of each entity, or its word where it has none; None where that is its name."""
        return Readable(self.table, len(self.entities))

    @cached_property
    def degrees(self) -> Ints:
        """int64[entities]: training triples that each is in."""
        if not len(self.entities):
            return np.empty(0, np.int64)
        return numbers_of(self.table.of_entities("degree")).astype(np.int64)


def table_size(trained: TrainedVectors) -> int:
    """Bytes of all vectors of a run."""
    layout, sources = trained.layout, trained.run.info.sources
    rows = layout.with_word if "text" in sources else 0
    rows += layout.with_entity * trained.coupling.parts if "graph" in sources else 0
    return 4 * rows * trained.run.info.config.model.dim


def read_spaces(trained: TrainedVectors, memory: int | None = None, progress: Progress | None = None) -> Spaces:
    """All vectors of a checkpoint with their names. raises DistjointError when a file is missing or damaged

    memory     bytes; vectors that take more stay in their files, where a store has them in a copy of this machine's,
               and are read as they are needed. None for whatever they take
    progress   shown while files are fetched from a store
    """
    run, layout, reader = trained.run, trained.layout, trained.reader(progress)
    sources, table = run.info.sources, NameTable(run)
    words = layout.vocabulary if "text" in sources else 0
    entities = layout.aligned + layout.entities if "graph" in sources else 0
    grams = table.names("gram", layout.grams) if layout.grams and words else []
    word_names = table.names("word", words) if words else []
    ids = NameColumn(lambda: table.of_entities("entity"), entities) if entities else []
    aliases = Aliases(table) if entities else []
    word_vectors: Any
    entity_vectors: Any
    if memory is not None and table_size(trained) > memory:
        reader.check()
        word_vectors, entity_vectors = (StoredVectors(reader, kind, memory) for kind in ("word", "entity"))
        if not words:
            word_vectors = np.empty((0, reader.width("word")), np.float32)
        if not entities:
            entity_vectors = np.empty((0, reader.width("entity")), np.float32)
        said = None
    else:
        word_vectors, entity_vectors, said = _all_vectors(reader, words, entities)
    prefixes = Prefixes(run.info.prefixes)
    named = Space("word", word_names, word_vectors), Space("entity", ids, entity_vectors, aliases, prefixes)
    return Spaces(*named, table, said, grams, prefixes)


def _all_vectors(reader: RowReader, words: int, entities: int) -> tuple[Floats, Floats, Bools]:
    layout = reader.layout
    of_words = np.empty((words, reader.width("word")), np.float32)
    of_entities = np.empty((entities, reader.width("entity")), np.float32)
    said = np.zeros(entities, np.bool_)
    for shard in range(layout.shards):
        rows, (read, made, tells) = layout.rows_of(shard), read_shard(reader, shard)
        if read is not None:
            places = layout.mentioned(rows[layout.has_word(shard)])
            known = places < words
            of_words[places[known]] = read[known]
        if made is not None and tells is not None:
            places = layout.entity_places(rows[layout.has_entity(shard)])
            of_entities[places], said[places] = made, tells
    return of_words, of_entities, said


def _moments_by_block(vectors: StoredVectors) -> tuple[Doubles, Doubles]:
    """Mean and deviation of the columns, in two passes: float64[dim] each."""
    mean = sum((part.sum(0, dtype=np.float64) for _, part, _ in vectors.blocks()), np.zeros(vectors.shape[1]))
    mean /= len(vectors)
    squares = sum((np.square(part - mean).sum(0) for _, part, _ in vectors.blocks()), np.zeros(vectors.shape[1]))
    return mean, np.sqrt(squares / len(vectors))


def unknown(what: str, name: str, spaces: Sequence[Space]) -> str:
    """Error message for an unknown name, with the nearest names."""
    near = list(dict.fromkeys(other for space in spaces for other in space.similar_names(name)))[:3]
    return f"unknown {what} '{name}'" + (f"; did you mean {', '.join(near)}?" if near else "")
