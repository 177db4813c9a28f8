"""Words of a text that get a row, and the form in which words and names are compared."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np

from distjoint.base.arrays import Ints
from distjoint.data.request import Tokenizer
from distjoint.data.tokens import Lexicon

JOINT = "_"


@dataclass(frozen=True)
class Vocabulary:
    """The words that have a row, most frequent first, ties by the word itself.

    words      spelling of each
    counts     int64[words]: how often each occurs
    source     int64[words]: the provisional id of each
    """

    words: list[str]
    counts: Ints
    source: Ints

    def __len__(self) -> int:
        return len(self.words)

    @property
    def tokens(self) -> int:
        """Tokens of the text that are words of the vocabulary."""
        return int(self.counts.sum())


def choose(lexicon: Lexicon, counts: Ints, min_count: int, max_words: int | None) -> Vocabulary:
    """Words seen at least `min_count` times, at most `max_words` of them."""
    spelled = lexicon.words()
    kept = np.flatnonzero(counts[: lexicon.size] >= max(min_count, 1))
    order = sorted(kept.tolist(), key=lambda k: (-counts[k], spelled[k]))[:max_words]
    source = np.array(order, np.int64)
    return Vocabulary([spelled[k] for k in order], counts[source].astype(np.int64), source)


def key(name: str, tokenizer: Tokenizer) -> str:
    """The form in which names and words are compared: NFKC, case folded, words joined by `_`.

    `New York`, `new_york` and `NEW  YORK` have one key. Empty where the name holds no word.
    """
    if name.isascii() and name.islower() and name.isalpha():
        return name
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).replace(JOINT, " ")
    if tokenizer == "whitespace":
        return JOINT.join(folded.split())
    return JOINT.join("".join(c if _inside(c) else " " for c in folded).split())


@cache
def _inside(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"
