"""How a run scores triples: scorer, comparison and relations, without the entities' vectors.

The entities come to it in blocks, so this is all that a worker must hold to rank against any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from distjoint.config import Model
from distjoint.model import scorers
from distjoint.model.comparisons import Comparison, comparison_of
from distjoint.model.scorers import Dense, Scorer
from distjoint.model.weighed import in_parts

Side = Literal["head", "tail"]


@dataclass(frozen=True)
class TripleModel:
    """The dense half of a trained graph model.

    relations    float32[R, relation_dim], or [2 R, ..] where reciprocal: the second half predicts heads
    dense        the scorer's own parameters, by name
    """

    scorer: Scorer
    comparison: Comparison
    relations: Tensor
    reciprocal: bool
    dense: Dense = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, dense: Mapping[str, Tensor], parts: int = 1) -> TripleModel:
        """The scorer that a run's configuration names, with the trained dense parameters of a checkpoint.

        parts   `Coupling.parts` of the run
        """
        scorer, own = in_parts(scorers.scorer(model.scorer), parts), "scorer."
        comparison = comparison_of(scorer, model.cosine, model.norm, model.scale)
        parameters = {name.removeprefix(own): value for name, value in dense.items() if name.startswith(own)}
        return cls(scorer, comparison, dense["relation"], model.reciprocal, parameters)

    @property
    def relation_count(self) -> int:
        return len(self.relations) // 2 if self.reciprocal else len(self.relations)

    def queries(self, entity: Tensor, relation: Tensor, side: Side) -> Tensor:
        """What the other end of each triple is compared with.

        entity     float[n, dim]: heads where tails are queried, tails where heads are
        relation   int64[n]
        side       the end that is queried
        returns    float[n, dim]
        """
        if side == "tail":
            return self.scorer.query(entity, self.relations[relation], self.dense)
        if self.reciprocal:
            return self.scorer.query(entity, self.relations[relation + self.relation_count], self.dense)
        return self.scorer.query(entity, self.scorer.inverse(self.relations[relation]), self.dense)

    def slopes(self, head: Tensor, relation: Tensor, tail: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of triples by their tails, and the vectors by which parts of head and tail make them.

        In the precision of the ends. A score is `slope . vector + rest` for either end (see `Comparison.slopes`; from
        the query to the head it goes on by the scorer's gradient). The rest is what relation and other end make.

        head, tail   float[n, dim]
        relation     int64[n]
        returns      float[n]; float[n, dim], of the heads; float[n, dim], of the tails
        """
        relations, dense = self.relations[relation].to(head.dtype), {k: v.to(head.dtype) for k, v in self.dense.items()}
        query = self.scorer.query(head, relations, dense)
        of_query, of_tail = self.comparison.slopes(query, tail)
        of_head, _ = self.scorer.query_gradient(head, relations, of_query, dense)
        return self.comparison.pairs(self.prepare(query), self.prepare(tail))[0], of_head, of_tail

    def score(self, query: Tensor, candidate: Tensor) -> Tensor:
        """float[queries, candidates] scores of float[queries, dim] against float[candidates, dim]."""
        return self.comparison.scores(self.prepare(query), self.prepare(candidate))[0]

    def prepare(self, vectors: Tensor) -> Tensor:
        """Queries or candidates, made ready for `order`: unit vectors where scores are cosines."""
        return self.comparison.embed(vectors)[0]

    def order(self, query: Tensor, candidate: Tensor, out: Tensor) -> Tensor:
        """`Comparison.rank_key` of float[queries, dim] and float[candidates, dim], prepared, in the memory of `out`."""
        return self.comparison.rank_key(query, candidate, out)

    def order_pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        """The same number for query i and candidate i only: float[n, dim], float[n, dim] to float[n]."""
        return self.comparison.rank_key_pairs(query, candidate)

    def rounding(self, query: Tensor, candidate: Tensor) -> Tensor:
        """Size of the terms that `order_pairs` adds up, which bounds its rounding: float[n]."""
        return self.comparison.rank_rounding(query, candidate)
