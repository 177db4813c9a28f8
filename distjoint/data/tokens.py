"""Tokeniser: one compiled pass over the bytes that verifies, lower-cases, splits and numbers words.

Numbering is provisional, in order of first sight; the vocabulary decides the final ids. A lexicon is an
open-addressing hash table in flat arrays, so that the loop runs without Python objects and without the GIL.
A word is known by its 64-bit hash alone: among ten million words, two share one with a probability of 3e-6.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distjoint.backends.cpu.compiled import exact
from distjoint.base.arrays import Ints, TokenIds
from distjoint.base.errors import DistjointError
from distjoint.data.lines import Block
from distjoint.data.request import Tokenizer

SEPARATOR = -1

# Letters, marks and numbers all lie below this, save the variation selectors of plane 14.
_CODES = 0x40000
_NEWLINE = 10
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_BAD_BYTE, _BAD_NUL = 1, 2


@cache
def _characters(tokenizer: Tokenizer) -> tuple[NDArray[np.uint8], TokenIds]:
    """uint8[codes]: 1 for code points that belong to words; int32[codes]: what each becomes, its lower case."""
    inside, becomes = np.zeros(_CODES, np.uint8), np.arange(_CODES, dtype=np.int32)
    if tokenizer == "whitespace":
        inside[:] = 1
        inside[[ord(mark) for mark in " \t\n\r\v\f"]] = 0
        return inside, becomes
    for code in range(_CODES):
        character = chr(code)
        if unicodedata.category(character)[0] in "LMN":
            inside[code] = 1
            becomes[code] = ord(character.lower()[0])
    return inside, becomes


@dataclass
class Counter:
    """Tokens and documents read so far."""

    tokens: int = 0
    documents: int = 0


class Lexicon:
    """Distinct words, numbered in order of first sight, with how often each was seen."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
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

    def encode(self, text: bytes, after_word: bool = False) -> TokenIds:
        """Ids of the words of `text`, with -1 after each line; new words are added and counted.

        after_word   whether the text goes on where a word was the last thing seen
        raises ValueError(kind, position) at a byte that is not UTF-8 text
        """
        self._reserve(len(text))
        inside, becomes = _characters(self.tokenizer)
        out = np.empty(len(text) + 2, np.int32)
        size, written, kind, position = _encode(
            np.frombuffer(text, np.uint8),
            inside,
            becomes,
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
        if kind:
            raise ValueError(int(kind), int(position))
        return out[:written]

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

    raises DistjointError naming file, line and byte of what is not UTF-8 text
    """
    lines = 0
    offset = 0
    after_word = False
    for block in blocks:
        try:
            ids = lexicon.encode(block.text, after_word)
        except ValueError as error:
            kind, position = error.args
            line = lines + block.text.count(b"\n", 0, position) + 1
            value = block.text[position]
            what = "a NUL byte, so it is not text" if kind == _BAD_NUL else f"byte 0x{value:02x}, which is not UTF-8"
            raise DistjointError(
                f"{block.file}, line {line}, byte {offset + position}: {what}; "
                "convert the file, for example with 'iconv -f LATIN1 -t UTF-8'"
            ) from None
        ends = int(np.count_nonzero(ids == SEPARATOR))
        after_word = bool(ids[-1] != SEPARATOR) if len(ids) else after_word
        counter.documents += ends
        counter.tokens += len(ids) - ends
        lines, offset = (0, 0) if block.last else (lines + block.text.count(b"\n"), offset + len(block.text))
        yield block, ids


def _grown(array: NDArray[Any], length: int) -> NDArray[Any]:
    bigger = np.zeros(length, array.dtype)
    bigger[: len(array)] = array
    return bigger


@exact
def _encode(text, inside, becomes, hashes, ids, starts, pool, counts, size, out, after_word):  # type: ignore[no-untyped-def]
    """Ids of the words of a text. Returns (words known, ids written, kind of error or 0, its position)."""
    plain = np.where(inside[:0x80] == 1, becomes[:0x80], 0).astype(np.uint8)
    position, written, end = 0, 0, len(text)
    while position < end:
        base = starts[size]
        at, code_hash, code = base, _FNV_OFFSET, np.int64(0)
        # One word: until something that is no part of a word, left in `code`.
        while position < end:
            code = np.int64(text[position])
            if code < 0x80:
                position += 1
                byte = plain[code]
                if byte == 0:
                    break
                pool[at] = byte
                code_hash = (code_hash ^ np.uint64(byte)) * _FNV_PRIME
                at += 1
                continue
            width, code = _decode(text, position, end)
            if width == 0:
                return size, written, _BAD_BYTE, position
            position += width
            if code >= inside.size:
                if not 0xE0100 <= code <= 0xE01EF:
                    break
            elif inside[code] == 0:
                break
            else:
                code = np.int64(becomes[code])
            added = _put(pool, at, code)
            for k in range(at, at + added):
                code_hash = (code_hash ^ np.uint64(pool[k])) * _FNV_PRIME
            at += added
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
        elif code == 0:
            return size, written, _BAD_NUL, position - 1
    return size, written, 0, 0


@exact
def _add(content, hashes, ids, starts, pool, size):  # type: ignore[no-untyped-def]
    base = starts[size]
    code_hash = _FNV_OFFSET
    for k in range(content.size):
        pool[base + k] = content[k]
        code_hash = (code_hash ^ np.uint64(content[k])) * _FNV_PRIME
    return _find(code_hash, base + content.size, hashes, ids, starts, size)


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
def _decode(text, position, end):  # type: ignore[no-untyped-def]
    """Width and code point of the multi-byte character at `position`; width 0 where it is not valid UTF-8."""
    first = np.int64(text[position])
    if first < 0xC2 or first > 0xF4:
        return 0, np.int64(0)
    width = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if position + width > end:
        return 0, np.int64(0)
    code = first & (0x7F >> width)
    for k in range(1, width):
        byte = np.int64(text[position + k])
        if byte & 0xC0 != 0x80:
            return 0, np.int64(0)
        code = (code << 6) | (byte & 0x3F)
    # Overlong forms, surrogates, beyond Unicode.
    if (width == 3 and code < 0x800) or (width == 4 and not 0x10000 <= code <= 0x10FFFF) or 0xD800 <= code <= 0xDFFF:
        return 0, np.int64(0)
    return width, code


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
