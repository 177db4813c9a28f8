"""Text that somebody types, as the words of the vocabulary with weights: what coupling `described` makes vectors of."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from distjoint.base.arrays import Floats, Ints
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Dataset
from distjoint.data.mentions import weigh_text
from distjoint.data.streams import MENTIONS
from distjoint.evaluate.space import Space


class TypedText:
    """Weighs the words of texts as the dataset weighs those of descriptions.

    words   the words of the run, where the entities are
    """

    def __init__(self, dataset: Dataset, words: Space) -> None:
        self._dataset, self._words = dataset, words
        self._places = {name: place for place, name in enumerate(words.names)}

    def vector(self, text: str) -> Floats:
        """float32[dim]: where an entity would be of which this text is all that is said.

        raises   DistjointError where no word of it is known
        """
        options, described = self._dataset.manifest.options, self._dataset.manifest.counts["described"]
        early, tokenizer = options["early_weight"], options["tokenizer"]
        found = weigh_text(text, self._places, self._said_of, described, early, tokenizer)
        if not found:
            raise DistjointError(f"{text!r}: none of its words is in the vocabulary")
        return np.asarray(np.array(list(found.values()), np.float32) @ self._words.vectors[list(found)])

    @cached_property
    def _said_of(self) -> Ints:
        """int64[words]: entities that each word is said of."""
        layout, counts = self._dataset.layout, np.zeros(self._dataset.layout.rows, np.int64)
        ids = [layout.rows_of(shard) for shard in range(layout.shards)]
        for span in self._dataset.manifest.streams[MENTIONS]:
            words = self._dataset.samples(MENTIONS, span.i, span.j, {"word": layout.shard_rows(span.j)})["word"]
            counts += np.bincount(ids[span.j][words], minlength=layout.rows)
        return counts[: len(self._words)]
