"""Analogies of words (Mikolov et al. 2013): a is to b as c is to which word?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distjoint.base.arrays import Bools, Doubles, Floats, Ints
from distjoint.evaluate.lookup import Coverage, Lookup
from distjoint.evaluate.options import AnalogyMethod, SetForm
from distjoint.evaluate.sets import Question, Questions
from distjoint.evaluate.space import Space

SCORES_AT_ONCE = 16 << 20
"""Scores in memory at a time."""
TIE = 1e-6
"""Scores closer than this tie: a few roundings of float32."""
_EPSILON = 1e-3
"""Of 3CosMul, so that nothing is divided by zero (Levy and Goldberg 2014)."""


@dataclass(frozen=True)
class Section:
    """A relation's questions.

    count      how many
    category   the kind of relation; empty where the form knows none
    """

    name: str
    count: int
    form: SetForm = "google"
    category: str = ""


@dataclass(frozen=True)
class Analogies:
    """Result of analogies, question by question, over all sections.

    right      float64[questions]: 1 or 0; a share where the right answer ties; NaN where a word has no vector
    words      which of the words have a vector
    ties       questions whose best score several words have
    excluded   covered questions whose right answers are all words of the question, so that none can be given
    """

    sections: tuple[Section, ...]
    right: NDArray[np.float64]
    method: AnalogyMethod = "3cosadd"
    words: Coverage = field(default_factory=Coverage)
    ties: int = 0
    excluded: int = 0

    @property
    def covered(self) -> NDArray[np.bool_]:
        """bool[questions]: all words have a vector."""
        return ~np.isnan(self.right)

    @property
    def forms(self) -> tuple[SetForm, ...]:
        """The forms of the sections, each once."""
        return tuple(dict.fromkeys(section.form for section in self.sections))

    def of_form(self, form: SetForm) -> tuple[tuple[Section, ...], Doubles]:
        """The sections of a form and what came of their questions."""
        chosen = [(section, right) for section, right in self._parts() if section.form == form]
        return tuple(section for section, _ in chosen), np.concatenate([right for _, right in chosen])

    def to_dict(self) -> dict[str, Any]:
        sections = [
            {"name": section.name, "form": section.form, "category": section.category, **_summary(right)}
            for section, right in self._parts()
        ]
        return {
            "method": self.method,
            "total": _summary(self.right),
            "forms": [self._form(form) for form in self.forms],
            "sections": sections,
            "ties": self.ties,
            "tie_tolerance": TIE,
            "answer_among_question": self.excluded,
            "words": self.words.to_dict(),
        }

    @classmethod
    def of(cls, tree: dict[str, Any], right: Doubles) -> Analogies:
        """The result that `to_dict` and `right` describe; a report of an earlier version says less."""
        sections = tuple(
            Section(part["name"], part["questions"], part.get("form", "google"), part.get("category", ""))
            for part in tree["sections"]
        )
        more = tree.get("method", "3cosadd"), Coverage.of(tree.get("words"))
        return cls(sections, right, *more, tree.get("ties", 0), tree.get("answer_among_question", 0))

    def _parts(self) -> Iterator[tuple[Section, Doubles]]:
        start = 0
        for section in self.sections:
            yield section, self.right[start : start + section.count]
            start += section.count

    def _form(self, form: SetForm) -> dict[str, Any]:
        """Figures of a form: over its questions (micro), and as means of relations, then of categories (macro)."""
        by_category: dict[str, list[Doubles]] = {}
        for section, right in self._parts():
            if section.form == form:
                by_category.setdefault(section.category, []).append(right)
        categories = [
            {"name": name, "relations": len(parts), **_summary(np.concatenate(parts)), **_macro(parts)}
            for name, parts in by_category.items()
        ]
        names = "macro_accuracy", "macro_accuracy_all"
        macros = {name: _mean([category[name] for category in categories]) for name in names}
        relations = sum(len(parts) for parts in by_category.values())
        return {
            "name": form,
            "relations": relations,
            **_summary(self.of_form(form)[1]),
            **macros,
            "categories": categories if len(categories) > 1 else [],
        }


def _summary(right: Doubles) -> dict[str, Any]:
    """Share of right answers: of covered questions, and of all, where one with an unknown word is wrong."""
    covered = right[~np.isnan(right)]
    accuracy = float(covered.mean()) if len(covered) else None
    in_all = float(np.nan_to_num(right).mean()) if len(covered) else None
    return {"accuracy": accuracy, "accuracy_all": in_all, "covered": len(covered), "questions": len(right)}


def _macro(parts: Sequence[Doubles]) -> dict[str, float | None]:
    """Means of relations' shares: of those with a covered question, and of all."""
    figures = [_summary(right) for right in parts]
    shares = [figure["accuracy"] for figure in figures]
    in_all = [figure["accuracy_all"] or 0.0 for figure in figures] if any(s is not None for s in shares) else []
    return {"macro_accuracy": _mean(shares), "macro_accuracy_all": _mean(in_all)}


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of what there is; None where there is nothing."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def analogies(
    space: Space,
    sections: Sequence[Questions],
    standardize: bool = True,
    progress: Callable[[int], None] | None = None,
    method: AnalogyMethod = "3cosadd",
) -> Analogies:
    """Answers to questions: the word with the best score in the whole vocabulary, the question's own words excluded.

    A question counts when a, c, one word for b and one for d have a vector. Where several words have the best score,
    the right ones count by their share of them.

    standardize   columns to mean 0 and deviation 1 over the whole vocabulary, before the cosine
    progress      told how many questions have been answered since it was last told
    method        `3cosadd`: nearest to b - a + c; `3cosmul`: cos(b) cos(c) / cos(a), each moved to 0 to 1
    """
    unit, lookup, scores_of = space.unit(standardize), Lookup(space), METHODS[method]
    parts, ties, excluded = [], 0, 0
    step = max(1, SCORES_AT_ONCE // len(space))
    for section in sections:
        asked, answers = _indices(lookup, section.questions)
        covered = np.flatnonzero((asked >= 0).all(1) & (answers >= 0).any(1))
        right = np.full(len(asked), np.nan)
        for start in range(0, len(covered), step):
            chosen = covered[start : start + step]
            scores = scores_of(unit, asked[chosen])
            np.put_along_axis(scores, asked[chosen], -np.inf, axis=1)
            right[chosen], tied, without = _judged(scores, answers[chosen])
            ties, excluded = ties + int(tied.sum()), excluded + int(without.sum())
            if progress is not None:
                progress(len(chosen))
        parts.append(right)
    found = tuple(Section(each.name, len(each.questions), each.form, each.category) for each in sections)
    every = np.concatenate(parts) if parts else np.zeros(0)
    return Analogies(found, every, method, lookup.coverage(), ties, excluded)


def _indices(lookup: Lookup, questions: Sequence[Question]) -> tuple[Ints, Ints]:
    """int64[questions, 3] and int64[questions, answers]: a, b, c and the right words; -1 where there is none."""
    several: dict[tuple[str, ...], list[int]] = {(): []}

    def find(words: tuple[str, ...]) -> list[int]:
        if words not in several:
            several[words] = list(dict.fromkeys(index for word in words if (index := lookup.find(word)) >= 0))
        return several[words]

    asked, right = [], []
    for a, b, c, d in questions:
        asked.append((lookup.find(a), next(iter(find(b)), -1), lookup.find(c)))
        right.append(find(d))
    answers = np.full((len(questions), max(1, *map(len, several.values()))), -1, np.int64)
    for row, found in zip(answers, right, strict=True):
        row[: len(found)] = found
    return np.array(asked, np.int64).reshape(-1, 3), answers


def _judged(scores: Floats, answers: Ints) -> tuple[Doubles, Bools, Bools]:
    """For each question the share of right words among the best, whether several are best, whether none can be given.

    scores    float32[questions, words]: -inf for words that are excluded
    answers   int64[questions, n]: right words, -1 for none
    """
    best = scores.max(1, keepdims=True) - np.float32(TIE)
    tied = (scores >= best).sum(1)
    of_right = np.where(answers >= 0, np.take_along_axis(scores, answers, 1), -np.inf)
    given = np.isfinite(of_right)
    share = np.asarray((given & (of_right >= best)).sum(1) / tied, np.float64)
    return share, np.asarray((tied > 1) & np.isfinite(best[:, 0])), np.asarray(~given.any(1))


def _add(unit: Floats, asked: Ints) -> Floats:
    a, b, c = (unit[side] for side in asked.T)
    return np.asarray((b - a + c) @ unit.T)


def _multiply(unit: Floats, asked: Ints) -> Floats:
    a, b, c = ((unit[side] @ unit.T + 1) / 2 for side in asked.T)
    return np.asarray(b * c / (a + np.float32(_EPSILON)))


METHODS: dict[AnalogyMethod, Callable[[Floats, Ints], Floats]] = {"3cosadd": _add, "3cosmul": _multiply}
"""Scores of all words by method: from unit vectors, float32[words, dim], and int64[questions, 3], a, b and c."""
