"""RDF: which files are, their statements, and what these mean for a graph."""

from __future__ import annotations

from distjoint.data.rdf.graph import TEXTS, RdfGraph, refuse_without_triples, texts_of
from distjoint.data.rdf.statements import ENDINGS, FORMATS, TABLE, RdfFile, RdfReading, recognise, statements

__all__ = [
    "ENDINGS",
    "FORMATS",
    "TABLE",
    "TEXTS",
    "RdfFile",
    "RdfGraph",
    "RdfReading",
    "recognise",
    "refuse_without_triples",
    "statements",
    "texts_of",
]
