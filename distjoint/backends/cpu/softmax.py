"""Softmax cross-entropy of right answers among their candidates, compiled: one visit to a query's scores, which stay
in the first-level cache, where torch operations visit all scores seven times.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.cpu.compiled import compiled
from distjoint.backends.cpu.simd import exponentials, largest, scale


def softmax(scores: Tensor, own: Tensor | None, weight: Tensor, refused: Tensor | None) -> float:
    """The weighted loss, summed; gradients take the memory of the scores. As `_softmax` in kernels/graph.py.

    scores    float32[2, chunks, triples, candidates], contiguous
    own       float32[2, chunks, triples], contiguous: the right answers' scores; None where they are candidates of
              all, that of triple k in place k
    weight    float32[chunks, triples]
    refused   bool, the shape of scores: what serves as no negative
    """
    queries, triples, width = scores.shape[:3].numel(), *scores.shape[2:]
    right = torch.empty(0) if own is None else own.view(queries)
    marks = torch.empty(0, width, dtype=torch.bool) if refused is None else refused.reshape(queries, width)
    arrays = (x.numpy() for x in (scores.view(queries, width), right, weight.reshape(-1), marks))
    return float(_softmax(*arrays, triples))


@compiled
def _softmax(scores, own, weight, refused, triples):  # type: ignore[no-untyped-def]
    loss, apart = 0.0, len(own) > 0
    for query in range(len(scores)):
        row, place, w = scores[query], query % triples, weight[query % len(weight)]
        if len(refused):
            for c in range(len(row)):
                row[c] = np.float32(-np.inf) if refused[query, c] else row[c]
        right = own[query] if apart else row[place]
        top = max(largest(scores, query), right)
        total, mine = exponentials(scores, query, top), np.exp(right - top)
        if apart:
            total += mine
        loss += w * (np.log(total) - (right - top))
        scale(scores, query, scores, query, w / total)
        if apart:
            own[query] = mine * w / total - w
        else:
            row[place] -= w
    return loss
