"""Text to token ids: one compiled pass over the bytes that verifies, lower-cases, splits and numbers words.

Numbering is provisional, in order of first sight; the vocabulary decides the final ids. A lexicon is an
open-addressing hash table in flat arrays, so that the loop runs without Python objects and without the GIL
(1 thread: about 100 MB of English a second; splitting by regular expression in Arrow: 15).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from distjoint.data.corpus import Block
from distjoint.errors import DistjointError

SEPARATOR = -1
Tokenizer = Literal["unicode", "whitespace"]

# Letters, marks and numbers all lie below this, save the variation selectors of plane 14.
_CODES = 0x40000
_NEWLINE = 10
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_BAD_BYTE, _BAD_NUL = 1, 2

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]


@cache
def _characters(tokenizer: Tokenizer) -> tuple[NDArray[np.uint8], Int32s]:
    """Which code points belong to words, uint8[codes], and what each becomes, int32[codes]."""
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
    """What has been read so far."""

    tokens: int = 0
    documents: int = 0


class Lexicon:
    """Distinct words, numbered in order of first sight, with how often each was seen."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.size = 0
        self.counts: Int64s = np.zeros(0, np.int64)
        self._slots: Int32s = np.full(1 << 16, -1, np.int32)
        self._hashes = np.zeros(0, np.uint64)
        self._starts: Int64s = np.zeros(1, np.int64)
        self._pool = np.zeros(0, np.uint8)

    def words(self) -> list[str]:
        """Every word in order of id."""
        pool, ends = self._pool.tobytes(), self._starts[: self.size + 1].tolist()
        return [pool[a:b].decode() for a, b in pairwise(ends)]

    def encode(self, text: bytes, after_word: bool = False) -> Int32s:
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
            self._slots,
            self._hashes,
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
        found, size = _add(content, self._slots, self._hashes, self._starts, self._pool, self.size)
        self.size = int(size)
        return int(found)

    def _reserve(self, length: int) -> None:
        """Room for every word that `length` bytes may hold, so that the compiled loop never has to grow."""
        ids, slots = self.size + length // 2 + 1, len(self._slots)
        if ids * 2 > slots:
            while ids * 2 > slots:
                slots *= 2
            self._slots = np.full(slots, -1, np.int32)
            _rehash(self._slots, self._hashes, self.size)
        if ids > len(self.counts):
            room = max(ids, self.size * 3 // 2)
            self.counts = _grown(self.counts, room)
            self._hashes = _grown(self._hashes, room)
            self._starts = _grown(self._starts, room + 1)
        # A lower-cased character can be a byte longer than it was: 2 bytes to 3.
        used = int(self._starts[self.size])
        if used + 2 * length + 8 > len(self._pool):
            self._pool = _grown(self._pool, max(used + 2 * length + 8, used * 3 // 2))


def encode_blocks(blocks: Iterator[Block], lexicon: Lexicon, counter: Counter) -> Iterator[tuple[Block, Int32s]]:
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


@numba.njit(nogil=True, cache=True)
def _encode(text, inside, becomes, slots, hashes, starts, pool, counts, size, out, after_word):  # type: ignore[no-untyped-def]
    """Returns (words known, ids written, kind of error or 0, its position)."""
    position, written, end = 0, 0, len(text)
    base = starts[size]
    length = 0
    code_hash = _FNV_OFFSET
    while position <= end:
        width = 1
        if position == end:
            code, word = np.int32(0), False
        else:
            code = np.int32(text[position])
            if code >= 0x80:
                width, code = _decode(text, position, end)
                if width == 0:
                    return size, written, _BAD_BYTE, position
            elif code == 0:
                return size, written, _BAD_NUL, position
            word = (code < inside.size and inside[code] == 1) or 0xE0100 <= code <= 0xE01EF
        if word:
            lowered = becomes[code] if code < becomes.size else code
            if lowered < 0x80:
                pool[base + length] = lowered
                code_hash = (code_hash ^ np.uint64(lowered)) * _FNV_PRIME
                length += 1
            else:
                added = _put(pool, base + length, lowered)
                for k in range(added):
                    code_hash = (code_hash ^ np.uint64(pool[base + length + k])) * _FNV_PRIME
                length += added
        else:
            if length:
                found, size = _find(code_hash, base, length, slots, hashes, starts, pool, size)
                counts[found] += 1
                out[written] = found
                written += 1
                base = starts[size]
                length = 0
                code_hash = _FNV_OFFSET
                after_word = True
            if code == _NEWLINE and after_word:
                out[written] = SEPARATOR
                written += 1
                after_word = False
        position += width
    return size, written, 0, 0


@numba.njit(nogil=True, cache=True)
def _add(content, slots, hashes, starts, pool, size):  # type: ignore[no-untyped-def]
    base = starts[size]
    code_hash = _FNV_OFFSET
    for k in range(content.size):
        pool[base + k] = content[k]
        code_hash = (code_hash ^ np.uint64(content[k])) * _FNV_PRIME
    return _find(code_hash, base, content.size, slots, hashes, starts, pool, size)


@numba.njit(nogil=True, cache=True, inline="always")
def _find(code_hash, base, length, slots, hashes, starts, pool, size):  # type: ignore[no-untyped-def]
    """The id of the word at pool[base : base + length]; a new one keeps those bytes. Returns (id, size)."""
    mask = np.uint64(slots.size - 1)
    slot = (code_hash ^ (code_hash >> np.uint64(29))) & mask
    while True:
        found = slots[slot]
        if found < 0:
            slots[slot] = size
            hashes[size] = code_hash
            starts[size + 1] = base + length
            return np.int32(size), size + 1
        if hashes[found] == code_hash and starts[found + 1] - starts[found] == length:
            same = True
            for k in range(length):
                if pool[starts[found] + k] != pool[base + k]:
                    same = False
                    break
            if same:
                return found, size
        slot = (slot + np.uint64(1)) & mask


@numba.njit(nogil=True, cache=True)
def _rehash(slots, hashes, size):  # type: ignore[no-untyped-def]
    mask = np.uint64(slots.size - 1)
    for k in range(size):
        slot = (hashes[k] ^ (hashes[k] >> np.uint64(29))) & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = k


@numba.njit(nogil=True, cache=True)
def _decode(text, position, end):  # type: ignore[no-untyped-def]
    """Width and code point of the multi-byte character at `position`; width 0 where it is not valid UTF-8."""
    first = np.int32(text[position])
    if first < 0xC2 or first > 0xF4:
        return 0, np.int32(0)
    width = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if position + width > end:
        return 0, np.int32(0)
    code = first & (0x7F >> width)
    for k in range(1, width):
        byte = np.int32(text[position + k])
        if byte & 0xC0 != 0x80:
            return 0, np.int32(0)
        code = (code << 6) | (byte & 0x3F)
    # Overlong forms, surrogates, beyond Unicode.
    if (width == 3 and code < 0x800) or (width == 4 and not 0x10000 <= code <= 0x10FFFF) or 0xD800 <= code <= 0xDFFF:
        return 0, np.int32(0)
    return width, np.int32(code)


@numba.njit(nogil=True, cache=True)
def _put(pool, at, code):  # type: ignore[no-untyped-def]
    """Write a code point >= 0x80 as UTF-8; returns its width."""
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
