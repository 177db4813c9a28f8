"""Words that are there already, with white space between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from distjoint.data.tokenizers.base import CODES, LETTER, SEPARATES, Characters, OfCharacters


class Whitespace(OfCharacters):
    """`whitespace`: what blanks, tabs and ends of lines separate, as it stands: case and form stay."""

    name = "whitespace"

    @classmethod
    @cache
    def characters(cls) -> Characters:
        kinds = np.full(CODES, LETTER, np.uint8)
        kinds[[0, *map(ord, " \t\n\r\v\f")]] = SEPARATES
        return Characters(kinds, np.arange(CODES, dtype=np.int32), LETTER)

    def words(self, text: str) -> Sequence[str]:
        return text.split()
