"""`prepare`: raw text and triples in, a dataset on storage out.

The order of work: read the graph and the labels, read the text once into a spool of token ids, choose the
vocabulary, align, number the rows, count co-occurrences shard by shard, write triples and alignment by
partition, and the manifest last. Nothing is written to the output before all input has been read.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from distjoint.config import parse_bytes
from distjoint.data import cooccurrence, vocabulary
from distjoint.data.alignment import (
    EXAMPLES,
    Alignment,
    Name,
    align_by_names,
    align_by_pairs,
    names_of,
    read_labels,
    read_pairs,
)
from distjoint.data.corpus import Corpus
from distjoint.data.layout import Layout
from distjoint.data.manifest import NAME as MANIFEST
from distjoint.data.manifest import File, Manifest, Sizes, Span
from distjoint.data.partition import (
    ALIGNMENT,
    HELD_OUT,
    TRIPLES,
    PartitionWriter,
    Written,
    by_partition,
    write_table,
)
from distjoint.data.rows import Rows, choose_shards, number_relations, number_rows, rows_table
from distjoint.data.spool import Spool
from distjoint.data.summary import Aligned, Summary
from distjoint.data.tokens import Counter, Lexicon, Tokenizer, encode_blocks
from distjoint.data.triples import SPLITS, Graph, read_graph
from distjoint.data.vocabulary import Vocabulary, key
from distjoint.errors import DistjointError, UsageError
from distjoint.progress import Progress, Silent, short
from distjoint.storage import Location, Options, locate

__all__ = ["Summary", "prepare"]

_OURS = (MANIFEST, "rows.parquet", "relations.parquet", "triples", cooccurrence.STREAM, "alignment")
_EMPTY: NDArray[np.int64] = np.zeros(0, np.int64)


def prepare(
    out: str,
    *,
    corpus: str | Sequence[str] = (),
    triples: str | None = None,
    valid: str | None = None,
    test: str | None = None,
    labels: str | None = None,
    align: str = "auto",
    shards: int | None = None,
    window: int = 10,
    symmetric: bool = True,
    min_count: int = 5,
    max_words: int | None = None,
    tokenizer: Tokenizer = "unicode",
    memory: str | int = "2GB",
    workers: int = 1,
    valid_fraction: float = 0.0,
    test_fraction: float = 0.0,
    seed: int = 0,
    text_field: str = "text",
    text_column: str = "text",
    triple_columns: str | Sequence[str] | None = None,
    align_ambiguous: Literal["none", "most-frequent"] = "none",
    overwrite: bool = False,
    storage_options: Options | None = None,
    progress: Progress | None = None,
    scratch: str | None = None,
) -> Summary:
    """Make a dataset of text, of triples, or of both. Every path is a URL, a glob or a folder where files are read.

    out              where the dataset goes
    corpus           text: plain, .gz/.zst/.bz2/.xz, JSON Lines (`text_field`), Parquet (`text_column`)
    triples, valid, test    TSV, CSV or Parquet: head, relation, tail, or the three columns of `triple_columns`
    labels           lines `entity TAB label [TAB alias...]`
    align            `auto` by labels and aliases (ids where there are no labels), `none`, or a file `entity TAB word`
    align_ambiguous  who shares a row where several entities have one name: nobody, or the `most-frequent`
    shards           shards of the table; chosen by size when None
    window, symmetric       contexts: so many words to the left (and right), each counting 1 / distance
    min_count, max_words    which words get a row
    tokenizer        `unicode`: words in lower case; `whitespace`: as they stand
    memory           bytes for counting, per worker, `2GB`
    workers          1: this process; more: Ray tasks
    valid_fraction, test_fraction    shares of `triples` to hold out, drawn by `seed`
    overwrite        replace a dataset that is there
    storage_options  credentials and the like of the URLs
    scratch          local folder for temporary files; the system's by default

    raises DistjointError naming the file, line and value that is wrong; UsageError for options
    """
    progress = progress or Silent()
    asked = _Asked(
        corpus=(corpus,) if isinstance(corpus, str) else tuple(corpus),
        paths={"train": triples, "valid": valid, "test": test},
        labels=labels,
        align=align,
        align_ambiguous=align_ambiguous,
        shards=shards,
        window=window,
        symmetric=symmetric,
        min_count=min_count,
        max_words=max_words,
        tokenizer=tokenizer,
        memory=_memory(memory),
        workers=workers,
        fractions=(valid_fraction, test_fraction),
        seed=seed,
        text_field=text_field,
        text_column=text_column,
        triple_columns=triple_columns,
        storage=dict(storage_options or {}),
    )
    asked.check()
    folder = locate(out, storage_options)
    _refuse(folder, overwrite, progress)
    if scratch is not None and not Path(scratch).is_dir():
        raise UsageError(f"{scratch}: no such folder for temporary files")
    with tempfile.TemporaryDirectory(prefix="distjoint-", dir=scratch) as place:
        return _Preparation(asked, folder, Path(place), progress).run()


@dataclass(frozen=True)
class _Asked:
    """The arguments of `prepare`, in the words of its docstring."""

    corpus: tuple[str, ...]
    paths: dict[str, str | None]
    labels: str | None
    align: str
    align_ambiguous: str
    shards: int | None
    window: int
    symmetric: bool
    min_count: int
    max_words: int | None
    tokenizer: Tokenizer
    memory: int
    workers: int
    fractions: tuple[float, float]
    seed: int
    text_field: str
    text_column: str
    triple_columns: str | Sequence[str] | None
    storage: dict[str, Any]

    def check(self) -> None:
        """raises UsageError for what cannot be meant"""
        if not self.corpus and not self.paths["train"]:
            given = next((split for split in SPLITS if self.paths[split]), None)
            also = f"; --{given} alone is not enough" if given else ""
            raise UsageError(f"nothing to prepare: give text with --corpus, a graph with --triples, or both{also}")
        if not self.paths["train"]:
            for name, value in (("valid", self.paths["valid"]), ("test", self.paths["test"]), ("labels", self.labels)):
                if value:
                    raise UsageError(f"--{name} belongs to a graph; give its triples with --triples")
        for name, number in (
            ("window", self.window), ("min-count", self.min_count), ("max-words", self.max_words),
            ("shards", self.shards), ("workers", self.workers), ("memory", self.memory),
        ):  # fmt: skip
            if number is not None and number < 1:
                raise UsageError(f"--{name} is {number}; it must be at least 1")
        if self.tokenizer not in get_args(Tokenizer):
            raise UsageError(f"--tokenizer is {self.tokenizer!r}; it must be 'unicode' or 'whitespace'")
        if self.align_ambiguous not in ("none", "most-frequent"):
            raise UsageError(f"--align-ambiguous is {self.align_ambiguous!r}; it must be 'none' or 'most-frequent'")
        if self.align not in ("auto", "none") and not (self.corpus and self.paths["train"]):
            raise UsageError(f"--align {self.align} pairs entities with words; it needs --corpus and --triples")

    def record(self) -> dict[str, Any]:
        """For the manifest: without storage options, which may hold credentials."""
        return {
            name: getattr(self, name)
            for name in (
                "corpus", "labels", "align", "align_ambiguous", "window", "symmetric", "min_count", "max_words",
                "tokenizer", "memory", "seed", "text_field", "text_column",
            )
        } | {  # fmt: skip
            "triples": self.paths["train"], "valid": self.paths["valid"], "test": self.paths["test"],
            "valid_fraction": self.fractions[0], "test_fraction": self.fractions[1],
            "triple_columns": self.triple_columns,
        }  # fmt: skip


def _memory(value: str | int) -> int:
    try:
        return int(parse_bytes(value) or 0)
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from None


def _refuse(folder: Location, overwrite: bool, progress: Progress) -> None:
    """raises UsageError where something else lies at the output, or a dataset that is not to be replaced"""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is a file of this name; choose another folder with --out")
    there = [place.name for place in folder.list()]
    if MANIFEST in there and not overwrite:
        raise UsageError(f"{folder}: there is a dataset already; replace it with --overwrite, or choose another --out")
    others = [name for name in there if name not in _OURS]
    if others and MANIFEST not in there:
        raise UsageError(f"{folder}: the folder is not empty (it holds {others[0]}); choose another with --out")
    if there and MANIFEST not in there:
        progress.say(f"{folder}: an unfinished dataset is there; it is made anew")


def _clear(folder: Location) -> None:
    """Delete a dataset, its manifest first; other files in the folder are nobody's business."""
    for name in _OURS:
        (folder / name).delete()


