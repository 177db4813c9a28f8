"""Workers of `prepare`: this process, or the tasks of a Ray cluster (see `ray_driver`), which tokenise and count.

Both give the same bits: text is cut only where a document ends, words get the same ids however it is cut, and each
shard is counted for itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from distjoint.base.arrays import Ints, TokenIds
from distjoint.base.progress import Task, short
from distjoint.data.cooccurrence import Blocks, CountingPlan, count_shards
from distjoint.data.corpus import Corpus
from distjoint.data.name_trie import NameTrie
from distjoint.data.partition import Written
from distjoint.data.spool import Spool, Tokens
from distjoint.data.tokens import Counter, Lexicon, encode_blocks
from distjoint.data.unfinished import Counted


class Workers(Protocol):
    """Work on the text: tokenising, joining names, counting."""

    def tokenise(self, corpus: Corpus, lexicon: Lexicon, counter: Counter, task: Task) -> Tokens:
        """The text as provisional ids; fills `lexicon` and `counter`. task: advanced by bytes as stored

        raises DistjointError naming what cannot be read
        """

    def find_names(self, tokens: Tokens, names: NameTrie) -> Ints:
        """int64[names]: how often each is in the text, by longest match."""

    def join_names(self, tokens: Tokens, names: NameTrie, spelled: TokenIds, words: int) -> tuple[Tokens, Ints]:
        """The text with names joined, longest match first, and int64[words]: how often each word is in it.

        spelled   int32[names]: the id that stands for each
        """

    def count(
        self, blocks: Blocks, plan: CountingPlan, shards: Sequence[int], counted: Counted, task: Task
    ) -> list[Written]:
        """Count some shards, each noted when it is done. task: advanced by tokens

        raises DistjointError when a disk is full
        """


class Local:
    """This process as the only worker. scratch: a folder for temporary files, its own"""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch

    def tokenise(self, corpus: Corpus, lexicon: Lexicon, counter: Counter, task: Task) -> Spool:
        spool, start = Spool(self.scratch / "tokens"), time.monotonic()
        for block, ids in encode_blocks(corpus.blocks(), lexicon, counter):
            spool.write(ids)
            task.advance(block.read)
            note_rate(task, counter, start)
        return spool

    def find_names(self, tokens: Tokens, names: NameTrie) -> Ints:
        return names.find(tokens)

    def join_names(self, tokens: Tokens, names: NameTrie, spelled: TokenIds, words: int) -> tuple[Spool, Ints]:
        joined, counts = Spool(self.scratch / "joined"), np.zeros(words, np.int64)
        for block in names.join(tokens, spelled, counts):
            joined.write(block)
        return joined, counts

    def count(
        self, blocks: Blocks, plan: CountingPlan, shards: Sequence[int], counted: Counted, task: Task
    ) -> list[Written]:
        plan = replace(plan, scratch=str(self.scratch))
        return count_shards(blocks, plan, shards, counted.folder, task, counted.note)


def note_rate(task: Task, counter: Counter, start: float) -> None:
    """Show tokens and tokens a second. start: by the monotonic clock"""
    rate = counter.tokens / max(time.monotonic() - start, 1e-9)
    task.note(f"{short(counter.tokens)} tokens, {short(rate)} tokens/s")
