"""From everything seen in the text to the words that get a row.

Names of entities that are several words become one token (`new_york`) by longest match, so that they can share
a row with their entity; then words below the minimum count are left out. Both work on provisional ids of the
spooled tokens.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from distjoint.data.compiled import jit
from distjoint.data.request import Tokenizer
from distjoint.data.spool import Int32s, Spool
from distjoint.data.tokens import SEPARATOR, Lexicon

Int64s = NDArray[np.int64]

JOINT = "_"
_ABSENT = -1


@dataclass(frozen=True)
class Vocabulary:
    """The words that have a row, most frequent first, ties by the word itself.

    words      spelling of each
    counts     int64[words]: how often each occurs
    source     int64[words]: the provisional id of each
    """

    words: list[str]
    counts: Int64s
    source: Int64s

    def __len__(self) -> int:
        return len(self.words)

    @property
    def tokens(self) -> int:
        """Tokens of the text that are words of the vocabulary."""
        return int(self.counts.sum())


def choose(lexicon: Lexicon, counts: Int64s, min_count: int, max_words: int | None) -> Vocabulary:
    """Words seen at least `min_count` times, at most `max_words` of them."""
    spelled = lexicon.words()
    kept = np.flatnonzero(counts[: lexicon.size] >= max(min_count, 1))
    order = sorted(kept.tolist(), key=lambda k: (-counts[k], spelled[k]))[:max_words]
    source = np.array(order, np.int64)
    return Vocabulary([spelled[k] for k in order], counts[source].astype(np.int64), source)


def key(name: str, tokenizer: Tokenizer) -> str:
    """The form in which names and words are compared: NFKC, case folded, words joined by `_`.

    `New York`, `new_york` and `NEW  YORK` have one key. Empty where the name holds no word.
    """
    if name.isascii() and name.islower() and name.isalpha():
        return name
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).replace(JOINT, " ")
    if tokenizer == "whitespace":
        return JOINT.join(folded.split())
    return JOINT.join("".join(c if _inside(c) else " " for c in folded).split())


@cache
def _inside(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


class Names:
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
        self.symbol: Int32s = np.full(lexicon.size, _ABSENT, np.int32)
        for word, symbol in symbols.items():
            self.symbol[ids[word]] = symbol
        self.end: Int32s = np.full(len(edges) + 1, _ABSENT, np.int32)
        self.end[list(ends)] = list(ends.values())
        self.edge_keys, self.edge_nodes = _edge_table(edges)

    def __len__(self) -> int:
        return len(self.names)


def merge_names(spool: Spool, keys: Iterable[str], lexicon: Lexicon, min_count: int, out: Spool) -> Int64s | None:
    """Copy `spool` to `out` with the names joined, longest match first; None where there is nothing to join.

    A name that occurs fewer than `min_count` times stays apart: joined, its words would be lost.
    returns int64[lexicon.size]: counts after joining; the lexicon grows by the names joined
    """
    names = Names(keys, lexicon)
    if not len(names):
        return None
    found = np.zeros(len(names), np.int64)
    for _ in _matched(spool, names, np.zeros(len(names), np.int32), found):
        pass
    kept = [name for name, count in zip(names.names, found.tolist(), strict=True) if count >= max(min_count, 1)]
    if not kept:
        return None
    names = Names(kept, lexicon)
    spelled = np.array([lexicon.add(name) for name in names.names], np.int32)
    counts, found = np.zeros(lexicon.size, np.int64), np.zeros(len(names), np.int64)
    for tokens in _matched(spool, names, spelled, found):
        out.write(tokens)
        _tally(tokens, counts)
    return counts


def _matched(spool: Spool, names: Names, spelled: Int32s, found: Int64s):  # type: ignore[no-untyped-def]
    rest = np.empty(0, np.int32)
    for block in spool.blocks():
        tokens = np.concatenate([rest, block])
        written, used = _match(
            tokens, names.symbol, names.edge_keys, names.edge_nodes, names.end, spelled, found, names.longest
        )
        yield written
        rest = tokens[used:]
    # A separator at the end is no part of any name, so it flushes what may have been the start of one.
    tokens = np.concatenate([rest, np.full(names.longest + 1, SEPARATOR, np.int32)])
    written, _ = _match(tokens, names.symbol, names.edge_keys, names.edge_nodes, names.end, spelled, found, 0)
    yield written[: max(len(written) - names.longest - 1, 0)]


def _edge_table(edges: dict[tuple[int, int], int]) -> tuple[NDArray[np.uint64], Int32s]:
    size = 16
    while size < 2 * len(edges):
        size *= 2
    keys, nodes = np.full(size, np.uint64(2**64 - 1)), np.zeros(size, np.int32)
    pairs = np.array([(node << 32) | symbol for node, symbol in edges], np.uint64)
    _fill_edges(keys, nodes, pairs, np.fromiter(edges.values(), np.int32, len(edges)))
    return keys, nodes


@jit
def _slot(edge, size):  # type: ignore[no-untyped-def]
    mixed = edge * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(20)) & np.uint64(size - 1)


@jit
def _fill_edges(keys, nodes, pairs, targets):  # type: ignore[no-untyped-def]
    empty = np.uint64(0xFFFFFFFFFFFFFFFF)
    for k in range(pairs.size):
        slot = _slot(pairs[k], keys.size)
        while keys[slot] != empty:
            slot = (slot + np.uint64(1)) & np.uint64(keys.size - 1)
        keys[slot] = pairs[k]
        nodes[slot] = targets[k]


@jit
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


@jit
def _tally(tokens, counts):  # type: ignore[no-untyped-def]
    for token in tokens:
        if token >= 0:
            counts[token] += 1
