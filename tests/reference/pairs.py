"""Pairs of an entity and a word pulled together, in plain float64: the loss by its formula, and steps of AdaGrad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

EPSILON = 1e-10
Pair = tuple[int, int, float]
"""Place of an entity in X, place of a word in W and C, weight."""


def pull_loss(leaf: Mapping[str, Tensor], pairs: Sequence[Pair]) -> Tensor:
    """The sum of weight / 2 * |X - (W + C) M|^2 over pairs; without a map, M is the identity."""
    found = torch.zeros((), dtype=torch.float64)
    for entity, word, weight in pairs:
        of_word = leaf["W"][word] + leaf["C"][word]
        if "map" in leaf:
            of_word = of_word @ leaf["map"]
        found = found + weight / 2 * (leaf["X"][entity] - of_word).square().sum()
    return found


def pulled(
    values: Mapping[str, Tensor], pairs: Sequence[Pair], rates: Mapping[str, float]
) -> tuple[dict[str, Tensor], float]:
    """All values after one step against the gradient of all pairs, and the loss before it.

    W and C have one state, of their sum, and half of its step goes to either; X has a state of its own, and the numbers
    of the map have one each.

    rates   step sizes of `rows` and of the `map`
    """
    leaf = {name: values[name].double().requires_grad_() for name in ("X", "W", "C", "map") if name in values}
    loss = pull_loss(leaf, pairs)
    loss.backward()
    slopes = {name: tensor.grad for name, tensor in leaf.items() if tensor.grad is not None}
    after = {name: value.double().clone() for name, value in values.items()}
    for parts, state in ((("X",), "pairs.X.state"), (("W", "C"), "pairs.word.state")):
        slope = slopes[parts[0]]
        after[state] += slope.square().mean(1)
        for part in parts:
            after[part] -= rates["rows"] / len(parts) * slope / (after[state] + EPSILON).sqrt()[:, None]
    if "map" in slopes:
        after["map.state"] += slopes["map"].square()
        after["map"] -= rates["map"] * slopes["map"] / (after["map.state"] + EPSILON).sqrt()
    return after, loss.item()
