"""Input files of `prepare`: those that its options name, and those that are found in a benchmark's folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from distjoint.data.benchmark import find_benchmark
from distjoint.data.numbered import name_files
from distjoint.data.request import PrepareOptions
from distjoint.storage import Location, Options, expand, locate


def with_benchmark(options: PrepareOptions) -> tuple[PrepareOptions, str | None]:
    """The options with the files of the folder that `graph` names, and a sentence about those; what is named stays.

    raises   DistjointError where no training triples are found, or several graphs
    """
    if not options.graph:
        return options, None
    found = find_benchmark(locate(options.graph, options.storage_options))
    taken = {split: path for split, path in found.paths.items() if (options.paths[split] or path) == path}
    types = found.types if options.types in (None, found.types) else None
    files: dict[str, Any] = {"triples" if split == "train" else split: path for split, path in taken.items()}
    filled = replace(options, **files, types=options.types or types)
    beside = () if options.triples else found.by_entities
    return filled, f"Graph found: {replace(found, paths=taken, types=types, by_entities=beside)}."


def files_of(patterns: Iterable[str], storage: Options | None) -> list[Location]:
    """The files that URLs, globs and folders stand for. raises DistjointError where one finds nothing"""
    return [locate(name, storage) for pattern in patterns for name in expand(pattern, storage)]


def input_files(options: PrepareOptions) -> list[Location]:
    """Every file that is read. raises DistjointError where a pattern finds nothing"""
    storage = options.storage_options
    patterns = [*options.texts, *options.about, *(path for path in options.paths.values() if path)]
    files = files_of(patterns, storage)
    if options.triple_columns is None:
        files += {place.url: place for file in files for place in name_files(file)}.values()
    names = [
        options.labels,
        options.types,
        options.unseen,
        options.align if options.align not in ("auto", "none") else None,
    ]
    return files + [locate(name, storage) for name in names if name]
