"""Where a row lives: the arithmetic between permanent row ids and (shard, offset).

Rows come in three kinds: a word alone, an aligned pair (a word and an entity in one row), an entity alone.
Ids run through the kinds in that order, each by rank: the most frequent word is row 0. The row of rank k
within its kind lives in tile `k mod tiles`, so every tile has the same mix of frequent and rare. Inside a
tile the kinds keep their order: the rows with a word are a prefix of it, the rows with an entity a suffix.
A shard is a run of whole tiles. Pure arithmetic: no file is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from distjoint.base.arrays import Ints

TILE_ROWS = 1000


@dataclass(frozen=True)
class Layout:
    """The sizes that decide where each row lives.

    shards     number of shards S
    tiles      number of tiles T, a multiple of S
    words      rows that are a word alone, and after these n-grams of names, which are words that no text counts
    aligned    rows that are a word and an entity
    entities   rows that are an entity alone
    grams      how many of `words` are n-grams
    """

    shards: int
    tiles: int
    words: int
    aligned: int
    entities: int
    grams: int = 0

    def __post_init__(self) -> None:
        if self.shards < 1 or self.tiles < 1 or self.tiles % self.shards:
            raise ValueError(f"{self.tiles} tiles do not fall into {self.shards} shards")

    @property
    def rows(self) -> int:
        return self.words + self.aligned + self.entities

    @property
    def vocabulary(self) -> int:
        """Rows that are a word of the vocabulary, alone or with an entity."""
        return self.words - self.grams + self.aligned

    @property
    def tiles_per_shard(self) -> int:
        return self.tiles // self.shards

    @cached_property
    def tile_kinds(self) -> Ints:
        """int64[tiles, 3]: rows of each tile that are a word, an aligned pair, an entity."""
        tile = np.arange(self.tiles)[:, None]
        sizes = np.array([self.words, self.aligned, self.entities])[None, :]
        return np.asarray((sizes - tile + self.tiles - 1) // self.tiles, np.int64)

    @cached_property
    def tile_offsets(self) -> Ints:
        """int64[shards, tiles_per_shard + 1]: the offset within its shard at which each tile starts."""
        return _starts(self.tile_kinds.sum(1).reshape(self.shards, -1))

    @cached_property
    def word_offsets(self) -> Ints:
        """int64[shards, tiles_per_shard + 1]: the same, counting only rows with a word (parts W and C)."""
        return _starts(self.tile_kinds[:, :2].sum(1).reshape(self.shards, -1))

    @cached_property
    def entity_offsets(self) -> Ints:
        """int64[shards, tiles_per_shard + 1]: the same, counting only rows with an entity (part X)."""
        return _starts(self.tile_kinds[:, 1:].sum(1).reshape(self.shards, -1))

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
        starts = np.array([0, self.words, self.words + self.aligned])
        kind = np.searchsorted(starts, rows, side="right") - 1
        # An empty kind shares its start with the next one; searchsorted then names the last of them, rightly.
        rank = rows - starts[kind]
        tile, within = rank % self.tiles, rank // self.tiles
        before = np.concatenate([np.zeros((self.tiles, 1), np.int64), self.tile_kinds.cumsum(1)[:, :2]], 1)
        shard, local = tile // self.tiles_per_shard, tile % self.tiles_per_shard
        return shard, self.tile_offsets[shard, local] + before[tile, kind] + within

    def rows_of(self, shard: int) -> Ints:
        """int64[shard_rows]: the row ids of a shard in order of offset; the inverse of `locate`."""
        starts = (0, self.words, self.words + self.aligned)
        parts = [
            starts[kind] + tile + self.tiles * np.arange(self.tile_kinds[tile, kind])
            for tile in range(shard * self.tiles_per_shard, (shard + 1) * self.tiles_per_shard)
            for kind in range(3)
        ]
        return np.concatenate(parts)

    def has_word(self, shard: int) -> NDArray[np.bool_]:
        """bool[shard_rows]: which rows of the shard have a word, in order of offset."""
        return self.rows_of(shard) < self.words + self.aligned

    def has_gram(self, shard: int) -> NDArray[np.bool_]:
        """bool[shard_rows]: which rows of the shard are n-grams of names, in order of offset."""
        rows = self.rows_of(shard)
        return (rows >= self.words - self.grams) & (rows < self.words)

    def mentioned(self, rows: Ints) -> Ints:
        """int64[n]: places of words and n-grams among all words, then all n-grams, by their row ids."""
        kinds = rows < self.words - self.grams, rows < self.words
        return rows + np.select(kinds, (0, self.aligned), -self.grams)

    def has_entity(self, shard: int) -> NDArray[np.bool_]:
        """bool[shard_rows]: which rows of the shard have an entity, in order of offset."""
        return self.rows_of(shard) >= self.words


class Sizes(BaseModel):
    """The layout's sizes as they stand in the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: int
    tiles: int
    words: int
    aligned: int
    entities: int
    grams: int = 0


def choose_tiles(rows: int, shards: int) -> int:
    """The multiple of `shards` that gives tiles of about a thousand rows, which fit a CPU's cache."""
    return shards * max(1, round(rows / TILE_ROWS / shards))


def _starts(sizes: Ints) -> Ints:
    return np.concatenate([np.zeros((len(sizes), 1), np.int64), sizes.cumsum(1)], 1)
