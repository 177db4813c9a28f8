"""Scores as probabilities (Platt 1999): a sigmoid of the score, fitted to triples that were held out and false ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distjoint.base.arrays import Doubles
from distjoint.base.errors import DistjointError

_STEPS = 100
_CLOSE = 1e-10
LEAST = 10
"""Triples below which nothing is fitted."""


@dataclass(frozen=True)
class Calibration:
    """`1 / (1 + exp(-(slope * score + offset)))`: how likely a triple is true, where one of two is.

    triples   true ones that it was fitted to, and as many false ones
    """

    slope: float
    offset: float
    triples: int

    def probability(self, scores: Doubles) -> Doubles:
        """float64[n] of float64[n]; 0 for minus infinity where the slope is positive."""
        exponent = np.clip(-(self.slope * np.clip(scores, -1e300, 1e300) + self.offset), -700, 700)
        return np.asarray(1 / (1 + np.exp(exponent)))


def fit(right: Doubles, wrong: Doubles) -> Calibration:
    """The sigmoid of greatest likelihood, by Newton's method, with Platt's targets in place of 1 and 0.

    right, wrong   float64[n], float64[m]: scores of true and of false triples, each half of the weight
    raises         DistjointError for fewer than ten true triples, or scores that are not finite
    """
    if len(right) < LEAST or not len(wrong):
        raise DistjointError(f"probabilities: {len(right)} held-out triples; at least {LEAST} are needed")
    scores = np.concatenate([right, wrong])
    if not np.isfinite(scores).all():
        raise DistjointError("probabilities: the score of a held-out triple is NaN or infinite")
    # Platt's targets: as if one more of each kind had been seen with the other outcome.
    target = np.repeat([(len(right) + 1) / (len(right) + 2), 1 / (len(wrong) + 2)], [len(right), len(wrong)])
    weight = np.repeat([0.5 / len(right), 0.5 / len(wrong)], [len(right), len(wrong)])
    centre, spread = scores.mean(), scores.std() or 1.0
    design = np.stack([(scores - centre) / spread, np.ones_like(scores)], 1)
    found, loss = np.zeros(2), np.inf
    for _ in range(_STEPS):
        slope, now = _newton(design, target, weight, found)
        size = 1.0
        while (tried := _loss(design, target, weight, found - size * slope)) > now and size > _CLOSE:
            size /= 2
        found = found - size * slope
        if abs(loss - tried) < _CLOSE:
            break
        loss = tried
    return Calibration(float(found[0] / spread), float(found[1] - found[0] * centre / spread), len(right))


def _newton(design: Doubles, target: Doubles, weight: Doubles, found: Doubles) -> tuple[Doubles, float]:
    """The step of Newton's method, and the loss where it begins."""
    likely = 1 / (1 + np.exp(-(design @ found)))
    gradient = design.T @ (weight * (likely - target))
    curvature = (design * (weight * likely * (1 - likely))[:, None]).T @ design + 1e-12 * np.eye(2)
    return np.asarray(np.linalg.solve(curvature, gradient), np.float64), _loss(design, target, weight, found)


def _loss(design: Doubles, target: Doubles, weight: Doubles, found: Doubles) -> float:
    logits = design @ found
    return float(np.sum(weight * (np.logaddexp(0, logits) - target * logits)))
