"""Analogies of words (Mikolov et al. 2013): a is to b as c is to which word?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distjoint.evaluate.space import Space
from distjoint.evaluate.wordsets import Questions

SCORES_AT_ONCE = 16 << 20
"""Scores in memory at a time."""


@dataclass(frozen=True)
class Analogies:
    """Result of analogies: right or wrong, question by question, over all sections.

    sections   the name and number of questions of each
    right      float64[questions]: 1 or 0, NaN where a word has no vector
    """

    sections: tuple[tuple[str, int], ...]
    right: NDArray[np.float64]

    @property
    def covered(self) -> NDArray[np.bool_]:
        """bool[questions]: all four words have a vector."""
        return ~np.isnan(self.right)

    def to_dict(self) -> dict[str, Any]:
        starts = np.cumsum([0, *(count for _, count in self.sections)])
        parts = [
            {"name": name, **_summary(self.right[start : start + count])}
            for (name, count), start in zip(self.sections, starts, strict=False)
        ]
        return {"total": _summary(self.right), "sections": parts}


def _summary(right: NDArray[np.float64]) -> dict[str, Any]:
    covered = right[~np.isnan(right)]
    accuracy = float(covered.mean()) if len(covered) else None
    return {"accuracy": accuracy, "covered": len(covered), "questions": len(right)}


def analogies(
    space: Space,
    sections: Sequence[Questions],
    standardize: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Analogies:
    """Answers by 3CosAdd: the word whose unit vector is nearest to b - a + c, the question's own words excluded.

    A question counts when all four words have a vector; the answer is looked for in the whole vocabulary.

    standardize   columns to mean 0 and deviation 1 over the whole vocabulary, before the cosine
    progress      told how many questions have been answered since it was last told
    """
    words = [word for section in sections for question in section.questions for word in question]
    indices = space.find_all(words).reshape(-1, 4)
    covered = np.flatnonzero((indices >= 0).all(1))
    unit, right = space.unit(standardize), np.full(len(indices), np.nan)
    step = max(1, SCORES_AT_ONCE // len(space))
    for start in range(0, len(covered), step):
        chosen = covered[start : start + step]
        a, b, c, d = indices[chosen].T
        scores = (unit[b] - unit[a] + unit[c]) @ unit.T
        np.put_along_axis(scores, indices[chosen, :3], -np.inf, axis=1)
        right[chosen] = scores.argmax(1) == d
        if progress is not None:
            progress(len(chosen))
    return Analogies(tuple((section.name, len(section.questions)) for section in sections), right)
