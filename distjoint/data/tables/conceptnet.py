"""ConceptNet's dump of assertions: URI, relation, start, end, and JSON with the weight, parted by tabs.

A term is called by its word. The sentence of an assertion (`surfaceText`) is no description of its ends: it says the
triple itself, also one that is held out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pyarrow as pa

from distjoint.base.errors import DistjointError
from distjoint.data.columns import TableForm
from distjoint.data.lines import Slice, decoded, line_blocks
from distjoint.data.noticed import Noticed
from distjoint.data.tables.base import TripleBatch, TripleFile, TripleFormat

_WIDTH, _KEY, _SENTENCE = 5, "weight", '"surfaceText": "'
_SHOWN = 5


class ConceptNet(TripleFormat):
    """`/a/[...]`, `/r/IsA`, `/c/en/dog/n`, `/c/en/animal`, `{"weight": 1.0}`, by its first line."""

    title: ClassVar[str] = "ConceptNet"

    @classmethod
    def knows(cls, source: TripleFile, form: TableForm) -> bool:
        first = source.lines[0].split("\t") if source.lines else []
        if form.columns is not None or len(first) != _WIDTH:
            return False
        return first[0].startswith("/a/[") and first[1].startswith("/r/") and first[2].startswith("/c/")

    def read(self, source: TripleFile, form: TableForm, noticed: Noticed) -> Iterator[TripleBatch]:
        weighted = form.weight is not None and form.weighed
        if weighted and form.weight != _KEY:
            raise DistjointError(f"{source.file}: no column '{form.weight}'; ConceptNet's weights are '{_KEY}'")
        if form.weight is None:
            noticed.add(
                "ConceptNet's weights, not read in files", str(source.file), f"--weight-column {_KEY} reads them"
            )
        kept = None if form.language is None else f"/c/{form.language}/"
        number = 0
        for block in line_blocks(Slice(source.file)):
            found: list[tuple[str, str, str]] = []
            weights: list[float] = []
            for line in block.text.split(b"\n")[:-1]:
                number += 1
                if not line.strip():
                    continue
                fields = decoded(source.file, line, number).rstrip("\r").split("\t")
                if len(fields) != _WIDTH:
                    raise DistjointError(f"{source.file}, line {number}: {len(fields)} columns instead of {_WIDTH}")
                _, relation, head, tail, about = fields
                if kept is not None and not all(f"{end}/".startswith(kept) for end in (head, tail)):
                    noticed.add(f"Assertions not between terms of language {form.language}, left out", f"{head} {tail}")
                    continue
                if _SENTENCE in about:
                    noticed.add(
                        "ConceptNet's sentences, not read as descriptions: they say the triples themselves", about[:80]
                    )
                found.append((head, relation, tail))
                if weighted:
                    weights.append(_weight(source, number, about))
            ends = [pa.array(end, pa.string()) for end in zip(*found, strict=True)] or [pa.array([], pa.string())] * 3
            weight = pa.array(weights, pa.float64()) if weighted else None
            yield TripleBatch(ends[0], ends[1], ends[2], weight, named=True)

    def labels(self, entities: Sequence[str], form: TableForm, noticed: Noticed) -> dict[str, str]:
        """`/c/en/ice_cream/n` is called `ice cream`."""
        parts = [(entity, entity.split("/", 4)) for entity in entities if entity.startswith("/c/")]
        found = {entity: part[3].replace("_", " ") for entity, part in parts if len(part) > 3 and part[3]}
        if found:
            entity, label = next(iter(found.items()))
            noticed.add("Labels by ConceptNet's terms", f"{label!r} of {entity}", count=len(found))
        languages = Counter(part[2] for _, part in parts if len(part) > 3)
        if form.language is None and len(languages) > 1:
            most = ", ".join(f"{count:,} terms of {name}" for name, count in languages.most_common(_SHOWN))
            noticed.add("Languages of ConceptNet's terms", most, "--language keeps one", len(languages))
        return found


def _weight(source: TripleFile, number: int, about: str) -> float:
    try:
        weight = float(json.loads(about)[_KEY])
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise DistjointError(f"{source.file}, line {number}: no weight in {about[:60]!r}") from error
    if not 0 < weight < float("inf"):
        raise DistjointError(f"{source.file}, line {number}: weight {weight}; weights are finite and above 0")
    return weight
