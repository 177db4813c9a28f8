"""Text that somebody types, as words and n-grams with weights: what coupling `described` makes vectors of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from distjoint.base.arrays import Doubles, Floats, Ints
from distjoint.base.errors import UnknownNameError
from distjoint.couplings.base import Coupling
from distjoint.data.dataset import Dataset
from distjoint.data.mentions import Weighing
from distjoint.data.streams import MENTIONS
from distjoint.evaluate.space import Space


class TypedText:
    """Weighs texts as the dataset weighs descriptions.

    coupling    of the run
    mentioned   words of the run, then n-grams, where the entities are
    grams       how the latter are spelt
    """

    def __init__(self, dataset: Dataset, coupling: Coupling, mentioned: Space, grams: Sequence[str]) -> None:
        self._dataset, self._coupling, self._mentioned, self._grams = dataset, coupling, mentioned, grams

    def vector(self, text: str) -> Floats:
        """float32[dim]: where an entity would be of which this text is all that is said.

        raises   UnknownNameError where no word of it is known, nor any n-gram of one
        """
        places, weights, named = self.words(text)
        vectors = self._coupling.said(self._mentioned.vectors[places], named.astype(np.float32))
        return np.asarray(weights.astype(np.float32) @ vectors)

    def words(self, text: str) -> tuple[Ints, Doubles, Doubles]:
        """What is said in a text: places of words and n-grams, int64[n], and their weights, float64[n].

        Last comes the part of each weight that a name would give, float64[n].

        raises   UnknownNameError, as of `vector`
        """
        found = self._weighing.weigh(text)
        if not found:
            raise UnknownNameError(f"{text!r}: none of its words is in the vocabulary, nor like a name that is known")
        places = np.array(list(found), np.int64)
        # A text may be a name or a description alike, but n-grams are said of names only.
        named = np.where(places < len(self._mentioned) - len(self._grams), 0.5, 1.0)
        return places, np.array(list(found.values()), np.float64), named

    @cached_property
    def _weighing(self) -> Weighing:
        manifest, words = self._dataset.manifest, len(self._mentioned) - len(self._grams)
        return Weighing(
            words={name: place for place, name in enumerate(self._mentioned.names[:words])},
            grams={name: place for place, name in enumerate(self._grams, words)},
            said_of=self._said_of,
            described=manifest.counts["described"],
            early_weight=manifest.options["early_weight"],
            gram_weight=manifest.options.get("gram_weight", 0.0),
            tokenizer=manifest.options["tokenizer"],
        )

    @cached_property
    def _said_of(self) -> Ints:
        """int64[words + grams]: entities that each is said of."""
        layout, counts = self._dataset.layout, np.zeros(self._dataset.layout.rows, np.int64)
        ids = [layout.rows_of(shard) for shard in range(layout.shards)]
        for span in self._dataset.manifest.streams[MENTIONS]:
            words = self._dataset.samples(MENTIONS, span.i, span.j, {"word": layout.shard_rows(span.j)})["word"]
            counts += np.bincount(ids[span.j][words], minlength=layout.rows)
        rows = layout.word_rows
        said_of = np.empty(len(rows), np.int64)
        said_of[layout.mentioned(rows)] = counts[rows]
        return said_of
