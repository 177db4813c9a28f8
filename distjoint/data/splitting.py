"""Compiled loops of tokenising: the words of a text of UTF-8 and their numbers; `tokens` says what for."""

from __future__ import annotations

import numpy as np

from distjoint.backends.cpu.compiled import exact
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

SEPARATOR = -1

_NEWLINE, _NINE = 10, 57
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_SELECTORS, _BEYOND, _FINAL = CODES, CODES + 1, CODES + 2
_FIRST_SELECTOR, _LAST_SELECTOR = SELECTORS
_SIGMA, _LAST_OF_FINAL_SIGMA = 0x3A3, 0x82
_FIRST_ALONE = 0xE3
"""First byte of the first characters that are looked for as words by themselves: kana, then ideographs."""


@exact
def encode(  # type: ignore[no-untyped-def]
    text, table, hashes, ids, starts, pool, alone, counts, size, out, after_word
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
        maybe_alone = False
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
            if code >= _FIRST_ALONE and at == base and alone.size:
                before, maybe_alone = written, True
                position, written = _read_alone(text, position, table, alone, counts, out, written)
                if written > before:
                    after_word = True
                    if text[position] < 0x80:
                        continue
            state = position, at, code_hash
            position, at, code_hash, code = _read_on(text, table, pool, base, state)
        if at > base:
            found, size = _find(code_hash, at, hashes, ids, starts, size)
            if maybe_alone:
                _note_alone(pool, base, at, table, alone, found)
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
def _read_alone(text, position, table, alone, counts, out, written):  # type: ignore[no-untyped-def]
    """Number characters that are words by themselves, as long as each is known and nothing goes on with it.

    In text without blanks each character is a word: found by its code point, without a hash and looked at once, it
    takes a third of the time.

    position   of a character that is not ASCII
    alone      int32[CODES]: id of the word that a code point is, plus 1; 0 where it is not known yet
    returns    position of the first character that is left, and how many ids are written
    """
    end = len(text)
    width, code = _decode(text, position)
    entry = np.int64(table[_place(code)])
    while entry >> KIND == ALONE and position + width < end:
        found = alone[entry & ((1 << KIND) - 1)]
        width_after, code = np.int64(1), np.int64(text[position + width])
        if code >= 0x80:
            width_after, code = _decode(text, position + width)
        entry = np.int64(table[_place(code)])
        if found == 0 or MARK <= entry >> KIND <= DROPPED:
            break
        counts[found - 1] += 1
        out[written] = found - 1
        written += 1
        position += width
        width = width_after
        if width == 1:
            break
    return position, written


@exact
def _note_alone(pool, base, at, table, alone, number):  # type: ignore[no-untyped-def]
    """Note the id of a word, [base, at) of the pool, for `_read_alone`, where it is one character that stands alone."""
    width, code = _decode(pool, base)
    if base + width == at and code < CODES and table[code] >> KIND == ALONE:
        alone[code] = number + 1


@exact
def _place(code):  # type: ignore[no-untyped-def]
    """Where a table of characters has a code point."""
    if code < CODES:
        return code
    return np.int64(_SELECTORS if _FIRST_SELECTOR <= code <= _LAST_SELECTOR else _BEYOND)


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
def first_codes(pool, starts, codes):  # type: ignore[no-untyped-def]
    for k in range(codes.size):
        first = np.int64(pool[starts[k]])
        codes[k] = first if first < 0x80 else _decode(pool, starts[k])[1]


@exact
def add(content, hashes, ids, starts, pool, size):  # type: ignore[no-untyped-def]
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
def rehash(old_hashes, old_ids, hashes, ids):  # type: ignore[no-untyped-def]
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
