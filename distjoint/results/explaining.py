"""The explanation of a triple of a run; what its parts are, `explain.py` has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from distjoint.base.arrays import Doubles
from distjoint.couplings.base import TEXT
from distjoint.evaluate.space import Space
from distjoint.results.explain import End, Explanation, parts_of, slopes_of, word_shares, words_of
from distjoint.results.graph import Choice, GraphAnswers
from distjoint.results.limits import Side


def explain_triple(
    graph: GraphAnswers, ends: tuple[int, int], relation: int, top: int, mentioned: Callable[[], Space]
) -> Explanation:
    """What each part of a triple's ends, and each word of their texts, adds to its score.

    ends        places of head and tail
    top         words of each end that are told apart
    mentioned   what entities are said with, where they are
    """
    entities, rows = graph.spaces.entities, graph.run.layout.entities_at(np.array(ends))
    parts = [parts_of(graph.trained, row) for row in rows.tolist()]
    score, *slopes = slopes_of(graph.trained, parts[0], relation, parts[1])
    found: list[End] = []
    sides: tuple[Side, Side] = ("head", "tail")
    for side, end, other, own, slope in zip(sides, ends, ends[::-1], parts, slopes, strict=True):
        shares = {name: float(slope @ part) for name, part in own.items()}
        rank, among = _rank(graph, other, relation, end, side)
        words = _words(graph, end, slope, shares[TEXT], top, mentioned) if top and TEXT in shares else {}
        names, rest = (entities.names[end], graph.spaces.readable(end)), score - sum(shares.values())
        found.append(End(*names, rank, among, shares, rest, **words))
    answers = graph.known_pairs(np.array([ends[0]]), np.array([relation]), "tail", Choice("include"))
    known = None if answers is None else bool((answers[1] == ends[1]).any())
    readable = graph.names.readable(relation)
    return Explanation(found[0], graph.relations[relation], found[1], score, known, readable)


def _rank(graph: GraphAnswers, given: int, relation: int, answer: int, side: Side) -> tuple[int, int]:
    """An answer's place among those that `predict` ranks, other known ones left out, and how many these are."""
    size = len(graph.spaces.entities)
    known = graph.known_pairs(np.array([given]), np.array([relation]), side, Choice("include"))
    others = graph.plausible(np.arange(size))
    others[[given, answer, *(() if known is None else known[1].tolist())]] = False
    scores = graph.predictor.of_all(given, relation, side)
    return 1 + int((scores[others] > scores[answer]).sum()), 1 + int(others.sum())


def _words(
    graph: GraphAnswers, entity: int, slope: Doubles, text: float, top: int, mentioned: Callable[[], Space]
) -> dict[str, Any]:
    """`word_shares` of an entity."""
    (row,) = graph.run.layout.entities_at(np.array([entity])).tolist()
    words, space = words_of(graph.trained, row), mentioned()
    names = [space.names[place] for place in words.places.tolist()]
    vectors = graph.trained.coupling.said(space.vectors[words.places], words.named)
    return word_shares(words, names, vectors, slope, text, top)
