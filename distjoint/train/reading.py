"""Reading, on tensors: what words say of entities, T = (sum a u(w)) M, and the way of its gradient back.

Both stream through the mentions once, by entity one way and by word the other: each sum is written by one thread, so
bits do not depend on how many there are. No gradient goes through the mean by which words are centred.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from distjoint.backends.base import Backend, Bags
from distjoint.couplings.described import Described, unit_words

_ROWS = 2048
"""Entities or words in a slice of work on a CPU."""


@dataclass(frozen=True)
class MentionTables:
    """Mentions between some entities and some words. Both go by shard and offset, so that bits do not depend on slots.

    by_entity   the words of each entity, or of each of its texts
    by_word     the entities, or texts, of each word
    entities    int64[n]: their places in X
    texts       int64[n * fields]: places of their texts in T, seen as rows of one text each
    words       int64[n]: arena rows of words
    places      int64[n]: their places in W
    counted     int64[n]: which of the words are of the vocabulary, not n-grams
    fresh       bool[entities]: those that have text, and share no row with a word
    """

    by_entity: Bags
    by_word: Bags
    entities: Tensor
    texts: Tensor
    words: Tensor
    places: Tensor
    counted: Tensor
    fresh: Tensor

    @property
    def mentions(self) -> int:
        return len(self.by_entity.index)


class UnitWords:
    """Words as entities read them, centred and of length one.

    units   float32[words, dim]
    norms   float32[words, 1]: the lengths they had
    """

    def __init__(self, arrays: Mapping[str, Tensor], tables: MentionTables) -> None:
        words, *others = (arrays[name].index_select(0, tables.places) for name in Described.read_parts)
        for other in others:
            words.add_(other)
        self.units, self.norms = unit_words(words, words.index_select(0, tables.counted).mean(0))


def read_text(
    backend: Backend, words: UnitWords, map_: Tensor | None, tables: MentionTables, text: Tensor, add: bool
) -> None:
    """Write to `text`, float32[places in X * fields, dim], what is said of each entity; or add it to what is there.

    map_   float32[dim, dim]; None for the identity
    """
    put = text.index_add_ if add else text.index_copy_

    def read(part: slice) -> None:
        said = backend.weighted_sums(words.units, tables.by_entity, part)
        put(0, tables.texts[part], said if map_ is None else said @ map_)

    for _ in backend.map(read, backend.slices(len(tables.texts), _ROWS)):
        pass


def give_back(
    backend: Backend,
    gradient: Tensor,
    words: UnitWords,
    map_: Tensor | None,
    tables: MentionTables,
    of_map: Tensor | None = None,
) -> Tensor:
    """The gradient of words, float32[words, dim], by that of texts, float32[entities, dim].

    map_     float32[dim, dim]; None for the identity
    of_map   where the gradient of the map is added up; None where it does not learn
    """
    of_words = torch.empty_like(words.units)

    def give(part: slice) -> Tensor | None:
        mapped, unit = backend.weighted_sums(gradient, tables.by_word, part), words.units[part]
        of_this = None if of_map is None else unit.T @ mapped
        d_unit = mapped if map_ is None else mapped @ map_.T
        along = (unit * d_unit).sum(1, keepdim=True)
        of_words[part] = d_unit.sub_(unit * along).div_(words.norms[part])
        return of_this

    for found in backend.map(give, backend.slices(len(words.units), _ROWS)):
        if of_map is not None and found is not None:
            of_map += found
    return of_words
