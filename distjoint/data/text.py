"""The text, read once: token ids on scratch, names joined, the vocabulary chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from distjoint.base.arrays import Ints
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress
from distjoint.data import vocabulary
from distjoint.data.corpus import Corpus
from distjoint.data.name_trie import NameTrie
from distjoint.data.request import PrepareOptions
from distjoint.data.scripts import notes_on_scripts
from distjoint.data.spool import Tokens
from distjoint.data.tokens import Counter, Lexicon
from distjoint.data.vocabulary import Vocabulary
from distjoint.data.workers import Workers


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
    notes: Sequence[str] = ()


def no_text(options: PrepareOptions) -> Text:
    """Empty text, for a dataset of a graph alone."""
    none = np.zeros(0, np.int64)
    return Text(Lexicon(options.tokenizer), None, Vocabulary([], none, none))


def read_text(
    options: PrepareOptions, corpus: Corpus, names: Sequence[str], workers: Workers, progress: Progress
) -> Text:
    """The corpus as tokens, with `names` that are several words joined, and its vocabulary.

    raises DistjointError naming what cannot be read, or when no word is left
    """
    lexicon, counter, joined = Lexicon(options.tokenizer), Counter(), 0
    with progress.task("reading text", corpus.bytes) as task:
        tokens = workers.tokenise(corpus, lexicon, counter, task)
    counts = lexicon.counts[: lexicon.size]
    if names:
        known, forms = lexicon.size, {vocabulary.key(name, lexicon.tokenizer) for name in names}
        with progress.task("joining names") as task:
            if found := join_names(workers, tokens, forms, lexicon, options.min_count):
                tokens, counts = found
            joined = lexicon.size - known
            task.note(f"{joined:,} names")
    chosen = vocabulary.choose(lexicon, counts, options.min_count, options.max_words)
    if not counter.tokens:
        raise DistjointError(f"{corpus.files[0]}: no word in the text")
    if not len(chosen):
        raise DistjointError(f"{corpus.files[0]}: no word occurs {options.min_count} times; lower --min-count")
    notes = [*counter.noticed.notes(), *notes_on_scripts(lexicon)]
    return Text(lexicon, tokens, chosen, counter.tokens, counter.documents, joined, notes)


def join_names(
    workers: Workers, tokens: Tokens, forms: Iterable[str], lexicon: Lexicon, min_count: int
) -> tuple[Tokens, Ints] | None:
    """The text with the names that are several words joined, longest match first; None where none is to be.

    A name that occurs fewer than `min_count` times stays apart: joined, its words would be lost.
    forms     of names, as `vocabulary.key` gives them
    returns   the text, and int64[lexicon.size]: counts after joining; the lexicon grows by the names joined
    """
    names = NameTrie(forms, lexicon)
    if not len(names):
        return None
    found = workers.find_names(tokens, names).tolist()
    kept = [name for name, count in zip(names.names, found, strict=True) if count >= max(min_count, 1)]
    if not kept:
        return None
    names = NameTrie(kept, lexicon)
    spelled = np.array([lexicon.add(name) for name in names.names], np.int32)
    return workers.join_names(tokens, names, spelled, lexicon.size)
