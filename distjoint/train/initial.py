"""`train.init`: rows that begin with vectors of a file, by name.

The file is read once, where `train` is called. What is found goes to the run's folder, a file per shard, from which
each worker takes what its shards begin with; when the run is finished it is deleted. So it does not matter who begins
a shard, nor when, and a run that stopped before its first checkpoint begins alike.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from distjoint.base.arrays import Ints
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress
from distjoint.couplings.base import words_of_entities
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.data.vectors import Named, read_vectors
from distjoint.runs.folder import MANIFEST, Checkpoint, CheckpointManifest, RunInfo, describe, shard_file
from distjoint.storage import Location
from distjoint.table.layout import Layout
from distjoint.table.parts import Shard

FOLDER = "initial"
_LABEL, _NAME = 1, 2
"""How a row was found; its own name outweighs its label."""


class _Names:
    """The rows that a name stands for, of the kinds that train. A blank in a name is an underscore in text."""

    def __init__(self, table: pa.Table, words: bool, entities: bool) -> None:
        self.words: dict[str, int] = {}
        self.entities: dict[str, list[tuple[int, int]]] = {}
        if words:
            for row, name in _present(table, "word"):
                for form in _forms(name):
                    self.words.setdefault(form, row)
        for column, how in (("entity", _NAME), ("label", _LABEL)) if entities else ():
            for row, name in _present(table, column):
                for form in _forms(name):
                    self.entities.setdefault(form, []).append((row, how))

    def __contains__(self, name: object) -> bool:
        return name in self.words or name in self.entities


def _present(table: pa.Table, column: str) -> Iterator[tuple[int, str]]:
    return ((row, name) for row, name in enumerate(table.column(column).to_pylist()) if name is not None)


def _forms(name: str) -> dict[str, None]:
    return dict.fromkeys((name, "_".join(name.split())))


class _Rows:
    """Vectors by row in a scratch file, since they may be more than memory holds.

    found   uint8[rows]: how each was found; 0 where it was not
    """

    def __init__(self, rows: int, dim: int) -> None:
        self.found, self.dim = np.zeros(rows, np.uint8), dim
        self._file = tempfile.TemporaryFile(prefix="distjoint-initial-", buffering=0)  # noqa: SIM115 - closed by `close`

    def put(self, row: int, vector: NDArray[np.float32], how: int) -> None:
        """The first vector of a row is kept, unless a better name brings another."""
        if self.found[row] >= how:
            return
        try:
            if os.pwrite(self._file.fileno(), vector.tobytes(), 4 * self.dim * row) != 4 * self.dim:
                raise OSError("no space left")
        except OSError as error:
            raise DistjointError(
                f"{tempfile.gettempdir()}: vectors cannot be kept here ({error}); free some disk, or set TMPDIR"
            ) from error
        self.found[row] = how

    def get(self, rows: Ints) -> Tensor:
        size = 4 * self.dim
        content = b"".join(os.pread(self._file.fileno(), size, size * row) for row in rows.tolist())
        if not content:
            return torch.empty(0, self.dim)
        return torch.frombuffer(bytearray(content), dtype=torch.float32).view(-1, self.dim)

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Found:
    """What a file has for the rows of a dataset."""

    layout: Layout
    words: _Rows
    entities: _Rows

    def write(self, run: Location, info: RunInfo) -> None:
        """To the run's folder, a file per shard, and their checksums last."""
        folder = run / FOLDER
        folder.make_dir()
        files = []
        for shard in range(self.layout.shards):
            content: dict[str, Tensor] = {}
            for kind, rows, has in (
                ("word", self.words, self.layout.has_word(shard)),
                ("entity", self.entities, self.layout.has_entity(shard)),
            ):
                ids = self.layout.rows_of(shard)[has]
                places = np.flatnonzero(rows.found[ids])
                content |= {f"{kind}.place": torch.from_numpy(places), kind: rows.get(ids[places])}
            (folder / shard_file(shard)).write_bytes(save(content))
            files.append(describe(folder, shard_file(shard)))
        CheckpointManifest(
            dataset_checksum=info.dataset_checksum,
            coupling=info.coupling,
            dim=info.config.model.dim,
            groups=info.groups,
            lanes=info.lanes,
            seed=info.config.train.seed,
            epoch=0,
            files=tuple(files),
        ).write(folder)


