"""Names of the splits of a graph, and of the streams of samples that a dataset on storage holds."""

from __future__ import annotations

SPLITS = ("train", "valid", "test")
NEGATIVES = ("valid_negatives", "test_negatives")
"""Triples known to be wrong, for classification. They are never known answers, nor do they count as degrees."""

COOCCURRENCE = "cooccurrence"
PAIRS = "pairs"
"""Pairs of an entity and a word that are the same thing, and share no row."""


def triples_of(split: str) -> str:
    """The stream of a split's triples."""
    return f"triples/{split}"
