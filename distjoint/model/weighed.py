"""A scorer of entities in parts, which each relation weighs."""

from __future__ import annotations

import torch
from torch import Tensor

from distjoint.model.scorers.base import NO_DENSE, Dense, Scorer


def in_parts(scorer: Scorer, parts: int) -> Scorer:
    """A scorer for entities of so many parts: itself for one, else one that weighs them."""
    return scorer if parts == 1 else Weighed(scorer, parts)


class Weighed(Scorer):
    """Another scorer, for entities that are several vectors side by side, E_1 to E_n.

    A relation has two weights for each part, after its vector for the other scorer: a, by which the parts of the given
    end are added up, and b, by which the answer's are looked at. So `hypernym` may read the description of the one and
    the name of the other. The query is (b_1 q, ..., b_n q), with q = query(a_1 E_1 + ... + a_n E_n, r) of the other.
    """

    def __init__(self, scorer: Scorer, parts: int) -> None:
        self.scorer, self.parts = scorer, parts
        self.name, self.compare, self.paper, self.paper_loss = (  # type: ignore[misc]
            scorer.name,
            scorer.compare,
            scorer.paper,
            scorer.paper_loss,
        )
        self.multiple, self.invertible = scorer.multiple, scorer.invertible  # type: ignore[misc]
        self.formula = (  # type: ignore[misc]
            f"the vector of an entity is {parts} parts side by side; the last {2 * parts} numbers of a relation are a "
            f"and b; h is the sum of a_i times part i; {scorer.formula}; part i of the query is b_i q"
        )
        self.inverse_formula = f"{scorer.inverse_formula}, with a and b changed over"  # type: ignore[misc]

    def relation_dim(self, dim: int) -> int:
        """dim: of a part"""
        return self.scorer.relation_dim(dim) + 2 * self.parts

    def query(self, entity: Tensor, relation: Tensor, dense: Dense = NO_DENSE) -> Tensor:
        inner, given, wanted = self._split(relation)
        query = self.scorer.query(self._sum(entity, given), inner, dense)
        return (wanted[..., None] * query[..., None, :]).flatten(-2)

    def inverse(self, relation: Tensor) -> Tensor:
        inner, given, wanted = self._split(relation)
        return torch.cat([self.scorer.inverse(inner), wanted, given], -1)

    def query_gradient(
        self, entity: Tensor, relation: Tensor, gradient: Tensor, dense: Dense = NO_DENSE
    ) -> tuple[Tensor, Tensor]:
        inner, given, wanted = self._split(relation)
        parts, d_parts = self._parts(entity), self._parts(gradient)
        whole = self._sum(entity, given)
        query = self.scorer.query(whole, inner, dense)
        d_whole, d_inner = self.scorer.query_gradient(whole, inner, self._sum(gradient, wanted), dense)
        d_given, d_wanted = (parts @ d_whole[..., None])[..., 0], (d_parts @ query[..., None])[..., 0]
        d_entity = (given[..., None] * d_whole[..., None, :]).flatten(-2)
        return d_entity, torch.cat([d_inner, d_given, d_wanted], -1)

    def dense(self, dim: int, generator: torch.Generator) -> dict[str, Tensor]:
        return self.scorer.dense(dim, generator)

    def dense_gradient(self, entity: Tensor, relation: Tensor, gradient: Tensor, dense: Dense) -> dict[str, Tensor]:
        inner, given, wanted = self._split(relation)
        return self.scorer.dense_gradient(self._sum(entity, given), inner, self._sum(gradient, wanted), dense)

    def initial_relations(self, count: int, dim: int, generator: torch.Generator) -> Tensor:
        """As of the other scorer; all parts weigh one."""
        return torch.cat([self.scorer.initial_relations(count, dim, generator), torch.ones(count, 2 * self.parts)], 1)

    def _split(self, relation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The other scorer's relation, and the weights of either end: float[..., parts]."""
        inner = relation.shape[-1] - 2 * self.parts
        found, given, wanted = torch.split(relation, [inner, self.parts, self.parts], -1)
        return found, given, wanted

    def _parts(self, vectors: Tensor) -> Tensor:
        """float[..., parts, dim]"""
        return torch.unflatten(vectors, -1, (self.parts, -1))

    def _sum(self, vectors: Tensor, weights: Tensor) -> Tensor:
        """Sum of the weighed parts: float[..., dim]."""
        return (weights[..., None, :] @ self._parts(vectors))[..., 0, :]
