"""An epoch in words: for the log, and beside the progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distjoint.progress import short


def epoch_line(metrics: Mapping[str, Any], epochs: int) -> str:
    """One line about an epoch that is done."""
    parts = [f"epoch {metrics['epoch']}/{epochs}"]
    if "text_loss" in metrics:
        parts.append(f"text loss {metrics['text_loss']:.5f} ({short(metrics['cells_per_second'])} cells/s)")
    if "graph_loss" in metrics:
        parts.append(f"graph loss {metrics['graph_loss']:.3f} ({short(metrics['triples_per_second'])} triples/s)")
    if "word_graph_loss" in metrics:
        parts.append(f"on words {metrics['word_graph_loss']:.3f}")
    if "update_cosine" in metrics:
        parts.append(f"updates: cosine {metrics['update_cosine']:+.2f}, norm ratio {metrics['update_norm_ratio']:.2g}")
    if "valid_mrr" in metrics:
        among = " (typed)" if metrics.get("typed") else ""
        parts.append(f"valid MRR{among} {metrics['valid_mrr']:.4f}")
    return "  ".join([*parts, f"{metrics['seconds']:.1f} s"])


def rates_line(metrics: Mapping[str, float]) -> str:
    """Losses and rates so far in an epoch."""
    parts = [
        f"{unit} {metrics[f'{name}_loss']:.4g}, {short(metrics[f'{samples}_per_second'])} {samples}/s"
        for name, unit, samples in (("text", "text", "cells"), ("graph", "graph", "triples"))
        if f"{name}_loss" in metrics
    ]
    return "  ".join(parts)
