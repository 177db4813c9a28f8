"""Input files of `prepare`: those that its options name, and those that are found in a benchmark's folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from distjoint.base.errors import DistjointError
from distjoint.data.benchmark import DESCRIPTIONS, Benchmark, find_benchmark
from distjoint.data.numbered import name_files
from distjoint.data.request import FOUND, PrepareOptions
from distjoint.storage import Location, Options, expand, locate


def with_benchmark(options: PrepareOptions) -> tuple[PrepareOptions, list[str]]:
    """The options with the files of the folder that `graph` names, and sentences about those; what is named stays.

    raises   DistjointError where no training triples are found, or several graphs, or no descriptions that are wanted
    """
    if not options.graph:
        return options, []
    found = find_benchmark(locate(options.graph, options.storage_options))
    taken = {split: path for split, path in found.paths.items() if (options.paths[split] or path) == path}
    types = found.types if options.types in (None, found.types) else None
    files: dict[str, Any] = {"triples" if split == "train" else split: path for split, path in taken.items()}
    filled = replace(options, **files, types=options.types or types)
    beside = () if options.triples else found.by_entities
    filled, notes = _with_texts(filled, found)
    return filled, [f"Graph found: {replace(found, paths=taken, types=types, by_entities=beside)}.", *notes]


def _with_texts(options: PrepareOptions, found: Benchmark) -> tuple[PrepareOptions, list[str]]:
    """The options with the descriptions and labels beside the triples, where they are wanted, and what to say of them.

    A graph alone stays one: found texts are taken where there is a corpus, or where they are asked for.
    """
    asked = FOUND in options.about
    if asked and not found.texts:
        raise DistjointError(
            f"{found.folder}: no descriptions of entities: looked for {', '.join(DESCRIPTIONS)}; name the files with "
            "--descriptions"
        )
    if not asked and (options.descriptions or not options.texts):
        if options.descriptions or not found.texts:
            return options, []
        name = found.texts[0].rpartition("/")[2]
        return options, [f"The folder has descriptions of entities too ({name}): '--descriptions {FOUND}' reads them."]
    about = [name for each in options.about or (FOUND,) for name in (found.texts[:1] if each == FOUND else (each,))]
    notes = []
    if found.texts:
        others = [path.rpartition("/")[2] for path in found.texts[1:]]
        rather = f"; it says more than {', '.join(others)}" if others else ""
        notes.append(f"Descriptions of entities: {found.texts[0]}, found beside the triples{rather}.")
    if found.labels and not options.labels:
        notes.append(f"Labels of entities: {found.labels}, found beside the triples.")
    return replace(options, descriptions=tuple(about), labels=options.labels or found.labels), notes


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
    files += [locate(name, storage) for name in names if name]
    return files + (name_files(locate(options.labels, storage)) if options.labels else [])
