"""Bytes of text looked at before they are split: whether they are UTF-8, how much is not, and whether they are in NFC.

One compiled pass, exact for text that is in NFC, so that only text that is not goes through `unicodedata`, which is
much slower.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from distjoint.backends.cpu.compiled import exact
from distjoint.data.tokenizers.base import CODES

_NEVER, _SECOND = 0xFF, 0x80
"""In the table of `_forms`: not in NFC; may compose with what it follows. The rest is the place of a class of marks."""


@dataclass(frozen=True)
class Looked:
    """What some bytes are.

    bad, nuls    bytes that are not UTF-8, and that are 0
    spots        runs of the former
    first        position of the first byte that is not UTF-8; -1 where there is none
    others       characters of several bytes
    normal       whether the text is in NFC
    """

    bad: int = 0
    nuls: int = 0
    spots: int = 0
    first: int = -1
    others: int = 0
    normal: bool = True

    @property
    def clean(self) -> bool:
        """Whether all of it is text."""
        return not (self.bad or self.nuls)


def look(text: bytes) -> Looked:
    """What is in a text."""
    if text.isascii() and b"\0" not in text:
        return Looked()
    bad, nuls, spots, first, others, normal = _look(np.frombuffer(text, np.uint8), *_forms())
    return Looked(int(bad), int(nuls), int(spots), int(first), int(others), bool(normal))


def repaired(text: bytes) -> bytes:
    """Text with U+FFFD for what is not UTF-8, and blanks for NUL: no word loses a byte of its own."""
    return text.decode(errors="replace").replace("\0", " ").encode()


def composed(text: bytes) -> bytes:
    """The same text in NFC. text: of UTF-8"""
    return unicodedata.normalize("NFC", text.decode()).encode()


@cache
def _forms() -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """uint8[CODES]: what each code point does in NFC; and a hash table of the pairs that compose."""
    every = [chr(code) for code in range(CODES)]
    _, ranks = np.unique([unicodedata.combining(character) for character in every], return_inverse=True)
    forms, pairs = ranks.astype(np.uint8), []
    for code, character in enumerate(every):
        parts = unicodedata.decomposition(character).split()
        if unicodedata.normalize("NFC", character) != character:
            forms[code] = _NEVER
        elif len(parts) == 2 and not parts[0].startswith("<"):
            first, second = (int(part, 16) for part in parts)
            pairs.append((first << 32) | second)
            forms[second] |= _SECOND
    forms[0x1161:0x1176] |= _SECOND  # vowels and finals of Hangul
    forms[0x11A8:0x11C3] |= _SECOND
    return forms, _table(pairs)


def _table(pairs: list[int]) -> NDArray[np.uint64]:
    table = np.zeros(1 << 12, np.uint64)
    for pair in pairs:
        slot = _slot_of(pair) % len(table)
        while table[slot]:
            slot = (slot + 1) % len(table)
        table[slot] = pair
    return table


def _slot_of(pair: int) -> int:
    return ((pair >> 32) * 31 + (pair & 0xFFFFFFFF)) * 0x9E3779B1 >> 7


@exact
def _composes(table, first, second):  # type: ignore[no-untyped-def]
    """Whether two characters become one in NFC."""
    if 0x1161 <= second <= 0x1175:
        return 0x1100 <= first <= 0x1112
    if 0x11A8 <= second <= 0x11C2:
        return 0xAC00 <= first <= 0xD7A3 and (first - 0xAC00) % 28 == 0
    mask = np.uint64(table.size - 1)
    mixed = (np.uint64(first) * np.uint64(31) + np.uint64(second)) * np.uint64(0x9E3779B1)
    slot = (mixed >> np.uint64(7)) & mask
    pair = (np.uint64(first) << np.uint64(32)) | np.uint64(second)
    while table[slot] != 0:
        if table[slot] == pair:
            return True
        slot = (slot + np.uint64(1)) & mask
    return False


@exact
def _look(text, forms, table):  # type: ignore[no-untyped-def]
    """See `Looked`."""
    bad, nuls, spots, first, others, normal = 0, 0, 0, -1, 0, True
    last_bad = -2
    starter, before = np.int64(0), 0
    position, end = 0, len(text)
    while position < end:
        byte = np.int64(text[position])
        if byte < 0x80:
            nuls += byte == 0
            starter, before = byte, 0
            position += 1
            continue
        if 0xC2 <= byte < 0xE0 and position + 1 < end and text[position + 1] & 0xC0 == 0x80:
            width, code = 2, ((byte & 0x1F) << 6) | (np.int64(text[position + 1]) & 0x3F)
        else:
            width, code = decode(text, position, end)
        if width == 0:
            bad += 1
            spots += last_bad != position - 1
            last_bad = position
            first = position if first < 0 else first
            starter, before = np.int64(0), 0
            position += 1
            continue
        position += width
        others += 1
        form = int(forms[code]) if code < forms.size else 0
        if form == 0:
            starter, before = code, 0
            continue
        rank = form & 0x7F
        if (
            form == 0xFF
            or (rank != 0 and before > rank)
            or (form & 0x80 and (before == 0 or before < rank) and _composes(table, starter, code))
        ):
            normal = False
        if rank == 0:
            starter = code
        before = int(rank)
    return bad, nuls, spots, first, others, normal


@exact
def decode(text, position, end):  # type: ignore[no-untyped-def]
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
