"""Vectors that stay in a checkpoint's files and are made as they are needed, by rows or by blocks; and all of them.

The parts of rows are read (`runs/tensors.py`), put together as if they were a shard of one tile, and the coupling makes
vectors of them. Without torch where the coupling can do without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import numpy as np

from distjoint.base.arrays import Bools, Floats, Ints
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress, Silent
from distjoint.couplings.base import Coupling, word_block
from distjoint.runs.folder import Checkpoint, RunFolder, shard_file
from distjoint.runs.tensors import LazyFile
from distjoint.table.layout import Layout

_COPIES = 6
"""Arrays of a block that there may be at a time: parts, vectors, and what is made of them."""
LEAST = 256
"""Vectors of the smallest block."""

Arrays = dict[str, Any]


class RowReader:
    """Parts of a run's rows, by row ids, and the vectors that they make.

    progress   shown while files are fetched from a store
    """

    def __init__(self, run: RunFolder, checkpoint: Checkpoint, coupling: Coupling, progress: Progress | None = None):
        self.run, self.checkpoint, self.layout, self.coupling = run, checkpoint, run.layout, coupling
        self._progress, self._places = progress or Silent(), dict[tuple[int, str], Ints]()
        self._files = dict[int, LazyFile]()

    @cached_property
    def dense(self) -> dict[str, Floats]:
        """Parameters that belong to no row, by name."""
        return self.checkpoint.dense_arrays()

    def width(self, of: str) -> int:
        """Numbers of a vector of a kind, `word` or `entity`."""
        return self.run.info.config.model.dim * (self.coupling.parts if of == "entity" else 1)

    def check(self) -> None:
        """Raise DistjointError for a file that is missing or has another size than the manifest says."""
        for shard in range(self.layout.shards):
            if self.checkpoint.folder.is_local:
                self._file(shard).file  # noqa: B018 - opening it checks it

    def words(self, rows: Ints, parts: tuple[str, ...] = ("W", "C")) -> Floats:
        """float32[n, dim]: the words of some rows; W + C, or what entities read in them."""
        return self._finite(_total([self._part(name, "word", rows) for name in parts]), rows)

    def entities(self, rows: Ints) -> tuple[Floats, Bools]:
        """The entities of some rows as the graph scores them, float32[n, dim]; bool[n]: of which words say something.

        raises   DistjointError for NaN or infinity
        """
        parts, tile, back = self._tile(rows)
        vectors, said = _made(self.coupling, parts, tile, self.dense)
        if back is not None:
            vectors, said = vectors[back], said[back]
        return self._finite(vectors, rows), said

    def entity_parts(self, rows: Ints) -> dict[str, Floats]:
        """What makes up the vectors of some entities, by name, as `Coupling.entity_parts` says: float32[n, dim] each.

        raises   DistjointError for NaN or infinity
        """
        parts, tile, back = self._tile(rows)
        found = _parts_made(self.coupling, parts, tile, self.dense)
        return {name: self._finite(part if back is None else part[back], rows) for name, part in found.items()}

    def _tile(self, rows: Ints) -> tuple[Arrays, Layout, Ints | None]:
        """Parts of some entities as if they were a tile, where those with a word come first.

        returns   also the place of each row there; None where it is its own
        """
        coupling, layout = self.coupling, self.layout
        worded = layout.is_word(rows)
        with_word = int(worded.sum()) if coupling.reads_words else 0
        order = np.argsort(~worded, kind="stable") if 0 < with_word < len(rows) else None
        ordered = rows if order is None else rows[order]
        parts: Arrays = {name: self._part(name, "entity", ordered) for name in coupling.own_parts}
        if coupling.reads_words:
            read = dict.fromkeys(("W", "C", *coupling.read_parts))
            parts |= {name: self._part(name, "word", ordered[:with_word]) for name in read if self._has(name)}
        back = None if order is None else np.argsort(order)
        return parts, Layout(1, 1, 0, with_word, len(rows) - with_word), back

    def in_order(self, of: str) -> Iterator[Ints]:
        """Ids of all rows with a word, or an entity, shard by shard as they lie: int64[n] each."""
        for shard in range(self.layout.shards):
            yield self.layout.rows_of(shard)[self._mask(shard, of)]

    def _part(self, name: str, of: str, rows: Ints) -> Floats:
        """Some rows of a part, which all have it."""
        shards, offsets = self.layout.locate(rows)
        found: Floats | None = None
        for shard in np.unique(shards).tolist():
            file, mine = self._file(shard).file, shards == shard
            if name not in file.tensors:
                raise DistjointError(f"{file.name}: has no tensor {name}; it is damaged")
            read = file.rows(name, self._place_of(shard, of)[offsets[mine]])
            if mine.all():
                return read
            found = np.empty((len(rows), *read.shape[1:]), np.float32) if found is None else found
            found[mine] = read
        width = self._file(0).file.tensors[name].shape[-1] if found is None else 0
        return np.empty((0, width), np.float32) if found is None else found

    def _has(self, name: str) -> bool:
        return name in self._file(0).file.tensors

    def _mask(self, shard: int, of: str) -> Bools:
        return self.layout.has_word(shard) if of == "word" else self.layout.has_entity(shard)

    def _place_of(self, shard: int, of: str) -> Ints:
        """int32[shard_rows]: place of each row of a shard in its parts of words or of entities."""
        if (shard, of) not in self._places:
            self._places[shard, of] = (np.cumsum(self._mask(shard, of)) - 1).astype(np.int32)
        return self._places[shard, of]

    def _file(self, shard: int) -> LazyFile:
        """The file of a shard; the first of a store's brings all of them, with one bar."""
        if shard not in self._files:
            size = sum(file.bytes for file in self.checkpoint.manifest.files)
            with ExitStack() as stack:
                advance: Callable[[float], Any] = Silent().advance
                if not self.checkpoint.folder.is_local:
                    advance = stack.enter_context(self._progress.task("fetching the table", size, "bytes")).advance
                for each in range(self.layout.shards):
                    self._files[each] = self.checkpoint.lazy(shard_file(each), advance)
                    if not self.checkpoint.folder.is_local:
                        self._files[each].file  # noqa: B018 - reading it fetches it
        return self._files[shard]

    def _finite(self, vectors: Floats, rows: Ints) -> Floats:
        # A sum is finite only where every term is; large terms may overflow it.
        if not np.isfinite(vectors.sum()) and not np.isfinite(vectors).all():
            row = int(rows[~np.isfinite(vectors).all(1)][0])
            raise DistjointError(f"{self.checkpoint.folder}: the vector of row {row} holds NaN or infinity")
        return vectors


