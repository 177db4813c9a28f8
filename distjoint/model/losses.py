"""Losses of the graph in plain torch: what the fast path in kernels/graph.py must equal, gradients included."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from distjoint.model.scorers import Compare, Scorer, similarity


def softmax_loss(
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
) -> Tensor:
    """Softmax cross-entropy of the true tail, and of the true head, among shared candidates.

    The triples of a chunk share their candidates: each other's ends and the chunk's uniform negatives
    (Lerer et al. 2019, section 4.3), so all scores of a chunk are one matrix product.

    head, tail       float[chunks, triples, dim]
    relation         float[chunks, triples, relation_dim], read from head to tail
    inverse          the same shape, read from tail to head
    negative_head    float[chunks, negatives, dim]; negative_tail the same
    weight           float[chunks, triples]: 1, or 0 for padding
    n3               weight of the nuclear 3-norm of the three vectors (Lacroix et al. 2018, eq. 4)
    returns          float[], the sum over triples and both directions
    """
    total = head.new_zeros(())
    target = torch.arange(head.shape[1]).expand(head.shape[:2])
    for query, positive, negative in (
        (scorer.query(head, relation), tail, negative_tail),
        (scorer.query(tail, inverse), head, negative_head),
    ):
        scores = similarity(query, torch.cat([positive, negative], 1), compare, scale)
        losses = cross_entropy(scores.transpose(1, 2), target, reduction="none")
        total = total + (losses * weight).sum()
    if n3:
        for vectors in (head, tail, relation, inverse):
            total = total + n3 * (cubed_moduli(vectors, scorer.complex) * weight[..., None]).sum()
    return total


def cubed_moduli(vectors: Tensor, complex_: bool) -> Tensor:
    """|x|^3 of each coordinate; of each complex coordinate where the halves are real and imaginary parts."""
    if complex_ and vectors.shape[-1] % 2 == 0:
        real, imaginary = vectors.chunk(2, -1)
        return (real * real + imaginary * imaginary).clamp_min(1e-20) ** 1.5
    return vectors.abs() ** 3
