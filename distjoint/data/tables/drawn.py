"""Tables that are drawn for people, or printed by a program: refused by name, as what is drawn would be names."""

from __future__ import annotations

import re

from distjoint.base.errors import DistjointError
from distjoint.data.tables.base import TripleFile

_RULE = re.compile(r"(?=.*-{3})(?=.*[|+])[\s|+:-]+")
_TUPLE = re.compile(r"\s*[\[(]\s*([\'\"]).*\1\s*[\])][,;]?\s*")
_SEP = re.compile(r"sep=.\s*", re.IGNORECASE)
_LOOKED_AT = 5


def refuse_drawn(source: TripleFile) -> None:
    """raises DistjointError where the first lines are a drawn table, Python's tuples, or Excel's `sep=;`"""
    first = source.lines[:_LOOKED_AT]
    if any(_RULE.fullmatch(line) for line in first):
        raise DistjointError(f"{source.file}: a table drawn with bars and dashes; write it as CSV")
    if all(_TUPLE.fullmatch(line) and "\t" not in line for line in first):
        raise DistjointError(
            f"{source.file}, line 1: {first[0].strip()[:60]!r} is a tuple or list as Python prints it; write JSON Lines"
        )
    if first and _SEP.fullmatch(first[0]):
        raise DistjointError(f"{source.file}, line 1: {first[0].strip()!r} is for Excel alone; take this line out")
