"""One graph loss at work: embeddings of a batch's rows, its relations, and the step of both.

What all kinds of candidates share. A strategy of `candidates/` makes queries and scores between `embed` and `learn`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from distjoint.backends import Backend
from distjoint.config import Config
from distjoint.couplings.base import GraphTerm
from distjoint.model.comparisons import comparison_of
from distjoint.model.losses import loss_of
from distjoint.model.scorers import scorer
from distjoint.model.weighed import in_parts
from distjoint.train.dense import Dense

ROWS = 3072
"""Rows in a slice of work on a CPU. Slices four times as small cost a fifth of the speed, by Python's overhead."""


@dataclass(frozen=True)
class Dropout:
    """Inverted-dropout masks of a batch; None where nothing is dropped.

    rows        float32[distinct, dim]
    relations   float32[2R, relation_dim]
    own         bool[distinct]: whose own vector is left out, so that they are their text
    """

    rows: Tensor | None
    relations: Tensor | None
    own: Tensor | None


@dataclass(frozen=True)
class EmbeddedRows:
    """Embeddings of the distinct rows of a batch, and the same as candidates; float32[distinct, dim] each.

    rows      int64[distinct]: arena rows
    norms     float32[distinct, 1] where candidates are unit vectors
    dropout   what was left out of them
    """

    rows: Tensor
    vectors: Tensor
    candidates: Tensor
    norms: Tensor | None
    dropout: Dropout


@dataclass(frozen=True)
class Relations:
    """Relations as a batch sees them: R read from head to tail, then R read from tail to head.

    gradient   where theirs is summed up
    dropout    as in `Dropout`
    """

    values: Tensor
    gradient: Tensor
    dropout: Tensor | None


@dataclass
class BatchLoss:
    """What a batch came to.

    loss      summed over triples and both directions
    squares   squared norm of the gradient of its rows
    allowed   bool[]: whether its rows were stepped, where that is not known at once; None for yes
    """

    loss: float | Tensor
    squares: float | Tensor
    allowed: Tensor | None = None


