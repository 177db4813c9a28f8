"""Co-occurrence counts as Stanford's GloVe defines them, tile by tile, without hashing or sorting a pair.

The token stream is held in memory, in segments where it is long, with a list of where each word occurs. A row
is then counted by going over its occurrences and adding 1 / distance for each neighbour into one dense array
as long as the vocabulary: when the last occurrence is done the row is complete. Rows are counted tile by tile
by plain threads, sorted into blocks by the tile of the column, shuffled inside each block and written.
Several segments spill their rows to local scratch, and are summed up row by row afterwards.

Each row is independent of all others, so several workers (see `ray_driver`) share the shards between them,
with nothing to merge, and the counts have the same bits whoever counts them. Nor does a shard depend on another:
each is finished when its file is closed, and is not counted again where a later one fails (see `unfinished`).
"""

from __future__ import annotations

import queue
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distjoint.base.arrays import Bools, Doubles, Ints, TokenIds
from distjoint.base.progress import Task
from distjoint.data import counting
from distjoint.data.partition import CELLS, PartitionWriter, Written
from distjoint.data.segments import Segment, segment_length, segments
from distjoint.data.spool import Scratch
from distjoint.data.streams import shard_file
from distjoint.storage import Location
from distjoint.table.layout import Layout

Blocks = Callable[[], Iterator[TokenIds]]

_CELL_BYTES = 12
_GROUPS = 4


