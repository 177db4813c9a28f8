"""An epoch in words: for the log, and beside the progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distjoint.base.progress import short
from distjoint.names import OF_LINKS
from distjoint.registry import SOURCES


def epoch_line(metrics: Mapping[str, Any], epochs: int) -> str:
    """One line about an epoch that is done."""
    parts = [f"epoch {metrics['epoch']}/{epochs}"]
    for name in SOURCES.names():
        parts += SOURCES[name].epoch_words(metrics)
    if "update_cosine" in metrics:
        parts.append(f"updates: cosine {metrics['update_cosine']:+.2f}, norm ratio {metrics['update_norm_ratio']:.2g}")
    parts += _of_validation(metrics)
    return "  ".join([*parts, f"{metrics['seconds']:.1f} s"])


def _of_validation(metrics: Mapping[str, Any]) -> list[str]:
    """Each component that was measured, and the weighted metric of several."""
    valid = {name.removeprefix("valid_"): value for name, value in metrics.items() if name.startswith("valid_")}
    score, among = valid.pop("score", None), " (typed)" if metrics.get("typed") else ""
    shown = {"mrr": "MRR", "unseen_mrr": "unseen MRR"}
    parts = [f"{shown.get(name, name)}{among if name in OF_LINKS else ''} {each:.4f}" for name, each in valid.items()]
    if len(parts) > 1 and score is not None:
        parts.append(f"score {score:.4f}")
    return [f"valid {', '.join(parts)}"] if parts else []


def rates_line(metrics: Mapping[str, float]) -> str:
    """Losses and rates so far in an epoch."""
    parts = [
        f"{kind.title} {metrics[f'{kind.title}_loss']:.4g}, {short(metrics[f'{kind.unit}_per_second'])} {kind.unit}/s"
        for kind in (SOURCES[name] for name in SOURCES.names())
        if f"{kind.title}_loss" in metrics
    ]
    return "  ".join(parts)
