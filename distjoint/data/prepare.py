"""Preparation of a dataset: raw text and triples in, partitions on storage out.

The order of work: read the graph and the labels, read the text once into a spool of token ids, choose the
vocabulary, align, number the rows, count co-occurrences shard by shard, write triples and pairs by
partition, and the manifest last. Nothing is written to the output before all input has been read. What was counted
before an interruption is kept, and taken over by the next run (see `unfinished`).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from distjoint.backends.cpu.compiled import announce
from distjoint.base.arrays import Bools, Ints
from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.options import keywords
from distjoint.base.progress import Progress, Silent
from distjoint.data import unfinished
from distjoint.data.aligning import align, described, named_pairs
from distjoint.data.alignment import Alignment, names_of
from distjoint.data.corpus import Corpus
from distjoint.data.descriptions import read_descriptions, split_names
from distjoint.data.growth.additions import with_relations, with_rows
from distjoint.data.growth.counts import add_counts
from distjoint.data.growth.growing import Growing, begin
from distjoint.data.growth.parent import inherited, open_parent
from distjoint.data.handed import in_words, written
from distjoint.data.inputs import input_files, reading_of, with_benchmark
from distjoint.data.knowledge import Knowledge, notes_on_unseen, read_knowledge
from distjoint.data.manifest import NAME as MANIFEST
from distjoint.data.manifest import Manifest
from distjoint.data.mentions import Mentions, describe, find_mentions, no_mentions
from distjoint.data.output import Streams, clear, continues, keep_counted, refuse_output
from distjoint.data.packing import files_of
from distjoint.data.request import PrepareOptions
from distjoint.data.rows import Rows, number_relations, number_rows, rows_table
from distjoint.data.shards import count_text
from distjoint.data.streams import COOCCURRENCE, MENTIONS, PAIRS, SPLITS, triples_of
from distjoint.data.summary import Summary
from distjoint.data.text import Text, no_text, read_text
from distjoint.data.triples import Graph
from distjoint.data.types import NAME as TYPES
from distjoint.data.types import types_table
from distjoint.data.unfinished import Made, made_from
from distjoint.data.wordnet.found import wordnet_written
from distjoint.data.workers import Local, Workers
from distjoint.storage import Location, locate
from distjoint.storage.lock import hold
from distjoint.table.layout import Sizes


@keywords(PrepareOptions)
def prepare(options: PrepareOptions) -> Summary:
    """Make a dataset of text, of triples, or of both. Every path is a URL, a glob or a folder where files are read.

    Where an earlier call with the same arguments was interrupted, the shards it has counted are taken over.

    {parameters}

    raises DistjointError naming the file, line and value that is wrong; UsageError for options
    """
    with written(options) as from_files, wordnet_written(from_files) as (as_files, said):
        summary = _prepare(as_files, said)
        return replace(summary, notes=[in_words(note, as_files) for note in summary.notes])


def _prepare(options: PrepareOptions, notes: Sequence[str]) -> Summary:
    """notes: what is said first"""
    options, found = with_benchmark(options)
    folder, progress = locate(options.out, options.storage_options), options.progress or Silent()
    refuse_output(folder, options.overwrite)
    parent = open_parent(options) if options.parent else None
    if parent:
        options = inherited(options, parent, found)
    if options.scratch is not None and not Path(options.scratch).is_dir():
        raise UsageError(f"{options.scratch}: no such folder for temporary files")
    fingerprint = parent.manifest.fingerprint() if parent else None
    made, existed = made_from(options, input_files(options), fingerprint), folder.exists()
    with hold(folder, "prepare", progress) as lock:
        refuse_output(folder, options.overwrite)  # another process may have made a dataset there meanwhile
        preparation = _Preparation(options, folder, existed, made, progress)
        preparation.notes += [*notes, *found]
        if parent:
            preparation.growing = begin(parent, options, preparation.notes, progress)
        try:
            with announce(progress), _workers_of(options, progress) as workers:
                return preparation.run(workers)
        except BaseException:
            # Not even Ctrl-C leaves anything half-written. By now nobody is writing any more.
            with suppress(Exception):
                if not lock.taken_by:
                    preparation.give_up()
            raise


@contextmanager
def _workers_of(options: PrepareOptions, progress: Progress) -> Iterator[Workers]:
    """This process, or a Ray cluster's tasks where more workers are wanted and there is text to share between them."""
    if options.workers > 1 and (options.corpus or options.reads_descriptions):
        from distjoint.data import ray_driver

        with ray_driver.cluster(options.workers, progress) as cluster:
            yield cluster
    else:
        with tempfile.TemporaryDirectory(prefix="distjoint-", dir=options.scratch) as place:
            yield Local(Path(place))


