"""The text, read once: token ids on scratch, names joined, the vocabulary chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
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
    known     how many of them are words of the vocabulary
    names     how many words of the vocabulary are names joined from several words
    """

    lexicon: Lexicon
    tokens: Tokens | None
    vocabulary: Vocabulary
    length: int = 0
    known: int = 0
    documents: int = 0
    names: int = 0
    notes: Sequence[str] = ()


def no_text(options: PrepareOptions, earlier: Vocabulary | None = None) -> Text:
    """Empty text, for a dataset of a graph alone, or one that grows by none."""
    none = np.zeros(0, np.int64)
    return Text(Lexicon(options.tokenizer), None, earlier or Vocabulary([], none, none))


def read_text(
    options: PrepareOptions,
    corpus: Corpus,
    names: Sequence[str],
    workers: Workers,
    progress: Progress,
    earlier: Vocabulary | None = None,
) -> Text:
    """The corpus as tokens, with `names` that are several words joined, and its vocabulary.

    earlier  the vocabulary of the dataset that it is added to: its words stay, however rare

    raises DistjointError naming what cannot be read, or when no word is left
    """
    lexicon, counter, joined = Lexicon(options.tokenizer), Counter(), 0
    with progress.task("reading text", corpus.bytes) as task:
        tokens = workers.tokenise(corpus, lexicon, counter, task)
    counts = lexicon.counts[: lexicon.size]
    if names:
        known, forms = lexicon.size, {vocabulary.key(name, lexicon.tokenizer) for name in names}
        with progress.task("joining names") as task:
            if found := join_names(
                workers, tokens, forms, lexicon, options.min_count, earlier.words if earlier else ()
            ):
                tokens, counts = found
            joined = len({*lexicon.words()[known:]}.difference(earlier.words if earlier else ()))
            task.note(f"{joined:,} names")
    if earlier:
        chosen = vocabulary.extend(earlier, lexicon, counts, options.min_count, options.max_words)
    else:
        chosen = vocabulary.choose(lexicon, counts, options.min_count, options.max_words)
    if not counter.tokens:
        raise DistjointError(f"{corpus.files[0]}: no word in the text")
    if not len(chosen):
        raise DistjointError(f"{corpus.files[0]}: no word occurs {options.min_count} times; lower --min-count")
    notes = [*counter.noticed.notes(), *notes_on_scripts(lexicon)]
    known = int(counts[chosen.source[chosen.source >= 0]].sum())
    return Text(lexicon, tokens, chosen, counter.tokens, known, counter.documents, joined, notes)


def join_names(
    workers: Workers,
    tokens: Tokens,
    forms: Iterable[str],
    lexicon: Lexicon,
    min_count: int,
    earlier: Collection[str] = (),
) -> tuple[Tokens, Ints] | None:
    """The text with the names that are several words joined, longest match first; None where none is to be.

    A name that occurs fewer than `min_count` times stays apart: joined, its words would be lost; unless it is a word of
    an `earlier` vocabulary.
    forms     of names, as `vocabulary.key` gives them
    returns   the text, and int64[lexicon.size]: counts after joining; the lexicon grows by the names joined
    """
    names = NameTrie(forms, lexicon)
    if not len(names):
        return None
    found = workers.find_names(tokens, names).tolist()
    always, least = frozenset(earlier), max(min_count, 1)
    counted = zip(names.names, found, strict=True)
    kept = [name for name, count in counted if count >= least or (count and name in always)]
    if not kept:
        return None
    names = NameTrie(kept, lexicon)
    spelled = np.array([lexicon.add(name) for name in names.names], np.int32)
    return workers.join_names(tokens, names, spelled, lexicon.size)
