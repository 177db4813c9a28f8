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

from distjoint.backends.cpu.compiled import exact
from distjoint.base.arrays import Ints, TokenIds
from distjoint.data.lines import Block, whole_lines
from distjoint.data.normal import Looked, composed, look
from distjoint.data.noticed import Noticed
from distjoint.data.tokenizers import OfCharacters, tokenizer_of
from distjoint.data.tokenizers.base import (
    ALONE,
    CODES,
    DROPPED,
    JOINER,
    KIND,
    LETTER,
    MARK,
    MIDDLE,
    NUMBER,
    QUOTE,
    SELECTORS,
    SEPARATES,
    goes_on,
    is_between,
)
from distjoint.data.tokenizers.whitespace import Whitespace

SEPARATOR = -1

_NEWLINE, _NINE = 10, 57
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_SELECTORS, _BEYOND, _FINAL = CODES, CODES + 1, CODES + 2
_FIRST_SELECTOR, _LAST_SELECTOR = SELECTORS
_SIGMA, _LAST_OF_FINAL_SIGMA = 0x3A3, 0x82


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
        _first_codes(self._pool, self._starts, codes)
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
        size, written = _encode(
            np.frombuffer(text, np.uint8),
            characters.packed,
            self._hashes,
            self._ids,
            self._starts,
            self._pool,
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
        found, size = _add(content, self._hashes, self._ids, self._starts, self._pool, self.size)
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
            _rehash(*old, self._hashes, self._ids)
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


@exact
def _encode(  # type: ignore[no-untyped-def]
    text, table, hashes, ids, starts, pool, counts, size, out, after_word
):
    """Ids of the words of a text of UTF-8. Returns (words known, ids written)."""
    plain = np.zeros(256, np.uint8)  # what ASCII letters and digits become, which a short loop of their own reads
    for k in range(0x80):
        if LETTER <= table[k] >> KIND <= NUMBER:
            plain[k] = table[k] & 0xFF
    position, written, end = 0, 0, len(text)
    while position < end:
        base = starts[size]
        at, code_hash, code, byte = base, _FNV_OFFSET, np.int64(0), np.uint8(0)
        # One word: until something that is no part of it, left in `code`.
        while position < end:
            code = np.int64(text[position])
            byte = plain[code]
            if byte == 0:
                break
            position += 1
            pool[at] = byte
            code_hash = (code_hash ^ np.uint64(byte)) * _FNV_PRIME
            at += 1
        if byte == 0 and code < 0x80:
            position += 1
        elif byte == 0:
            state = position, at, code_hash
            position, at, code_hash, code = _read_on(text, table, pool, base, state)
        if at > base:
            found, size = _find(code_hash, at, hashes, ids, starts, size)
            counts[found] += 1
            out[written] = found
            written += 1
            after_word = True
        if code == _NEWLINE and after_word:
            out[written] = SEPARATOR
            written += 1
            after_word = False
    return size, written


@exact
def _read_on(text, table, pool, base, state):  # type: ignore[no-untyped-def]
    """Read a word to its end, from the first character that is not ASCII.

    What may only stand between two letters is written and `pending`; where no letter follows, the word ends where it
    was `kept`.

    base      where the word begins in the pool
    state     position in the text; end of the word in the pool, and its hash, so far
    returns   the state then, and what ended the word, where that is no part of the next
    """
    position, at, code_hash = state
    end, kept, kept_hash, sigma = len(text), at, code_hash, np.int64(-1)
    code, pending, last = np.int64(0), np.int64(SEPARATES), np.int64(SEPARATES)
    if at > base:
        last = np.int64(NUMBER if pool[at - 1] <= _NINE else LETTER)
    while position < end:
        code, width = np.int64(text[position]), np.int64(1)
        if code >= 0x80:
            width, code = _decode(text, position)
        place = code
        if code >= CODES:
            place = np.int64(_SELECTORS if _FIRST_SELECTOR <= code <= _LAST_SELECTOR else _BEYOND)
        entry = np.int64(table[place])
        kind, ends = entry >> KIND, False  # whether the word may end after this, whatever is pending
        if kind == DROPPED:
            position += width
            continue
        if LETTER <= kind <= ALONE:
            if (kind != LETTER or last != LETTER or pending != SEPARATES) and not goes_on(kind, last, pending):
                code = np.int64(0)
                break
            pending, last = np.int64(SEPARATES), kind
            if code == _SIGMA:
                sigma = at
            if code < CODES:
                code = entry & ((1 << KIND) - 1)
        elif MARK <= kind <= JOINER and last != SEPARATES:
            ends = bool(pending > JOINER and at == kept)  # after a quote
            if kind == MARK and pending == JOINER:
                pending = np.int64(SEPARATES)
            elif kind == JOINER and pending == SEPARATES:
                kept, kept_hash, pending = at, code_hash, kind
        elif kind > JOINER and is_between(kind, last, pending):
            if pending == SEPARATES:
                kept, kept_hash = at, code_hash
            ends, pending = kind == QUOTE, np.int64(MIDDLE) if kind == QUOTE else kind
        else:
            position += width
            break
        position += width
        if 0x80 <= code < 0x800:  # as _put does, faster
            lead, trail = np.uint64(0xC0 | (code >> 6)), np.uint64(0x80 | (code & 0x3F))
            pool[at], pool[at + 1] = lead, trail
            code_hash = (((code_hash ^ lead) * _FNV_PRIME) ^ trail) * _FNV_PRIME
            at += 2
        elif 0x800 <= code < 0x10000:
            lead, trail = np.uint64(0xE0 | (code >> 12)), np.uint64(0x80 | (code & 0x3F))
            middle = np.uint64(0x80 | ((code >> 6) & 0x3F))
            pool[at], pool[at + 1], pool[at + 2] = lead, middle, trail
            code_hash = (((((code_hash ^ lead) * _FNV_PRIME) ^ middle) * _FNV_PRIME) ^ trail) * _FNV_PRIME
            at += 3
        else:
            stop = at + _put(pool, at, code)
            while at < stop:
                code_hash = (code_hash ^ np.uint64(pool[at])) * _FNV_PRIME
                at += 1
        if ends:
            kept, kept_hash = at, code_hash
        code = np.int64(0)
    if pending != SEPARATES:
        at, code_hash = kept, kept_hash
    if base < sigma == at - 2 and table[_FINAL]:
        pool[at - 1] = _LAST_OF_FINAL_SIGMA
        code_hash = _hash(pool, base, at)
    return position, at, code_hash, code


@exact
def _decode(text, position):  # type: ignore[no-untyped-def]
    """Width and code point of the multi-byte character at `position` of UTF-8."""
    first, second = np.int64(text[position]), np.int64(text[position + 1]) & 0x3F
    if first < 0xE0:
        return 2, ((first & 0x1F) << 6) | second
    third = np.int64(text[position + 2]) & 0x3F
    if first < 0xF0:
        return 3, ((first & 0x0F) << 12) | (second << 6) | third
    return 4, ((first & 0x07) << 18) | (second << 12) | (third << 6) | (np.int64(text[position + 3]) & 0x3F)


@exact
def _first_codes(pool, starts, codes):  # type: ignore[no-untyped-def]
    for k in range(codes.size):
        first = np.int64(pool[starts[k]])
        codes[k] = first if first < 0x80 else _decode(pool, starts[k])[1]


@exact
def _add(content, hashes, ids, starts, pool, size):  # type: ignore[no-untyped-def]
    base = starts[size]
    pool[base : base + content.size] = content
    code_hash = _hash(pool, base, base + content.size)
    return _find(code_hash, base + content.size, hashes, ids, starts, size)


@exact
def _hash(pool, start, stop):  # type: ignore[no-untyped-def]
    """FNV-1a of the bytes [start, stop)."""
    code_hash = _FNV_OFFSET
    for k in range(start, stop):
        code_hash = (code_hash ^ np.uint64(pool[k])) * _FNV_PRIME
    return code_hash


@exact
def _find(code_hash, end, hashes, ids, starts, size):  # type: ignore[no-untyped-def]
    """The id of the word whose bytes end the pool at `end`; a new one keeps them. Returns (id, size)."""
    mask = np.uint64(hashes.size - 1)
    code_hash = max(code_hash, np.uint64(1))  # 0 is an empty slot
    slot = (code_hash ^ (code_hash >> np.uint64(29))) & mask
    while hashes[slot] != code_hash:
        if hashes[slot] == 0:
            hashes[slot], ids[slot] = code_hash, size
            starts[size + 1] = end
            return np.int32(size), size + 1
        slot = (slot + np.uint64(1)) & mask
    return ids[slot], size


@exact
def _rehash(old_hashes, old_ids, hashes, ids):  # type: ignore[no-untyped-def]
    mask = np.uint64(hashes.size - 1)
    for k in range(old_hashes.size):
        if old_hashes[k]:
            slot = (old_hashes[k] ^ (old_hashes[k] >> np.uint64(29))) & mask
            while hashes[slot]:
                slot = (slot + np.uint64(1)) & mask
            hashes[slot], ids[slot] = old_hashes[k], old_ids[k]


@exact
def _put(pool, at, code):  # type: ignore[no-untyped-def]
    """Write a code point as UTF-8; returns its width."""
    if code < 0x80:
        pool[at] = code
        return 1
    if code < 0x800:
        pool[at] = 0xC0 | (code >> 6)
        pool[at + 1] = 0x80 | (code & 0x3F)
        return 2
    if code < 0x10000:
        pool[at] = 0xE0 | (code >> 12)
        pool[at + 1] = 0x80 | ((code >> 6) & 0x3F)
        pool[at + 2] = 0x80 | (code & 0x3F)
        return 3
    pool[at] = 0xF0 | (code >> 18)
    pool[at + 1] = 0x80 | ((code >> 12) & 0x3F)
    pool[at + 2] = 0x80 | ((code >> 6) & 0x3F)
    pool[at + 3] = 0x80 | (code & 0x3F)
    return 4
