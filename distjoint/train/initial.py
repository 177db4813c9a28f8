"""`train.init`: rows that begin with vectors of a file, by name.

The file is read once, where `train` is called. What is found goes to the run's folder, a file per shard, from which
each worker takes what its shards begin with; when the run is finished it is deleted. So it does not matter who begins
a shard, nor when, and a run that stopped before its first checkpoint begins alike.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from distjoint.base.arrays import Bools, Ints
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress
from distjoint.couplings.base import words_of_entities
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.data.vectors import Findings, Named, read_vectors
from distjoint.model.scorers import NO_DENSE
from distjoint.runs.checkpoint import write_beginning
from distjoint.runs.folder import MANIFEST, Checkpoint, RunInfo
from distjoint.storage import Location
from distjoint.table.layout import Layout
from distjoint.table.parts import Shard
from distjoint.train.given import Kind, Names, Tables

FOLDER, GIVEN = "initial", "given.safetensors"


class _Rows:
    """Vectors by row in a scratch file, since they may be more than memory holds.

    found   uint8[rows]: how each was found; 0 where it was not
    """

    def __init__(self, rows: int, dim: int) -> None:
        self.found, self.dim = np.zeros(rows, np.uint8), dim
        self._file = tempfile.TemporaryFile(prefix="distjoint-initial-", buffering=0)  # noqa: SIM115 - closed by `close`

    def put(self, row: int, vector: NDArray[np.float32], how: int) -> bool:
        """The first vector of a row is kept, unless a better name brings another; whether two are as good."""
        if self.found[row] >= how:
            return bool(self.found[row] == how and self.get(np.array([row])).numpy().tobytes() != vector.tobytes())
        try:
            if os.pwrite(self._file.fileno(), vector.tobytes(), 4 * self.dim * row) != 4 * self.dim:
                raise OSError("no space left")
        except OSError as error:
            raise DistjointError(
                f"{tempfile.gettempdir()}: vectors cannot be kept here ({error}); free some disk, or set TMPDIR"
            ) from error
        self.found[row] = how
        return False

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
    """What files have for the rows of a dataset, and for its relations."""

    layout: Layout
    words: _Rows
    entities: _Rows
    tables: Tables

    def shard(self, shard: int, first: int = 0) -> dict[str, Tensor]:
        """Vectors of a shard's words and entities, and their places. first: rows before it are left out"""
        content: dict[str, Tensor] = {}
        for kind, rows, has in (
            ("word", self.words, self.layout.has_word(shard)),
            ("entity", self.entities, self.layout.has_entity(shard)),
        ):
            ids = self.layout.rows_of(shard)[has]
            places = np.flatnonzero(rows.found[ids] * (ids >= first))
            content |= {f"{kind}.place": torch.from_numpy(places), kind: rows.get(ids[places])}
        return content

    def note(self, run: Location) -> None:
        """Write which rows have vectors to the run's folder, for good."""
        masks = {kind: rows.found > 0 for kind, rows in (("word", self.words), ("entity", self.entities))}
        (run / GIVEN).write_bytes(save({kind: torch.from_numpy(np.packbits(mask)) for kind, mask in masks.items()}))

    def write(self, run: Location, info: RunInfo) -> None:
        """To the run's folder, a file per shard, and their checksums last."""
        shards = map(self.shard, range(self.layout.shards))
        write_beginning(run / FOLDER, info, shards, self.tables.tensors())


@contextmanager
def find(given: Location | Sequence[Location], data: Dataset, scheme: Scheme, progress: Progress) -> Iterator[Found]:
    """Read the vectors of files that name rows or relations of the dataset, and say how many, and what was a guess.

    A name is that of a word, and of the entities that have it as id or label; ids outweigh labels, a name as it is
    written outweighs one with underscores for blanks, and of several vectors of one name the first is taken. Names that
    are said to be entities' (`ENTITY/`, safetensors) are no words', and outweigh others.

    raises DistjointError when the vectors are of another width, or a file names nothing of the dataset
    """
    files = [given] if isinstance(given, Location) else list(given)
    names = Names(data.rows(["entity", "label", "word"]), scheme.text, scheme.graph)
    relations = data.relations()["name"].to_pylist() if scheme.graph else []
    words, entities = (_Rows(data.layout.rows, scheme.dim) for _ in range(2))
    found = Found(data.layout, words, entities, Tables(scheme, relations))
    try:
        for file in files:
            _read(file, names, found, scheme, progress)
            if not (np.any(words.found) or np.any(entities.found) or found.tables.tensors()):
                example = names.example() or next(iter(relations), None)
                raise DistjointError(f"{file}: names none of the rows of {data.folder}, which has {example!r}, say")
        counts = int(np.count_nonzero(words.found)), int(np.count_nonzero(entities.found))
        place = " and ".join(str(file) for file in files)
        progress.say(f"{place}: {_said(counts, found, data.layout, scheme)}; all others begin as usual")
        if scheme.coupling.reads_text and counts[1]:
            progress.say(
                f"{place}: coupling {scheme.coupling.name} adds what it reads of an entity to its vector, so scores "
                "are not those of the run that it is from; export --vectors own of that run"
            )
        yield found
    finally:
        words.close()
        entities.close()


