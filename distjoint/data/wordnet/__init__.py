"""Wordnets as graphs: synsets are entities, lemmas their names, glosses what is said of them. One file a form."""

from __future__ import annotations

from distjoint.data.wordnet.base import Synsets, Triple

__all__ = ["Synsets", "Triple"]