class _Preparation:
    """One run of `prepare`, phase by phase.

    existed  whether the folder was there before
    made     what the dataset is made of
    """

    def __init__(
        self, options: PrepareOptions, folder: Location, existed: bool, made: Made, progress: Progress
    ) -> None:
        self.options, self.folder, self.made, self.progress = options, folder, made, progress
        self.reading = reading_of(options)
        self.existed, self.writing = existed, False
        self.continued = continues(folder, made, options.overwrite, progress)
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []
        self.growing: Growing | None = None

    def run(self, workers: Workers) -> Summary:
        """Make the dataset. raises DistjointError naming what is wrong with the input"""
        corpus, options, growing = self._corpus(), self.options, self.growing
        self.notes += corpus.notes if corpus else ()
        with self._timed("graph"):
            known = read_knowledge(options, self.progress, self.reading, growing.earlier if growing else None)
            self.notes += known.notes
            known = growing.knowledge(known) if growing else known
            graph = known.graph
            self.notes += notes_on_unseen(graph, known.prefixes)
            texts = self._descriptions(graph)
            if options.name_before and texts:
                named = split_names(texts, options.name_before, self.notes)
                known = replace(known, labels={**named, **(known.labels or {})})
        labels = known.labels
        names = names_of(graph.entities.list(), labels) if self.options.align == "auto" else []
        pairs = named_pairs(self.options, graph, self.notes)
        with self._timed("text"):
            spelled = [name.text for called in names for name in called] + [word for _, word in pairs]
            earlier = growing.before.vocabulary if growing else None
            text = no_text(options, earlier)
            if corpus:
                text = read_text(options, corpus, spelled, workers, self.progress, earlier)
        self.notes += text.notes
        entities, degrees = graph.entities.list(), graph.degrees()
        with self._timed("alignment"):
            alignment = align(self.options, names, pairs, text.vocabulary, graph, degrees, self.notes)
            if growing:
                alignment = growing.alignment(alignment, entities, text.vocabulary.words)
        with self._timed("mentions"):
            mentions = self._mentions(known, texts, alignment, text)
        sizes = len(text.vocabulary), len(mentions.grams)
        if growing:
            rows = with_rows(growing.before, *sizes, entities, degrees, alignment)
            growing.check(rows)
        else:
            rows = number_rows(*sizes, entities, degrees, alignment)
        self.writing = True
        if not self.continued:
            clear(self.folder)
        manifest = self._write(workers, known, text, alignment, mentions, rows, degrees)
        return Summary(
            dataset=self.folder.url,
            counts=manifest.counts,
            shards=manifest.layout.shards,
            tiles=manifest.layout.tiles,
            bytes=sum(file.bytes for file in manifest.files),
            alignment=described(self.options, alignment, text.vocabulary, graph, labels),
            described=describe(mentions, entities, text.vocabulary.words) if len(mentions) else None,
            notes=self.notes,
            seconds=self.seconds,
        )

    def give_up(self) -> None:
        """Leave only what another run can take over; where there is nothing, no folder either."""
        if not self.writing or (self.folder / MANIFEST).exists():  # nothing was touched, or all was done
            return
        if kept := keep_counted(self.folder):
            how = "the same command without --overwrite" if self.options.overwrite else "the same command"
            self.progress.say(f"{self.folder}: {kept} counted shards are kept; {how} continues with them")
        elif not self.existed:
            self.folder.delete()

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - start

    def _corpus(self) -> Corpus | None:
        options = self.options
        about = options.about if options.reads_descriptions else ()
        if about and not options.texts:
            self.notes.append("There is no other text, so the descriptions are read as corpus.")
        if not (options.texts or about):
            return None
        return Corpus.find(
            options.texts,
            options.text_field,
            options.text_column,
            options.storage_options,
            about,
            options.about_columns,
            self.reading,
            options.encoding,
        )

    def _descriptions(self, graph: Graph) -> dict[str, list[str]]:
        options = self.options
        about = files_of(options.about, options.storage_options)
        texts = read_descriptions(
            about, options.about_columns, graph, self.notes, self.progress, self.reading, options.encoding
        )
        if about and not texts and not options.texts:
            raise DistjointError(f"no descriptions, and no other text: {' '.join(self.notes[-len(about) :])}")
        return texts

    def _mentions(
        self, known: Knowledge, texts: Mapping[str, Sequence[str]], alignment: Alignment, text: Text
    ) -> Mentions:
        """What is said of the entities, by their names and descriptions."""
        entities, words = known.graph.entities.list(), text.vocabulary.words
        if not entities or not words:
            return no_mentions()
        names = [known.labels.get(entity, ()) if known.labels else () for entity in entities]
        said = [texts.get(entity, ()) for entity in entities]
        with self.progress.task("reading what is said of entities") as task:
            if self.growing:
                found = self.growing.mentions(names, said, known.graph.entities.ids, texts, alignment, words)
            else:
                found = find_mentions(names, said, alignment, words, self.options)
            task.note(f"{len(found):,} mentions")
        return found

    def _write(
        self,
        workers: Workers,
        known: Knowledge,
        text: Text,
        alignment: Alignment,
        mentions: Mentions,
        rows: Rows,
        degrees: Ints,
    ) -> Manifest:
        """Write everything that goes to storage; the manifest last."""
        graph, splits, options, growing = known.graph, known.graph.splits, self.options, self.growing
        if growing and growing.is_nothing(rows, text, known, alignment):
            with self._timed("writing"):
                self.folder.make_dir()
                manifest = growing.copy(self.folder, options)
                manifest.write(self.folder)
            return manifest
        with self._timed("counting"):
            most = max(len(splits[split]) for split in SPLITS if split in splits)
            layout, written = count_text(text, rows, most, options, self.made, self.folder, workers, self.progress)
            if growing:
                written = add_counts(growing.data, layout, written, self.folder, options.seed, self.progress)
        with self._timed("writing"):
            streams = Streams(self.folder, rows, layout, options.seed)
            for part in written:
                streams.add(COOCCURRENCE, part)
            used = graph.relations.list(), graph.frequencies(), known.relation_labels
            relation_ids, relations = with_relations(growing.before, *used) if growing else number_relations(*used)
            unseen = {split: graph.unseen(split, degrees) for split in splits if len(splits[split])}
            for split, mask in unseen.items():
                weights = graph.weights if split == "train" else None
                streams.write_triples(split, splits[split], relation_ids, mask, weights)
            streams.write_pairs(alignment.samples)
            streams.write_mentions(mentions)
            self.folder.make_dir()
            streams.write_table(
                "rows.parquet", rows_table(rows, text.vocabulary, mentions.grams, graph, degrees, known.labels or {})
            )
            streams.write_table("relations.parquet", relations)
            if known.types is not None:
                streams.write_table(TYPES, types_table(known.types, graph.entities.ids, rows.of_entity))
            counts = _counts(known, text, alignment, rows, sum(part.file.rows for part in written), unseen)
            manifest = Manifest(
                layout_sizes=Sizes(**asdict(layout)),
                counts=(growing.counts(counts) if growing else counts) | _counts_of(mentions),
                options=options.record(),
                files=tuple(streams.files),
                streams={name: tuple(spans) for name, spans in streams.spans.items()},
                prefixes=known.prefixes.namespaces,
                grown_from=growing.ancestors() if growing else (),
            )
            manifest.write(self.folder)
            with suppress(DistjointError, OSError):  # it is complete, whatever else lies there
                (self.folder / unfinished.NAME).delete()
        return manifest


