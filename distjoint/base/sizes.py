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


def parse_count(value: str | int | float) -> int:
    """`90M`, `1.2B`, `600k` or a number, as a number; B is 10^9 and T is 10^12. raises ValueError"""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMBT]?)\s*", str(value).replace(",", ""), re.IGNORECASE)
    if not match:
        raise ValueError(f"{value!r} is not a count; write it like 90M, 1.2B or 5000")
    return round(float(match[1]) * 1000 ** " KMBT".index(match[2].upper() or " "))


def in_bytes(size: float) -> str:
    """A size for people: `1.23 GB`."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} bytes"


def bytes_of(option: str, value: str | int) -> int:
    """An option's size in bytes. raises UsageError that names the option where it is no size"""
    try:
        return int(parse_bytes(value) or 0)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
