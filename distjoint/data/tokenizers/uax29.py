"""Words by the rules of Unicode's annex 29 (word boundaries), in lower case; where they differ, docs/data.md says so.

The property Word_Break is not in Python; `unicodedata` has the categories that most of it follows from, and the ranges
here are the rest. A character that Python's Unicode does not know yet separates.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np

from distjoint.data.tokenizers import base
from distjoint.data.tokenizers.base import CODES, Characters, OfCharacters

_CATEGORIES = {"L": base.LETTER, "M": base.MARK, "N": base.NUMBER}
_RANGES = {
    # Letters without Word_Break, since words are not separated in their scripts. Ideographs, hiragana, Tangut, Nushu,
    # Khitan: each is a word. Thai, Lao, Burmese, Khmer, Tai, Ahom: the annex wants a dictionary, so a run stays.
    base.ALONE: "3006-3007 3021-3029 3038-303A 3041-3096 309D-309F 3400-4DBF 4E00-9FFF F900-FAD9 17000-18D08 "
    "1B001-1B11F 1B150-1B152 1B170-1B2FB 20000-3FFFD",
    base.RUN: "0E00-0E4F 0E80-0ECF 0EDC-0EDF 1000-103F 1050-108F 1780-17DD 1950-19CF 1A20-1A7F 1AA7 A9E0-A9EF "
    "A9FA-A9FE AA60-AADF 11700-1172F 11740-11746",
    base.KATAKANA: "3031-3035 309B-309C 30A0-30FA 30FC-30FF 31F0-31FF 32D0-32FE 3300-3357 FF66-FF9D 1AFF0-1AFFE "
    "1B000 1B120-1B122 1B164-1B167",
    # Letters by Word_Break that are none by category; without the Armenian hyphen.
    base.LETTER: "00B8 02C2-02C5 02D2-02D7 02DE-02DF 02E5-02EB 02ED 02EF-02FF 055A-055C 055E 05F3 24B6-24E9 A708-A716 "
    "A720-A721 A789-A78A AB5B 1F130-1F149 1F150-1F169 1F170-1F189",
    base.HEBREW: "05D0-05EA 05EF-05F2 FB1D FB1F-FB28 FB2A-FB4F",
    base.MARK: "FF9E-FF9F",
    base.MIDDLE: "00B7 0387 055F 05F4 2027",  # MidLetter; without colons
    base.JOINER: "200C-200D",
    base.QUOTE: "0027",
    base.DOUBLE: "0022",
}
_BREAKS = 0x200B
"""Zero width space: a format character that separates."""
_ALL = {base.LETTER, base.MIDDLE, base.JOINER, base.QUOTE, base.DOUBLE}
"""Kinds whose ranges hold whatever the category is; others are about letters, and symbols of Katakana."""


class Uax29(OfCharacters):
    """`uax29`: words by Unicode's annex 29 after NFC, in lower case."""

    name = "uax29"
    normal = True

    @classmethod
    @cache
    def characters(cls) -> Characters:
        kinds, becomes = np.zeros(CODES, np.uint8), np.arange(CODES, dtype=np.int32)
        categories = [unicodedata.category(chr(code)) for code in range(CODES)]
        for code, category in enumerate(categories):
            kinds[code] = _CATEGORIES.get(category[0], base.SEPARATES)
            if category == "Cf" and code != _BREAKS:
                kinds[code] = base.DROPPED
            elif category == "Nl":
                kinds[code] = base.LETTER
        for kind, ranges in _RANGES.items():
            for code in _codes(ranges):
                letter = categories[code][0] == "L" or categories[code] == "Nl"
                if kind in _ALL or letter or (kind == base.KATAKANA and categories[code][0] == "S"):
                    kinds[code] = kind
        for code in np.flatnonzero((kinds >= base.LETTER) & (kinds <= base.MARK)).tolist():
            becomes[code] = ord(chr(code).lower()[0])
        return Characters(kinds, becomes, base.MARK, sigma=True)


def _codes(ranges: str) -> list[int]:
    codes: list[int] = []
    for each in ranges.split():
        first, _, last = each.partition("-")
        codes += range(int(first, 16), int(last or first, 16) + 1)
    return codes
