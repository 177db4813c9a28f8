"""Names that are several words: a trie of them, and the compiled search for them in a text.

A name becomes one token (`new_york`), so that it can share a row with its entity. Which names are worth it is decided
in `text`; here they are found by longest match, in one pass over provisional token ids.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from distjoint.backends.cpu.compiled import exact
from distjoint.base.arrays import Ints, TokenIds
from distjoint.data.spool import Tokens
from distjoint.data.tokenizers.base import JOINT
from distjoint.data.tokens import SEPARATOR, Lexicon
from distjoint.data.vocabulary import key

_ABSENT = -1


class NameTrie:
    """A trie of names that are several words, over provisional ids of words.

    Built for the compiled matcher: symbols stand for the distinct words of all names; the edge from a node by a
    symbol lies in a hash table of uint64(node << 32 | symbol).
    """

    def __init__(self, keys: Iterable[str], lexicon: Lexicon) -> None:
        """keys: of names, as `key` gives them; those of one word, or with a word never seen, are left out."""
        split = {name: name.split(JOINT) for name in sorted(set(keys)) if JOINT in name}
        wanted = {word for words in split.values() for word in words}
        ids: dict[str, list[int]] = defaultdict(list)
        for k, word in enumerate(lexicon.words() if wanted else ()):
            if (normal := key(word, lexicon.tokenizer)) in wanted:
                ids[normal].append(k)
        self.names = [name for name, words in split.items() if all(word in ids for word in words)]
        self.longest = max((len(split[name]) for name in self.names), default=0)
        symbols: dict[str, int] = {}
        edges: dict[tuple[int, int], int] = {}
        ends: dict[int, int] = {}
        for number, name in enumerate(self.names):
            node = 0
            for word in split[name]:
                symbol = symbols.setdefault(word, len(symbols))
                node = edges.setdefault((node, symbol), len(edges) + 1)
            ends[node] = number
        self.symbol: TokenIds = np.full(lexicon.size, _ABSENT, np.int32)
        for word, symbol in symbols.items():
            self.symbol[ids[word]] = symbol
        self.end: TokenIds = np.full(len(edges) + 1, _ABSENT, np.int32)
        self.end[list(ends)] = list(ends.values())
        self.edge_keys, self.edge_nodes = _edge_table(edges)

    def __len__(self) -> int:
        return len(self.names)

    def find(self, tokens: Tokens) -> Ints:
        """int64[names]: how often each is in a text, by longest match."""
        found = np.zeros(len(self.names), np.int64)
        for _ in self._joined(tokens, np.zeros(len(self.names), np.int32), found):
            pass
        return found

    def join(self, tokens: Tokens, spelled: TokenIds, counts: Ints) -> Iterator[TokenIds]:
        """The text block by block with names joined, longest match first.

        spelled   int32[names]: the id that stands for each
        counts    int64[words]: how often each word is in the joined text; added to
        """
        for block in self._joined(tokens, spelled, np.zeros(len(self.names), np.int64)):
            _tally(block, counts)
            yield block

    def _joined(self, tokens: Tokens, spelled: TokenIds, found: Ints) -> Iterator[TokenIds]:
        """The joined text; counts the names in `found`."""
        arrays = (self.symbol, self.edge_keys, self.edge_nodes, self.end, spelled, found)
        rest = np.empty(0, np.int32)
        for block in tokens.blocks():
            waiting = np.concatenate([rest, block])
            written, used = _match(waiting, *arrays, self.longest)
            yield written
            rest = waiting[used:]
        # A separator at the end is no part of any name, so it flushes what may have been the start of one.
        waiting = np.concatenate([rest, np.full(self.longest + 1, SEPARATOR, np.int32)])
        written, _ = _match(waiting, *arrays, 0)
        yield written[: max(len(written) - self.longest - 1, 0)]


def _edge_table(edges: dict[tuple[int, int], int]) -> tuple[NDArray[np.uint64], TokenIds]:
    size = 16
    while size < 2 * len(edges):
        size *= 2
    keys, nodes = np.full(size, np.uint64(2**64 - 1)), np.zeros(size, np.int32)
    pairs = np.array([(node << 32) | symbol for node, symbol in edges], np.uint64)
    _fill_edges(keys, nodes, pairs, np.fromiter(edges.values(), np.int32, len(edges)))
    return keys, nodes


@exact
def _slot(edge, size):  # type: ignore[no-untyped-def]
    mixed = edge * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(20)) & np.uint64(size - 1)


@exact
def _fill_edges(keys, nodes, pairs, targets):  # type: ignore[no-untyped-def]
    empty = np.uint64(0xFFFFFFFFFFFFFFFF)
    for k in range(pairs.size):
        slot = _slot(pairs[k], keys.size)
        while keys[slot] != empty:
            slot = (slot + np.uint64(1)) & np.uint64(keys.size - 1)
        keys[slot] = pairs[k]
        nodes[slot] = targets[k]


@exact
def _match(tokens, symbol, edge_keys, edge_nodes, end, spelled, found, margin):  # type: ignore[no-untyped-def]
    """Join names in `tokens[: -margin]`. Returns (joined tokens, tokens used)."""
    empty = np.uint64(0xFFFFFFFFFFFFFFFF)
    out = np.empty(tokens.size, np.int32)
    written, position, stop = 0, 0, tokens.size - margin
    while position < stop:
        token = tokens[position]
        node, best, best_length, ahead = 0, -1, 1, position
        while ahead < tokens.size and tokens[ahead] >= 0 and symbol[tokens[ahead]] >= 0:
            edge = (np.uint64(node) << np.uint64(32)) | np.uint64(symbol[tokens[ahead]])
            slot = _slot(edge, edge_keys.size)
            while edge_keys[slot] != edge and edge_keys[slot] != empty:
                slot = (slot + np.uint64(1)) & np.uint64(edge_keys.size - 1)
            if edge_keys[slot] == empty:
                break
            node = edge_nodes[slot]
            ahead += 1
            if end[node] >= 0:
                best, best_length = end[node], ahead - position
        if best >= 0:
            found[best] += 1
            out[written] = spelled[best]
        else:
            out[written] = token
        written += 1
        position += best_length
    return out[:written], position


@exact
def _tally(tokens, counts):  # type: ignore[no-untyped-def]
    for token in tokens:
        if token >= 0:
            counts[token] += 1
