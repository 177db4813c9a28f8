"""Softmax cross-entropy of queries' scores, compiled: one visit to the scores of a query, which stay in the first-level
cache, where torch operations visit all scores seven times.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.cpu.compiled import compiled
from distjoint.backends.cpu.simd import exponentials, largest, scale


def cross_entropy(
    scores: Tensor, weight: Tensor, target: Tensor | None, place: Tensor | None, mask: Tensor | None
) -> float:
    """As `Backend.cross_entropy`, of float32 scores."""
    *leading, width = scores.shape
    count = math.prod(leading)  # which -1 does not stand for where there are no candidates
    queries = scores.view(count, width)
    apart = torch.empty(0) if target is None else target.view(-1)
    places = torch.empty(0, dtype=torch.int64) if place is None else place.reshape(-1)
    marks = torch.empty(0, width, dtype=torch.bool) if mask is None else mask.reshape(count, width)
    return float(_cross_entropy(*(x.numpy() for x in (queries, weight.reshape(-1), apart, places, marks))))


@compiled
def _cross_entropy(scores, weight, target, place, mask):  # type: ignore[no-untyped-def]
    loss, apart, among = 0.0, len(target) > 0, len(place) > 0
    for query in range(len(scores)):
        row, w = scores[query], weight[query % len(weight)]
        if len(mask):
            for c in range(len(row)):
                row[c] = np.float32(-np.inf) if mask[query, c] else row[c]
        right, top = np.float32(0), largest(scores, query)
        if among:
            right = row[place[query % len(place)]]
        if apart:
            right = target[query]
            top = max(top, right)
        summed, mine = exponentials(scores, query, top), np.exp(right - top)
        if apart:
            summed += mine
        loss += w * (np.log(summed) - (right - top))
        scale(scores, query, scores, query, w / summed)
        if apart:
            target[query] = mine * w / summed - w
        if among:
            row[place[query % len(place)]] -= w
    return loss