def _read(file: Location, names: Names, found: Found, scheme: Scheme, progress: Progress) -> None:
    findings = Findings()
    with progress.task(f"reading {file.name}") as task:
        for part in read_vectors(file, scheme.dim, names, findings):
            if part.kind in (None, "word", "entity"):
                _take(part, names, found, findings)
            else:
                found.tables.take(part, findings)
            task.note(
                f"{np.count_nonzero(found.words.found):,} words, {np.count_nonzero(found.entities.found):,} entities"
            )
    for line in findings.lines():
        progress.say(f"{file}: {line}")


def _said(counts: tuple[int, int], found: Found, layout: Layout, scheme: Scheme) -> str:
    totals = (
        (counts[0], layout.vocabulary, "words", scheme.text),
        (counts[1], layout.aligned + layout.entities, "entities", scheme.graph),
    )
    said = [f"{some:,} of {total:,} {kind}" for some, total, kind, on in totals if on]
    return "vectors of " + " and ".join([*said, *([found.tables.said()] if scheme.graph else [])])


def _take(part: Named, names: Names, found: Found, findings: Findings) -> None:
    kinds: tuple[tuple[Kind, _Rows], ...] = (("word", found.words), ("entity", found.entities))
    for name, vector in zip(part.names, part.vectors, strict=True):
        for kind, rows in kinds:
            if part.kind not in (None, kind):
                continue
            for row, how in names.rows(name, kind, part.kind is not None, findings):
                if rows.put(row, vector, how):
                    findings.add("{n} rows have several vectors, of which the first is taken", f"{kind} {name!r}")


def given_rows(run: Location, rows: int) -> dict[str, Bools]:
    """What `Found.note` left: `word`, `entity` -> bool[rows]. raises DistjointError when it is not there"""
    place = run / GIVEN
    if not place.exists():
        raise DistjointError(f"{place}: not there, so train.freeze=given holds nothing; leave it out")
    found = load(place.read_bytes())
    return {kind: np.unpackbits(bits.numpy(), count=rows).astype(np.bool_) for kind, bits in found.items()}


def open_initial(run: Location) -> Checkpoint:
    """What `Found.write` left in a run's folder. raises DistjointError when it is not there any more"""
    if not (run / FOLDER / MANIFEST).exists():
        raise DistjointError(f"{run / FOLDER}: not there, so the run cannot begin again; start a new one")
    return Checkpoint.open(run / FOLDER)


def begin_with(
    parts: Shard,
    found: dict[str, Tensor],
    scheme: Scheme,
    layout: Layout,
    shard: int,
    dense: Mapping[str, Tensor] = NO_DENSE,
) -> Shard:
    """A shard's usual start, changed in place to the vectors that were found.

    A word's vector is W + C: half of it goes to either. An entity's is what the graph scores, which the coupling makes
    of X and its word.

    dense   maps that were found too
    """
    if "W" in parts:
        halves = found["word"] / 2
        parts["W"][found["word.place"]], parts["C"][found["word.place"]] = halves, found["word"] - halves
    if "X" not in parts:
        return parts
    places, vectors = found["entity.place"], found["entity"]
    if scheme.coupling.reads_words:
        word_of = words_of_entities(layout, shard)[places]
        worded = word_of >= 0
        taken = torch.isin(word_of[worded], found["word.place"])
        other, own = scheme.coupling.begin_entities(parts, word_of[worded], vectors[worded], taken, dense)
        parts["X"][places[worded][other]] = own[other]
        places, vectors = places[~worded], vectors[~worded]
    parts["X"][places] = vectors
    return parts
