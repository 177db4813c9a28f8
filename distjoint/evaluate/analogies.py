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
from distjoint.evaluate.stored import StoredVectors

_ScoresOf = Callable[[Sequence[Floats], Floats], Floats]
_Judged = tuple[Doubles, Bools, Bools]
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
    progress: Callable[[float], None] | None = None,
    method: AnalogyMethod = "3cosadd",
) -> Analogies:
    """Answers to questions: the word with the best score in the whole vocabulary, the question's own words excluded.

    A question counts when a, c, one word for b and one for d have a vector. Where several words have the best score,
    the right ones count by their share of them.

    standardize   columns to mean 0 and deviation 1 over the whole vocabulary, before the cosine
    progress      told how many questions have been answered since it was last told
    method        `3cosadd`: nearest to b - a + c; `3cosmul`: cos(b) cos(c) / cos(a), each moved to 0 to 1
    """
    lookup, advance = Lookup(space), progress or (lambda _: None)
    asked, answers = _indices(lookup, [question for section in sections for question in section.questions])
    covered = np.flatnonzero((asked >= 0).all(1) & (answers >= 0).any(1))
    right, ties, excluded = np.full(len(asked), np.nan), 0, 0
    if isinstance(space.vectors, StoredVectors):
        judged = [
            (covered, _judged_by_block(space, standardize, METHODS[method], asked[covered], answers[covered], advance))
        ]
    else:
        judged = _judged_at_once(space, standardize, METHODS[method], asked, answers, covered, advance)
    for chosen, (share, tied, without) in judged:
        right[chosen] = share
        ties, excluded = ties + int(tied.sum()), excluded + int(without.sum())
    found = tuple(Section(each.name, len(each.questions), each.form, each.category) for each in sections)
    return Analogies(found, right, method, lookup.coverage(), ties, excluded)


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


def _judged(scores: Floats, answers: Ints) -> _Judged:
    """For each question the share of right words among the best, whether several are best, whether none can be given.

    scores    float32[questions, words]: -inf for words that are excluded
    answers   int64[questions, n]: right words, -1 for none
    """
    best = scores.max(1, keepdims=True) - np.float32(TIE)
    of_right = np.where(answers >= 0, np.take_along_axis(scores, answers, 1), -np.inf)
    return _shares(best, (scores >= best).sum(1), of_right)


def _shares(best: Floats, tied: Ints, of_right: Floats) -> _Judged:
    """The same from the least score that is among the best, float32[questions, 1], how many are, and right words'."""
    given = np.isfinite(of_right)
    share = np.asarray((given & (of_right >= best)).sum(1) / np.maximum(tied, 1), np.float64)
    return share, np.asarray((tied > 1) & np.isfinite(best[:, 0])), np.asarray(~given.any(1))


def _judged_at_once(
    space: Space,
    standardize: bool,
    scores_of: _ScoresOf,
    asked: Ints,
    answers: Ints,
    covered: Ints,
    progress: Callable[[float], None],
) -> Iterator[tuple[Ints, _Judged]]:
    """Some of the questions at a time, among all words; which they are, and what came of them."""
    unit, step = space.unit(standardize), max(1, SCORES_AT_ONCE // len(space))
    for start in range(0, len(covered), step):
        chosen = covered[start : start + step]
        scores = scores_of([unit[side] for side in asked[chosen].T], unit)
        np.put_along_axis(scores, asked[chosen], -np.inf, axis=1)
        yield chosen, _judged(scores, answers[chosen])
        progress(len(chosen))


def _judged_by_block(
    space: Space,
    standardize: bool,
    scores_of: _ScoresOf,
    asked: Ints,
    answers: Ints,
    progress: Callable[[float], None],
) -> _Judged:
    """All questions among some of the words at a time, which stay in their files: read once for the best, and once
    for what ties with it.
    """
    stored: Any = space.vectors
    sides = [space.unit_of(side, standardize) for side in asked.T]
    column = np.full(len(space), -1, np.int64)
    best = np.full((len(asked), 1), -np.inf, np.float32)
    tied, of_right = np.zeros(len(asked), np.int64), np.full(answers.shape, -np.inf, np.float32)
    for reading in ("best", "ties"):
        for places, vectors, _ in stored.blocks():
            unit, step = space.to_unit(vectors, standardize), max(1, SCORES_AT_ONCE // len(places))
            column[places] = np.arange(len(places))
            for start in range(0, len(asked), step):
                part = slice(start, start + step)
                scores = scores_of([side[part] for side in sides], unit)
                row, end = np.nonzero(column[asked[part]] >= 0)
                scores[row, column[asked[part][row, end]]] = -np.inf
                if reading == "ties":
                    tied[part] += (scores >= best[part]).sum(1)
                    continue
                best[part] = np.maximum(best[part], scores.max(1, keepdims=True))
                at = np.where(answers[part] >= 0, column[answers[part]], -1)
                row, end = np.nonzero(at >= 0)
                of_right[part][row, end] = scores[row, at[row, end]]
            column[places] = -1
            progress(len(asked) * len(places) / (2 * len(space)))
        if reading == "best":
            best -= np.float32(TIE)
    return _shares(best, tied, of_right)


def _add(asked: Sequence[Floats], unit: Floats) -> Floats:
    a, b, c = asked
    return np.asarray((b - a + c) @ unit.T)


def _multiply(asked: Sequence[Floats], unit: Floats) -> Floats:
    a, b, c = ((side @ unit.T + 1) / 2 for side in asked)
    return np.asarray(b * c / (a + np.float32(_EPSILON)))


METHODS: dict[AnalogyMethod, _ScoresOf] = {"3cosadd": _add, "3cosmul": _multiply}
"""Scores of some words by method: from unit vectors of a, b and c of questions, float32[questions, dim] each, and of
words, float32[words, dim].
"""