@dataclass
class _Text:
    """The text, read once.

    spool     provisional token ids
    names     how many words of the vocabulary are names joined from several words
    """

    lexicon: Lexicon
    spool: Spool | None
    vocabulary: Vocabulary
    tokens: int = 0
    documents: int = 0
    names: int = 0


@dataclass
class _Streams:
    """What has been written so far, as the manifest lists it."""

    files: list[File] = field(default_factory=list)
    spans: dict[str, list[Span]] = field(default_factory=dict)

    def add(self, stream: str, written: Written) -> None:
        if not written.file.rows:
            return
        index = len(self.files)
        self.files.append(written.file)
        self.spans.setdefault(stream, []).extend(
            Span(i=i, j=j, file=index, start=start, stop=stop) for i, j, start, stop in written.spans
        )


class _Preparation:
    """One run of `prepare`, phase by phase."""

    def __init__(self, asked: _Asked, folder: Location, scratch: Path, progress: Progress) -> None:
        self.asked, self.folder, self.scratch, self.progress = asked, folder, scratch, progress
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []
        self.streams = _Streams()

    def run(self) -> Summary:
        corpus = self._corpus()
        with self._timed("graph"):
            graph, labels = self._graph()
        names = names_of(graph.entities.list(), labels) if self.asked.align == "auto" else []
        pairs = self._pairs(graph)
        with self._timed("text"):
            text = self._text(corpus, [name.text for called in names for name in called] + [word for _, word in pairs])
        entities, degrees = graph.entities.list(), graph.degrees()
        with self._timed("alignment"):
            alignment = self._align(names, pairs, text.vocabulary, entities, degrees)
            rows = number_rows(len(text.vocabulary), entities, degrees, alignment)
        existed = self.folder.exists()
        try:
            _clear(self.folder)
            manifest = self._write(graph, text, labels or {}, alignment, rows, degrees)
        except BaseException:
            # Nothing half-written stays, not even after Ctrl-C.
            with suppress(Exception):
                _clear(self.folder)
                if not existed:
                    self.folder.delete()
            raise
        return Summary(
            dataset=self.folder.url,
            counts=manifest.counts,
            shards=manifest.layout.shards,
            tiles=manifest.layout.tiles,
            bytes=sum(file.bytes for file in manifest.files),
            alignment=self._aligned(alignment, names, text.vocabulary, entities, labels, graph),
            notes=self.notes,
            seconds=self.seconds,
        )

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - start

    def _corpus(self) -> Corpus | None:
        asked = self.asked
        if not asked.corpus:
            return None
        return Corpus.find(asked.corpus, asked.text_field, asked.text_column, asked.storage)

    def _graph(self) -> tuple[Graph, dict[str, list[str]] | None]:
        asked, labels = self.asked, None
        if not asked.paths["train"]:
            return Graph(splits={"train": np.zeros((0, 3), np.int64)}), None
        with self.progress.task("reading triples") as task:
            graph = read_graph(asked.paths, asked.triple_columns, asked.fractions, asked.seed, asked.storage)
            task.note(f"{short(sum(len(rows) for rows in graph.splits.values()))} triples")
        self._note_graph(graph)
        if asked.labels:
            place = locate(asked.labels, asked.storage)
            labels = read_labels(place)
            known = sum(entity in graph.entities for entity in labels)
            if not known:
                raise DistjointError(
                    f"{place}: none of its {len(labels):,} entities is in the triples: "
                    f"it has {next(iter(labels))!r}, they have {next(iter(graph.entities.ids))!r}"
                )
            if known < len(labels):
                self.notes.append(f"{len(labels) - known:,} entities of {place} are in no triple; they have a row all the same.")
            for entity in labels:
                graph.entities.add(entity)
        return graph, labels

    def _note_graph(self, graph: Graph) -> None:
        for split, dropped in graph.duplicates.items():
            if dropped:
                self.notes.append(f"{dropped:,} duplicate {split} triples were dropped.")
        for split, repeated in graph.repeated.items():
            if repeated:
                self.notes.append(f"{repeated:,} {split} triples are in train too; they were kept.")

    def _pairs(self, graph: Graph) -> list[tuple[int, str]]:
        """(entity, word) of the file that --align names."""
        if self.asked.align in ("auto", "none"):
            return []
        place = locate(self.asked.align, self.asked.storage)
        if not place.exists():
            raise DistjointError(f"{place}: no such file; --align takes 'auto', 'none' or a file of pairs")
        pairs = read_pairs(place)
        for entity, word in pairs:
            if entity not in graph.entities:
                raise DistjointError(f"{place}: entity {entity!r} (word {word!r}) is in no triple and has no label")
        return [(graph.entities.ids[entity], word) for entity, word in pairs]

    def _text(self, corpus: Corpus | None, names: list[str]) -> _Text:
        """Read the text, join names, choose the vocabulary."""
        asked, lexicon = self.asked, Lexicon(self.asked.tokenizer)
        if corpus is None:
            return _Text(lexicon, None, Vocabulary([], _EMPTY, _EMPTY))
        spool, counter = self._spool(corpus, lexicon), Counter()
        with spool, self.progress.task("reading text", corpus.bytes) as task:
            start = time.monotonic()
            for block, ids in encode_blocks(corpus.blocks(), lexicon, counter):
                spool.write(ids)
                task.advance(block.read)
                rate = counter.tokens / max(time.monotonic() - start, 1e-9)
                task.note(f"{short(counter.tokens)} tokens, {short(rate)} tokens/s")
        counts, joined = lexicon.counts[: lexicon.size], 0
        if names:
            with self.progress.task("joining names") as task:
                seen, forms = lexicon.size, {key(name, asked.tokenizer) for name in names}
                merged = Spool(self.scratch / "joined")
                with merged:
                    found = vocabulary.merge_names(spool, forms, lexicon, asked.min_count, merged)
                if found is None:
                    merged.delete()
                else:
                    spool.delete()
                    spool, counts = merged, found
                    joined = lexicon.size - seen
                    task.note(f"{joined:,} names")
        chosen = vocabulary.choose(lexicon, counts, asked.min_count, asked.max_words)
        if not len(chosen):
            raise DistjointError(
                f"{corpus.files[0]}: {'no word in the text' if not counter.tokens else ''}"
                f"{f'no word occurs {asked.min_count} times; lower --min-count' if counter.tokens else ''}"
            )
        return _Text(lexicon, spool, chosen, counter.tokens, counter.documents, joined)

    def _spool(self, corpus: Corpus, lexicon: Lexicon) -> Spool:
        return Spool(self.scratch / "tokens")

    def _align(
        self,
        names: list[list[Name]],
        pairs: list[tuple[int, str]],
        words: Vocabulary,
        entities: list[str],
        degrees: NDArray[np.int64],
    ) -> Alignment:
        most_frequent, tokenizer = self.asked.align_ambiguous == "most-frequent", self.asked.tokenizer
        if not len(words) or not entities or self.asked.align == "none":
            return Alignment(unmatched=list(range(len(entities))))
        if self.asked.align == "auto":
            found = align_by_names(names, words.words, degrees.tolist(), tokenizer, most_frequent, entities)
        else:
            spelled = {word: k for k, word in enumerate(words.words)}
            forms = {key(word, tokenizer): k for word, k in reversed(spelled.items())}
            known = [(entity, spelled.get(word, forms.get(key(word, tokenizer), -1))) for entity, word in pairs]
            if missing := sum(word < 0 for _, word in known):
                self.notes.append(f"{missing:,} pairs of {self.asked.align} name a word that is not in the vocabulary.")
            kept = list(dict.fromkeys((entity, word) for entity, word in known if word >= 0))
            found = align_by_pairs(kept, words.counts.tolist(), degrees.tolist(), most_frequent)
        ambiguous = {entity for entity, _, _ in found.ambiguous}
        found.unmatched = [e for e in range(len(entities)) if e not in found.shared and e not in ambiguous]
        return found

    def _write(
        self,
        graph: Graph,
        text: _Text,
        labels: Mapping[str, Sequence[str]],
        alignment: Alignment,
        rows: Rows,
        degrees: NDArray[np.int64],
    ) -> Manifest:
        """Everything that goes to storage; the manifest last."""
        with self._timed("counting"):
            layout, written = self._count(text, rows, graph)
        for part in written:
            self.streams.add(cooccurrence.STREAM, part)
        with self._timed("writing"):
            entities, relations = graph.entities.list(), graph.relations.list()
            relation_ids, relation_table = number_relations(relations, graph.frequencies())
            counts = self._write_triples(graph, rows, layout, relation_ids, degrees)
            self._write_alignment(alignment, rows, layout)
            table = rows_table(rows, text.vocabulary.words, text.vocabulary.counts, entities, degrees, labels)
            self.folder.make_dir()
            self.streams.files.append(write_table(self.folder, "rows.parquet", table))
            self.streams.files.append(write_table(self.folder, "relations.parquet", relation_table))
            manifest = Manifest(
                layout_sizes=Sizes(
                    shards=layout.shards, tiles=layout.tiles, words=rows.words, aligned=rows.aligned,
                    entities=rows.entities,
                ),
                counts={
                    "rows": len(rows), "words": len(text.vocabulary), "names": text.names, "entities": len(entities),
                    "aligned": rows.aligned, "documents": text.documents, "text_tokens": text.tokens,
                    "tokens": text.vocabulary.tokens, "cells": sum(part.file.rows for part in written),
                    "relations": len(relations), "alignment": len(alignment.samples), **counts,
                },
                options=self.asked.record(),
                files=tuple(self.streams.files),
                streams={name: tuple(spans) for name, spans in self.streams.spans.items()},
            )  # fmt: skip
            manifest.write(self.folder)
        return manifest

    def _count(self, text: _Text, rows: Rows, graph: Graph) -> tuple[Layout, list[Written]]:
        """Choose the shards, then count co-occurrences into them."""
        asked, samples = self.asked, max(len(triples) for triples in graph.splits.values())
        if text.spool is None:
            return self._layout(rows, samples), []
        table = np.full(text.lexicon.size, -1, np.int32)
        table[text.vocabulary.source] = rows.of_word
        total = text.vocabulary.tokens + text.documents + 1
        blocks = partial(cooccurrence.renumbered, text.spool, table)
        words = len(text.vocabulary)
        cells = cooccurrence.estimate_cells(blocks(), total, words, asked.window, asked.symmetric, asked.memory)
        layout = self._layout(rows, max(cells, samples))
        plan = cooccurrence.Plan(
            layout=layout,
            window=asked.window,
            symmetric=asked.symmetric,
            seed=asked.seed,
            tokens=total,
            cells=cells,
            memory=asked.memory,
            threads=cooccurrence.threads(),
            scratch=str(self.scratch),
        )
        (self.folder / cooccurrence.STREAM).make_dir()
        with self.progress.task("counting", text.vocabulary.tokens, "tokens") as task:
            if asked.workers > 1:
                from distjoint.data import ray_driver

                return layout, ray_driver.count(blocks, plan, asked.workers, self.folder, task)
            return layout, cooccurrence.count_shards(blocks, plan, range(layout.shards), self.folder, task)

    def _layout(self, rows: Rows, samples: int) -> Layout:
        if self.asked.shards is not None:
            return rows.layout(self.asked.shards)
        layout = rows.layout(choose_shards(samples, len(rows)))
        mean = samples / layout.shards**2
        self.progress.say(f"{layout.shards} shards: about {short(mean)} samples in a mean partition (--shards to change)")
        return layout

    def _write_triples(
        self,
        graph: Graph,
        rows: Rows,
        layout: Layout,
        relation_ids: NDArray[np.int64],
        degrees: NDArray[np.int64],
    ) -> dict[str, int]:
        counts = {}
        for split, triples in graph.splits.items():
            if not len(triples):
                continue
            counts[f"triples/{split}"] = len(triples)
            unseen = (degrees[triples[:, 0]] == 0) | (degrees[triples[:, 2]] == 0)
            if split != "train":
                counts[f"unseen/{split}"] = int(unseen.sum())
            (self.folder / f"triples/{split}").make_dir()
            schema = TRIPLES if split == "train" else HELD_OUT
            heads, tails = rows.of_entity[triples[:, 0]], rows.of_entity[triples[:, 2]]
            with PartitionWriter(self.folder, f"triples/{split}/part-00000.parquet", schema) as writer:
                for i, j, chosen, head, tail in by_partition(layout, heads, tails, self.asked.seed):
                    columns = {
                        "head": head.astype(np.int32),
                        "relation": relation_ids[triples[chosen, 1]].astype(np.int32),
                        "tail": tail.astype(np.int32),
                        "unseen": unseen[chosen],
                    }
                    writer.add(i, j, columns)
            self.streams.add(f"triples/{split}", writer.written())
        return counts

    def _write_alignment(self, alignment: Alignment, rows: Rows, layout: Layout) -> None:
        samples = alignment.samples
        if not samples:
            return
        (self.folder / "alignment").make_dir()
        entity = rows.of_entity[[sample.entity for sample in samples]]
        word = rows.of_word[[sample.word for sample in samples]]
        weight = np.array([sample.weight for sample in samples], np.float32)
        how = np.array([sample.how for sample in samples], object)
        with PartitionWriter(self.folder, "alignment/part-00000.parquet", ALIGNMENT) as writer:
            for i, j, chosen, first, second in by_partition(layout, entity, word, self.asked.seed):
                columns = {"entity": first.astype(np.int32), "word": second.astype(np.int32)}
                writer.add(i, j, columns | {"weight": weight[chosen], "how": how[chosen]})
        self.streams.add("alignment", writer.written())

    def _aligned(
        self,
        alignment: Alignment,
        names: list[list[Name]],
        words: Vocabulary,
        entities: list[str],
        labels: Mapping[str, Sequence[str]] | None,
        graph: Graph,
    ) -> Aligned | None:
        if not len(words) or not entities or self.asked.align == "none":
            return None

        def called(entity: int) -> str:
            label = (labels or {}).get(entities[entity])
            return f"{entities[entity]} ({label[0]})" if label else entities[entity]

        shared = sorted(alignment.shared.items(), key=lambda pair: -words.counts[pair[1][0]])[:EXAMPLES]
        how: dict[str, int] = {}
        for _, found in alignment.shared.values():
            how[found] = how.get(found, 0) + 1
        return Aligned(
            aligned=len(alignment.shared),
            ambiguous=len(alignment.ambiguous),
            unmatched=len(alignment.unmatched),
            samples=len(alignment.samples),
            how=how,
            examples={
                "aligned": [f"{called(entity)} = {words.words[word]}" for entity, (word, _) in shared],
                "ambiguous": [
                    f"{called(entity)}: {words.words[word]} is the name of {count}"
                    for entity, word, count in alignment.ambiguous[:EXAMPLES]
                ],
                "unmatched": [called(entity) for entity in alignment.unmatched[:EXAMPLES]],
            },
        )
