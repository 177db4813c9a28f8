"""Names of a run's relations: which one a typed name means, and how it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from distjoint.base.errors import UnknownNameError
from distjoint.base.prefixes import Prefixes
from distjoint.data.naming import Cleaning, folded

_SHOWN = 5


class RelationNames:
    """Relations by name, by a prefix, by label, or by the last part of an IRI; the first of these that knows one.

    names      by id
    labels     by id; None where one has none
    prefixes   by which names are shown
    """

    def __init__(
        self, names: Sequence[str], labels: Sequence[str | None] = (), prefixes: Prefixes | None = None
    ) -> None:
        self.names, self.labels, self.prefixes = list(names), list(labels), prefixes or Prefixes()

    def find(self, name: str) -> int:
        """The id of a relation. raises UnknownNameError for an unknown name, and for one that several go by"""
        if name in self.names:
            return self.names.index(name)
        for found in self._looked_up(name):
            if len(found) == 1:
                return found[0]
            if found:
                meant = ", ".join(self.shown(each) for each in found[:_SHOWN])
                raise UnknownNameError(f"relation '{name}' may be {len(found)}: {meant}; give its whole name")
        known = {self.shown(each): None for each in range(len(self.names))}
        near = get_close_matches(name, known, n=3) or [*known][:_SHOWN]
        raise UnknownNameError(f"unknown relation '{name}'; there is {', '.join(near)}")

    def shown(self, relation: int) -> str:
        """A relation as people read it."""
        return self.prefixes.shown(self.names[relation])

    def readable(self, relation: int) -> str | None:
        """What people may read instead of a relation's name: its label, or its name by a prefix."""
        return (self.labels[relation] if self.labels else None) or self.prefixes.short(self.names[relation])

    def _looked_up(self, name: str) -> Iterator[list[int]]:
        name = Cleaning().clean(name)
        whole = self.prefixes.whole(name)
        yield [self.names.index(whole)] if whole in self.names else []
        last = ["/" in each and re.split("[/#]", each)[-1] for each in self.names]
        for forms in (self.names, self.labels, last):
            yield [k for k, form in enumerate(forms) if form and folded(form) == folded(name)]
