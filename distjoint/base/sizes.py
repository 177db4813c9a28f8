"""Sizes of memory and files as people write them."""

from __future__ import annotations

import re

from distjoint.base.errors import UsageError

_UNITS = " KMGT"


def parse_bytes(value: str | int | None) -> int | None:
    """`2GB`, `500M`, `1.5 GB` or a number of bytes, as bytes. raises ValueError"""
    if value is None or isinstance(value, int):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)(i?)B?\s*", str(value), re.IGNORECASE)
    if not match:
        raise ValueError(f"{value!r} is not a size; write it like 2GB or 500MB")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** _UNITS.index(match[2].upper() or " "))


def bytes_of(option: str, value: str | int) -> int:
    """An option's size in bytes. raises UsageError that names the option where it is no size"""
    try:
        return int(parse_bytes(value) or 0)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
