"""Where a row lives: the arithmetic between permanent row ids and (shard, offset).

Rows come in three kinds: a word alone, an aligned pair (a word and an entity in one row), an entity alone.
Ids run through the kinds in that order, each by rank: the most frequent word is row 0. The row of rank k
within its kind lives in tile `k mod tiles`, so every tile has the same mix of frequent and rare. Inside a
tile the kinds keep their order: the rows with a word are a prefix of it, the rows with an entity a suffix.
A shard is a run of whole tiles. Pure arithmetic: no file is read.

A table that grows appends: the rows of a growth have the ids that follow, through the kinds in the same order, and the
ranks that follow within each kind. The number of tiles and of shards stays. So these hold however often it grows:

* a row keeps its id, its kind, its rank within the kind, its tile and its shard for ever;
* within its tile it keeps its order among the rows of before; its offset is what `locate` says of the layout at hand;
* every id below `rows` has exactly one place, and `locate` and `rows_of` of a layout and of the one it grew to are
  together the map of a row from place to place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from distjoint.base.arrays import Bools, Ints

TILE_ROWS = 1000
MOST_TILE_ROWS = 1 << 16
"""Rows of a tile that cells can name."""

Added = tuple[int, int, int, int]
"""Rows of a growth: words alone (and after these n-grams), aligned, entities alone; and how many of the first are
n-grams."""
_WORD, _GRAM, _ALIGNED, _ENTITY = 0, 1, 2, 3


@dataclass(frozen=True)
class Layout:
    """The sizes that decide where each row lives.

    shards     number of shards S
    tiles      number of tiles T, a multiple of S
    words      rows that are a word alone, and after these n-grams of names, which are words that no text counts
    aligned    rows that are a word and an entity
    entities   rows that are an entity alone
    grams      how many of `words` are n-grams
    grown      how many of each came with each growth, oldest first; the others were there from the beginning
    """

    shards: int
    tiles: int
    words: int
    aligned: int
    entities: int
    grams: int = 0
    grown: tuple[Added, ...] = ()

    def __post_init__(self) -> None:
        if self.shards < 1 or self.tiles < 1 or self.tiles % self.shards:
            raise ValueError(f"{self.tiles} tiles do not fall into {self.shards} shards")
        if (self._sizes < 0).any():
            raise ValueError(f"more rows were added ({self.grown}) than there are")

    @property
    def rows(self) -> int:
        return self.words + self.aligned + self.entities

    @property
    def vocabulary(self) -> int:
        """Rows that are a word of the vocabulary, alone or with an entity."""
        return self.words - self.grams + self.aligned

    @property
    def with_word(self) -> int:
        """Rows with a word, n-grams among them: those of parts W and C."""
        return self.words + self.aligned

    @property
    def with_entity(self) -> int:
        """Rows with an entity: those of part X."""
        return self.aligned + self.entities

    @property
    def tiles_per_shard(self) -> int:
        return self.tiles // self.shards

    def grow(self, words: int, aligned: int, entities: int, grams: int = 0) -> Layout:
        """The layout with rows appended; itself where there are none. grams: how many of the words are n-grams"""
        if not (words or aligned or entities):
            return self
        sizes = (self.words + words, self.aligned + aligned, self.entities + entities, self.grams + grams)
        return Layout(self.shards, self.tiles, *sizes, (*self.grown, (words, aligned, entities, grams)))

    def grew_from(self, other: Layout) -> bool:
        """Whether this is another layout after some growths, or none: then the other's rows are the first of this."""
        if (self.shards, self.tiles) != (other.shards, other.tiles):
            return False
        return np.array_equal(self._sizes[: len(other._sizes)], other._sizes)

    def growth_of(self, rows: Ints) -> Ints:
        """int64[n]: the growth that each row came with, from 1; 0 for one that was there from the beginning."""
        return self._runs(rows)[0] // 4

    @cached_property
    def _sizes(self) -> Ints:
        """int64[1 + growths, 4]: words, grams, aligned, entities that were there first, and that each growth brought.

        Ids run through it row by row.
        """
        whole = np.array([(self.words, self.aligned, self.entities, self.grams), *self.grown], np.int64)
        whole[0] -= whole[1:].sum(0)
        return np.stack([whole[:, 0] - whole[:, 3], whole[:, 3], whole[:, 1], whole[:, 2]], axis=1)

    @cached_property
    def _starts(self) -> Ints:
        """int64[4 * (1 + growths)]: the first id of each run of rows of one kind, in the order of ids."""
        sizes = self._sizes.ravel()
        return np.cumsum(sizes) - sizes

    def _before(self, *counted: int) -> Ints:
        """int64[4 * (1 + growths)]: how many rows of some kinds lie before each run."""
        sizes = np.where(np.isin(np.arange(4), counted), self._sizes, 0).ravel()
        return np.cumsum(sizes) - sizes

    def _runs(self, rows: Ints) -> tuple[Ints, Ints]:
        """The run that each row lies in, and its place in the run: int64[n] each."""
        # An empty run shares its start with the next one; searchsorted then names the last of them, rightly.
        run = np.searchsorted(self._starts, rows, side="right") - 1
        return run, rows - self._starts[run]

    @cached_property
    def tile_kinds(self) -> Ints:
        """int64[tiles, 3]: rows of each tile that are a word, an aligned pair, an entity."""
        tile = np.arange(self.tiles)[:, None]
        sizes = np.array([self.words, self.aligned, self.entities])[None, :]
        return np.asarray((sizes - tile + self.tiles - 1) // self.tiles, np.int64)

    @cached_property
    def tile_offsets(self) -> Ints:
        """int64[shards, tiles_per_shard + 1]: the offset within its shard at which each tile starts."""
        return _ends(self.tile_kinds.sum(1).reshape(self.shards, -1))

    @cached_property
    def word_offsets(self) -> Ints:
        """int64[shards, tiles_per_shard + 1]: the same, counting only rows with a word (parts W and C)."""
        return _ends(self.tile_kinds[:, :2].sum(1).reshape(self.shards, -1))

    @cached_property
    def entity_offsets(self) -> Ints:
        """int64[shards, tiles_per_shard + 1]: the same, counting only rows with an entity (part X)."""
        return _ends(self.tile_kinds[:, 1:].sum(1).reshape(self.shards, -1))

    def shard_rows(self, shard: int) -> int:
        return int(self.tile_offsets[shard, -1])

    def shard_words(self, shard: int) -> int:
        """Rows of the shard that hold W and C."""
        return int(self.word_offsets[shard, -1])

    def shard_entities(self, shard: int) -> int:
        """Rows of the shard that hold X."""
        return int(self.entity_offsets[shard, -1])

    def locate(self, rows: Ints) -> tuple[Ints, Ints]:
        """Shard and offset within it of row ids.

        rows      int64[n], each in [0, self.rows)
        returns   shard int64[n], offset int64[n]
        """
        run, place = self._runs(rows)
        kind = np.array([0, 0, 1, 2])[run % 4]
        ranks = np.stack([self._before(_WORD, _GRAM), self._before(_ALIGNED), self._before(_ENTITY)])
        rank = place + ranks[kind, run]
        tile, within = rank % self.tiles, rank // self.tiles
        before = np.concatenate([np.zeros((self.tiles, 1), np.int64), self.tile_kinds.cumsum(1)[:, :2]], 1)
        shard, local = tile // self.tiles_per_shard, tile % self.tiles_per_shard
        return shard, self.tile_offsets[shard, local] + before[tile, kind] + within

    @cached_property
    def _ids(self) -> tuple[Ints, Ints, Ints]:
        """The ids of each kind by rank, where there were growths."""
        rows = np.arange(self.rows)
        kind = np.repeat(np.tile([0, 0, 1, 2], len(self._sizes)), self._sizes.ravel())
        return rows[kind == 0], rows[kind == 1], rows[kind == 2]

    def rows_of(self, shard: int) -> Ints:
        """int64[shard_rows]: the row ids of a shard in order of offset; the inverse of `locate`."""
        starts = (0, self.words, self.words + self.aligned)
        tiles = range(shard * self.tiles_per_shard, (shard + 1) * self.tiles_per_shard)
        if self.grown:
            return np.concatenate([self._ids[kind][tile :: self.tiles] for tile in tiles for kind in range(3)])
        parts = [
            starts[kind] + tile + self.tiles * np.arange(self.tile_kinds[tile, kind])
            for tile in tiles
            for kind in range(3)
        ]
        return np.concatenate(parts)

    def has_word(self, shard: int) -> NDArray[np.bool_]:
        """bool[shard_rows]: which rows of the shard have a word, in order of offset."""
        return self.is_word(self.rows_of(shard))

    def has_entity(self, shard: int) -> NDArray[np.bool_]:
        """bool[shard_rows]: which rows of the shard have an entity, in order of offset."""
        return self.is_entity(self.rows_of(shard))

    def has_gram(self, shard: int) -> NDArray[np.bool_]:
        """bool[shard_rows]: which rows of the shard are n-grams of names, in order of offset."""
        return np.asarray(self._runs(self.rows_of(shard))[0] % 4 == _GRAM)

    def is_word(self, rows: Ints) -> Bools:
        """bool[n]: which rows have a word."""
        return np.asarray(self._runs(rows)[0] % 4 != _ENTITY)

    def is_entity(self, rows: Ints) -> Bools:
        """bool[n]: which rows have an entity."""
        return np.asarray(self._runs(rows)[0] % 4 >= _ALIGNED)

    def mentioned(self, rows: Ints) -> Ints:
        """int64[n]: places of words and n-grams among all words, then all n-grams, by their row ids."""
        run, place = self._runs(rows)
        of_grams = self.vocabulary + self._before(_GRAM)
        return place + np.where(run % 4 == _GRAM, of_grams[run], self._before(_WORD, _ALIGNED)[run])

    def word_places(self, rows: Ints) -> Ints:
        """int64[n]: places of rows with a word among all of them, n-grams too, by their row ids."""
        run, place = self._runs(rows)
        return np.asarray(place + self._before(_WORD, _GRAM, _ALIGNED)[run])

    def entity_places(self, rows: Ints) -> Ints:
        """int64[n]: places of rows with an entity among all of them, by their row ids."""
        run, place = self._runs(rows)
        return np.asarray(place + self._before(_ALIGNED, _ENTITY)[run])

    def entities_at(self, places: Ints) -> Ints:
        """int64[n]: row ids of entities, by their places; the inverse of `entity_places`."""
        return self._at(places, _ALIGNED, _ENTITY)

    def words_at(self, places: Ints) -> Ints:
        """int64[n]: row ids of words of the vocabulary, by their places; the inverse of `mentioned` among them."""
        return self._at(places, _WORD, _ALIGNED)

    def _at(self, places: Ints, *counted: int) -> Ints:
        """int64[n]: ids of rows of some kinds, by their places among these."""
        runs = np.flatnonzero(np.isin(np.arange(len(self._starts)) % 4, counted))
        before = self._before(*counted)[runs]
        run = np.searchsorted(before, places, side="right") - 1
        return np.asarray(self._starts[runs][run] + places - before[run])

    @cached_property
    def word_rows(self) -> Ints:
        """int64[with_word]: ids of the rows with a word, n-grams too; the inverse of `word_places`."""
        rows = np.arange(self.rows)
        return rows[self.is_word(rows)]

    @cached_property
    def entity_rows(self) -> Ints:
        """int64[with_entity]: ids of the rows with an entity; the inverse of `entity_places`."""
        rows = np.arange(self.rows)
        return rows[self.is_entity(rows)]


class Sizes(BaseModel):
    """The layout's sizes as they stand in the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: int
    tiles: int
    words: int
    aligned: int
    entities: int
    grams: int = 0
    grown: tuple[Added, ...] = ()

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without growths as earlier versions wrote it: fingerprints are of this."""
        tree: dict[str, Any] = handler(self)
        if not self.grown:
            tree.pop("grown", None)
        return tree


def choose_tiles(rows: int, shards: int) -> int:
    """The multiple of `shards` that gives tiles of about a thousand rows, which fit a CPU's cache."""
    return shards * max(1, round(rows / TILE_ROWS / shards))


def _ends(sizes: Ints) -> Ints:
    return np.concatenate([np.zeros((len(sizes), 1), np.int64), sizes.cumsum(1)], 1)
