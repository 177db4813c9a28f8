"""Words as numbers: one compiled pass over the bytes that lower-cases, splits and numbers words.

What a word is, says a tokeniser, by a table of characters; one that is a function of a user's own is called line by
line.

Numbering is provisional, in order of first sight; the vocabulary decides the final ids. A lexicon is an
open-addressing hash table in flat arrays, so that the loop runs without Python objects and without the GIL.
A word is known by its 64-bit hash alone: among ten million words, two share one with a probability of 3e-6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distjoint.base.arrays import Ints, TokenIds
from distjoint.data import splitting
from distjoint.data.lines import Block, whole_lines
from distjoint.data.normal import Looked, composed, look
from distjoint.data.noticed import Noticed
from distjoint.data.splitting import SEPARATOR
from distjoint.data.tokenizers import OfCharacters, tokenizer_of
from distjoint.data.tokenizers.base import CODES
from distjoint.data.tokenizers.whitespace import Whitespace

__all__ = ["SEPARATOR", "Counter", "Lexicon", "encode_blocks"]


@dataclass
class Counter:
    """Tokens and documents read so far, and what was noticed of the files."""

    tokens: int = 0
    documents: int = 0
    noticed: Noticed = field(default_factory=Noticed)


class Lexicon:
    """Distinct words, numbered in order of first sight, with how often each was seen."""

    def __init__(self, tokenizer: str) -> None:
        self.tokenizer = tokenizer
        self.reads = tokenizer_of(tokenizer)
        self.size = 0
        self.counts: Ints = np.zeros(0, np.int64)
        self._hashes = np.zeros(1 << 16, np.uint64)
        self._ids: TokenIds = np.zeros(1 << 16, np.int32)
        self._starts: Ints = np.zeros(1, np.int64)
        self._pool = np.zeros(0, np.uint8)
        has_alone = isinstance(self.reads, OfCharacters) and self.reads.characters().has_alone
        self._alone: TokenIds = np.zeros(CODES if has_alone else 0, np.int32)  # see `_read_alone`

    def words(self) -> list[str]:
        """Every word in order of id."""
        pool, ends = self._pool.tobytes(), self._starts[: self.size + 1].tolist()
        return [pool[a:b].decode() for a, b in pairwise(ends)]

    def word(self, number: int) -> str:
        """The word of an id."""
        return self._pool[self._starts[number] : self._starts[number + 1]].tobytes().decode()

    def lengths(self) -> Ints:
        """int64[size]: bytes of each word."""
        return np.diff(self._starts[: self.size + 1])

    def first_codes(self) -> Ints:
        """int64[size]: code point with which each word begins."""
        codes = np.zeros(self.size, np.int64)
        splitting.first_codes(self._pool, self._starts, codes)
        return codes

    def encode(self, text: bytes, after_word: bool = False, found: Looked | None = None) -> TokenIds:
        """Ids of the words of `text`, with -1 after each line; new words are added and counted.

        text         of UTF-8, without NUL bytes
        after_word   whether the text goes on where a word was the last thing seen
        found        in the text, where that was looked for
        """
        found = found or look(text)
        assert found.clean, f"not text: {found}"
        if self.reads.normal and not found.normal:
            text = composed(text)
        if isinstance(self.reads, OfCharacters):
            return self._encode(text, self.reads, after_word)
        ids: list[int] = []
        for line in text.decode().splitlines(keepends=True):
            ids += [self._count(word) for word in self.reads.words(line.removesuffix("\n"))]
            if line.endswith("\n") and (ids[-1] != SEPARATOR if ids else after_word):
                ids.append(SEPARATOR)
        return np.array(ids, np.int32)

    def take(self, words: bytes) -> TokenIds:
        """Ids of words that have blanks between them, as they stand; new ones are added, all are counted."""
        return self._encode(words, Whitespace(), False)

    def _encode(self, text: bytes, tokenizer: OfCharacters, after_word: bool) -> TokenIds:
        self._reserve(len(text))
        characters = tokenizer.characters()
        out = np.empty(len(text) + 2, np.int32)
        size, written = splitting.encode(
            np.frombuffer(text, np.uint8),
            characters.packed,
            self._hashes,
            self._ids,
            self._starts,
            self._pool,
            self._alone,
            self.counts,
            self.size,
            out,
            after_word,
        )
        self.size = int(size)
        return out[:written]

    def _count(self, word: str) -> int:
        found = self.add(word)
        self.counts[found] += 1
        return found

    def add(self, word: str) -> int:
        """The id of `word`, taken as it is; a new one gets the next id and count 0."""
        content = np.frombuffer(word.encode(), np.uint8)
        self._reserve(len(content) + 2)
        found, size = splitting.add(content, self._hashes, self._ids, self._starts, self._pool, self.size)
        self.size = int(size)
        return int(found)

    def _reserve(self, length: int) -> None:
        """Room for every word that `length` bytes may hold, so that the compiled loop never has to grow."""
        words, slots = self.size + length // 2 + 1, len(self._hashes)
        if words * 2 > slots:
            while words * 2 > slots:
                slots *= 2
            old = self._hashes, self._ids
            self._hashes, self._ids = np.zeros(slots, np.uint64), np.zeros(slots, np.int32)
            splitting.rehash(*old, self._hashes, self._ids)
        if words > len(self.counts):
            room = max(words, self.size * 3 // 2)
            self.counts = _grown(self.counts, room)
            self._starts = _grown(self._starts, room + 1)
        # A lower-cased character can be a byte longer than it was: 2 bytes to 3.
        used = int(self._starts[self.size])
        if used + 2 * length + 8 > len(self._pool):
            self._pool = _grown(self._pool, max(used + 2 * length + 8, used * 3 // 2))


def encode_blocks(blocks: Iterator[Block], lexicon: Lexicon, counter: Counter) -> Iterator[tuple[Block, TokenIds]]:
    """Token ids of each block, -1 between documents.

    raises DistjointError for words that a tokeniser must not make
    """
    after_word = False
    for block in blocks if isinstance(lexicon.reads, OfCharacters) else whole_lines(blocks):
        for said in block.noticed:
            counter.noticed.add(*said)
        ids = lexicon.encode(block.text, after_word, block.found)
        ends = int(np.count_nonzero(ids == SEPARATOR))
        after_word = bool(ids[-1] != SEPARATOR) if len(ids) else after_word
        counter.documents += ends
        counter.tokens += len(ids) - ends
        yield block, ids


def _grown(array: NDArray[Any], length: int) -> NDArray[Any]:
    bigger = np.zeros(length, array.dtype)
    bigger[: len(array)] = array
    return bigger
