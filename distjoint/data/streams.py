"""Names of the splits of a graph, and of the streams of samples that a dataset on storage holds."""

from __future__ import annotations

SPLITS = ("train", "valid", "test")
NEGATIVES = ("valid_negatives", "test_negatives")
"""Triples known to be wrong, for classification. They are never known answers, nor do they count as degrees."""

COOCCURRENCE = "cooccurrence"
PAIRS = "pairs"
"""Pairs of an entity and a word that are the same thing, and share no row."""
MENTIONS = "mentions"
"""Words that say something of an entity, each with a weight."""
FORMER_PAIRS = "alignment"
"""What `PAIRS` was called in datasets of 0.1.0 and before."""


def triples_of(split: str) -> str:
    """The stream of a split's triples."""
    return f"triples/{split}"


def shard_file(shard: int) -> str:
    """The path, in the dataset's folder, of the file with the counts of a shard's rows."""
    return f"{COOCCURRENCE}/part-{shard:05d}.parquet"
