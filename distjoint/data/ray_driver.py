"""Workers of `prepare` as Ray tasks: the only file of `data/` that knows Ray.

Text is tokenised by a task for each part of it: some files, or a range of a large one's bytes. A task numbers the
words it sees by itself, and leaves its token ids in Ray's object store, object by object; only the words come to the
driver, which numbers them for all. Each counting task then reads all objects and counts its own shards, which
nobody else touches, straight to the dataset's storage. So nothing is merged but words, no disk is shared, and the
counts have the same bits as those of one process. What dies with a worker or a machine is done again by Ray: a
part of the text, or the shards of a task that were not yet noted as counted.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from distjoint.base import machine
from distjoint.base.arrays import Ints, TokenIds
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress, Silent, Task
from distjoint.base.ray_session import ray_session
from distjoint.data.cooccurrence import Blocks, CountingPlan, count_shards
from distjoint.data.corpus import Corpus
from distjoint.data.lines import Slice
from distjoint.data.name_trie import NameTrie
from distjoint.data.noticed import Noticed
from distjoint.data.partition import Written
from distjoint.data.spool import Tokens
from distjoint.data.tokens import Counter, Lexicon, encode_blocks
from distjoint.data.unfinished import NAME as UNFINISHED
from distjoint.data.unfinished import Counted, noted
from distjoint.data.workers import note_rate
from distjoint.registry import load_plugins, plugin_modules
from distjoint.storage import Location, locate

PART_LEAST, PART_MOST = 1 << 20, 1 << 26
"""Stored bytes of a part of the text: enough to be worth a task, few enough to lose."""
_PARTS_PER_CPU = 4
_OBJECT_IDS = 1 << 24
_WORDS = 1 << 16
_RETRIES = 5
_LOOK = 5.0
"""Seconds between looks at how many shards are counted."""


@contextmanager
def cluster(workers: int, progress: Progress) -> Iterator[Cluster]:
    """Workers on the cluster of RAY_ADDRESS, or on a Ray that is started on this machine and stopped again.

    raises DistjointError as a task raised it, or where Ray itself fails; KeyboardInterrupt for Ctrl-C and SIGTERM
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ray_session(progress):
            yield Cluster(workers)
    except RayTaskError as error:
        # What the task raised is the sentence the user is meant to read.
        if isinstance(error.cause, DistjointError):
            raise error.cause from None
        raise
    except RayError as error:
        reason = str(error).strip().partition("\n")[0]
        raise DistjointError(f"Ray: {reason}; run the same command again to continue") from error
    except SystemExit as error:  # Ray takes the signals and leaves this way
        raise KeyboardInterrupt(*[signal.SIGTERM] * (error.code == signal.SIGTERM)) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass(frozen=True)
class Stored:
    """Token ids in Ray's object store.

    parts   of the text, in order: references to token ids, and to int32[words of the part] that maps them to
            provisional ids; None for the latter where they are provisional ids
    """

    parts: list[tuple[list[Any], Any]]

    def blocks(self) -> Iterator[TokenIds]:
        for references, table in self.parts:
            ids = None if table is None else np.append(ray.get(table), np.int32(-1))
            for reference in references:
                # One at a time: the object store may hold more than this machine's memory.
                block = ray.get(reference)
                yield block if ids is None else ids[block]  # the separator, -1, finds the last


@dataclass(frozen=True)
class _Seen:
    """Words of a part of the text, as a task found them.

    words    in order of id, separated by blanks, in chunks
    counts   int64[words]
    """

    words: list[bytes]
    counts: Ints
    tokens: int
    documents: int
    noticed: Noticed


@dataclass(frozen=True)
class TextPart:
    """A part of the text, as it is sent to a worker: a filesystem forgets its retries on the way, a URL does not.

    files    URL, options, and the bytes in which its lines begin; see `Slice`
    corpus   how they are read; it has no files of its own
    plugins  modules that a tokenizer of the user's own may be in
    """

    files: list[tuple[str, dict[str, Any], int, int | None]]
    corpus: Corpus
    tokenizer: str
    plugins: tuple[str, ...] = ()

    @classmethod
    def of(cls, corpus: Corpus, slices: Sequence[Slice], tokenizer: str) -> TextPart:
        files = [(each.file.absolute, dict(each.file.options), each.start, each.stop) for each in slices]
        return cls(files, replace(corpus, files=(), sizes=()), tokenizer, tuple(plugin_modules()))

    def encode(self, lexicon: Lexicon, counter: Counter) -> Iterator[TokenIds]:
        """Token ids, block by block. raises DistjointError naming what cannot be read"""
        slices = [Slice(_seen_here(locate(url, options)), start, stop) for url, options, start, stop in self.files]
        try:
            for _, ids in encode_blocks(self.corpus.blocks(slices), lexicon, counter):
                yield ids
        except DistjointError:
            # A line is named by its number, so by all that comes before it in its file.
            for each in slices:
                if each.start:
                    whole = self.corpus.blocks([Slice(each.file)])
                    for _ in encode_blocks(whole, Lexicon(self.tokenizer), Counter()):
                        pass
            raise


