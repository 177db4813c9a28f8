"""A coupling's graph losses on whole tables, row by row in plain torch: vectors by its formula, and an AdaGrad step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from distjoint.table.arena import Arena

EPSILON = 1e-10
Formula = Callable[[Tensor, Tensor, Tensor, Mapping[str, Tensor]], Tensor]
"""Vectors of entities, float[n, dim], of X (and T on top or beside it, where there is one), W + C (zero where there is
no word), bool[n] and the dense parameters.
"""


def leaves(arena: Arena, dense: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All parts and dense parameters in float64, with gradients to come."""
    return {name: value.double().requires_grad_() for name, value in {**arena.arrays, **dense}.items()}


def term_vectors(formula: Formula | None, arena: Arena, leaf: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    """Vectors of arena rows for a graph loss: float64[n, dim].

    formula   of a loss on entities; None for one on words, W + C
    """
    words, owns = arena.word_index[rows], arena.entity_index[rows]
    zero = torch.zeros(leaf["X"].shape[1], dtype=torch.float64)
    word = torch.stack([leaf["W"][k] + leaf["C"][k] if k >= 0 else zero for k in words.tolist()])
    if formula is None:
        return word
    whole = leaf["X"]
    if "T" in leaf:  # one text of the width of X, or several beside it
        whole = whole + leaf["T"] if whole.shape == leaf["T"].shape else torch.cat([whole, leaf["T"]], 1)
    own = torch.stack([whole[k] if k >= 0 else whole.new_zeros(whole.shape[1]) for k in owns.tolist()])
    return formula(own, word, words >= 0, leaf)


def stepped(arena: Arena, leaf: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    """All parts after a step of row-wise AdaGrad by the gradients that are in `leaf`, where there are any.

    W and C have one state, and half of the step of their sum goes to either. The gradient of T is summed up.
    """
    after = {name: leaf[name].detach().clone() for name in arena.arrays}
    if "T" in leaf and leaf["T"].grad is not None:
        after["T.gradient"] += leaf["T"].grad
    for parts, state in ((("X",), "X.state"), (("W", "C"), "word.graph_state")):
        slope = leaf[parts[0]].grad
        if slope is None:
            continue
        after[state] += slope.square().mean(1)
        for part in parts:
            torch.testing.assert_close(leaf[part].grad, slope)
            after[part] -= rate / len(parts) * slope / (after[state] + EPSILON).sqrt()[:, None]
    return after
