"""Link prediction by groups of answers: by relation, its category, training triples of the answer or the rarer end; on
a grown dataset by what came when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distjoint.base.arrays import Ints
from distjoint.data.dataset import Triples
from distjoint.evaluate.ranks import LinkPrediction, figures
from distjoint.table.layout import Layout

GROUPINGS = ("relation", "category", "degree")
ALWAYS = "rarer"
"""The grouping that every report has: by the training triples of the rarer end."""
GROWTH = "growth"
"""The grouping that a report on a grown dataset has: by the growth that the newer end came with."""

CATEGORIES = ("1-1", "1-N", "N-1", "N-N", "not in training")
MANY = 1.5
"""Mean number of answers from which an end of a relation counts as N: Bordes et al. 2013, section 4.3."""
DEGREES = ("0", "1-2", "3-10", "more than 10")
_DEGREE_STARTS = (1, 3, 11)


@dataclass(frozen=True)
class Groups:
    """The group of each answer of a split.

    names        of the groups
    head, tail   int64[n]: the group of each triple's right head, and of its right tail
    """

    names: Sequence[str]
    head: Ints
    tail: Ints


def groups(by: str, triples: Triples, train: Triples, degree: Ints, relations: Sequence[str]) -> Groups:
    """The groups of a split's answers.

    by          `relation`; `category` of the relation; `degree` of the answer; `rarer`: degree of the rarer end
    train       the training triples, which decide category
    degree      int64[rows]: training triples that each entity is in, by row id
    relations   names by id
    """
    if by == "relation":
        return Groups(relations, triples.relation, triples.relation)
    if by == "category":
        category = categories(train, len(relations))[triples.relation]
        return Groups(CATEGORIES, category, category)
    head, tail = (np.searchsorted(_DEGREE_STARTS, degree[end], "right") for end in (triples.head, triples.tail))
    if by == ALWAYS:
        head = tail = np.minimum(head, tail)
    return Groups(DEGREES, head, tail)


def growths(triples: Triples, layout: Layout) -> Groups:
    """The groups of a grown dataset's triples: old ends only, or an end that came with a growth."""
    newest = np.maximum(*(layout.growth_of(end) for end in (triples.head, triples.tail)))
    count = len(layout.grown)
    names = [f"an end of growth {each}" for each in range(1, count + 1)] if count > 1 else ["a new end"]
    return Groups(["old ends only", *names], newest, newest)


def categories(train: Triples, relations: int) -> Ints:
    """int64[relations]: the place in CATEGORIES of each relation, by its training triples.

    Bordes et al. 2013, section 4.3: 1-N where a head has 1.5 tails or more on average and a tail has fewer heads
    than that, and so on.
    """
    triples = np.bincount(train.relation, minlength=relations)
    heads, tails = (
        np.bincount(np.unique(np.stack([train.relation, end], 1), axis=0)[:, 0], minlength=relations)
        for end in (train.head, train.tail)
    )
    many_tails, many_heads = (triples >= MANY * np.maximum(ends, 1) for ends in (heads, tails))
    return np.where(triples > 0, many_tails + 2 * many_heads, len(CATEGORIES) - 1)


def breakdown(ranks: LinkPrediction, of: Groups, largest_first: bool = False) -> list[dict[str, Any]]:
    """Figures of each group that has answers.

    returns   `name`, `answers` and the figures of both directions, the same without own ends under `without_own_end`,
              and of one direction under `head` and `tail`, None where it has no answer in the group
    """
    without = ranks.without_own_end
    heads, tails = _members(of.head, len(of.names)), _members(of.tail, len(of.names))
    result = []
    for name, head, tail in zip(of.names, heads, tails, strict=True):
        sides = ((ranks.head[head], ranks.head_ties[head]), (ranks.tail[tail], ranks.tail_ties[tail]))
        if not len(head) + len(tail):
            continue
        entry = {"name": name, "answers": len(head) + len(tail), **_counted(figures(*sides))}
        others = ((without.head[head], without.head_ties[head]), (without.tail[tail], without.tail_ties[tail]))
        entry["without_own_end"] = _counted(figures(*others))
        entry |= {
            side: {"answers": len(each[0]), **_counted(figures(each))} if len(each[0]) else None
            for side, each in zip(("head", "tail"), sides, strict=True)
        }
        result.append(entry)
    return sorted(result, key=lambda entry: -entry["answers"]) if largest_first else result


def _members(group: Ints, count: int) -> list[Ints]:
    """Places of the members of each group."""
    order = np.argsort(group, kind="stable")
    return np.split(order, np.searchsorted(group[order], np.arange(1, count)))


def _counted(tree: dict[str, Any]) -> dict[str, Any]:
    """Figures without the number of triples: a group counts answers."""
    return {name: value for name, value in tree.items() if name != "triples"}
