"""Step sizes: alpha's share, and a decay that ends at zero."""

from __future__ import annotations

from typing import Any

import pytest

from distjoint.couplings.scheme import Scheme
from distjoint.recipes.load import load_config
from distjoint.train.rates import Rates, rates

pytestmark = pytest.mark.unit

BOTH, TEXT, GRAPH = (True, True), (True, False), (False, True)
"""Whether a dataset has text, and a graph."""


def rates_of(settings: dict[str, Any], sides: tuple[bool, bool], done: float) -> Rates:
    return rates(Scheme.of(load_config(overrides=settings), *sides), done)


@pytest.mark.parametrize(
    ("alpha", "text", "graph"), [(0.5, 1, 1), (0.75, 1 / 3, 1), (0.2, 1, 0.25), (0.9, pytest.approx(1 / 9), 1)]
)
def test_alpha_leaves_the_larger_side_whole(alpha: float, text: float, graph: float) -> None:
    found = rates_of({"loss.alpha": alpha}, BOTH, 0.4)
    assert (found.text, found.graph) == (pytest.approx(text), pytest.approx(graph))


@pytest.mark.parametrize("side", [TEXT, GRAPH])
def test_one_side_alone_is_not_slowed_by_alpha(side: tuple[bool, bool]) -> None:
    found = rates_of({"loss.alpha": 0.9}, side, 0.0)
    assert (found.text, found.graph) == (1, 1)


@pytest.mark.parametrize("side", ["text", "graph"])
def test_a_decay_is_linear_to_zero_and_leaves_the_other_side_alone(side: str) -> None:
    settings: dict[str, Any] = {f"{side}.decay": "linear"}
    found = [rates_of(settings, BOTH, done) for done in (0.0, 0.25, 1.0)]
    other = "graph" if side == "text" else "text"
    assert [getattr(now, side) for now in found] == [1, 0.75, 0]
    assert [getattr(now, other) for now in found] == [1, 1, 1]


def test_a_cosine_falls_slowly_first_and_ends_at_zero() -> None:
    found = [rates_of({"graph.decay": "cosine"}, GRAPH, done).graph for done in (0, 0.25, 0.5, 1)]
    assert found == [1, pytest.approx(0.8536, abs=1e-4), pytest.approx(0.5), pytest.approx(0)]


def test_a_warm_up_grows_to_the_full_step() -> None:
    settings = {"graph.warmup": 0.1}
    assert [rates_of(settings, GRAPH, done).graph for done in (0, 0.05, 0.1, 0.9)] == [0, 0.5, 1, 1]
