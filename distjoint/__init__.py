"""distjoint: one table of vectors for the entities of a knowledge graph and the words of a text."""

__version__ = "0.1.0"