class TermTrainer:
    """Trains a graph loss on the rows of a worker.

    term         the vectors it scores, and which of the dense parameters are its own
    arena_rows   more than the number of any row
    own_end      whether the given end of a triple is one of its negatives
    """

    def __init__(self, config: Config, term: GraphTerm, backend: Backend, dense: Dense, arena_rows: int) -> None:
        model, graph, name = config.model, config.graph, f"{term.prefix}relation"
        self.config, self.term, self.backend, self.view = graph, term, backend, term.view
        self.arena_rows = arena_rows
        self.scorer = in_parts(scorer(model.scorer), term.parts)
        self.dim, self.reciprocal = model.dim * term.parts, model.reciprocal
        self.comparison = comparison_of(self.scorer, model.cosine, model.norm, model.scale)
        self.loss = loss_of(graph.loss, graph.margin, graph.temperature)
        self.own_end = model.cosine and term.texts is not None if graph.own_end is None else graph.own_end
        self._relation, self._relation_gradient = dense.values[name], dense.gradients[name]
        own = f"{term.prefix}scorer."
        self.dense = {key.removeprefix(own): value for key, value in dense.values.items() if key.startswith(own)}
        self._dense_gradient = {key: dense.gradients[own + key] for key in self.dense}
        self._view_gradient = dense.gradients[self.view.dense] if self.view.dense else None

    @property
    def plain(self) -> bool:
        """Whether candidates are the embeddings: the gradient of heads and tails is then a part of theirs."""
        return not self.comparison.has_units

    @property
    def forward(self) -> int:
        """Relations, each counted once."""
        return len(self._relation) // 2 if self.reciprocal else len(self._relation)

    @property
    def relation_shape(self) -> tuple[int, int]:
        """Shape of the relations as a batch sees them: read either way."""
        return 2 * self.forward, self._relation.shape[1]

    def embed(self, rows: Tensor, dropout: Dropout) -> EmbeddedRows:
        """Embeddings of some distinct rows, as the view makes them."""
        shape, device = (len(rows), self.dim), self.backend.device
        vectors = torch.empty(shape, device=device)
        candidates = vectors if self.plain else torch.empty(shape, device=device)
        norms = None if self.plain else torch.empty(len(rows), 1, device=device)

        def embed(part: slice) -> None:
            found = self.view.gather(rows[part], vectors[part])
            if self.term.texts and dropout.own is not None:
                text = self.term.texts.gather_text(rows[part])
                dropout.own[part] &= text.any(1)  # an entity without text has nothing else
                torch.where(dropout.own[part, None], text, found, out=found)
            if dropout.rows is not None:
                found *= dropout.rows[part]
            made, norm = self.comparison.embed(found)
            if norms is not None and norm is not None:
                candidates[part], norms[part] = made, norm

        for _ in self.backend.map(embed, self.backend.slices(len(rows), ROWS)):
            pass
        return EmbeddedRows(rows, vectors, candidates, norms, dropout)

    def backward(self, embeddings: EmbeddedRows, part: slice, candidates: Tensor, ends: Tensor | None) -> Tensor:
        """Gradient of the view's vectors, given that of candidates, and that of heads and tails if apart; in place."""
        norms = None if embeddings.norms is None else embeddings.norms[part]
        gradient = self.comparison.embed_backward(candidates, embeddings.candidates[part], norms)
        if ends is not None:
            gradient += ends
        dropout = embeddings.dropout.rows
        return gradient if dropout is None else gradient.mul_(dropout[part])

    def regularise(self, vectors: Tensor, weight: Tensor, gradient: Tensor) -> float | Tensor:
        """Regulariser of some rows of entities or relations, by the triples they are in; adds its gradient."""
        multiple = self.scorer.multiple if vectors.shape[1] % self.scorer.multiple == 0 else 1
        return self.backend.regularise(multiple, self.config.n3, self.config.l2, vectors, weight, gradient)

    def relations(self, dropout: Tensor | None) -> Relations:
        """Read from tail to head they have rows of their own where reciprocal, else are inverted by the scorer."""
        values = self._relation
        if not self.reciprocal:
            values = torch.cat([values, self.scorer.inverse(values)])
        values = values if dropout is None else values * dropout
        own = self._relation_gradient if values is self._relation else torch.zeros_like(values)
        return Relations(values, own, dropout)

    def add_dense(self, gradients: dict[str, Tensor]) -> None:
        """Add gradients of the scorer's own parameters."""
        for name, gradient in gradients.items():
            self._dense_gradient[name] += gradient

    def predict_relations(
        self,
        embeddings: EmbeddedRows,
        relations: Relations,
        head: Tensor,
        tail: Tensor,
        relation: Tensor,
        weight: Tensor,
    ) -> tuple[float | Tensor, Tensor, Tensor]:
        """Loss of the right relation among all, and gradients of heads and tails; adds the relations' gradient.

        An auxiliary loss (Chen et al. 2021), for scorers whose score is linear in the relation.

        head, tail   int64[triples]: which of the embeddings they are
        """
        forward = self.forward

        def predict(part: slice) -> tuple[float | Tensor, Tensor, Tensor, Tensor]:
            ends = embeddings.vectors[head[part]], embeddings.vectors[tail[part]]
            share = self.config.relation_weight * weight[part]
            return self._predict(*ends, relations.values[:forward], relation[part], share)

        loss: float | Tensor = 0.0
        d_ends = torch.empty(2, len(head), self.dim, device=self.backend.device)
        parts = self.backend.slices(len(head), ROWS)
        for part, (found, d_head, d_tail, d_relations) in zip(parts, self.backend.map(predict, parts), strict=True):
            loss += found
            d_ends[0, part], d_ends[1, part] = d_head, d_tail
            relations.gradient[:forward] += d_relations
        return loss, d_ends[0], d_ends[1]

    def _predict(
        self, head: Tensor, tail: Tensor, relations: Tensor, target: Tensor, weight: Tensor
    ) -> tuple[float | Tensor, Tensor, Tensor, Tensor]:
        """The gradient of a score for the relation is a vector of the two ends alone; its product with all relations is
        their scores.
        """
        _, between = self.scorer.query_gradient(head, relations[target], tail)
        scores = between @ relations.T
        loss = self.backend.cross_entropy(scores, weight, None, target, None)
        d_between = scores @ relations
        d_head, _ = self.scorer.query_gradient(head, d_between, tail)
        return loss, d_head, self.scorer.query(head, d_between), scores.T @ between

    def learn(
        self,
        embeddings: EmbeddedRows,
        relations: Relations,
        gradient_of: Callable[[slice], tuple[Tensor, float | Tensor]],
        rate: float,
        loss: float | Tensor,
    ) -> BatchLoss:
        """Step the rows of a batch, after a look at its loss and gradients; relations' gradients are added up.

        gradient_of   of a slice of the rows: the view's gradient, and what regularisers add to the loss
        raises        NotFiniteError before anything is stepped, where a backend knows at once
        """
        parts = self.backend.slices(len(embeddings.rows), ROWS)

        def summed(part: slice) -> tuple[Tensor, float | Tensor, Tensor]:
            gradient, penalty = gradient_of(part)
            flat = gradient.view(-1)
            return gradient, penalty, torch.dot(flat, flat)

        gradients = list(self.backend.map(summed, parts))
        squares = sum((square for *_, square in gradients), torch.zeros((), device=self.backend.device))
        loss = loss + sum(penalty for _, penalty, _ in gradients)
        allowed = self.backend.check(loss, squares)
        self._learn_relations(relations)

        def apply(number: int) -> Tensor | None:
            rows, gradient, texts = embeddings.rows[parts[number]], gradients[number][0], self.term.texts
            if texts is None or embeddings.dropout.own is None:
                return self.view.apply(rows, gradient, rate, allowed)
            there = ~embeddings.dropout.own[parts[number]]
            texts.apply_text(rows, gradient, allowed)
            texts.apply_own(rows, gradient, rate, there if allowed is None else there & allowed)
            return None

        for d_view in self.backend.map(apply, range(len(parts))):
            if d_view is not None and self._view_gradient is not None:
                self._view_gradient += d_view
        return BatchLoss(loss, squares, allowed)

    def _learn_relations(self, relations: Relations) -> None:
        """Add a batch's gradient of relations to the sum."""
        if relations.gradient is self._relation_gradient:
            return
        found = relations.gradient if relations.dropout is None else relations.gradient * relations.dropout
        if not self.reciprocal:  # `inverse` is linear and its own transpose: it carries the gradient back as well
            forward, backward = found.chunk(2)
            found = forward + self.scorer.inverse(backward)
        self._relation_gradient += found