@dataclass(frozen=True)
class CountingPlan:
    """Plan of counting: shards, contexts, memory and threads.

    tokens    about how many ids the stream holds, separators included; not fewer
    cells     about how many cells there will be, from `estimate_cells`
    memory    bytes
    scratch   local folder for temporary files; the system's when None
    """

    layout: Layout
    window: int
    symmetric: bool
    seed: int
    tokens: int
    cells: int
    memory: int
    threads: int
    scratch: str | None = None

    @property
    def words(self) -> int:
        """Row ids with a word lie below this; where the table grew, some of those below have none."""
        return self.layout.rows if self.layout.grown else self.layout.with_word

    @property
    def segment(self) -> int:
        """Tokens held at once: 4 bytes each, and 4 for its place in the list of occurrences."""
        return segment_length(self.memory, self.window)

    @property
    def parallel(self) -> int:
        """Tiles counted at the same time: two copies of a tile's cells each, and some slack."""
        tile = 2.6 * _CELL_BYTES * self.cells / self.layout.tiles
        return max(1, min(self.threads, int(0.3 * self.memory / max(tile, 1))))

    @property
    def group(self) -> int:
        """Number of shards counted together.

        Text of several segments is counted in groups of shards, as a group's shards are finished only after its last
        segment. Each group costs a reading of the text: 4 of them 7 % of counting.
        """
        whole = self.tokens <= self.segment
        return self.layout.shards if whole else -(-self.layout.shards // _GROUPS)

    @property
    def shards_on_disk(self) -> bool:
        """Whether a shard's cells wait on scratch rather than in memory until they are all there."""
        return _CELL_BYTES * self.cells / self.layout.shards > 0.08 * self.memory


@dataclass
class CountingTally:
    """Figures of counting so far, for the progress line."""

    cells: int = 0
    segments: int = 0
    spilled: int = 0
    """Bytes written to scratch."""


def estimate_cells(
    blocks: Iterator[TokenIds], total: int, words: int, window: int, symmetric: bool, memory: int
) -> int:
    """Estimated number of cells, from every 64th row of the first segment.

    Rows of every frequency are in the sample; for further segments cells are taken to grow with tokens ** 0.75.
    """
    length = segment_length(memory, window)
    segment = next(segments(blocks, total, length, window), None)
    if segment is None:
        return 0
    step = max(1, min(64, words // 256))
    rows = np.arange(step // 2, words, step, dtype=np.int32)
    wanted = np.zeros(words, bool)
    wanted[rows] = True
    positions, starts = counting.occurrences(segment.tokens, segment.begin, segment.end, wanted)
    seen = np.full(words, -1, np.int32)
    cells = counting.count_columns(segment.tokens, positions, starts, rows, window, symmetric, seen)
    return int(cells * words / max(len(rows), 1) * max(1.0, total / length) ** 0.75)


def count_shards(
    blocks: Blocks,
    plan: CountingPlan,
    shards: Sequence[int],
    folder: Location,
    task: Task,
    finished: Callable[[Written], None] = lambda _: None,
) -> list[Written]:
    """Count the rows of some shards and write their partitions.

    blocks    gives the token stream from its start, as rows, -1 between documents
    shards    which of the layout's; one file is written for each
    task      advanced by the tokens counted
    finished  called by a thread when a shard's file is complete
    raises    DistjointError when a disk is full
    """
    with tempfile.TemporaryDirectory(prefix="distjoint-", dir=plan.scratch) as scratch:
        return _Counter(plan, folder, task, finished, Path(scratch)).run(blocks, shards)


@dataclass
class _Workspace:
    """Arrays in which one thread counts a tile; grown as rows demand, and used again."""

    sums: Doubles
    columns: TokenIds
    values: Doubles

    def grow(self, cells: int) -> None:
        if cells > len(self.columns):
            cells = max(cells, len(self.columns) * 5 // 4)
            columns, values = np.empty(cells, np.int32), np.empty(cells, np.float64)
            columns[: len(self.columns)], values[: len(self.values)] = self.columns, self.values
            self.columns, self.values = columns, values


@dataclass(frozen=True)
class _Spilled:
    """Sums of a tile over one segment, on scratch: ends of its rows, and the bytes at which columns and sums begin."""

    ends: Ints
    columns: int
    values: int


@dataclass(frozen=True)
class _Arranged:
    """Cells of a tile, sorted by the tile of the column; on scratch, `place` is the byte at which each array begins."""

    starts: Ints
    columns: tuple[NDArray[Any], ...] | None
    place: tuple[int, ...] = ()


_NAMES = ("row", "column", "count")
_TYPES: tuple[type[Any], ...] = (np.int32, np.int32, np.float32)


class _Counter:
    def __init__(
        self, plan: CountingPlan, folder: Location, task: Task, finished: Callable[[Written], None], scratch: Path
    ) -> None:
        self.plan, self.folder, self.task, self.finished, self.scratch = plan, folder, task, finished, scratch
        self.tally = CountingTally()
        layout = plan.layout
        self.rows: dict[int, TokenIds] = {}
        self.offset = np.empty(plan.words, np.int32)
        self.tile = np.empty(plan.words, np.int32)
        for shard in range(layout.shards):
            rows = layout.rows_of(shard)
            for local in range(layout.tiles_per_shard):
                number = shard * layout.tiles_per_shard + local
                start, stop = layout.tile_offsets[shard, local : local + 2]
                # A tile's rows with a word are a prefix of it.
                with_word = rows[start:stop][layout.is_word(rows[start:stop])]
                self.rows[number] = with_word.astype(np.int32)
                self.offset[with_word] = start + np.arange(len(with_word))
                self.tile[with_word] = number
        self.weights = np.concatenate([[0.0], 1.0 / np.arange(1, plan.window + 1)])
        self.workspaces: queue.SimpleQueue[_Workspace] = queue.SimpleQueue()

    def run(self, blocks: Blocks, shards: Sequence[int]) -> list[Written]:
        plan, written = self.plan, []
        for _ in range(plan.parallel):
            empty = np.zeros(plan.words), np.empty(0, np.int32), np.empty(0, np.float64)
            self.workspaces.put(_Workspace(*empty))
        with ThreadPoolExecutor(plan.parallel, "count") as pool:
            for first in range(0, len(shards), plan.group):
                written += self._group(pool, blocks, shards[first : first + plan.group])
        return written

    def _group(self, pool: ThreadPoolExecutor, blocks: Blocks, shards: Sequence[int]) -> list[Written]:
        plan, per_shard = self.plan, self.plan.layout.tiles_per_shard
        tiles = [shard * per_shard + local for shard in shards for local in range(per_shard)]
        wanted = np.zeros(plan.words, bool)
        for tile in tiles:
            wanted[self.rows[tile]] = True
        if plan.tokens <= plan.segment:
            whole = next(segments(blocks(), plan.tokens, plan.segment, plan.window))
            index = counting.occurrences(whole.tokens, whole.begin, whole.end, wanted)
            return self._write(pool, tiles, lambda tile: self._count(tile, whole, index))
        with closing(Scratch(self.scratch / "segments")) as spill:
            spilled = [
                self._spill(pool, segment, tiles, wanted, spill)
                for segment in segments(blocks(), plan.tokens, plan.segment, plan.window)
            ]
            return self._write(pool, tiles, lambda tile: self._merge(tile, [found[tile] for found in spilled], spill))

    def _note(self) -> None:
        text = f"{self.tally.cells / 1e6:.1f} M cells"
        if self.tally.spilled:
            text += f", {self.tally.segments} segments, {self.tally.spilled / 1e9:.2f} GB spilled"
        self.task.note(text)

    def _spill(
        self, pool: ThreadPoolExecutor, segment: Segment, tiles: list[int], wanted: Bools, spill: Scratch
    ) -> dict[int, _Spilled]:
        """Count some tiles of a segment and keep them on scratch."""
        index = counting.occurrences(segment.tokens, segment.begin, segment.end, wanted)

        def work(tile: int) -> _Spilled:
            with self._workspace() as room:
                ends = self._sum(tile, segment, index, room)
                cells = int(ends[-1])
                return _Spilled(ends, spill.append(room.columns[:cells]), spill.append(room.values[:cells]))

        before = spill.bytes
        places = dict(_in_order(pool, tiles, self.plan.parallel, work))
        self.tally.spilled += spill.bytes - before
        self.tally.segments += 1
        self._note()
        return places

    @contextmanager
    def _workspace(self) -> Iterator[_Workspace]:
        room = self.workspaces.get()
        try:
            yield room
        finally:
            self.workspaces.put(room)

    def _sum(self, tile: int, segment: Segment, index: tuple[TokenIds, Ints], room: _Workspace) -> Ints:
        """Sum a tile's rows over the segment; returns where each ends in the workspace."""
        positions, starts = index
        rows = self.rows[tile]
        ends = np.zeros(len(rows) + 1, np.int64)
        room.grow(int(1.1 * self.plan.cells / self.plan.layout.tiles) + self.plan.words)
        done = 0
        while True:
            done = counting.count_rows(
                segment.tokens, positions, starts, rows, done, self.weights, self.plan.symmetric, room.sums,
                room.columns, room.values, ends,
            )  # fmt: skip
            if done == len(rows):
                break
            room.grow(int(ends[done]) + self.plan.words + len(room.columns) // 4)
        self.task.advance(float(np.sum(starts[rows + 1] - starts[rows])))
        return ends

    def _count(self, tile: int, segment: Segment, index: tuple[TokenIds, Ints]) -> _Arranged:
        with self._workspace() as room:
            return self._arrange(tile, room, self._sum(tile, segment, index, room))

    def _merge(self, tile: int, spilled: list[_Spilled], spill: Scratch) -> _Arranged:
        """Sum a tile up over the segments, a few rows at a time."""
        rows = self.rows[tile]
        ends = np.zeros(len(rows) + 1, np.int64)
        every = np.stack([each.ends for each in spilled])
        most = max(1 << 16, int(0.1 * self.plan.memory / self.plan.parallel / _CELL_BYTES))
        with self._workspace() as room:
            first = 0
            while first < len(rows):
                total = (every[:, first:] - every[:, first : first + 1]).sum(0)
                last = first + max(1, int(np.searchsorted(total, most, side="right")) - 1)
                begin, size = every[:, first], every[:, last] - every[:, first]
                columns, values = [], []
                for each, start, length in zip(spilled, begin.tolist(), size.tolist(), strict=True):
                    columns.append(spill.read(each.columns + 4 * start, length, np.int32))
                    values.append(spill.read(each.values + 8 * start, length, np.float64))
                shift = np.cumsum(size) - size
                bounds = every[:, first : last + 1] - begin[:, None] + shift[:, None]
                room.grow(int(ends[first] + size.sum()))
                counting.merge_rows(
                    np.concatenate(columns), np.concatenate(values), bounds, room.sums, room.columns, room.values,
                    ends, first,
                )  # fmt: skip
                first = last
            return self._arrange(tile, room, ends)

    def _arrange(self, tile: int, room: _Workspace, ends: Ints) -> _Arranged:
        seed = np.random.SeedSequence([self.plan.seed, tile]).generate_state(1, np.uint64)[0]
        *columns, starts = counting.arrange(
            ends, self.offset[self.rows[tile]], room.columns, room.values, self.tile, self.offset,
            self.plan.layout.tiles, seed,
        )  # fmt: skip
        return _Arranged(starts, tuple(columns))

    def _write(self, pool: ThreadPoolExecutor, tiles: list[int], arranged: Callable[[int], _Arranged]) -> list[Written]:
        """Write a shard whenever all of its tiles are there; one is written while the next is counted."""
        plan, written, writing = self.plan, [], None
        waiting: list[_Arranged] = []
        scratch: Scratch | None = None
        for tile, cells in _in_order(pool, tiles, plan.parallel, arranged):
            self.tally.cells += int(cells.starts[-1])
            if plan.shards_on_disk:
                assert cells.columns is not None
                if scratch is None:
                    scratch = Scratch(self.scratch / f"shard-{tile}")
                cells = _Arranged(cells.starts, None, tuple(scratch.append(column) for column in cells.columns))
                self.tally.spilled += int(cells.starts[-1]) * _CELL_BYTES
            waiting.append(cells)
            self._note()
            if len(waiting) == plan.layout.tiles_per_shard:
                if writing is not None:
                    written.append(writing.result())
                writing = pool.submit(self._write_shard, tile // plan.layout.tiles_per_shard, waiting, scratch)
                waiting, scratch = [], None
        if writing is not None:
            written.append(writing.result())
        return written

    def _write_shard(self, i: int, tiles: list[_Arranged], scratch: Scratch | None) -> Written:
        per_shard = self.plan.layout.tiles_per_shard
        with PartitionWriter(self.folder, shard_file(i), CELLS) as writer:
            for j in range(self.plan.layout.shards):
                columns: dict[str, NDArray[Any]] = {}
                for k, (name, kind) in enumerate(zip(_NAMES, _TYPES, strict=True)):
                    parts = []
                    for tile in tiles:
                        start, stop = int(tile.starts[j * per_shard]), int(tile.starts[(j + 1) * per_shard])
                        if tile.columns is not None:
                            parts.append(tile.columns[k][start:stop])
                        elif scratch is not None:
                            parts.append(scratch.read(tile.place[k] + 4 * start, stop - start, kind))
                    columns[name] = np.concatenate(parts)
                writer.add(i, j, columns)
        if scratch is not None:
            scratch.close()
        written = writer.written()
        self.finished(written)
        return written


def _in_order(
    pool: ThreadPoolExecutor, tiles: Sequence[int], parallel: int, work: Callable[[int], Any]
) -> Iterator[tuple[int, Any]]:
    """Pairs (tile, work(tile)) in order, computed by the pool, at most `parallel` + 1 ahead."""
    waiting: deque[tuple[int, Future[Any]]] = deque()
    try:
        for tile in tiles:
            waiting.append((tile, pool.submit(work, tile)))
            if len(waiting) > parallel:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        for _, future in waiting:
            future.cancel()
