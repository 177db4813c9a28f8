"""Words and texts of a run as entities read them: their vectors, of a table in memory or in its files."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from distjoint.base.errors import UsageError
from distjoint.evaluate.derived import MentionedVectors
from distjoint.evaluate.space import Space, Spaces
from distjoint.evaluate.stored import StoredVectors, read_parts
from distjoint.evaluate.trained import TrainedVectors
from distjoint.results.graph import GraphAnswers
from distjoint.results.neighbours import Neighbours

if TYPE_CHECKING:
    from distjoint.results.typed import TypedText


class Texts:
    """What entities are said with, and what typed text is."""

    def __init__(self, trained: TrainedVectors, spaces: Spaces, graph: GraphAnswers, neighbours: Neighbours) -> None:
        self._trained, self._spaces, self._graph, self._neighbours = trained, spaces, graph, neighbours

    @cached_property
    def mentioned(self) -> Space:
        """What entities are said with, where they are: words, then n-grams of names."""
        spaces, parts, words = self._spaces, self._trained.coupling.read_parts, self._spaces.words.vectors
        names, beside = [*spaces.words.names, *(f"#{gram}" for gram in spaces.grams)], self._neighbours.among_entities
        if isinstance(words, StoredVectors):
            vectors: Any = MentionedVectors(words.reader, words.memory, parts, beside)
        else:
            vectors = np.asarray(beside(read_parts(self._trained.reader(), parts)), np.float32)
        return Space("word", names, vectors)

    @cached_property
    def typed(self) -> TypedText:
        """Text that somebody types. raises UsageError where the run's coupling reads no text"""
        from distjoint.results.typed import TypedText

        if not self._trained.coupling.reads_text:
            raise UsageError(
                f"{self._trained.run.folder}: coupling {self._trained.coupling.name} makes no vectors of text; train "
                "with model.coupling=described"
            )
        return TypedText(self._graph.dataset, self._graph.trained.coupling, self.mentioned, self._spaces.grams)