@contextmanager
def find(file: Location, data: Dataset, scheme: Scheme, progress: Progress) -> Iterator[Found]:
    """Read the vectors of a file that name rows of the dataset, and say how many.

    A name is that of a word, and of the entities that have it as id or label; ids outweigh labels, and of several
    vectors of one name the first is taken. Names that are said to be entities' (`ENTITY/`, safetensors) are no words'.

    raises DistjointError when the vectors are of another width, or name no row
    """
    table = data.rows(["entity", "label", "word"])
    names = _Names(table, scheme.text, scheme.graph)
    words, entities = (_Rows(data.layout.rows, scheme.dim) for _ in range(2))
    found = Found(data.layout, words, entities)
    try:
        with progress.task(f"reading {file.name}") as task:
            for part in read_vectors(file, scheme.dim, names):
                _take(part, names, found)
                task.note(f"{np.count_nonzero(words.found):,} words, {np.count_nonzero(entities.found):,} entities")
        counts = int(np.count_nonzero(words.found)), int(np.count_nonzero(entities.found))
        if not any(counts):
            example = next(iter([*names.words][:1] or [*names.entities][:1]), None)
            raise DistjointError(f"{file}: names none of the rows of {data.folder}, which has {example!r}, say")
        progress.say(f"{file}: {_said(counts, data.layout, scheme)}; all others begin as usual")
        yield found
    finally:
        words.close()
        entities.close()


def _said(counts: tuple[int, int], layout: Layout, scheme: Scheme) -> str:
    totals = (
        (counts[0], layout.vocabulary, "words", scheme.text),
        (counts[1], layout.aligned + layout.entities, "entities", scheme.graph),
    )
    return "vectors of " + " and ".join(f"{some:,} of {total:,} {kind}" for some, total, kind, on in totals if on)


def _take(part: Named, names: _Names, found: Found) -> None:
    for name, vector in zip(part.names, part.vectors, strict=True):
        if part.kind != "entity" and name in names.words:
            found.words.put(names.words[name], vector, _NAME)
        if part.kind != "word":
            for row, how in names.entities.get(name, ()):
                found.entities.put(row, vector, how)


def open_initial(run: Location) -> Checkpoint:
    """What `Found.write` left in a run's folder. raises DistjointError when it is not there any more"""
    if not (run / FOLDER / MANIFEST).exists():
        raise DistjointError(f"{run / FOLDER}: not there, so the run cannot begin again; start a new one")
    return Checkpoint.open(run / FOLDER)


def begin_with(parts: Shard, found: dict[str, Tensor], scheme: Scheme, layout: Layout, shard: int) -> Shard:
    """A shard's usual start, changed in place to the vectors that were found.

    A word's vector is W + C: half of it goes to either. An entity's is what the graph scores, which the coupling makes
    of X and its word.
    """
    if "W" in parts:
        parts["W"][found["word.place"]] = parts["C"][found["word.place"]] = found["word"] / 2
    if "X" not in parts:
        return parts
    places, vectors = found["entity.place"], found["entity"]
    if scheme.coupling.reads_words:
        word_of = words_of_entities(layout, shard)[places]
        worded = word_of >= 0
        taken = torch.isin(word_of[worded], found["word.place"])
        other, own = scheme.coupling.begin_entities(parts, word_of[worded], vectors[worded], taken)
        parts["X"][places[worded][other]] = own[other]
        places, vectors = places[~worded], vectors[~worded]
    parts["X"][places] = vectors
    return parts
