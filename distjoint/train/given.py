"""What the names in a file of vectors mean in a dataset: its words, entities and relations.

A vector goes to the rows that its name fits best. What fits less well, or fits several rows, is counted and said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from distjoint.base.arrays import Floats
from distjoint.couplings.base import RELATION, inverse_kind
from distjoint.couplings.scheme import Scheme
from distjoint.data.vectors import Findings, Named
from distjoint.model.scorers import scorer
from distjoint.model.weighed import in_parts

LABEL, ID, EXACT, MARKED = 1, 2, 4, 8
"""How a name fits a row, added up: as label or id, as it is written (not with underscores for blanks), marked as an
entity's. The greater number outweighs the smaller."""
_SHARED = "{n} names are ids or labels of several entities, which all begin with one vector"
_UNDERSCORES = "{n} names are taken for those with blanks instead of underscores"
_AMBIGUOUS = "{n} names fit several with blanks instead of underscores, and are left out"

Kind = Literal["word", "entity"]
Fits = Mapping[str, list[tuple[int, int]]]
"""The rows of each name, and how it fits them."""


class Names:
    """The rows that a name stands for, of the kinds that train."""

    def __init__(self, table: pa.Table, words: bool, entities: bool) -> None:
        self.words: Fits = _fits({"word": ID}, table) if words else {}
        self.entities: Fits = _fits({"entity": ID, "label": LABEL}, table) if entities else {}

    def __contains__(self, name: object) -> bool:
        return name in self.words or name in self.entities

    def example(self) -> str | None:
        """Some name."""
        return next(iter([*self.words][:1] or [*self.entities][:1]), None)

    def rows(self, name: str, kind: Kind, marked: bool, findings: Findings) -> list[tuple[int, int]]:
        """Rows that a name fits, and how well; where it is a guess, none, and it is reported."""
        fits = (self.words if kind == "word" else self.entities).get(name, [])
        if not fits:
            return []
        best = max(how for _, how in fits)
        if best < EXACT:
            if len({row for row, _ in fits}) > 1:
                findings.add(_AMBIGUOUS, repr(name))
                return []
            findings.add(_UNDERSCORES, repr(name))
        elif len({row for row, how in fits if how >= EXACT}) > 1:
            findings.add(_SHARED, repr(name))
        # A name with underscores is nobody else's where it is somebody's as it is written.
        return [(row, how + MARKED * marked) for row, how in fits if (how & EXACT) == (best & EXACT)]


def _fits(columns: Mapping[str, int], table: pa.Table) -> Fits:
    found: dict[str, list[tuple[int, int]]] = {}
    for column, how in columns.items():
        for row, name in _present(table, column):
            found.setdefault(name, []).append((row, how + EXACT))
            if (underscored := "_".join(name.split())) != name:
                found.setdefault(underscored, []).append((row, how))
    return found


def _present(table: pa.Table, column: str) -> Iterator[tuple[int, str]]:
    return ((row, name) for row, name in enumerate(table.column(column).to_pylist()) if name is not None)


class Tables:
    """What a file has of relations, maps and a scorer's own parameters.

    found   by parameter: rows and their values; where a parameter has no names, all of it or nothing
    """

    def __init__(self, scheme: Scheme, relations: list[str]) -> None:
        config, count = scheme.config, len(relations)
        self._scorer, self._reciprocal = config.model.scorer, config.model.reciprocal
        self._ids = {name: place for place, name in enumerate(relations)}
        rows = count * (2 if self._reciprocal else 1)
        generator = torch.Generator()
        kind = in_parts(scorer(self._scorer), scheme.coupling.parts)
        parameters = scheme.coupling.dense(config, kind, rows, generator) if scheme.graph else {}
        self._wanted = {name: tuple(parameter.value.shape) for name, parameter in parameters.items()}
        self._halves = {inverse_kind(name): name for name in self._wanted if name.endswith(RELATION)}
        self._parts: dict[str, list[tuple[list[int], Floats]]] = {}
        self._taken: set[str] = set()
        self.relations = count if scheme.graph else 0

    def take(self, part: Named, findings: Findings) -> None:
        """Keep what is of use; the rest is reported."""
        kind = part.kind or ""
        theirs = (findings.about.get("score") or {}).get("scorer", self._scorer)
        name = self._halves.get(kind, kind)
        if name not in self._wanted or (kind in self._halves and not self._reciprocal):
            findings.add("{n} tables of the file have no use in this run", kind, int(kind not in self._taken))
        elif theirs != self._scorer and name.endswith(RELATION):
            text = f"{{n}} relations are of scorer {theirs}, this run's of {self._scorer}, and are left out"
            findings.add(text, repr(part.names[0]), len(part.names))
        elif part.vectors.shape[1] != (width := int(np.prod(self._wanted[name][1:]))):
            text = f"{{n}} rows have {part.vectors.shape[1]} numbers, this run's {width}, and are left out"
            findings.add(text, f"{kind} {part.names[0]!r}", len(part.names))
        else:
            self._keep(kind, name, part)
        self._taken.add(kind)

    def _keep(self, kind: str, name: str, part: Named) -> None:
        if name.endswith(RELATION):
            first = self.relations if kind in self._halves else 0
            known = [place for place, relation in enumerate(part.names) if relation in self._ids]
            rows = [first + self._ids[part.names[place]] for place in known]
            self._parts.setdefault(name, []).append((rows, part.vectors[known]))
        else:
            before = sum(len(rows) for rows, _ in self._parts.get(name, []))
            rows = list(range(before, before + len(part.names)))
            self._parts.setdefault(name, []).append((rows, part.vectors))

    def tensors(self) -> dict[str, Tensor]:
        """Rows, `NAME.place`, and values of each parameter; a map only where all of it is there."""
        found: dict[str, Tensor] = {}
        for name, parts in self._parts.items():
            rows = np.concatenate([np.array(rows, np.int64) for rows, _ in parts])
            _, first = np.unique(rows, return_index=True)  # of several vectors of a relation the first
            values = np.concatenate([vectors for _, vectors in parts])[first]
            if len(first) and (name.endswith(RELATION) or len(first) == self._wanted[name][0]):
                found[f"{name}.place"] = torch.from_numpy(rows[first])
                found[name] = torch.from_numpy(values).view(-1, *self._wanted[name][1:])
        return found

    def said(self) -> str:
        """How many relations begin so, and what else."""
        tensors = self.tensors()
        places = tensors.get(f"{RELATION}.place", torch.empty(0, dtype=torch.int64))
        count = int((places < self.relations).sum())
        ways = " both ways" if self._reciprocal and len(places) == 2 * count and count else ""
        others = [name for name in tensors if not name.endswith((".place", RELATION))]
        return f"{count:,} of {self.relations:,} relations{ways}" + "".join(f" and {name}" for name in others)
