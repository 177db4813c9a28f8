"""The text, read once: token ids on scratch, names joined, the vocabulary chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distjoint.data import vocabulary
from distjoint.data.corpus import Corpus
from distjoint.data.request import PrepareOptions
from distjoint.data.spool import Tokens
from distjoint.data.tokens import Counter, Lexicon
from distjoint.data.vocabulary import Vocabulary
from distjoint.data.workers import Workers
from distjoint.errors import DistjointError
from distjoint.progress import Progress


@dataclass
class Text:
    """The text, read once.

    tokens    provisional token ids
    length    how many there are
    names     how many words of the vocabulary are names joined from several words
    """

    lexicon: Lexicon
    tokens: Tokens | None
    vocabulary: Vocabulary
    length: int = 0
    documents: int = 0
    names: int = 0


def no_text(options: PrepareOptions) -> Text:
    """What stands for the text where there is only a graph."""
    none = np.zeros(0, np.int64)
    return Text(Lexicon(options.tokenizer), None, Vocabulary([], none, none))


def read_text(
    options: PrepareOptions, corpus: Corpus, names: Sequence[str], workers: Workers, progress: Progress
) -> Text:
    """Tokenise the corpus, join `names` that are several words, choose the vocabulary.

    raises DistjointError naming what cannot be read, or when no word is left
    """
    lexicon, counter, joined = Lexicon(options.tokenizer), Counter(), 0
    with progress.task("reading text", corpus.bytes) as task:
        tokens = workers.tokenise(corpus, lexicon, counter, task)
    counts = lexicon.counts[: lexicon.size]
    if names:
        known, forms = lexicon.size, {vocabulary.key(name, lexicon.tokenizer) for name in names}
        with progress.task("joining names") as task:
            if found := workers.join(tokens, forms, lexicon, options.min_count):
                tokens, counts = found
            joined = lexicon.size - known
            task.note(f"{joined:,} names")
    chosen = vocabulary.choose(lexicon, counts, options.min_count, options.max_words)
    if not counter.tokens:
        raise DistjointError(f"{corpus.files[0]}: no word in the text")
    if not len(chosen):
        raise DistjointError(f"{corpus.files[0]}: no word occurs {options.min_count} times; lower --min-count")
    return Text(lexicon, tokens, chosen, counter.tokens, counter.documents, joined)
