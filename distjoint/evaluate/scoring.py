"""How a run scores triples: scorer, comparison and relations, without the entities' vectors.

The entities come to it in blocks, so this is all that a worker must hold to rank against any of them. How the
parts of a shard make the vectors of its words and entities is here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from distjoint.config import Model
from distjoint.couplings.vectors import entity_vectors
from distjoint.model import scorers
from distjoint.model.scorers import Compare, Scorer, comparison, default_scale, similarity
from distjoint.table.layout import Layout

Side = Literal["head", "tail"]


@dataclass(frozen=True)
class TripleModel:
    """The dense half of a trained graph model.

    relations    float32[R, relation_dim], or [2 R, ..] where reciprocal: the second half predicts heads
    scale        factor on scores, > 0; it changes scores, never ranks
    """

    scorer: Scorer
    compare: Compare
    scale: float
    relations: Tensor
    reciprocal: bool

    @classmethod
    def of(cls, model: Model, relations: Tensor) -> TripleModel:
        """The scorer that a run's configuration names, with its trained relations."""
        scorer = scorers.scorer(model.scorer)
        compare = comparison(scorer, model.cosine, model.norm)
        return cls(scorer, compare, model.scale or default_scale(compare), relations, model.reciprocal)

    @property
    def relation_count(self) -> int:
        return len(self.relations) // 2 if self.reciprocal else len(self.relations)

    def queries(self, entity: Tensor, relation: Tensor, side: Side) -> Tensor:
        """What the other end of each triple is compared with.

        entity     float[n, dim]: heads where tails are asked for, tails where heads are
        relation   int64[n]
        side       the end that is asked for
        returns    float[n, dim]
        """
        if side == "tail":
            return self.scorer.query(entity, self.relations[relation])
        if self.reciprocal:
            return self.scorer.query(entity, self.relations[relation + self.relation_count])
        return self.scorer.query(entity, self.scorer.inverse(self.relations[relation]))

    def score(self, query: Tensor, candidate: Tensor) -> Tensor:
        """float[queries, candidates] scores of float[queries, dim] against float[candidates, dim]."""
        return similarity(query, candidate, self.compare, self.scale)

    def prepare(self, vectors: Tensor) -> Tensor:
        """Queries or candidates, made ready for `order`: unit vectors where scores are cosines."""
        return normalize(vectors, dim=-1) if self.compare == "cosine" else vectors

    def order(self, query: Tensor, candidate: Tensor, out: Tensor) -> Tensor:
        """A number for each query and candidate that ranks as the score does, and costs one matrix product, but for L1.

        Of -||q - c|| it keeps what differs between candidates of one query: 2 q.c - c.c.

        query      float[queries, dim], prepared
        candidate  float[candidates, dim], prepared
        out        float[queries, candidates], which is filled and returned
        """
        if self.compare == "manhattan":
            return torch.neg(torch.cdist(query, candidate, p=1), out=out)
        if self.compare != "distance":
            return torch.mm(query, candidate.T, out=out)
        return torch.addmm((candidate * candidate).sum(-1), query, candidate.T, beta=-1, alpha=2, out=out)

    def order_pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        """The same number for query i and candidate i only: float[n, dim], float[n, dim] to float[n]."""
        if self.compare == "manhattan":
            return -(query - candidate).abs().sum(-1)
        products = (query * candidate).sum(-1)
        return products if self.compare != "distance" else 2 * products - (candidate * candidate).sum(-1)

    def rounding(self, query: Tensor, candidate: Tensor) -> Tensor:
        """How large the terms are that `order_pairs` adds up, which bounds its rounding: float[n]."""
        if self.compare == "manhattan":
            return query.abs().sum(1) + candidate.abs().sum(1)
        norm, other = query.norm(dim=1), candidate.norm(dim=1)
        if self.compare == "cosine":
            return torch.ones_like(norm)
        return norm * other if self.compare == "dot" else other * (2 * norm + other)


def word_block(parts: Mapping[str, Tensor]) -> Tensor:
    """float32[word rows, dim]: the words of a shard as GloVe exports them, W + C."""
    return parts["W"] + parts["C"]


def entity_block(
    parts: Mapping[str, Tensor], layout: Layout, shard: int, coupling: str, map_: Tensor | None = None
) -> Tensor:
    """The entities of a shard as the graph scores them.

    parts     at least X, and W and C where the coupling is not `none`
    map_      float[dim, dim], for coupling `dual`
    returns   float[entity rows, dim]
    """
    own = parts["X"]
    if coupling == "none":
        return own
    has_word, has_entity = torch.from_numpy(layout.has_word(shard)), torch.from_numpy(layout.has_entity(shard))
    word = torch.zeros_like(own)
    # The same rows seen from both sides: entities that have a word, words that have an entity.
    word[has_word[has_entity].to(own.device)] = word_block(parts)[has_entity[has_word].to(own.device)]
    return entity_vectors(coupling, own, word, map_)
