"""Input files of `prepare`: those that its options name, and those that are found in a benchmark's folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.benchmark import DESCRIPTIONS, find_benchmark
from distjoint.data.families import Benchmark
from distjoint.data.packing import files_of
from distjoint.data.rdf import TABLE, RdfReading, recognise
from distjoint.data.request import FOUND, PrepareOptions
from distjoint.data.streams import SPLITS
from distjoint.data.tables.dictionaries import name_files
from distjoint.data.tables.queries import answer_files
from distjoint.storage import Location, locate


def with_benchmark(options: PrepareOptions) -> tuple[PrepareOptions, list[str]]:
    """The options with the files that `graph` and `found` stand for, and sentences about those; what is named stays.

    raises   DistjointError where no training triples are found, or several graphs, or no descriptions that are wanted
    """
    if not options.graph:
        return _with_texts(options, None)
    found = find_benchmark(locate(options.graph, options.storage_options), options.format)
    taken = {split: path for split, path in found.paths.items() if (options.paths[split] or path) == path}
    types = found.types if options.types in (None, FOUND, found.types) else None
    files: dict[str, Any] = {"triples" if split == "train" else split: path for split, path in taken.items()}
    filled = replace(options, **files, types=types or options.types)
    beside = () if options.triples else found.by_entities
    filled, notes = _with_texts(filled, found)
    return filled, [f"Graph found: {replace(found, paths=taken, types=types, by_entities=beside)}.", *notes]


def _with_texts(options: PrepareOptions, found: Benchmark | None) -> tuple[PrepareOptions, list[str]]:
    """The options with the descriptions and labels beside the triples, where they are wanted, and what to say of them.

    A graph alone stays one: found texts are taken where there is a corpus, or where they are asked for. RDF may have
    texts among the triples, which only reading it tells.

    found   the benchmark that `graph` names
    """
    asked = FOUND in options.about
    beside = found.texts[:1] if found else ()
    wanted = asked or bool(options.texts and not options.descriptions)
    within = _rdf_of(options) if wanted or options.types == FOUND else []
    if options.types == FOUND and not within:
        raise UsageError(f"--types {FOUND} takes rdf:type of a graph in RDF; name a file of types")
    if asked and not (beside or within):
        raise _nothing_found(found)
    if not wanted:
        if options.descriptions or not beside:
            return options, []
        name = beside[0].rpartition("/")[2]
        return options, [f"The folder has descriptions of entities too ({name}): '--descriptions {FOUND}' reads them."]
    if not (beside or within):
        return options, []
    about = [name for each in options.about or (FOUND,) for name in ((*beside, *within) if each == FOUND else (each,))]
    notes = []
    if found and found.texts:
        others = [path.rpartition("/")[2] for path in found.texts[1:]]
        rather = f"; it says more than {', '.join(others)}" if others else ""
        notes.append(f"Descriptions of entities: {found.texts[0]}, found beside the triples{rather}.")
    labels = found.labels if found else None
    if labels and not options.labels:
        notes.append(f"Labels of entities: {labels}, found beside the triples.")
    return replace(options, descriptions=tuple(about), labels=options.labels or labels), notes


def _nothing_found(found: Benchmark | None) -> DistjointError:
    if found is None:
        return UsageError(
            f"--descriptions {FOUND} looks in the folder of --graph, or in a graph of RDF; give one, or name the files"
        )
    return DistjointError(
        f"{found.folder}: no descriptions of entities: looked for {', '.join(DESCRIPTIONS)}, and for RDF; name the "
        "files with --descriptions"
    )


def reading_of(options: PrepareOptions) -> RdfReading:
    """How RDF is read for these options. raises DistjointError where a pattern of triples finds nothing"""
    files = files_of(_graph_patterns(options), options.storage_options)
    absolute = tuple(dict.fromkeys(file.absolute for file in files))
    return RdfReading(options.format, options.language or "en", options.skip_errors, absolute)


def _graph_patterns(options: PrepareOptions) -> list[str]:
    return [path for path in options.paths.values() if path]


def _rdf_of(options: PrepareOptions) -> list[str]:
    """Files of RDF among those of the graph: patterns as they are where they stand for such alone."""
    reading, names = reading_of(options), []
    for pattern in dict.fromkeys(options.paths[split] for split in SPLITS):
        files = files_of([pattern], options.storage_options) if pattern else []
        rdf = [file for file in files if recognise(file, reading)]
        names += [str(pattern)] if rdf and len(rdf) == len(files) else [file.url for file in rdf]
    return names


def input_files(options: PrepareOptions) -> list[Location]:
    """Every file that is read. raises DistjointError where a pattern finds nothing"""
    storage = options.storage_options
    patterns = [*options.texts, *options.about, *_graph_patterns(options)]
    files = files_of(patterns, storage)
    files += [place for file in files for place in answer_files(file)]
    if options.format != TABLE:
        files += {place.url: place for file in files for place in name_files(file)}.values()
    names = [
        options.types if options.types != FOUND else None,
        options.unseen,
        options.align if options.align not in ("auto", "none") else None,
    ]
    files += [locate(name, storage) for name in names if name]
    labels = files_of([options.labels], storage) if options.labels else []
    return files + labels + [place for file in labels for place in name_files(file)]
