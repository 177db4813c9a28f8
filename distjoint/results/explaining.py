"""The explanation of a triple of a run; what its parts are, `explain.py` has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from distjoint.base.arrays import Doubles
from distjoint.couplings.base import TEXT
from distjoint.evaluate.space import Space
from distjoint.evaluate.stored import StoredVectors
from distjoint.results.ends import AskedEnd
from distjoint.results.explain import End, Explanation, Words, parts_of, slopes_of, word_shares, words_of
from distjoint.results.graph import Choice, GraphAnswers
from distjoint.results.limits import Side
from distjoint.results.texts import Texts


def explain_triple(
    graph: GraphAnswers,
    ends: tuple[AskedEnd, AskedEnd],
    relation: int,
    top: int,
    texts: Texts,
) -> Explanation:
    """What each part of a triple's ends, and each word of their texts, adds to its score.

    ends    head and tail
    top     words of each end that are told apart
    """
    parts = [_parts(graph, end) for end in ends]
    score, *slopes = slopes_of(graph.trained, parts[0], relation, parts[1])
    found: list[End] = []
    sides: tuple[Side, Side] = ("head", "tail")
    for side, end, other, own, slope in zip(sides, ends, ends[::-1], parts, slopes, strict=True):
        shares = {name: float(slope @ part) for name, part in own.items()}
        rank, among = _rank(graph, other, relation, end, side)
        words: dict[str, Any] = {}
        if top and TEXT in shares:
            said = _words(graph, end.place) if end.text is None else Words(*texts.typed.words(end.text))
            words = _shares(graph, said, texts.mentioned, slope, shares[TEXT], top)
        if end.text is None:
            names = graph.spaces.entities.names[end.place], graph.spaces.readable(end.place)
        else:
            names = end.text, None
        found.append(End(*names, rank, among, shares, score - sum(shares.values()), **words))
    readable = graph.names.readable(relation)
    return Explanation(found[0], graph.relations[relation], found[1], score, _known(graph, ends, relation), readable)


def _parts(graph: GraphAnswers, end: AskedEnd) -> Mapping[str, Doubles]:
    if end.text is not None:
        return {TEXT: end.vector.astype(np.float64)}
    (row,), vectors = graph.run.layout.entities_at(np.array([end.place])).tolist(), graph.spaces.entities.vectors
    return parts_of(graph.trained, row, vectors.reader if isinstance(vectors, StoredVectors) else None)


def _known(graph: GraphAnswers, ends: tuple[AskedEnd, AskedEnd], relation: int) -> bool | None:
    """Whether the dataset has the triple, which it has not where an end is a text; None where it cannot be read."""
    if any(end.text is not None for end in ends):
        return False
    answers = graph.known_pairs(np.array([ends[0].place]), np.array([relation]), "tail", Choice("include"))
    return None if answers is None else bool((answers[1] == ends[1].place).any())


def _rank(graph: GraphAnswers, given: AskedEnd, relation: int, answer: AskedEnd, side: Side) -> tuple[int, int]:
    """An answer's place among those that `predict` ranks, other known ones left out, and how many these are."""
    scores, others = graph.predictor.of_all(given.vector, relation, side)
    known = graph.known_pairs(np.array([given.place]), np.array([relation]), side, Choice("include"))
    others[[] if known is None else known[1]] = False
    others[[end.place for end in (given, answer) if end.place >= 0]] = False
    if answer.place >= 0:
        own = scores[answer.place]
    else:
        ends = (given.vector, answer.vector)[:: 1 if side == "tail" else -1]
        own = graph.predictor.scores_of(ends[0][None], np.array([relation]), ends[1][None], side)[0]
    return 1 + int((scores[others] > own).sum()), 1 + int(others.sum())


def _words(graph: GraphAnswers, entity: int) -> Words:
    (row,) = graph.run.layout.entities_at(np.array([entity])).tolist()
    return words_of(graph.trained, row)


def _shares(graph: GraphAnswers, words: Words, space: Space, slope: Doubles, text: float, top: int) -> dict[str, Any]:
    """`word_shares` of an end."""
    names = [space.names[place] for place in words.places.tolist()]
    vectors = graph.trained.coupling.said(space.vectors[words.places], words.named)
    return word_shares(words, names, vectors, slope, text, top)
