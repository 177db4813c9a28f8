"""The weighted metric of validations, `train.validate`: which epoch is best, when to stop, what a search looks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distjoint.config import Config
from distjoint.names import OF_LINKS

SCORE = "valid_score"
"""The weighted metric in metrics.jsonl; each component is `valid_` and its name."""


@dataclass(frozen=True)
class Objective:
    """Weights of the components of the metric, by name; empty where nothing is validated."""

    weights: Mapping[str, float]

    @classmethod
    def of(cls, config: Config, sources: tuple[str, ...]) -> Objective:
        """The objective of a run: link prediction alone where the configuration says nothing and a graph trains.

        sources   which losses train: `text`, `graph`
        """
        named = config.train.validate
        return cls(named or ({"mrr": 1.0} if "graph" in sources else {}))

    @property
    def of_graph(self) -> tuple[str, ...]:
        """The components that are figures of link prediction on the valid split."""
        return tuple(name for name in self.weights if name in OF_LINKS)

    @property
    def of_sets(self) -> tuple[str, ...]:
        """The components that are word similarity sets."""
        return tuple(name for name in self.weights if name not in OF_LINKS)

    def score(self, line: Mapping[str, Any]) -> float | None:
        """The weighted mean of the components in a line of metrics; None where one of them was not measured.

        It is computed from the components, so that lines of earlier weights are compared by those of now.
        """
        found = {name: line.get(f"valid_{name}") for name in self.weights}
        if not found or any(value is None for value in found.values()):
            return None
        total = sum(self.weights[name] * value for name, value in found.items() if value is not None)
        return float(total / sum(self.weights.values()))
