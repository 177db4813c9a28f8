"""Softmax of queries' scores, compiled: one visit to the scores of a query, which stay in the first-level cache, where
torch operations visit all scores seven times.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.cpu.compiled import compiled
from distjoint.backends.cpu.simd import exponentials, largest, scale


def softmax(scores: Tensor, weight: Tensor, target: Tensor | None, mask: Tensor | None) -> Tensor:
    """As `Backend.softmax`, of float32 scores."""
    *leading, width = scores.shape
    count = math.prod(leading)  # which -1 does not stand for where there are no candidates
    queries = scores.view(count, width)
    apart = torch.empty(0) if target is None else target.view(-1)
    marks = torch.empty(0, width, dtype=torch.bool) if mask is None else mask.reshape(count, width)
    total = torch.empty(len(queries))
    _softmax(*(x.numpy() for x in (queries, apart, weight.reshape(-1), marks, total)))
    return total.view(leading)


@compiled
def _softmax(scores, target, weight, mask, total):  # type: ignore[no-untyped-def]
    apart = len(target) > 0
    for query in range(len(scores)):
        row, w = scores[query], weight[query % len(weight)]
        if len(mask):
            for c in range(len(row)):
                row[c] = np.float32(-np.inf) if mask[query, c] else row[c]
        top = largest(scores, query)
        if apart:
            top = max(top, target[query])
        summed, mine = exponentials(scores, query, top), np.float32(0)
        if apart:
            mine = np.exp(target[query] - top)
            summed += mine
        total[query] = np.log(summed) + top
        scale(scores, query, scores, query, w / summed)
        if apart:
            target[query] = mine * w / summed
