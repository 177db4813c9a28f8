"""Names of entities and relations: how they are cleaned, and numbered in order of first sight.

Names that differ by blanks around them, or by how an accented letter is composed, are one name; those that differ by
case stay apart. What was changed is counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import TypeVar
from unicodedata import is_normalized, normalize

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distjoint.base.arrays import Ints
from distjoint.data.noticed import Noticed

_BLANKS = (
    "\x09\x0a\x0b\x0c\x0d\x1c\x1d\x1e\x1f\x20\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
    "\ufeff\u200b\u2060\0"
)
"""Unicode's blanks, and what nobody sees: marks of the byte order, joiners of width zero, NUL."""
_BREAKS = re.compile("[\0\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
"""Blanks that part lines and columns: within a name they would part it wherever it is written."""

Value = TypeVar("Value")


class Cleaning:
    """How names are cleaned. nfc: whether to Unicode's form NFC"""

    def __init__(self, nfc: bool = True) -> None:
        self.nfc = nfc

    def clean(self, name: str) -> str:
        """A name without blanks around it and line breaks in it; empty where nothing is left."""
        name = name.strip(_BLANKS)
        if _BREAKS.search(name):
            name = _BREAKS.sub(" ", name)
        if not name.isascii():
            name = name.encode(errors="replace").decode()  # half a surrogate pair, by JSON
            if self.nfc and not is_normalized("NFC", name):
                name = normalize("NFC", name)
        return name

    def keys(self, values: Mapping[str, Sequence[Value]]) -> dict[str, list[Value]]:
        """Lists of values under clean names; those of names that become one are put together, each value once."""
        found: dict[str, list[Value]] = {}
        for name, several in values.items():
            found.setdefault(self.clean(name), []).extend(several)
        return {name: [*dict.fromkeys(several)] for name, several in found.items()}

    def all(self, names: Sequence[str], what: str, noticed: Noticed) -> list[str]:
        """Some distinct names, cleaned. what: `entities` or `relations`"""
        cleaned = [self.clean(name) for name in names]
        first: dict[str, str] = {}
        for name, clean in zip(names, cleaned, strict=True):
            if name != clean and clean:
                plain = normalize("NFC", name) == clean
                how = "brought to Unicode's form NFC" if plain else "with blanks around or in them, taken off"
                noticed.add(f"Names of {what} {how}", repr(name), "--no-nfc keeps them" if plain else "")
            if first.setdefault(clean, name) != name and clean:
                noticed.add(f"Names of {what} that are the same as others then", f"{name!r} and {first[clean]!r}")
        return cleaned


class NameIds:
    """Strings numbered in order of first sight."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, name: str) -> bool:
        return name in self.ids

    def add(self, name: str) -> int:
        return self.ids.setdefault(name, len(self.ids))

    def list(self) -> list[str]:
        return list(self.ids)

    def add_all(self, names: Sequence[str]) -> Ints:
        """Ids of some names; new ones are added."""
        ids = np.fromiter(map(self.ids.get, names, repeat(-1)), np.int64, len(names))
        for place in np.flatnonzero(ids < 0).tolist():
            ids[place] = self.add(names[place])
        return ids

    def encode(self, column: pa.Array) -> Ints:
        """Ids of a column of strings, where null is the empty one; only distinct strings are touched in Python."""
        coded = pc.dictionary_encode(column.fill_null("") if column.null_count else column)
        ids = self.add_all(coded.dictionary.to_pylist())
        return ids[coded.indices.to_numpy(zero_copy_only=False)]


def folded(name: str) -> str:
    """The form in which names are looked up: whatever their case, and however accented letters are composed."""
    folded = name.casefold()
    return folded if folded.isascii() else normalize("NFC", folded)


def alike_but_for_case(names: Sequence[str]) -> tuple[int, str]:
    """How many names are another one but for case, and an example."""
    forms = np.fromiter((hash(name.casefold()) for name in names), np.int64, len(names))
    ordered = np.argsort(forms, kind="stable")
    again = np.flatnonzero(forms[ordered[1:]] == forms[ordered[:-1]])
    pairs = [(names[one], names[other]) for one, other in zip(ordered[again], ordered[again + 1], strict=True)]
    pairs = [pair for pair in pairs if pair[0].casefold() == pair[1].casefold()]  # hashes may collide
    return len(pairs), " and ".join(map(repr, pairs[0])) if pairs else ""
