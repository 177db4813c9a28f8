"""Which vectors stand for names: those of words or of entities, whole, by one part, or two side by side.

Word tests and exports choose here, so that what is measured is what is exported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from distjoint.base.arrays import Bools
from distjoint.base.errors import UsageError
from distjoint.couplings.base import OWN, TEXT
from distjoint.evaluate.derived import ChosenVectors, PartVectors, are_there
from distjoint.evaluate.options import VectorKind, VectorParts
from distjoint.evaluate.space import Space, Spaces
from distjoint.evaluate.stored import StoredVectors
from distjoint.evaluate.trained import TrainedVectors


def choose(trained: TrainedVectors, spaces: Spaces, kind: VectorKind | None, vectors: VectorParts = "joint") -> Space:
    """The vectors of a kind and their names.

    spaces    all vectors of `trained`
    kind      None for words where text was trained, else entities
    vectors   of a word: `joint` and `own` are W + C, `both` puts that and the vector of the word's entity side by side.
              Of an entity: `joint` is the vector that the graph scores, `own` X, `text` what words make of it, `both`
              the last two side by side. Halves side by side have standardised columns, so that they weigh alike.
    returns   only names that have what is wanted: no part is all zeros
    raises    UsageError for what the run has not, which says what it has
    """
    space = spaces_of(trained, spaces, kind)[0]
    if vectors == "joint" or (space.kind, vectors) == ("word", "own"):
        return space
    if space.kind == "entity":
        return _of_entities(trained, space, vectors)
    if vectors == "text":
        raise UsageError(f"{trained.run.folder}: --vectors text is what words make of an entity; add --kind entity")
    return _with_entities(trained, spaces)


def spaces_of(trained: TrainedVectors, spaces: Spaces, kind: VectorKind | None) -> list[Space]:
    """The spaces of a kind, or of both, that have vectors. raises UsageError where there is none"""
    found = [space for space in (spaces.words, spaces.entities) if len(space) and kind in (None, space.kind)]
    if not found:
        sources = " and ".join(trained.run.info.sources)
        raise UsageError(f"{trained.run.folder}: has no {kind} vectors; it was trained on {sources} only")
    return found


def _of_entities(trained: TrainedVectors, space: Space, vectors: VectorParts) -> Space:
    wanted, stored = (OWN, TEXT) if vectors == "both" else (vectors,), space.vectors
    parts: list[Any]
    if isinstance(stored, StoredVectors):
        _check_parts(trained, stored.reader.entity_parts(np.empty(0, np.int64)), wanted, vectors)
        parts = [PartVectors(stored.reader, stored.memory, name) for name in wanted]
    else:
        parts = [np.zeros_like(stored) for _ in wanted]
        for shard in range(trained.layout.shards):
            found = trained.entity_parts(shard)
            _check_parts(trained, found, wanted, vectors)
            rows = trained.layout.rows_of(shard)[trained.layout.has_entity(shard)]
            for name, part in zip(wanted, parts, strict=True):
                part[trained.layout.entity_places(rows)] = found[name].cpu().numpy()
    there: Bools = np.logical_and.reduce([are_there(part) for part in parts])
    if not there.any():
        raise UsageError(f"{trained.run.folder}: --vectors {vectors}: no entity has {' and '.join(wanted)} vectors")
    chosen = [replace(space, vectors=part).select(there) for part in parts]
    return chosen[0].with_vectors(*(each.vectors for each in chosen))


def _check_parts(trained: TrainedVectors, having: Mapping[str, Any], wanted: Sequence[str], vectors: str) -> None:
    if missing := [name for name in wanted if name not in having]:
        raise UsageError(
            f"{trained.run.folder}: --vectors {vectors}: coupling {trained.coupling.name} gives entities no "
            f"{missing[0]} vectors; they have {' and '.join(having)}"
        )


def _with_entities(trained: TrainedVectors, spaces: Spaces) -> Space:
    (entities,), layout = spaces_of(trained, spaces, "entity"), trained.layout
    if not layout.aligned:
        raise UsageError(
            f"{trained.run.folder}: --vectors both puts a word beside the entity that it shares a row with, and none "
            "shares one; prepare with --align, or leave --vectors out"
        )
    rows, which = layout.entity_rows, np.zeros(len(spaces.words), np.bool_)
    rows = rows[layout.is_word(rows)]
    which[layout.mentioned(rows)] = True
    words = spaces.words.select(which)
    places: Any = layout.entity_places(rows)
    beside: Any = entities.vectors
    beside = ChosenVectors(beside, places) if isinstance(beside, StoredVectors) else beside[places]
    return words.with_vectors(words.vectors, beside)
