"""Words of a text that get a row, and the form in which words and names are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distjoint.base.arrays import Ints
from distjoint.data.tokenizers import tokenizer_of
from distjoint.data.tokens import Lexicon


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


def key(name: str, tokenizer: str) -> str:
    """The form in which names and words are compared by a dataset's tokeniser; empty where the name holds no word."""
    return tokenizer_of(tokenizer).form(name)
