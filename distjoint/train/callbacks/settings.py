"""A configuration and metrics in the forms in which trackers of experiments take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distjoint.config import Config


def flat(config: Config) -> dict[str, Any]:
    """`section.key` to value."""
    tree = config.model_dump(mode="json")
    return {f"{section}.{key}": value for section, keys in tree.items() for key, value in keys.items()}


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are numbers, but for the epoch."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "epoch"
    }
