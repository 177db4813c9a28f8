"""Ranks of right answers, and their figures: MRR, Hits@k, mean rank.

A right answer that ties with others has a rank only by agreement. The default is the mean of the places it may take
("realistic", 1 + higher + tied / 2); the first ("optimistic") and the last ("pessimistic") of them are kept too: a
model that gives everything one score is perfect by the first and worthless by the last. Berrendorf et al. 2020 name
the three; Sun et al. 2020 found published results that rested on the first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distjoint.base.arrays import Bools, Doubles, Ints
from distjoint.evaluate.options import Ties

HITS = (1, 3, 10)
TIED = 0.5
"""What a candidate that ties adds to a mean rank."""
_SHIFT: dict[Ties, float] = {"realistic": 0.0, "optimistic": -0.5, "pessimistic": 0.5}


@dataclass(frozen=True)
class LinkPrediction:
    """Ranks of the right answers, by triple, kept for paired comparisons.

    head, tail             float64[n]: rank of the right head and of the right tail, from 1; ties at their mean
    unseen_ends            int64[n]: ends of the triple that are in no training triple, 0 to 2
    candidates             entities ranked against; where sampled, how many were drawn for an answer
    head_ties, tail_ties   int64[n]: candidates that tie with the right answer
    own_head, own_tail     float64[n]: what the given end, a candidate too, adds to the rank: 1, .5 for a tie, or 0
    sampled                the candidates were drawn, so that ranks are better than among all
    typed                  candidates that the relation's types do not allow were left out
    mean_candidates        where sampled or typed: how many an answer was ranked against, on average
    unseen_relation        bool[n]: the relation of the triple is in no training triple; None where all are in some
    """

    head: Doubles
    tail: Doubles
    unseen_ends: Ints
    candidates: int
    head_ties: Ints
    tail_ties: Ints
    own_head: Doubles
    own_tail: Doubles
    sampled: bool = False
    typed: bool = False
    mean_candidates: float | None = None
    unseen_relation: Bools | None = None

    def metrics(self) -> dict[str, Any]:
        """Figures over both directions: `mrr`, `hits@1`, `hits@3`, `hits@10`, `mean_rank`, `triples`.

        The same for one direction under `head` and `tail`; and where there are unseen ends, for the triples with any
        (`unseen`), with none (`seen`), with `one_unseen` and with `both_unseen`, None where there are no such triples.
        Under `unseen_relation` for the triples whose relation training never saw, where there are such triples.
        Within each but one direction, under `without_own_end` as if the given end were no candidate; within each, by
        first and last ranks of ties under `optimistic` and `pessimistic`.
        """
        head, tail = (self.head, self.head_ties), (self.tail, self.tail_ties)
        every = self._of(np.ones(len(self.head), np.bool_))
        result = {**every, "candidates": self.candidates, "head": figures(head), "tail": figures(tail)}
        if self.mean_candidates is not None:
            result["mean_candidates"] = self.mean_candidates
        if self.unseen.any():
            ends = self.unseen_ends
            parts = {"unseen": ends > 0, "seen": ends == 0, "one_unseen": ends == 1, "both_unseen": ends == 2}
            result |= {name: self._of(chosen) if chosen.any() else None for name, chosen in parts.items()}
        if self.unseen_relation is not None:
            result["unseen_relation"] = self._of(self.unseen_relation)
        return result

    @property
    def unseen(self) -> Bools:
        """bool[n]: an end of the triple is in no training triple."""
        return self.unseen_ends > 0

    @property
    def without_own_end(self) -> LinkPrediction:
        """The same as if the given end of a triple were no candidate, unless it is the right answer."""
        return replace(
            self,
            head=self.head - self.own_head,
            tail=self.tail - self.own_tail,
            head_ties=self.head_ties - (self.own_head == TIED),
            tail_ties=self.tail_ties - (self.own_tail == TIED),
            own_head=np.zeros_like(self.own_head),
            own_tail=np.zeros_like(self.own_tail),
        )

    def _of(self, chosen: Bools) -> dict[str, Any]:
        """Figures of some triples, with own ends and without. chosen: bool[n]"""
        both = [
            figures((ranks.head[chosen], ranks.head_ties[chosen]), (ranks.tail[chosen], ranks.tail_ties[chosen]))
            for ranks in (self, self.without_own_end)
        ]
        return {**both[0], "without_own_end": both[1]}

    @property
    def mrr(self) -> float:
        """Filtered mean reciprocal rank over both directions."""
        return float(np.mean([1 / self.head, 1 / self.tail]))


def ranks_with(ties: Ties, ranks: Doubles, tied: Ints) -> Doubles:
    """float64[n]: mean, first or last ranks of answers, from their mean ranks and how many candidates tie."""
    return ranks + _SHIFT[ties] * tied


def figures(*directions: tuple[Doubles, Ints]) -> dict[str, Any]:
    """Figures of some answers by their mean ranks, and by first and last ones under `optimistic` and `pessimistic`.

    directions   mean ranks float64[n] and ties int64[n], for one direction or both
    """
    result: dict[str, Any] = summary(*(ranks for ranks, _ in directions))
    others: tuple[Ties, Ties] = ("optimistic", "pessimistic")
    for ties in others:
        shifted = summary(*(ranks_with(ties, *direction) for direction in directions))
        result[ties] = {name: value for name, value in shifted.items() if name != "triples"}
    return result


def summary(*ranks: Doubles) -> dict[str, float]:
    """MRR, Hits@k and mean rank of some ranks: float64[n] for each direction."""
    every = np.concatenate(ranks)
    hits = {f"hits@{k}": float(np.mean(every <= k)) for k in HITS}
    return {"mrr": float(np.mean(1 / every)), **hits, "mean_rank": float(np.mean(every)), "triples": len(ranks[0])}
