"""The words of datasets that were made before `uax29`, as they were."""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np

from distjoint.data.tokenizers.base import CODES, LETTER, Characters, OfCharacters


class Unicode(OfCharacters):
    """`unicode`: runs of letters, marks and numbers, in lower case; every other character separates."""

    name = "unicode"

    @classmethod
    @cache
    def characters(cls) -> Characters:
        kinds, becomes = np.zeros(CODES, np.uint8), np.arange(CODES, dtype=np.int32)
        for code in range(CODES):
            character = chr(code)
            if unicodedata.category(character)[0] in "LMN":
                kinds[code], becomes[code] = LETTER, ord(character.lower()[0])
        return Characters(kinds, becomes, LETTER)
