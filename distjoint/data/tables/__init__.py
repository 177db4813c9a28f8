"""Files of triples, of whatever format; one file each. `format_of` tells them apart by looking."""

from __future__ import annotations

from distjoint.data.columns import TableForm
from distjoint.data.tables.arrays import Numpy, Torch
from distjoint.data.tables.base import NotAHeaderError, TripleBatch, TripleFile, TripleFormat
from distjoint.data.tables.columnar import ArrowTable, ParquetTable
from distjoint.data.tables.conceptnet import ConceptNet
from distjoint.data.tables.delimited import Delimited
from distjoint.data.tables.json_lines import JsonLines
from distjoint.data.tables.openke import OpenKE
from distjoint.data.tables.queries import QueryArrays
from distjoint.data.tables.sif import Sif

FORMATS: tuple[type[TripleFormat], ...] = (
    OpenKE,
    ParquetTable,
    ArrowTable,
    QueryArrays,
    Numpy,
    Torch,
    ConceptNet,
    Sif,
    JsonLines,
    Delimited,
)
"""The first one that knows a file reads it."""


def format_of(source: TripleFile, form: TableForm) -> TripleFormat:
    """The format of a file."""
    return next(kind() for kind in FORMATS if kind.knows(source, form))


__all__ = ["FORMATS", "NotAHeaderError", "TableForm", "TripleBatch", "TripleFile", "TripleFormat", "format_of"]
