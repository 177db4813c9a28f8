"""Text that somebody types, as words and n-grams with weights: what coupling `described` makes vectors of."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from distjoint.base.arrays import Floats, Ints
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Dataset
from distjoint.data.mentions import Weighing
from distjoint.data.streams import MENTIONS
from distjoint.evaluate.space import Space


class TypedText:
    """Weighs texts as the dataset weighs descriptions.

    words, grams   of the run, where the entities are
    """

    def __init__(self, dataset: Dataset, words: Space, grams: Space) -> None:
        self._dataset, self._words, self._grams = dataset, words, grams
        self._vectors = np.concatenate([words.vectors, grams.vectors])

    def vector(self, text: str) -> Floats:
        """float32[dim]: where an entity would be of which this text is all that is said.

        raises   DistjointError where no word of it is known, nor any n-gram of one
        """
        found = self._weighing.weigh(text)
        if not found:
            raise DistjointError(f"{text!r}: none of its words is in the vocabulary, nor like a name that is known")
        return np.asarray(np.array(list(found.values()), np.float32) @ self._vectors[list(found)])

    @cached_property
    def _weighing(self) -> Weighing:
        manifest, words = self._dataset.manifest, self._words.names
        return Weighing(
            words={name: place for place, name in enumerate(words)},
            grams={name: place for place, name in enumerate(self._grams.names, len(words))},
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
        alone, grams, aligned = np.split(counts, [layout.words - layout.grams, layout.words])
        return np.concatenate([alone, aligned[: layout.aligned], grams])
