"""Losses of the graph in plain torch: what the fast path in kernels/graph.py must equal, gradients included."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, softplus

from distjoint.model.scorers import Compare, Scorer, similarity

Kind = Literal["softmax", "logistic", "margin", "adversarial"]


def ranking_loss(kind: Kind, scores: Tensor, negative: Tensor, margin: float = 1.0, temperature: float = 1.0) -> Tensor:
    """Loss of queries whose right answer is candidate i for query i.

    softmax       cross-entropy over the right answer and the negatives (Lacroix et al. 2018, eq. 3)
    logistic      -log s(right) - mean log s(-negative) (Trouillon et al. 2016, eq. 10, negatives averaged)
    margin        mean max(0, margin + negative - right) (Bordes et al. 2013, eq. 1)
    adversarial   -log s(margin + right) - sum p log s(-margin - negative), p the softmax of the negatives' scores
                  times `temperature`, taken as given (Sun et al. 2019, eq. 5 and 6)

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


def sampled_loss(
    scorer: Scorer,
    compare: Compare,
    scale: float,
    head: Tensor,
    tail: Tensor,
    relation: Tensor,
    inverse: Tensor,
    negative_head: Tensor,
    negative_tail: Tensor,
    weight: Tensor,
    n3: float = 0.0,
    l2: float = 0.0,
    kind: Kind = "softmax",
    margin: float = 1.0,
    temperature: float = 1.0,
    in_batch: bool = True,
    refused: Tensor | None = None,
) -> Tensor:
    """Loss of the true tail, and of the true head, among shared candidates.

    The triples of a chunk share their candidates: each other's ends and the chunk's uniform negatives
    (Lerer et al. 2019, section 4.3), so all scores of a chunk are one matrix product.

    head, tail       float[chunks, triples, dim]
    relation         float[chunks, triples, relation_dim], read from head to tail
    inverse          the same shape, read from tail to head
    negative_head    float[chunks, negatives, dim]; negative_tail the same
    weight           float[chunks, triples]: 0 for padding
    n3               weight of the nuclear 3-norm of the three vectors (Lacroix et al. 2018, eq. 4)
    l2               weight of half their squared norm
    kind             as in `ranking_loss`, with its margin and temperature
    in_batch         whether the triples of a chunk are each other's negatives
    refused          bool[2, chunks, triples, triples + negatives]: what serves as no negative for tails, for heads
    returns          float[], the sum over triples and both directions
    """
    total = head.new_zeros(())
    triples, negatives = head.shape[1], negative_head.shape[1]
    others = ~torch.eye(triples, dtype=torch.bool) if in_batch else torch.zeros(triples, triples, dtype=torch.bool)
    negative_of = torch.cat([others, torch.ones(triples, negatives, dtype=torch.bool)], 1)
    for side, (query, positive, negative) in enumerate(
        (
            (scorer.query(head, relation), tail, negative_tail),
            (scorer.query(tail, inverse), head, negative_head),
        )
    ):
        scores = similarity(query, torch.cat([positive, negative], 1), compare, scale)
        counted = negative_of if refused is None else negative_of & ~refused[side]
        losses = ranking_loss(kind, scores, counted, margin, temperature)
        total = total + (losses * weight).sum()
    for vectors in (head, tail, relation, inverse):
        total = total + regulariser(scorer.complex, vectors, weight, n3, l2)
    return total


def full_loss(
    scorer: Scorer,
    compare: Compare,
    scale: float,
    entities: Tensor,
    given: Tensor,
    relation: Tensor,
    answer: Tensor,
    vs: Literal["1vsall", "kvsall"],
    kind: Kind = "softmax",
    smoothing: float = 0.0,
    n3: float = 0.0,
    l2: float = 0.0,
) -> Tensor:
    """Loss of the right answers among all entities.

    1vsall: every triple is a query with one right answer (Lacroix et al. 2018). kvsall: triples that ask the same are
    one query, with a label for each answer (Dettmers et al. 2018, section 4.1); for the softmax the target is uniform
    over them (Ruffinelli et al. 2020).

    entities    float[n, dim]
    given       int64[triples]: the entity that is given; answer: the one asked for
    relation    float[triples, relation_dim], read from what is given; the same vector means the same relation
    smoothing   share of the target that is spread over all entities
    returns     float[], the sum over queries
    """
    queries: dict[tuple[int, bytes], list[int]] = {}
    for place, entity in enumerate(given.tolist()):
        key = (entity, b"" if vs == "kvsall" else str(place).encode())
        queries.setdefault((key[0], key[1] + relation[place].detach().numpy().tobytes()), []).append(place)
    total = entities.new_zeros(())
    for places in queries.values():
        query = scorer.query(entities[given[places[:1]]], relation[places[:1]])
        scores = similarity(query, entities, compare, scale)[0]
        target = torch.zeros_like(scores)
        target[answer[places]] = 1 / len(places) if kind == "softmax" else 1.0
        target = (1 - smoothing) * target + smoothing / len(scores)
        if kind == "softmax":
            total = total - (target * scores.log_softmax(0)).sum()
        else:
            total = total + (softplus(scores) - target * scores).sum()
        one = torch.ones(1, dtype=scores.dtype)
        share = torch.full((len(places),), 1 / len(places) if kind == "softmax" else 1.0, dtype=scores.dtype)
        for vectors, weight in (
            (entities[given[places[:1]]], one),
            (relation[places[:1]], one),
            (entities[answer[places]], share),
        ):
            total = total + regulariser(scorer.complex, vectors, weight, n3, l2)
    return total


def relation_loss(scorer: Scorer, head: Tensor, tail: Tensor, relation: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the right relation among all, given both ends (Chen et al. 2021, eq. 3), summed over triples.

    head, tail   float[triples, dim]
    relation     float[relations, relation_dim]
    target       int64[triples]
    """
    queries = scorer.query(head[:, None], relation[None])
    return cross_entropy((queries * tail[:, None]).sum(-1), target, reduction="sum")


def regulariser(complex_: bool, vectors: Tensor, weight: Tensor, n3: float, l2: float) -> Tensor:
    """float[]: the nuclear 3-norm and half the squared norm of float[..., width], weighted by float[...]."""
    found = n3 * (cubed_moduli(vectors, complex_) * weight[..., None]).sum() if n3 else vectors.new_zeros(())
    return found + l2 / 2 * (vectors.square() * weight[..., None]).sum() if l2 else found


def cubed_moduli(vectors: Tensor, complex_: bool) -> Tensor:
    """|x|^3 of each coordinate; of each complex coordinate where the halves are real and imaginary parts."""
    if complex_ and vectors.shape[-1] % 2 == 0:
        real, imaginary = vectors.chunk(2, -1)
        return (real * real + imaginary * imaginary).clamp_min(1e-20) ** 1.5
    return vectors.abs() ** 3
