"""Words of a text that get a row, and the form in which words and names are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distjoint.base.arrays import Ints
from distjoint.data.tokenizers import tokenizer_of
from distjoint.data.tokens import Lexicon


@dataclass(frozen=True)
class Vocabulary:
    """The words that have a row, most frequent first, ties by the word itself; where a dataset grew, growth by growth.

    words      spelling of each
    counts     int64[words]: how often each occurs
    source     int64[words]: the provisional id of each, -1 where the text at hand has none of an earlier one's
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


def extend(earlier: Vocabulary, lexicon: Lexicon, counts: Ints, min_count: int, max_words: int | None) -> Vocabulary:
    """A vocabulary with the counts of another text, and after its words those that are new in this one.

    New ones are seen at least `min_count` times in it; there are at most `max_words` with the earlier ones, which stay.
    """
    spelled, places = lexicon.words(), {word: place for place, word in enumerate(earlier.words)}
    source, total = np.full(len(earlier), -1, np.int64), earlier.counts.copy()
    new = []
    for k in np.flatnonzero(counts[: lexicon.size]).tolist():
        if (place := places.get(spelled[k])) is not None:
            source[place] = k
            total[place] += counts[k]
        elif counts[k] >= max(min_count, 1):
            new.append(k)
    room = None if max_words is None else max(0, max_words - len(earlier))
    new = sorted(new, key=lambda k: (-counts[k], spelled[k]))[:room]
    number = np.array(new, np.int64)
    words = [*earlier.words, *(spelled[k] for k in new)]
    return Vocabulary(words, np.append(total, counts[number].astype(np.int64)), np.append(source, number))


def key(name: str, tokenizer: str) -> str:
    """The form in which names and words are compared by a dataset's tokeniser; empty where the name holds no word."""
    return tokenizer_of(tokenizer).form(name)
