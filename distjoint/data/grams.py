"""Character n-grams of names: what a name says that is no word of the vocabulary (Bojanowski et al. 2017).

`<whale>` has `<wha`, `whal`, `hale`, `ale>`, ..., `whale>`: pieces of `LEAST` to `MOST` characters of the name with its
ends marked, its words joined by underscores. A gram that few names share says nothing that could be learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distjoint.base.arrays import Ints

LEAST, MOST = 4, 6
"""Characters of the shortest and of the longest gram."""
_BEGIN, _END = "<", ">"
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
SLICE = 1 << 20
"""Characters of names that are looked at together."""


def grams_of(name: str) -> list[str]:
    """The distinct grams of a name, shortest first.

    name   as `vocabulary.key` makes it; an empty one has none
    """
    marked = _marked(name)
    return list(dict.fromkeys(marked[i : i + n] for n in range(LEAST, MOST + 1) for i in range(len(marked) - n + 1)))


def find_grams(owner: Ints, names: Sequence[str], least: int) -> tuple[Ints, Ints, list[str]]:
    """The grams that at least some entities share.

    owner     int64[names]: the entity of each name
    least     entities that a gram must be of
    returns   int64[n] entity and int64[n] gram of each pair of both, each once, sorted by entity; the grams in order
              of their numbers, those of most entities first
    """
    marked = [_marked(name) for name in names]
    keys, entities, places = _windows(owner, marked)
    grams, first, gram = np.unique(keys, return_index=True, return_inverse=True)
    pairs = np.unique(entities * max(len(grams), 1) + gram)
    entity, gram = np.divmod(pairs, max(len(grams), 1))
    shared = np.bincount(gram, minlength=len(grams))
    kept = np.flatnonzero(shared >= least)
    text = "".join(marked)
    spelled = [text[place // 8 : place // 8 + place % 8] for place in places[first[kept]].tolist()]
    order = sorted(range(len(kept)), key=lambda k: (-shared[kept[k]], spelled[k]))
    number = np.full(len(grams), -1, np.int64)
    number[kept[order]] = np.arange(len(order))
    among = number[gram] >= 0
    return entity[among], number[gram[among]], [spelled[k] for k in order]


def _marked(name: str) -> str:
    return f"{_BEGIN}{name}{_END}" if name else ""


def _windows(owner: Ints, marked: Sequence[str]) -> tuple[Ints, Ints, Ints]:
    """All grams of names.

    returns   int64[n]: a hash of each gram; its entity; 8 * its place in all the names' characters + its length
    """
    lengths = np.array([len(name) for name in marked], np.int64)
    ends = np.cumsum(lengths)
    none = np.empty(0, np.int64)
    keys, entities, places = [none], [none], [none]
    start = 0
    while start < len(marked):
        # Whole names, about a slice of characters, one at least.
        stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + SLICE)))
        text = "".join(marked[start:stop])
        letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        of = np.repeat(np.arange(start, stop), lengths[start:stop])
        begins = ends[start] - lengths[start]
        for size in range(LEAST, MOST + 1):
            count = len(letters) - size + 1
            if count <= 0:
                break
            inside = np.flatnonzero(of[:count] == of[size - 1 :])
            key = np.full(len(inside), size, np.uint64)
            for letter in range(size):
                key = (key ^ letters[inside + letter]) * _MULTIPLIER
                key ^= key >> np.uint64(29)
            keys.append(key.view(np.int64))
            entities.append(owner[of[inside]])
            places.append(8 * (inside + begins) + size)
        start = stop
    return np.concatenate(keys), np.concatenate(entities), np.concatenate(places)