def _counts_of(mentions: Mentions) -> dict[str, int]:
    described = len(np.unique(mentions.entity))
    if not described:
        return {}
    named = {} if mentions.named is None else {"named": int((mentions.named > 0).sum())}
    return {MENTIONS: len(mentions), "described": described, "grams": len(mentions.grams), **named}


def _counts(
    known: Knowledge, text: Text, alignment: Alignment, rows: Rows, cells: int, unseen: Mapping[str, Bools]
) -> dict[str, int]:
    """Counts of a manifest. unseen: for each split that has triples, which have an end that training does not see"""
    counts = {
        "rows": len(rows),
        "words": len(text.vocabulary),
        "names": text.names,
        "entities": len(known.graph.entities),
        "aligned": rows.aligned,
        "documents": text.documents,
        "text_tokens": text.length,
        "tokens": text.vocabulary.tokens,
        "cells": cells,
        "relations": len(known.graph.relations),
        PAIRS: len(alignment.samples),
    }
    ends = rows.aligned_ends(known.graph.splits["train"])
    counts |= {f"aligned_ends/{number}": triples for number, triples in ends.items()}
    for split, mask in unseen.items():
        counts |= {triples_of(split): len(mask), f"unseen/{split}": int(mask.sum())}
        if untrained := int(known.graph.untrained(split).sum()):
            counts[f"unseen_relation/{split}"] = untrained
    if known.graph.weights is not None:
        counts["weighted"] = len(known.graph.weights)
    if known.types is not None:
        types = {name for names in known.types.values() for name in names}
        counts |= {"types": len(types), "typed": len(known.types)}
    return counts | known.withheld
