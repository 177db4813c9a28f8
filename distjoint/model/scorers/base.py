"""What every scorer is: how head and relation make a query, and how a query is compared with a candidate.

A score has the form `compare(query(head, relation), tail)`. The query costs a few operations per triple and the
comparison is a matrix product, so one query meets thousands of candidates at the price of a GEMM. Heads are predicted
by the same form: `compare(query(tail, inverse(relation)), head)`.

Coordinates of several reals (complex numbers, quaternions) are held as equal parts of the last axis: all real parts
first, then all imaginary ones. A GloVe row of the same width can then be tied to an entity's, and the plain dot product
of two rows is the real part of their Hermitian product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from torch import Tensor

from distjoint.base.errors import UsageError

Dense = Mapping[str, Tensor]
NO_DENSE: Dense = MappingProxyType({})
"""The dense parameters of a scorer that has none."""


class Scorer(ABC):
    """One way to score triples. Stateless: vectors, and dense parameters where it has some, come in; queries go out.

    A scorer writes `query`, and `inverse` unless it is not `invertible`. All else has a default.
    """

    name: ClassVar[str]
    formula: ClassVar[str] = "as its class says"
    """The query, for people who compute scores elsewhere: h and r are the vectors of head and relation."""
    inverse_formula: ClassVar[str] = "as its class says"
    """The relation read from tail to head, likewise."""
    compare: ClassVar[str]
    """Name of the comparison of a query and a candidate, unless scores are cosines."""
    paper: ClassVar[str] = ""
    """Who published the scorer, and when; empty for one without a paper. `compare` is the comparison of that paper."""
    paper_loss: ClassVar[str | None] = None
    """Name of the loss of that paper; None where there is no such loss here."""
    multiple: ClassVar[int] = 1
    """Reals of an entity's vector that make one coordinate: 2 for complex numbers, 4 for quaternions. dim must be a
    multiple; the nuclear 3-norm takes the moduli of these coordinates."""
    dim_multiple: ClassVar[int] = 1
    """What dim must be a multiple of besides: 2 for a scorer of two halves that mean different things."""
    product: ClassVar[Literal["real", "complex"] | None] = None
    """Whether a query is the product of entity and relation, coordinate by coordinate: the compiled backend then has a
    faster way to it."""
    linear_in_relation: ClassVar[bool] = False
    """Whether scores are linear in the relation, compared by dot product: such a scorer can predict relations too."""
    parts: int = 1
    """Vectors that an entity is, side by side; see weighed.py."""
    invertible: ClassVar[bool] = True
    """Whether `inverse` exists. Where it does not, heads are predicted by a second vector of the relation
    (`model.reciprocal`)."""

    def relation_dim(self, dim: int) -> int:
        """Width of a relation's vector for entities of `dim` reals."""
        return dim

    @abstractmethod
    def query(self, entity: Tensor, relation: Tensor, dense: Dense = NO_DENSE) -> Tensor:
        """What (entity, relation, ?) looks for.

        entity     float[..., dim]
        relation   float[..., relation_dim]
        dense      the scorer's own parameters, by their names
        returns    float[..., dim]
        """

    def inverse(self, relation: Tensor) -> Tensor:
        """The relation read from tail to head; float[..., relation_dim] to the same shape.

        Linear and its own transpose, so that the gradient for the inverse, inverted, is that for the relation.
        raises UsageError where there is none
        """
        raise UsageError(f"scorer '{self.name}' reads no relation from tail to head; set model.reciprocal to true")

    def query_gradient(
        self, entity: Tensor, relation: Tensor, gradient: Tensor, dense: Dense = NO_DENSE
    ) -> tuple[Tensor, Tensor]:
        """Gradients of `query` for entity and relation, given the one for the query.

        By autograd here; a derivative by hand is faster.

        entity, relation   as for `query`, with the same leading axes
        gradient           float[..., dim]
        returns            float[..., dim], float[..., relation_dim]
        """
        with torch.enable_grad():
            leaves = entity.detach().requires_grad_(), relation.detach().requires_grad_()
            query = self.query(*leaves, dense)
        d_entity, d_relation = torch.autograd.grad(query, leaves, gradient, materialize_grads=True)
        return d_entity, d_relation

    def dense(self, dim: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Start values, float32, of parameters that all triples share, such as a core tensor; none here."""
        return {}

    def dense_gradient(self, entity: Tensor, relation: Tensor, gradient: Tensor, dense: Dense) -> dict[str, Tensor]:
        """Gradients of `query` for the dense parameters, summed over all leading axes; by autograd here.

        entity, relation, gradient   as for `query_gradient`
        """
        if not dense:
            return {}
        with torch.enable_grad():
            leaves = {name: value.detach().requires_grad_() for name, value in dense.items()}
            query = self.query(entity.detach(), relation.detach(), leaves)
        found = torch.autograd.grad(query, list(leaves.values()), gradient, materialize_grads=True)
        return dict(zip(leaves, found, strict=True))

    def initial_relations(self, count: int, dim: int, generator: torch.Generator) -> Tensor:
        """Start values, float32[count, relation_dim]; unit normal here, as for the entities of bilinear models."""
        return torch.randn(count, self.relation_dim(dim), generator=generator)
