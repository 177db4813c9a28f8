"""Words by ICU, which has dictionaries for scripts that do not separate them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from distjoint.base.errors import DistjointError
from distjoint.data.tokenizers.base import JOINT, Tokenizer

_JOINERS = "\u200c\u200d"


class Icu(Tokenizer):
    """`icu`: words by ICU's boundaries, after NFC, in lower case: Chinese, Japanese, Thai, Lao, Khmer, Burmese too.

    raises DistjointError where the package icu4py is not there
    """

    name = "icu"
    normal = True

    def __init__(self) -> None:
        try:
            breakers: Any = import_module("icu4py.breakers")
        except ImportError as error:
            raise DistjointError("tokenizer 'icu' needs the package icu4py; pip install 'distjoint[icu]'") from error
        self._breaker = breakers.WordBreaker

    def words(self, text: str) -> Sequence[str]:
        pieces = (part for piece in self._breaker(text, "en") for part in piece.lower().split(JOINT))
        words = ("".join(c for c in piece if not _is_dropped(c)).strip(_JOINERS) for piece in pieces)
        return [word for word in words if any(map(_is_of_word, word)) and not any(map(str.isspace, word))]


def _is_of_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LN"


def _is_dropped(character: str) -> bool:
    return unicodedata.category(character) == "Cf" and character not in _JOINERS
