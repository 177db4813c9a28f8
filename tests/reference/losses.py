"""Losses of the graph in plain torch: what the fast paths must equal, gradients included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize, softplus

from distjoint.model.scorers import Scorer
from reference.regulariser import regulariser

Kind = Literal["softmax", "logistic", "margin", "adversarial"]
Compare = Literal["dot", "cosine", "distance", "manhattan"]


@dataclass(frozen=True)
class Objective:
    """How triples are scored and compared, and the loss of their scores, as in `ranking_loss`.

    smoothing   share of the target that is spread over all entities; of `full_loss`
    n3          weight of the nuclear 3-norm of a triple's three vectors (Lacroix et al. 2018, eq. 4)
    l2          weight of half their squared norm
    """

    scorer: Scorer
    compare: Compare
    scale: float = 1.0
    kind: Kind = "softmax"
    margin: float = 1.0
    temperature: float = 1.0
    smoothing: float = 0.0
    n3: float = 0.0
    l2: float = 0.0

    def regulariser(self, vectors: Tensor, weight: Tensor) -> Tensor:
        return regulariser(self.scorer.multiple, vectors, weight, self.n3, self.l2)


@dataclass(frozen=True)
class Chunks:
    """Triples in chunks that share their candidates.

    head, tail       float[chunks, triples, dim]
    relation         float[chunks, triples, relation_dim], read from head to tail
    inverse          the same shape, read from tail to head
    negative_head    float[chunks, negatives, dim]; negative_tail the same
    weight           float[chunks, triples]: 0 for padding
    in_batch         whether the triples of a chunk are each other's negatives
    known            filter mask, bool[2, chunks, triples, triples + negatives], for tails and for heads: True where a
                     candidate is a known positive
    """

    head: Tensor
    tail: Tensor
    relation: Tensor
    inverse: Tensor
    negative_head: Tensor
    negative_tail: Tensor
    weight: Tensor
    in_batch: bool = True
    known: Tensor | None = None


@dataclass(frozen=True)
class FullQueries:
    """Queries that every entity is a candidate of.

    entities   float[n, dim]
    source     int64[triples]: the entity that a query is made of
    answer     int64[triples]: the one it looks for
    relation   float[triples, relation_dim], read from source to answer; the same vector means the same relation
    weight     float[triples]; None for 1 each
    """

    entities: Tensor
    source: Tensor
    answer: Tensor
    relation: Tensor
    weight: Tensor | None = None


def similarity(query: Tensor, candidate: Tensor, compare: Compare, scale: float = 1.0) -> Tensor:
    """Scores of every query with every candidate; higher is more plausible.

    query       float[..., queries, dim]
    candidate   float[..., candidates, dim]
    compare     `dot`: q . c; `distance`: -||q - c||; `manhattan`: -||q - c||_1; `cosine`: cos(q, c)
    scale       factor on the score; sharpens the softmax of bounded scores
    returns     float[..., queries, candidates]
    """
    if compare == "cosine":
        query, candidate = normalize(query, dim=-1), normalize(candidate, dim=-1)
    if compare == "manhattan":
        return -scale * torch.cdist(query, candidate, p=1)
    products = query @ candidate.transpose(-1, -2)
    if compare == "distance":
        squares = (query * query).sum(-1)[..., :, None] + (candidate * candidate).sum(-1)[..., None, :]
        return -scale * (squares - 2 * products).clamp_min(1e-9).sqrt()
    return scale * products


def ranking_loss(kind: Kind, scores: Tensor, negative: Tensor, margin: float = 1.0, temperature: float = 1.0) -> Tensor:
    """Loss of queries whose right answer is candidate i for query i.

    softmax       cross-entropy over the right answer and the negatives (Lacroix et al. 2018, eq. 3)
    logistic      -log s(right) - mean log s(-negative) (Trouillon et al. 2016, eq. 10, negatives averaged)
    margin        mean max(0, margin + negative - right) (Bordes et al. 2013, eq. 1)
    adversarial   -log s(margin + right) - sum p log s(-margin - negative), p the softmax of the negatives' scores
                  times `temperature`, as a constant (Sun et al. 2019, eq. 5 and 6)

    scores     float[..., queries, candidates]
    negative   bool[.., queries, candidates]: which candidates are negatives; never the right answer
    returns    float[..., queries]
    """
    right = scores.diagonal(dim1=-2, dim2=-1)
    count = negative.sum(-1).clamp_min(1)
    if kind == "softmax":
        allowed = negative | torch.eye(*negative.shape[-2:], dtype=torch.bool)
        scores = scores.masked_fill(~allowed, -torch.inf)
        target = torch.arange(scores.shape[-2]).expand(scores.shape[:-1])
        return cross_entropy(scores.flatten(0, -2), target.flatten(), reduction="none").view(target.shape)
    if kind == "logistic":
        return softplus(-right) + (softplus(scores) * negative).sum(-1) / count
    if kind == "margin":
        return ((scores - right[..., None] + margin).clamp_min(0) * negative).sum(-1) / count
    share = (temperature * scores.detach()).masked_fill(~negative, -torch.inf).softmax(-1).nan_to_num()
    return -logsigmoid(margin + right) - (share * logsigmoid(-margin - scores)).sum(-1)


def sampled_loss(objective: Objective, chunks: Chunks) -> Tensor:
    """Loss of the true tail, and of the true head, among shared candidates; float[], summed over both.

    The triples of a chunk share their candidates: each other's heads or tails and the chunk's uniform negatives (Lerer
    et al. 2019, section 4.3).
    """
    scorer, head, tail = objective.scorer, chunks.head, chunks.tail
    total = head.new_zeros(())
    triples, negatives = head.shape[1], chunks.negative_head.shape[1]
    others = ~torch.eye(triples, dtype=torch.bool) & chunks.in_batch
    negative_of = torch.cat([others, torch.ones(triples, negatives, dtype=torch.bool)], 1)
    for side, (query, positive, negative) in enumerate(
        (
            (scorer.query(head, chunks.relation), tail, chunks.negative_tail),
            (scorer.query(tail, chunks.inverse), head, chunks.negative_head),
        )
    ):
        scores = similarity(query, torch.cat([positive, negative], 1), objective.compare, objective.scale)
        counted = negative_of if chunks.known is None else negative_of & ~chunks.known[side]
        losses = ranking_loss(objective.kind, scores, counted, objective.margin, objective.temperature)
        total = total + (losses * chunks.weight).sum()
    for vectors in (head, tail, chunks.relation, chunks.inverse):
        total = total + objective.regulariser(vectors, chunks.weight)
    return total


def full_loss(objective: Objective, queries: FullQueries, versus: Literal["1vsall", "kvsall"]) -> Tensor:
    """Loss of the right answers among all entities; float[], summed over queries.

    1vsall: every triple is a query with one right answer (Lacroix et al. 2018). kvsall: triples of the same source and
    relation are one query, with a label for each answer (Dettmers et al. 2018, section 4.1); for the softmax the target
    is uniform over them (Ruffinelli et al. 2020).

    The loss of a query of 1vsall is multiplied by its triple's weight. Of kvsall, softmax: the target is by the
    weights, and the loss is multiplied by their mean. Logistic: labels are weights as fractions of the largest one, by
    which the loss is multiplied.
    """
    places_of: dict[tuple[int, bytes], list[int]] = {}
    for place, entity in enumerate(queries.source.tolist()):
        own = b"" if versus == "kvsall" else str(place).encode()
        key = (entity, own + queries.relation[place].detach().numpy().tobytes())
        places_of.setdefault(key, []).append(place)
    return sum(
        (_query_loss(objective, queries, places) for places in places_of.values()), queries.entities.new_zeros(())
    )


def _query_loss(objective: Objective, queries: FullQueries, places: list[int]) -> Tensor:
    """Of one query, whose answers are those of some triples."""
    source, answers = queries.entities[queries.source[places[:1]]], queries.answer[places]
    relation = queries.relation[places[:1]]
    query = objective.scorer.query(source, relation)
    scores = similarity(query, queries.entities, objective.compare, objective.scale)[0]
    target = torch.zeros_like(scores)
    given = torch.ones(len(places), dtype=scores.dtype) if queries.weight is None else queries.weight[places]
    counts_as = given.mean() if objective.kind == "softmax" else given.max()
    share = given / given.sum() if objective.kind == "softmax" else given / given.max()
    target[answers] = share
    target = (1 - objective.smoothing) * target + objective.smoothing / len(scores)
    if objective.kind == "softmax":
        loss = -(target * scores.log_softmax(0)).sum()
    else:
        loss = (softplus(scores) - target * scores).sum()
    one = torch.ones(1, dtype=scores.dtype)
    for vectors, weight in ((source, one), (relation, one), (queries.entities[answers], share)):
        loss = loss + objective.regulariser(vectors, weight.expand(len(vectors)))
    return loss * counts_as


def relation_loss(
    scorer: Scorer, head: Tensor, tail: Tensor, relation: Tensor, target: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Cross-entropy of the right relation among all, by both ends (Chen et al. 2021, eq. 3), summed over triples.

    head, tail   float[triples, dim]
    relation     float[relations, relation_dim]
    target       int64[triples]
    weight       float[triples]; None for 1 each
    """
    queries = scorer.query(head[:, None], relation[None])
    weight = torch.ones(len(target), dtype=head.dtype) if weight is None else weight
    return (weight * cross_entropy((queries * tail[:, None]).sum(-1), target, reduction="none")).sum()