class StoredVectors:
    """The vectors of one kind, numbered as in a `Space`: float32[n, dim] that is indexed like an array, and read then.

    kind     `word` or `entity`
    memory   bytes that a block and what is made of it may take
    parts    parts of words that are added up
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, reader: RowReader, kind: str, memory: int, parts: tuple[str, ...] = ("W", "C")) -> None:
        self.reader, self.kind, self.parts = reader, kind, parts
        layout, dim = reader.layout, reader.width(kind)
        self.shape = (layout.vocabulary if kind == "word" else layout.aligned + layout.entities, dim)
        self.size = self.shape[0] * dim
        self.memory, self.rows_at_once = memory, max(LEAST, memory // (4 * dim * _COPIES))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: Any) -> Any:
        """Vectors at a place, float32[dim], or at some, float32[n, dim]."""
        if isinstance(places, slice):
            places = np.arange(*places.indices(len(self)))
        at = np.asarray(places)
        at = np.flatnonzero(at) if at.dtype == np.bool_ else at.astype(np.int64)
        if len(at.reshape(-1)) and not -len(self) <= at.min() <= at.max() < len(self):
            raise IndexError(f"place {places} of {len(self)} vectors")
        found = self.made(np.where(at < 0, at + len(self), at).reshape(-1))[0]
        return found[0] if at.ndim == 0 else found

    def of_parts(self, parts: tuple[str, ...]) -> StoredVectors:
        """The same words made of other parts."""
        return StoredVectors(self.reader, self.kind, self.memory, parts)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
        """All of them, in memory."""
        found = np.empty(self.shape, np.float32)
        for places, vectors, _ in self.blocks():
            found[places] = vectors
        return found if dtype is None else found.astype(dtype)

    def take_shape(self, other: StoredVectors, count: int, width: int) -> None:
        """Be so many vectors so wide, made from another's."""
        self.reader, self.kind, self.memory = other.reader, other.kind, other.memory
        self.shape, self.size = (count, width), count * width
        self.rows_at_once = max(LEAST, self.memory // (4 * width * _COPIES))

    def made(self, places: Ints) -> tuple[Floats, Bools]:
        """Vectors at some places, float32[n, dim], and bool[n]: of which words say something."""
        layout = self.reader.layout
        if self.kind == "entity":
            return self.reader.entities(layout.entities_at(places))
        return self.reader.words(layout.words_at(places), self.parts), np.ones(len(places), np.bool_)

    def blocks(self) -> Iterator[tuple[Ints, Floats, Bools]]:
        """All of them once, as they lie on the disk: places, and `made` of them."""
        layout = self.reader.layout
        for rows in self.reader.in_order(self.kind):
            if self.kind == "word":
                places = layout.mentioned(rows)
                places = places[places < len(self)]
            else:
                places = layout.entity_places(rows)
            for start in range(0, len(places), self.rows_at_once):
                chosen = places[start : start + self.rows_at_once]
                yield chosen, *self.made(chosen)


def read_shard(reader: RowReader, shard: int) -> tuple[Floats | None, Floats | None, Bools | None]:
    """Both kinds of a shard by one reading, which is compared with its checksum; None where a kind was not trained.

    returns   float32[words, dim]; float32[entities, dim]; bool[entities]: of which words say something
    """
    parts: Arrays = dict(reader.checkpoint.arrays(shard_file(shard)))
    sources = reader.run.info.sources
    words = word_block(parts) if "text" in sources else None
    if "graph" not in sources:
        return words, None, None  # type: ignore[return-value]
    made = _made(reader.coupling, parts, reader.layout, reader.dense, shard)
    return words, *made  # type: ignore[return-value]


def read_parts(reader: RowReader, parts: tuple[str, ...]) -> Floats:
    """float32[words + grams, dim]: the sum of some parts of words, then of n-grams, as of `Layout.mentioned`."""
    layout = reader.layout
    found = np.empty((layout.with_word, reader.run.info.config.model.dim), np.float32)
    for shard in range(layout.shards):
        arrays = reader.checkpoint.arrays(shard_file(shard))
        rows = layout.rows_of(shard)[layout.has_word(shard)]
        found[layout.mentioned(rows)] = _total([arrays[name] for name in parts])
    return found


def _made(
    coupling: Coupling, parts: Arrays, layout: Layout, dense: dict[str, Floats], shard: int = 0
) -> tuple[Floats, Bools]:
    """The entities of a shard, and which of them say something: by numpy where the coupling can, else by torch."""
    if coupling.of_arrays:
        arrays: Any = dense
        made: Any = coupling.entity_block(parts, layout, shard, arrays)
        said: Any = coupling.says_something(parts, layout, shard)
        return made, said
    tensors, shared = _tensors(coupling, parts, dense)
    block = coupling.entity_block(tensors, layout, shard, shared)
    return block.numpy(), coupling.says_something(tensors, layout, shard).numpy()


def _parts_made(coupling: Coupling, parts: Arrays, layout: Layout, dense: dict[str, Floats]) -> dict[str, Floats]:
    """`Coupling.entity_parts` of a tile, likewise."""
    if coupling.of_arrays:
        arrays: Any = dense
        made: Any = coupling.entity_parts(parts, layout, 0, arrays)
        return dict(made)
    tensors, shared = _tensors(coupling, parts, dense)
    return {name: part.numpy() for name, part in coupling.entity_parts(tensors, layout, 0, shared).items()}


def _tensors(coupling: Coupling, parts: Arrays, dense: dict[str, Floats]) -> tuple[Arrays, Arrays]:
    import torch

    wanted = {"W", "C", *coupling.read_parts, *coupling.own_parts}
    tensors = {name: torch.from_numpy(np.array(part)) for name, part in parts.items() if name in wanted}
    return tensors, {name: torch.from_numpy(np.array(value)) for name, value in dense.items()}


def _total(parts: list[Floats]) -> Floats:
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    return found
