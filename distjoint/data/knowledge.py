"""Knowledge graph of a dataset: triples, types of entities, labels, and notes on what was dropped or left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from distjoint.base.errors import DistjointError
from distjoint.base.prefixes import Prefixes
from distjoint.base.progress import Progress, short
from distjoint.data.alignment import NoLabelsError, read_labels
from distjoint.data.cases import Cases
from distjoint.data.handed_paths import Handed
from distjoint.data.naming import Cleaning
from distjoint.data.packing import files_of
from distjoint.data.rdf import RdfGraph, RdfReading, recognise
from distjoint.data.request import FOUND, PrepareOptions
from distjoint.data.streams import NEGATIVES
from distjoint.data.triples import Graph, read_graph
from distjoint.data.types import read_types
from distjoint.data.withheld import withhold
from distjoint.storage import Location, locate


@dataclass(frozen=True)
class Knowledge:
    """A graph as it was read. Entities of labels have a row each, those of types alone have not.

    labels     entity -> label, alias...; None where no labels were given
    types      entity -> types; None where none were given
    notes      sentences: duplicates dropped, entities left out
    relation_labels   relation -> label
    prefixes   by which names are shown
    withheld   `withheld/valid`, `withheld/test` -> entities that are in no training triple on purpose
    """

    graph: Graph
    labels: dict[str, list[str]] | None = None
    types: dict[str, list[str]] | None = None
    notes: list[str] = field(default_factory=list)
    relation_labels: dict[str, str] = field(default_factory=dict)
    prefixes: Prefixes = field(default_factory=Prefixes)
    withheld: dict[str, int] = field(default_factory=dict)


def read_knowledge(
    options: PrepareOptions, progress: Progress, reading: RdfReading | None = None, onto: Knowledge | None = None
) -> Knowledge:
    """The graph that the options name. raises DistjointError naming the file, and the line, that is wrong

    reading   of RDF
    onto      what is known already: its names keep their numbers, its labels go first; its triples are not taken up
    """
    storage = options.storage_options
    empty = Graph(splits={"train": np.zeros((0, 3), np.int64)}, cleaning=Cleaning(options.nfc))
    if onto is not None:
        empty.entities, empty.relations = onto.graph.entities, onto.graph.relations
    if not options.triples and onto is None:
        return Knowledge(empty)
    rdf = RdfGraph(reading or RdfReading(), types=options.types == FOUND)
    with progress.task("reading triples") as task:
        graph = empty
        if options.triples:
            graph = read_graph(
                options.paths,
                fractions=options.fractions,
                seed=options.seed,
                options=storage,
                rdf=rdf,
                form=options.table_form,
                cleaning=empty.cleaning,
                onto=onto.graph if onto else None,
            )
        task.note(f"{short(sum(len(rows) for rows in graph.splits.values()))} triples")
    about_withheld: list[str] = []
    withheld = withhold(graph, options, about_withheld)
    notes = [*rdf.notes(), *graph.noticed.notes(), *_of_triples(graph), *about_withheld]
    types = _types(options, graph, rdf, notes) if options.types else None
    found = graph.cleaning.keys({**graph.labels, **rdf.labels()})
    relation_labels = {name: names[0] for name, names in found.items() if name in graph.relations}
    labels = _labels(options, graph, rdf, found, notes, onto.labels if onto else None)
    prefixes = rdf.declared.used(graph.entities.list(), graph.relations.list(), notes)
    if rdf.texts.count and not options.descriptions:
        has = f"{rdf.texts.count:,} descriptions of entities too (such as {rdf.texts.example})"
        notes.append(f"The graph's RDF has {has}: '--descriptions {FOUND}' reads them.")
    return Knowledge(graph, labels, types, notes, relation_labels, prefixes, withheld)


def _of_triples(graph: Graph) -> list[str]:
    weighed = {"train": "their weights added up"} if graph.weights is not None else {}
    notes = [
        f"Duplicate {split} triples, {weighed.get(split, 'dropped')}: {n:,}."
        for split, n in graph.duplicates.items()
        if n
    ]
    if (weights := graph.weights) is not None:
        least, most = weights.min(), weights.max()
        mean = f"the mean of {weights.mean():.4g} counts as 1"
        notes.append(f"Weights of training triples: {least:.4g} to {most:.4g}; {mean}.")
    for split, repeated in graph.repeated.items():
        if repeated:
            where = "that a split has too" if split in NEGATIVES else "that are in train too"
            notes.append(f"Triples of {split} {where}, kept: {repeated:,}.")
    return notes


def notes_on_unseen(graph: Graph, prefixes: Prefixes) -> list[str]:
    """Sentences about triples of other splits with an entity, or a relation, that training never sees.

    prefixes   by which names are shown
    """
    notes, degrees, names = [], graph.degrees(), (graph.entities.list(), graph.relations.list())
    for split, rows in graph.splits.items():
        for what, mask in (("an entity", graph.unseen(split, degrees)), ("a relation", graph.untrained(split))):
            if split != "train" and mask.any():
                head, relation, tail = rows[int(np.argmax(mask))].tolist()
                example = " ".join(map(prefixes.shown, (names[0][head], names[1][relation], names[0][tail])))
                relations = len(np.unique(rows[mask, 1]))
                of = f", of {relations:,} relation{'s' * (relations > 1)}" if what == "a relation" else ""
                notes.append(
                    f"Triples of {split} with {what} that no training triple has: {int(mask.sum()):,}{of} "
                    f"(such as {example})."
                )
    return notes


def _types(options: PrepareOptions, graph: Graph, rdf: RdfGraph, notes: list[str]) -> dict[str, list[str]]:
    """Types of the entities that are in the triples."""
    found, source = (rdf, "rdf:type") if options.types == FOUND else (None, str(options.types))
    if found and not found.types:
        raise DistjointError(f"--types {FOUND}: no rdf:type in the graph; name a file of types, or leave it")
    if not found:
        file = locate(source, options.storage_options)
        found = _of_rdf(file, rdf.reading, "types", notes)
    types = {entity: [*names] for entity, names in (found.types or {}).items()} if found else None
    types = types if types is not None else read_types(file, options.type_pair, notes)
    types = graph.cleaning.keys(types)
    _meet(source, types, graph)
    known = {entity: names for entity, names in types.items() if entity in graph.entities}
    if others := [entity for entity in types if entity not in known]:
        notes.append(f"Entities of {source} that are in no triple, left out: {len(others):,} (such as {others[0]}).")
    if without := [entity for entity in graph.entities.ids if entity not in known]:
        notes.append(f"Entities without a type: {len(without):,} (such as {without[0]}).")
    return known


def _labels(
    options: PrepareOptions,
    graph: Graph,
    rdf: RdfGraph,
    found: dict[str, list[str]],
    notes: list[str],
    earlier: Mapping[str, list[str]] | None = None,
) -> dict[str, list[str]] | None:
    """Labels of entities, by a file and by the graph's RDF; the file's go first. Those of relations alone are left out.

    found   by the graph's files

    Entities that have a label alone are added to the graph.
    """
    labels, source = dict(found), "labels in RDF"
    of_relations = Cases("Labels of relations, by which they can be named")
    for name in [name for name in labels if name in graph.relations and name not in graph.entities]:
        of_relations.add(f"{labels.pop(name)[0]!r} of {name}")
    notes += [f"{of_relations}."] * (of_relations.count > 0)
    if options.labels:
        source = "labels" if isinstance(options.labels, Handed) else options.labels
        named = graph.cleaning.keys(_named(options, rdf, notes))
        if earlier is None or options.triples:
            _meet(source, named, graph)
        labels = {**labels, **named}
    for entity, names in (earlier or {}).items():
        labels[entity] = [*dict.fromkeys((*names, *labels.get(entity, ())))]
    if not labels:
        return None
    if without := sum(entity not in labels for entity in graph.entities.ids):
        notes.append(f"Entities without a label: {without:,}.")
    if alone := [entity for entity in labels if entity not in graph.entities]:
        notes.append(
            f"Entities of {source} that are in no triple, but have a row: {len(alone):,} (such as {alone[0]})."
        )
    for entity in labels:
        graph.entities.add(entity)
    return labels


def _named(options: PrepareOptions, rdf: RdfGraph, notes: list[str]) -> dict[str, list[str]]:
    """Labels by the files that the options name; those of several parts are put together."""
    skipped: list[str] = []
    files = files_of([str(options.labels)], options.storage_options, skipped)
    full = [file for file in files if file.size()] or files
    if left := len(files) - len(full) + len(skipped):
        notes.append(f"Files of {options.labels} that are empty or markers, skipped: {left:,}.")
    named: dict[str, list[str]] = {}
    for file in full:
        within = _of_rdf(file, rdf.reading, "labels", notes)
        try:
            found = within.labels() if within else read_labels(file, notes)
        except NoLabelsError:
            if file is full[-1] and not named:
                raise
            continue
        for entity, names in found.items():
            named[entity] = [*dict.fromkeys((*named.get(entity, ()), *names))]
    return named


def _of_rdf(file: Location, reading: RdfReading, what: str, notes: list[str]) -> RdfGraph | None:
    """What a file of labels or types says, where it is RDF. what: `labels` or `types`, for which alone it is read"""
    if not (kind := recognise(file, reading)):
        return None
    rdf = RdfGraph(reading, types=what == "types")
    left = {"triples": sum(len(heads) for heads, _, _ in rdf.triples(kind)), "descriptions": rdf.texts.count}
    left |= {"names": len(rdf.labels())} if rdf.types is not None else {}
    notes += rdf.notes()
    if said := ", ".join(f"{count:,} {name}" for name, count in left.items() if count):
        notes.append(f"{file} is read for {what} alone, left out: {said}.")
    if not (rdf.labels() if rdf.types is None else rdf.types):
        raise DistjointError(f"{file}: no {what} in it. {' '.join(rdf.notes())}")
    return rdf


def _meet(source: str, entities: Collection[str], graph: Graph) -> None:
    """Check that a file is about entities of the triples. raises DistjointError where none is"""
    if not any(entity in graph.entities for entity in entities):
        raise not_about(source, len(entities), next(iter(entities)), graph)


def not_about(source: str, number: int, example: str, graph: Graph) -> DistjointError:
    """What is wrong with a file about so many entities, one of them the example, of which the graph has none."""
    known = next(iter(graph.entities.ids), "")
    return DistjointError(
        f"{source}: none of its {number:,} entities is in the graph: it has {example!r}, the graph has {known!r}"
    )
