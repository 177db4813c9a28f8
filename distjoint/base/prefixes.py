"""Prefixes of IRIs, as Turtle has them: `dbo:birthPlace` stands for `http://dbpedia.org/ontology/birthPlace`.

Names are stored whole. A prefix shortens what people read, and is taken in what they type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


class Prefixes:
    """Prefixes of a dataset.

    namespaces   prefix -> what it stands for: the beginning of IRIs
    """

    def __init__(self, namespaces: Mapping[str, str] | None = None) -> None:
        self.namespaces = dict(namespaces or {})
        self._prefixes = {namespace: prefix for prefix, namespace in reversed(self.namespaces.items())}
        longest_first = sorted(self._prefixes, key=len, reverse=True)
        self._begin = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __bool__(self) -> bool:
        return bool(self.namespaces)

    def namespace(self, name: str) -> str | None:
        """The longest namespace that a name begins with and goes on from; None where there is none."""
        found = self._begin.match(name) if self._begin else None
        return found[0] if found and found.end() < len(name) else None

    def short(self, name: str) -> str | None:
        """The short form of a name; None where it has none."""
        found = self.namespace(name)
        return None if found is None else f"{self._prefixes[found]}:{name[len(found) :]}"

    def shown(self, name: str) -> str:
        """A name as people read it: its short form, or as it is."""
        return self.short(name) or name

    def whole(self, name: str) -> str | None:
        """The name that a short form stands for; None for what is none."""
        prefix, colon, rest = name.strip().partition(":")
        return f"{self.namespaces[prefix]}{rest}" if colon and rest and prefix in self.namespaces else None