class Cluster:
    """Workers that are tasks of a Ray cluster. workers: how many count at the same time"""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def tokenise(self, corpus: Corpus, lexicon: Lexicon, counter: Counter, task: Task) -> Stored:
        cpus, start = max(1, int(ray.cluster_resources().get("CPU", 1))), time.monotonic()
        parts = corpus.parts(min(PART_MOST, max(PART_LEAST, corpus.bytes // (_PARTS_PER_CPU * cpus))))
        read = _streaming(_tokenise)
        reading = [read.remote(TextPart.of(corpus, part, lexicon.tokenizer)) for part in parts]
        stored, sizes = [], dict(zip((file.url for file in corpus.files), corpus.sizes, strict=True))
        for part, objects in zip(parts, reading, strict=True):
            *ids, last = objects
            seen = ray.get(last)
            stored.append((ids, ray.put(_number(seen, lexicon))))
            counter.tokens += seen.tokens
            counter.documents += seen.documents
            counter.noticed.take(seen.noticed)
            task.advance(sum((each.stop or sizes[each.file.url]) - each.start for each in part))
            note_rate(task, counter, start)
        return Stored(stored)

    def find_names(self, tokens: Tokens, names: NameTrie) -> Ints:
        assert isinstance(tokens, Stored)
        shared, find = ray.put(names), ray.remote(num_cpus=1, max_retries=_RETRIES)(_find_names)
        found: Ints = sum(ray.get([find.remote(Stored([part]), shared) for part in tokens.parts]))
        return found

    def join_names(self, tokens: Tokens, names: NameTrie, spelled: TokenIds, words: int) -> tuple[Stored, Ints]:
        assert isinstance(tokens, Stored)
        shared, join = ray.put(names), _streaming(_join_names)
        joining = [join.remote(Stored([part]), shared, spelled, words) for part in tokens.parts]
        joined, counts = [], np.zeros(words, np.int64)
        for objects in joining:
            *ids, last = objects
            seen_words, seen = ray.get(last)
            counts[seen_words] += seen
            joined.append((ids, None))
        return Stored(joined), counts

    def count(
        self, blocks: Blocks, plan: CountingPlan, shards: Sequence[int], counted: Counted, task: Task
    ) -> list[Written]:
        workers = max(1, min(self.workers, len(shards)))
        threads, source = _threads(workers), ray.put(blocks)
        counting = ray.remote(num_cpus=threads, max_retries=_RETRIES)(_count)
        mine = replace(plan, threads=threads)
        place = counted.folder.absolute, dict(counted.folder.options), counted.key
        # Every shard holds the same mix of frequent and rare rows, so equal numbers are equal work.
        waiting = [counting.remote(source, mine, list(shards[k::workers]), *place) for k in range(workers)]
        written: dict[int, Written] = {}
        before = len(noted(counted.folder))
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=1, timeout=_LOOK)
            for reference in done:
                written |= ray.get(reference)
            now = len(noted(counted.folder))
            task.advance(plan.tokens / plan.layout.shards * (now - before))
            before = now
        return [written[shard] for shard in shards]


def _streaming(work: Callable[..., Iterator[Any]]) -> Any:
    """A task whose call gives references to what it yields, one by one: it never holds all of it."""
    return ray.remote(num_cpus=1, max_retries=_RETRIES, num_returns="streaming")(work)


def _threads(workers: int) -> int:
    """Number of threads for each of some tasks at the same time; no more than one machine has."""
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return max(1, min(sum(cpus) // workers, max(cpus, default=1)))


def _number(seen: _Seen, lexicon: Lexicon) -> TokenIds:
    """int32[words]: the ids of a part's words in the lexicon of all parts, to which they are added."""
    ids = np.concatenate([np.empty(0, np.int32), *map(lexicon.take, seen.words)])
    lexicon.counts[ids] += seen.counts - 1
    return ids


# What follows runs on a worker.


def _seen_here(place: Location) -> Location:
    """The place, looked for on this machine. raises DistjointError where it is on the driver's disk only"""
    if place.is_local and not place.exists():
        raise DistjointError(
            f"{place}: a machine of the Ray cluster does not see it; use storage that all of them share, like s3://"
        )
    return place


def _tokenise(text: TextPart) -> Iterator[Any]:
    """Token ids, then what was seen."""
    load_plugins(text.plugins)
    lexicon, counter = Lexicon(text.tokenizer), Counter()
    yield from _objects(text.encode(lexicon, counter))
    words = lexicon.words()
    chunks = [" ".join(words[start : start + _WORDS]).encode() for start in range(0, len(words), _WORDS)]
    yield _Seen(chunks, lexicon.counts[: lexicon.size], counter.tokens, counter.documents, counter.noticed)


def _find_names(part: Stored, names: NameTrie) -> Ints:
    """int64[names]: how often each is in a part."""
    return names.find(part)


def _join_names(part: Stored, names: NameTrie, spelled: TokenIds, words: int) -> Iterator[Any]:
    """Token ids with the names joined, then the ids of the words there are and how often."""
    counts = np.zeros(words, np.int64)
    yield from _objects(names.join(part, spelled, counts))
    seen = np.flatnonzero(counts)
    yield seen, counts[seen]


def _count(
    blocks: Blocks, plan: CountingPlan, shards: list[int], url: str, options: dict[str, Any], key: str
) -> dict[int, Written]:
    counted = Counted(locate(url, options), key)
    _seen_here(counted.folder / UNFINISHED)
    written = counted.take(shards)  # this may be another attempt
    missing = [shard for shard in shards if shard not in written]
    plan = replace(plan, threads=min(plan.threads, machine.cores()))
    parts = count_shards(blocks, plan, missing, counted.folder, Silent(), counted.note) if missing else []
    return written | dict(zip(missing, parts, strict=True))


def _objects(blocks: Iterator[TokenIds]) -> Iterator[TokenIds]:
    """Blocks put together until they are worth an object of the store."""
    waiting: list[TokenIds] = []
    held = 0
    for block in blocks:
        waiting.append(block)
        held += len(block)
        if held >= _OBJECT_IDS:
            yield np.concatenate(waiting)
            waiting, held = [], 0
    if held:
        yield np.concatenate(waiting)
