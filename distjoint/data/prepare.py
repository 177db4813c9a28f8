"""`prepare`: raw text and triples in, a dataset on storage out.

The order of work: read the graph and the labels, read the text once into a spool of token ids, choose the
vocabulary, align, number the rows, count co-occurrences shard by shard, write triples and alignment by
partition, and the manifest last. Nothing is written to the output before all input has been read. What was counted
before an interruption is kept, and taken over by the next run (see `unfinished`).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from distjoint.arrays import Ints
from distjoint.backends.cpu.compiled import announce
from distjoint.data import unfinished
from distjoint.data.alignment import (
    EXAMPLES,
    Alignment,
    Name,
    align_by_names,
    align_by_pairs,
    names_of,
    read_pairs,
)
from distjoint.data.corpus import Corpus
from distjoint.data.inputs import input_files, with_benchmark
from distjoint.data.knowledge import Knowledge, read_knowledge
from distjoint.data.manifest import NAME as MANIFEST
from distjoint.data.manifest import Manifest
from distjoint.data.output import Streams, clear, continues, keep_counted, refuse_output
from distjoint.data.partition import write_table
from distjoint.data.request import PrepareOptions
from distjoint.data.rows import Rows, number_relations, number_rows, rows_table
from distjoint.data.shards import count_text
from distjoint.data.streams import COOCCURRENCE, PAIRS, SPLITS
from distjoint.data.summary import Aligned, Summary
from distjoint.data.text import Text, no_text, read_text
from distjoint.data.triples import Graph
from distjoint.data.types import NAME as TYPES
from distjoint.data.types import types_table
from distjoint.data.unfinished import Made, made_from
from distjoint.data.vocabulary import Vocabulary, key
from distjoint.data.workers import Local, Workers
from distjoint.errors import DistjointError, UsageError
from distjoint.options import keywords
from distjoint.progress import Progress, Silent
from distjoint.storage import Location, locate
from distjoint.table.layout import Sizes

__all__ = ["Summary", "prepare"]


@keywords(PrepareOptions)
def prepare(options: PrepareOptions) -> Summary:
    """Make a dataset of text, of triples, or of both. Every path is a URL, a glob or a folder where files are read.

    Where an earlier call with the same arguments was interrupted, the shards it has counted are taken over.

    {parameters}

    raises DistjointError naming the file, line and value that is wrong; UsageError for options
    """
    options, found = with_benchmark(options)
    folder, progress = locate(options.out, options.storage_options), options.progress or Silent()
    refuse_output(folder, options.overwrite)
    if options.scratch is not None and not Path(options.scratch).is_dir():
        raise UsageError(f"{options.scratch}: no such folder for temporary files")
    preparation = _Preparation(options, folder, made_from(options, input_files(options)), progress)
    if found:
        preparation.notes.append(found)
    try:
        with announce(progress), _workers_of(options, progress) as workers:
            return preparation.run(workers)
    except BaseException:
        # Not even Ctrl-C leaves anything half-written. By now nobody is writing any more.
        with suppress(Exception):
            preparation.give_up()
        raise


@contextmanager
def _workers_of(options: PrepareOptions, progress: Progress) -> Iterator[Workers]:
    if options.workers > 1 and options.corpus:
        from distjoint.data import ray_driver

        with ray_driver.cluster(options.workers, progress) as cluster:
            yield cluster
    else:
        with tempfile.TemporaryDirectory(prefix="distjoint-", dir=options.scratch) as place:
            yield Local(Path(place))


class _Preparation:
    """One run of `prepare`, phase by phase.

    made    what the dataset is made of
    """

    def __init__(self, options: PrepareOptions, folder: Location, made: Made, progress: Progress) -> None:
        self.options, self.folder, self.made, self.progress = options, folder, made, progress
        self.existed, self.writing = folder.exists(), False
        self.continued = continues(folder, made, options.overwrite, progress)
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []

    def run(self, workers: Workers) -> Summary:
        corpus = self._corpus()
        with self._timed("graph"):
            known = read_knowledge(self.options, self.progress)
            graph, labels = known.graph, known.labels
            self.notes += known.notes
        names = names_of(graph.entities.list(), labels) if self.options.align == "auto" else []
        pairs = self._pairs(graph)
        with self._timed("text"):
            spelled = [name.text for called in names for name in called] + [word for _, word in pairs]
            text = read_text(self.options, corpus, spelled, workers, self.progress) if corpus else no_text(self.options)
        entities, degrees = graph.entities.list(), graph.degrees()
        with self._timed("alignment"):
            alignment = self._align(names, pairs, text.vocabulary, entities, degrees)
            rows = number_rows(len(text.vocabulary), entities, degrees, alignment)
        self.writing = True
        if not self.continued:
            clear(self.folder)
        manifest = self._write(workers, known, text, alignment, rows, degrees)
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
        if not options.corpus:
            return None
        return Corpus.find(options.texts, options.text_field, options.text_column, options.storage_options)

    def _pairs(self, graph: Graph) -> list[tuple[int, str]]:
        """(entity, word) of the file that --align names."""
        if self.options.align in ("auto", "none"):
            return []
        place = locate(self.options.align, self.options.storage_options)
        if not place.exists():
            raise DistjointError(f"{place}: no such file; --align takes 'auto', 'none' or a file of pairs")
        pairs = read_pairs(place)
        for entity, word in pairs:
            if entity not in graph.entities:
                raise DistjointError(f"{place}: entity {entity!r} (word {word!r}) is in no triple and has no label")
        return [(graph.entities.ids[entity], word) for entity, word in pairs]

    def _align(
        self,
        names: list[list[Name]],
        pairs: list[tuple[int, str]],
        words: Vocabulary,
        entities: list[str],
        degrees: Ints,
    ) -> Alignment:
        most_frequent, tokenizer = self.options.align_ambiguous == "most-frequent", self.options.tokenizer
        if not len(words) or not entities or self.options.align == "none":
            return Alignment(unmatched=list(range(len(entities))))
        if self.options.align == "auto":
            found = align_by_names(names, words.words, degrees.tolist(), tokenizer, most_frequent, entities)
        else:
            spelled = {word: k for k, word in enumerate(words.words)}
            forms = {key(word, tokenizer): k for word, k in reversed(spelled.items())}
            known = [(entity, spelled.get(word, forms.get(key(word, tokenizer), -1))) for entity, word in pairs]
            if missing := sum(word < 0 for _, word in known):
                self.notes.append(f"Pairs of {self.options.align} whose word is not in the vocabulary: {missing:,}.")
            kept = list(dict.fromkeys((entity, word) for entity, word in known if word >= 0))
            found = align_by_pairs(kept, words.counts.tolist(), degrees.tolist(), most_frequent)
        ambiguous = {entity for entity, _, _ in found.ambiguous}
        found.unmatched = [e for e in range(len(entities)) if e not in found.shared and e not in ambiguous]
        return found

    def _write(
        self,
        workers: Workers,
        known: Knowledge,
        text: Text,
        alignment: Alignment,
        rows: Rows,
        degrees: Ints,
    ) -> Manifest:
        """Everything that goes to storage; the manifest last."""
        graph, labels = known.graph, known.labels or {}
        with self._timed("counting"):
            most = max(len(graph.splits[split]) for split in SPLITS if split in graph.splits)
            layout, written = count_text(text, rows, most, self.options, self.made, self.folder, workers, self.progress)
        with self._timed("writing"):
            streams = Streams(self.folder, rows, layout, self.options.seed)
            for part in written:
                streams.add(COOCCURRENCE, part)
            entities, relations = graph.entities.list(), graph.relations.list()
            relation_ids, relation_table = number_relations(relations, graph.frequencies())
            counts = {
                "rows": len(rows),
                "words": len(text.vocabulary),
                "names": text.names,
                "entities": len(entities),
                "aligned": rows.aligned,
                "documents": text.documents,
                "text_tokens": text.length,
                "tokens": text.vocabulary.tokens,
                "cells": sum(part.file.rows for part in written),
                "relations": len(relations),
                PAIRS: len(alignment.samples),
            }
            counts |= {
                f"aligned_ends/{ends}": number for ends, number in rows.aligned_ends(graph.splits["train"]).items()
            }
            for split, triples in graph.splits.items():
                if len(triples):
                    unseen = (degrees[triples[:, 0]] == 0) | (degrees[triples[:, 2]] == 0)
                    streams.write_triples(split, triples, relation_ids, unseen)
                    counts |= {f"triples/{split}": len(triples), f"unseen/{split}": int(unseen.sum())}
            streams.write_pairs(alignment.samples)
            self.folder.make_dir()
            table = rows_table(rows, text.vocabulary.words, text.vocabulary.counts, entities, degrees, labels)
            streams.files.append(write_table(self.folder, "rows.parquet", table))
            streams.files.append(write_table(self.folder, "relations.parquet", relation_table))
            if known.types is not None:
                typed = types_table(known.types, graph.entities.ids, rows.of_entity)
                streams.files.append(write_table(self.folder, TYPES, typed))
                counts |= {"types": len(set(typed["type"].to_pylist())), "typed": len(known.types)}
            manifest = Manifest(
                layout_sizes=Sizes(**asdict(layout)),
                counts=counts,
                options=self.options.record(),
                files=tuple(streams.files),
                streams={name: tuple(spans) for name, spans in streams.spans.items()},
            )
            manifest.write(self.folder)
            with suppress(DistjointError, OSError):  # it is complete, whatever else lies there
                (self.folder / unfinished.NAME).delete()
        return manifest

    def _aligned(
        self,
        alignment: Alignment,
        names: list[list[Name]],
        words: Vocabulary,
        entities: list[str],
        labels: Mapping[str, Sequence[str]] | None,
        graph: Graph,
    ) -> Aligned | None:
        if not len(words) or not entities or self.options.align == "none":
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
