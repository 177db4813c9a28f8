"""The entities that best complete triples, and scores of whole triples, for thousands of queries at a time.

Vectors come by blocks, so the table may be larger than memory. What is no answer is taken out before the best are
chosen: known answers, the given end, entities that types or a list leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from distjoint.base.arrays import Bools, Doubles, Floats, Ints
from distjoint.base.errors import DistjointError
from distjoint.evaluate.scoring import Side, TripleModel
from distjoint.evaluate.stored import StoredVectors
from distjoint.results.best import Block, Columns, blocks_of, search
from distjoint.results.limits import Ends, Limits

_NUMBERS = 8 << 20
"""Numbers of vectors in float64 at a time."""


class Predictor:
    """Scores of a run's entities.

    vectors     float32[entities, dim]
    plausible   bool[n]: whose vectors mean something, from places and `said` of a block
    """

    def __init__(
        self,
        model: TripleModel,
        vectors: Floats | StoredVectors,
        plausible: Callable[[Ints, Bools | None], Bools],
    ) -> None:
        self.model, self._vectors, self._plausible = model, vectors, plausible

    def best(
        self,
        given: Floats,
        relation: Ints,
        side: Side,
        k: int,
        limits: Limits,
        advance: Callable[[float], Any] = lambda _: None,
    ) -> tuple[Ints, Doubles]:
        """The k best answers: places, int64[queries, k], -1 where there are no more; scores, float64[queries, k].

        given      float32[queries, dim]: vectors of the given ends
        relation   int64[queries]
        side       the end that is predicted
        advance    told how many entities all queries have met since it was last told
        """
        model, columns = self.model, Columns(len(self._vectors))
        query = model.prepare(model.queries(_tensor(given), torch.from_numpy(relation), side))

        def score(block: Block) -> Floats:
            places, vectors, said = block
            scores: Floats = model.comparison.scores(query, model.prepare(_tensor(vectors)))[0].numpy()
            allowed = self._plausible(places, said)
            if limits.listed is not None:
                allowed = allowed & limits.listed[places]
            scores[:, ~allowed] = -np.inf
            if limits.ends is not None:
                self._limit(scores, places, relation, side, limits.ends)
            columns.exclude(scores, places, limits.queries, limits.places)
            return scores

        exact_query = self._double.prepare(self._queries(given, relation, side))

        def exact(of: Ints, places: Ints) -> Doubles:
            found: Doubles = np.empty(len(places))
            for part in self._parts(len(places)):
                answers = torch.from_numpy(self._vectors[places[part]].astype(np.float64))
                pairs = exact_query[torch.from_numpy(of[part])], self._double.prepare(answers)
                found[part] = self._double.comparison.pairs(*pairs)[0].numpy()
            return found

        return search(len(given), min(k, len(self._vectors)), blocks_of(self._vectors), score, exact, advance)

    def of_all(self, given: Floats, relation: int, side: Side) -> tuple[Doubles, Bools]:
        """Scores of all entities as the other end of a triple, in the precision of float32: float64[entities].

        given     float32[dim]: vector of the end that is given
        returns   also bool[entities]: which may be answers, since their vectors mean something
        """
        query = self.model.queries(_tensor(given[None]), torch.tensor([relation]), side)
        found, plausible = np.empty(len(self._vectors)), np.empty(len(self._vectors), np.bool_)
        for places, vectors, said in blocks_of(self._vectors):
            found[places] = self.model.score(query, _tensor(vectors))[0].numpy()
            plausible[places] = self._plausible(places, said)
        return found, plausible

    def scores(self, head: Ints, relation: Ints, tail: Ints) -> Doubles:
        """float64[n]: scores of triples, whose ends are places of entities. A score of float64 from float32 vectors."""
        found: Doubles = np.empty(len(head))
        for part in self._parts(len(head)):
            found[part] = self.scores_of(self._vectors[head[part]], relation[part], self._vectors[tail[part]])
        return found

    def scores_of(self, heads: Floats, relation: Ints, tails: Floats, side: Side = "tail") -> Doubles:
        """float64[n]: the same of ends that are vectors, float32[n, dim]; `side` is the end that is asked for."""
        given, answers = (heads, tails) if side == "tail" else (tails, heads)
        query, model = self._queries(given, relation, side), self._double
        wanted = model.prepare(torch.from_numpy(answers.astype(np.float64)))
        found: Doubles = model.comparison.pairs(model.prepare(query), wanted)[0].numpy()
        if not np.isfinite(found).all():
            raise DistjointError("a score is NaN or infinite: vectors of the run are damaged, or its training diverged")
        return found

    def relations(self, head: Floats, tail: Floats) -> Doubles:
        """float64[pairs, relations]: scores of all relations between heads and tails, float32[pairs, dim] each."""
        count = self.model.relation_count
        found: Doubles = np.empty((len(head), count))
        for start in range(0, count, step := max(1, _NUMBERS // max(1, self.model.relations.shape[1] * len(head)))):
            chosen = np.arange(start, min(start + step, count))
            shape = (len(head), len(chosen))
            query = self._queries(np.repeat(head, shape[1], 0), np.tile(chosen, shape[0]), "tail")
            answers = self._double.prepare(torch.from_numpy(np.repeat(tail, shape[1], 0).astype(np.float64)))
            scores = self._double.comparison.pairs(self._double.prepare(query), answers)[0]
            found[:, chosen] = scores.numpy().reshape(shape)
        return found

    def _queries(self, given: Floats, relation: Ints, side: Side) -> torch.Tensor:
        vectors = torch.from_numpy(given.astype(np.float64))
        return self._double.queries(vectors, torch.from_numpy(relation), side)

    def _limit(self, scores: Floats, places: Ints, relation: Ints, side: Side, ends: Ends) -> None:
        """Leave out what may not stand at this end of the relation."""
        kinds, of_query = np.unique(relation, return_inverse=True)
        excluded = np.stack([~ends.allowed(kind, side, places) for kind in kinds.tolist()])
        np.putmask(scores, excluded[of_query], -np.inf)

    def _parts(self, count: int) -> list[slice]:
        step = max(1, _NUMBERS // self.model.relations.shape[1])
        return [slice(start, start + step) for start in range(0, count, step)]

    @cached_property
    def _double(self) -> TripleModel:
        dense = {name: value.double() for name, value in self.model.dense.items()}
        return replace(self.model, relations=self.model.relations.double(), dense=dense)


def _tensor(vectors: Floats) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(vectors))
