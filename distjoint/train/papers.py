"""What a run does otherwise than the paper of its scorer, where nobody has asked for that."""

from __future__ import annotations

from distjoint.config import Config
from distjoint.registry import SCORERS

_WORDS = {"dot": "dot product"}
"""Comparisons as people call them, where that is not their name."""


def unlike_the_paper(config: Config) -> str | None:
    """A sentence about a scorer that was named alone: how its paper compares, and by which loss; None where it is so.

    What a configuration says itself is wanted; what it leaves to the defaults may surprise who knows the paper.
    """
    scorer, model, graph = SCORERS[config.model.scorer], config.model, config.graph
    if not scorer.paper or "scorer" not in model.model_fields_set:
        return None
    theirs, ours, settings = [], [], []
    if model.cosine and "cosine" not in model.model_fields_set:
        theirs.append(f"compares by {_WORDS.get(scorer.compare, scorer.compare)}")
        ours.append("compares by cosine")
        settings.append("--set model.cosine=false")
    if scorer.paper_loss not in (None, graph.loss) and "loss" not in graph.model_fields_set:
        theirs.append(f"has the loss {scorer.paper_loss}")
        ours.append(f"has {graph.loss}")
        settings.append(f"--set graph.loss={scorer.paper_loss}")
    if not settings:
        return None
    return (
        f"{scorer.name}: its paper ({scorer.paper}) {' and '.join(theirs)}; this run {' and '.join(ours)}, the "
        f"defaults. As in the paper: {' '.join(settings)}"
    )
