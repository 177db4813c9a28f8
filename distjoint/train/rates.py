"""Step sizes at a moment of the run: alpha's share of each loss, and what a decay has left of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from distjoint.config import Decay
from distjoint.couplings.scheme import Scheme


@dataclass(frozen=True)
class Rates:
    """Factors on the step sizes of the two losses. The text's own size lies in where its accumulators started."""

    text: float
    graph: float


def rates(scheme: Scheme, done: float) -> Rates:
    """The factors when `done` of the run, from 0 to 1, lies behind.

    Alpha's share leaves the larger side whole, so .5 leaves both whole. Where one side trains alone there is
    nothing to share, whatever alpha says.
    """
    config = scheme.config
    alpha = config.loss.alpha if scheme.text and scheme.graph else 0.5
    larger = max(alpha, 1 - alpha)
    graph = left(config.graph.decay, done)
    if done < config.graph.warmup:
        graph *= done / config.graph.warmup
    return Rates((1 - alpha) / larger * left(config.text.decay, done), alpha / larger * graph)


def left(decay: Decay, done: float) -> float:
    """What a decay leaves of a step size after a share of the run."""
    if decay == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return 1 - done if decay == "linear" else 1.0
