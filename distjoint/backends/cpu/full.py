"""The graph's loss over all candidates and its gradient, as matrix products: 1vsAll and KvsAll.

Same result as `full_loss` in tests/reference/losses.py. Triples that ask the same share one query, so that both cost
the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from distjoint.backends.cpu.comparison import Objective, as_candidates, pairwise, scores, through_candidates, toward


@dataclass(frozen=True)
class Answers:
    """The right answers of some queries.

    query, candidate   int64[answers]: candidate[k] is right for query[k]; in order of query
    weight             float[queries]: of a query's sum over all candidates
    each               float[answers]: of each right answer's score
    """

    query: Tensor
    candidate: Tensor
    weight: Tensor
    each: Tensor


def weigh(vs: str, logistic: bool, query: Tensor, candidate: Tensor, counts: Tensor) -> Answers:
    """Weights that make one query of many triples.

    vs       `1vsall`: as if every triple asked by itself; `kvsall`: each query counts once, its answers share it
             (softmax: the target is uniform over them) or are its labels (logistic)
    counts   int64[queries]: answers of each
    """
    once, many = torch.ones(len(counts), device=counts.device), counts.float()
    if vs == "1vsall":
        return Answers(query, candidate, many, once[query])
    return Answers(query, candidate, once, once[query] if logistic else (1 / many)[query])


def against_all(
    objective: Objective, candidates: Tensor, queries: Tensor, answers: Answers, room: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of some queries, summed; the queries as they were compared; their gradient.

    candidates   float[n, dim], as from `as_candidates`
    queries      float[m, dim]
    room         float[m, n]: filled with what `candidate_gradient` needs of the scores
    """
    q, norms = as_candidates(objective, queries)
    found, distance = scores(objective, q, candidates, room)
    loss = _against_target(objective, found, answers)
    pairwise(objective, found, distance)
    return loss, q, through_candidates(toward(objective, room, q, candidates), q, norms)


def candidate_gradient(objective: Objective, candidates: Tensor, q: Tensor, room: Tensor) -> Tensor:
    """Gradient of some candidates, float[n, dim], from what `against_all` has left of all queries: float[m, n]."""
    return toward(objective, room.T, candidates, q)


def _against_target(objective: Objective, scores: Tensor, answers: Answers) -> Tensor:
    """Either loss is a sum over all candidates less the scores that the target weighs; the scores become its gradient.

    Smoothing as LibKGE and ConvE do: its share of the target is spread over all candidates.
    """
    smoothing = objective.smoothing
    right, spread = (1 - smoothing) * answers.each, smoothing / scores.shape[1] * answers.weight
    loss = -(right * scores[answers.query, answers.candidate]).sum()
    if smoothing:
        loss = loss - (spread * scores.sum(1)).sum()
    loss = loss + (_sum_logistic if objective.loss == "logistic" else _sum_softmax)(scores, answers.weight)
    scores.index_put_((answers.query, answers.candidate), -right, accumulate=True)
    if smoothing:
        scores.sub_(spread[:, None])
    return loss


def _sum_softmax(scores: Tensor, weight: Tensor) -> Tensor:
    """Weighted logarithms of the sums of exponentials."""
    top = scores.amax(1, keepdim=True)
    total = scores.sub_(top).exp_().sum(1)
    scores.mul_((weight / total)[:, None])
    return (weight * (total.log() + top[:, 0])).sum()


def _sum_logistic(scores: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of log(1 + exp)."""
    loss = (weight * softplus(scores).sum(1)).sum()
    scores.sigmoid_().mul_(weight[:, None])
    return loss
