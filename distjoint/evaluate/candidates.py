"""Candidates of a ranking: entities in blocks of vectors, from memory, a checkpoint's shards or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distjoint.base.arrays import Bools, Ints
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Triples
from distjoint.table.layout import Layout


@dataclass(frozen=True)
class Candidates:
    """Entities that answers are ranked among, in blocks that are fetched one at a time.

    rows      for each block, int64[n]: the row ids of its vectors
    block     fetches block i: float[n, dim], the vectors as the graph scores them
    listed    bool[all rows], by row id: which of them are candidates; None for all
    """

    rows: Sequence[Ints]
    block: Callable[[int], Tensor]
    listed: Bools | None = None

    @cached_property
    def picked(self) -> list[Ints]:
        """Places of the candidates within each block: int64[candidates of the block]."""
        listed = self.listed
        return [np.arange(len(rows)) if listed is None else np.flatnonzero(listed[rows]) for rows in self.rows]

    @cached_property
    def count(self) -> int:
        """Number of candidates in all blocks."""
        return sum(len(picked) for picked in self.picked)

    @cached_property
    def pool(self) -> Ints:
        """int64[count]: row ids of all candidates, ascending, so that it does not depend on the blocks."""
        return np.sort(np.concatenate([rows[picked] for rows, picked in zip(self.rows, self.picked, strict=True)]))

    @cached_property
    def block_of(self) -> NDArray[np.int32]:
        """int32[greatest row id + 1]: the block that holds a row's vector, -1 where none does."""
        found = np.full(self._size, -1, np.int32)
        for index, rows in enumerate(self.rows):
            found[rows] = index
        return found

    @cached_property
    def place(self) -> NDArray[np.int32]:
        """int32[greatest row id + 1]: a row's place among the candidates of its block, -1 for a row that is none."""
        found = np.full(self._size, -1, np.int32)
        for rows, picked in zip(self.rows, self.picked, strict=True):
            found[rows[picked]] = np.arange(len(picked))
        return found

    def vectors(self, index: int) -> Tensor:
        """float[n, dim]: the candidates of a block. raises DistjointError when one is not finite"""
        vectors, picked = self.block(index), self.picked[index]
        if len(picked) < len(vectors):
            vectors = vectors[torch.from_numpy(picked).to(vectors.device)]
        if not all_finite(vectors):
            raise DistjointError(f"entity vectors of shard {index} hold NaN or infinity; they cannot be ranked")
        return vectors

    def gather(self, rows: Ints) -> Tensor:
        """float[n, dim]: the vectors of some rows, candidates or not, from whichever blocks hold them.

        raises DistjointError for a row that has none
        """
        if not (rows < self._size).all() or (self.block_of[rows] < 0).any():
            raise DistjointError("link prediction: a triple names a row without an entity vector")
        wanted, back = np.unique(rows, return_inverse=True)
        blocks, found = self.block_of[wanted], None
        for index in np.unique(blocks).tolist():
            vectors = self.block(index)
            if found is None:
                found = vectors.new_empty((len(wanted), vectors.shape[1]))
            here = np.flatnonzero(blocks == index)
            places = torch.from_numpy(self._place_in[wanted[here]].astype(np.int64)).to(vectors.device)
            found[torch.from_numpy(here).to(vectors.device)] = vectors[places]
        assert found is not None
        return found[torch.from_numpy(back).to(found.device)]

    @cached_property
    def _size(self) -> int:
        return 1 + max((int(rows.max()) for rows in self.rows if len(rows)), default=-1)

    @cached_property
    def _place_in(self) -> NDArray[np.int32]:
        """int32[greatest row id + 1]: a row's place in its block."""
        found = np.zeros(self._size, np.int32)
        for rows in self.rows:
            found[rows] = np.arange(len(rows))
        return found


def all_finite(vectors: Tensor) -> bool:
    """Whether no number is NaN or infinite."""
    # A sum is finite only where every term is, and five times as fast as a mask; large terms may overflow it.
    return bool(torch.isfinite(vectors.sum())) or bool(torch.isfinite(vectors).all())


def entity_rows(layout: Layout) -> list[Ints]:
    """Row ids of the entities of each shard, in order of offset: the rows of part X."""
    return [layout.rows_of(shard)[layout.has_entity(shard)] for shard in range(layout.shards)]


def listed_rows(rows: int, *splits: Triples) -> Bools:
    """bool[rows]: the rows that occur in some split, the candidates of a result's ranking."""
    listed = np.zeros(rows, np.bool_)
    for triples in splits:
        listed[triples.head] = listed[triples.tail] = True
    return listed
