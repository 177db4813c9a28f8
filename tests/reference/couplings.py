"""What couplings make of rows, and a step of their parts, in plain torch over whole tables: what views must equal."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from distjoint.table.arena import Arena

EPSILON = 1e-10
LEARNS = {"none": {"X"}, "tie": {"X", "W", "C"}, "dual": {"X", "map"}}
"""Parameters that the gradient of entity vectors reaches, by coupling."""


def entity_vectors(coupling: str, own: Tensor, word: Tensor, worded: Tensor, map_: Tensor | None) -> Tensor:
    """Vectors of entities: X; W + C where there is a word, else X; or X + (W + C) M.

    own, word   float[n, dim]: X and W + C, zero where there is none
    worded      bool[n]
    map_        float[dim, dim]
    """
    if coupling == "none":
        return own
    if coupling == "tie":
        return torch.stack([word[k] if worded[k] else own[k] for k in range(len(own))])
    assert map_ is not None
    return own + torch.einsum("ni,ij->nj", word, map_)


def leaves(arena: Arena, dense: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All parts and dense parameters in float64, with gradients to come."""
    return {name: value.double().requires_grad_() for name, value in {**arena.arrays, **dense}.items()}


def term_vectors(coupling: str, term: str, arena: Arena, leaf: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    """Vectors of arena rows for a graph loss, row by row: float64[n, dim].

    term   `graph`, on entities; or `word`, on W + C
    """
    words, owns = arena.word_index[rows], arena.entity_index[rows]
    zero = torch.zeros(leaf["X"].shape[1], dtype=torch.float64)
    word = torch.stack([leaf["W"][k] + leaf["C"][k] if k >= 0 else zero for k in words.tolist()])
    if term == "word":
        return word
    own = torch.stack([leaf["X"][k] if k >= 0 else zero for k in owns.tolist()])
    word = word if "W" in LEARNS[coupling] else word.detach()
    return entity_vectors(coupling, own, word, words >= 0, leaf.get("map"))


def stepped(
    coupling: str, term: str, arena: Arena, leaf: Mapping[str, Tensor], rows: Tensor, rate: float, own_l2: float
) -> dict[str, Tensor]:
    """All parts after a step of row-wise AdaGrad by the gradients that are in `leaf`.

    rows     int64[n]: those of the batch; X beside a word is pulled to zero for each, by `own_l2`, where `dual` learns
    """
    after = {name: leaf[name].detach().clone() for name in arena.arrays}
    learns = {"W", "C"} if term == "word" else LEARNS[coupling]
    if "X" in learns:
        slope = leaf["X"].grad.clone()
        if coupling == "dual":
            worded = torch.tensor([row for row in set(rows.tolist()) if row >= 0 and arena.word_index[row] >= 0])
            pulled = arena.entity_index[worded.long()]
            slope[pulled] += own_l2 * leaf["X"].detach()[pulled]
        after["X.state"] += slope.square().mean(1)
        after["X"] -= rate * slope / (after["X.state"] + EPSILON).sqrt()[:, None]
    if "W" in learns:  # one state of both, and half of the step of their sum to either
        slope = leaf["W"].grad
        torch.testing.assert_close(slope, leaf["C"].grad)
        after["word.graph_state"] += slope.square().mean(1)
        for part in ("W", "C"):
            after[part] -= rate / 2 * slope / (after["word.graph_state"] + EPSILON).sqrt()[:, None]
    return after
