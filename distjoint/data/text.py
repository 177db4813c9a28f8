"""The text, read once: token ids on scratch, names joined, the vocabulary chosen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distjoint.data import vocabulary
from distjoint.data.corpus import Corpus
from distjoint.data.request import Request
from distjoint.data.spool import Spool
from distjoint.data.tokens import Counter, Lexicon, encode_blocks
from distjoint.data.vocabulary import Int64s, Vocabulary
from distjoint.errors import DistjointError
from distjoint.progress import Progress, short


@dataclass
class Text:
    """The text, read once.

    spool     provisional token ids
    names     how many words of the vocabulary are names joined from several words
    """

    lexicon: Lexicon
    spool: Spool | None
    vocabulary: Vocabulary
    tokens: int = 0
    documents: int = 0
    names: int = 0


def no_text(request: Request) -> Text:
    """What stands for the text where there is only a graph."""
    none = np.zeros(0, np.int64)
    return Text(Lexicon(request.tokenizer), None, Vocabulary([], none, none))


def read_text(request: Request, corpus: Corpus, names: Sequence[str], scratch: Path, progress: Progress) -> Text:
    """Tokenise the corpus, join `names` that are several words, choose the vocabulary.

    raises DistjointError naming what cannot be read, or when no word is left
    """
    lexicon, counter = Lexicon(request.tokenizer), Counter()
    spool = _tokenise(corpus, lexicon, counter, scratch, progress)
    counts, joined = lexicon.counts[: lexicon.size], 0
    if names:
        known = lexicon.size
        spool, counts = _join(spool, counts, lexicon, names, request.min_count, scratch, progress)
        joined = lexicon.size - known
    chosen = vocabulary.choose(lexicon, counts, request.min_count, request.max_words)
    if not counter.tokens:
        raise DistjointError(f"{corpus.files[0]}: no word in the text")
    if not len(chosen):
        raise DistjointError(f"{corpus.files[0]}: no word occurs {request.min_count} times; lower --min-count")
    return Text(lexicon, spool, chosen, counter.tokens, counter.documents, joined)


def _tokenise(corpus: Corpus, lexicon: Lexicon, counter: Counter, scratch: Path, progress: Progress) -> Spool:
    with Spool(scratch / "tokens") as spool, progress.task("reading text", corpus.bytes) as task:
        start = time.monotonic()
        for block, ids in encode_blocks(corpus.blocks(), lexicon, counter):
            spool.write(ids)
            task.advance(block.read)
            rate = counter.tokens / max(time.monotonic() - start, 1e-9)
            task.note(f"{short(counter.tokens)} tokens, {short(rate)} tokens/s")
    return spool


def _join(
    spool: Spool,
    counts: Int64s,
    lexicon: Lexicon,
    names: Sequence[str],
    min_count: int,
    scratch: Path,
    progress: Progress,
) -> tuple[Spool, Int64s]:
    """The spool with names joined, and the counts after it; the same where nothing is to be joined."""
    with progress.task("joining names") as task, Spool(scratch / "joined") as joined:
        known = lexicon.size
        forms = {vocabulary.key(name, lexicon.tokenizer) for name in names}
        found = vocabulary.merge_names(spool, forms, lexicon, min_count, joined)
        if found is None:
            joined.delete()
            return spool, counts
        task.note(f"{lexicon.size - known:,} names")
    spool.delete()
    return joined, found
