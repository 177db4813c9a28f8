"""Knowledge graph of a dataset: triples, types of entities, labels, and notes on what was dropped or left out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress, short
from distjoint.data.alignment import read_labels
from distjoint.data.request import PrepareOptions
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
    withheld   `withheld/valid`, `withheld/test` -> entities that are in no training triple on purpose
    """

    graph: Graph
    labels: dict[str, list[str]] | None = None
    types: dict[str, list[str]] | None = None
    notes: list[str] = field(default_factory=list)
    withheld: dict[str, int] = field(default_factory=dict)


def read_knowledge(options: PrepareOptions, progress: Progress) -> Knowledge:
    """The graph that the options name. raises DistjointError naming the file, and the line, that is wrong"""
    storage = options.storage_options
    if not options.triples:
        return Knowledge(Graph(splits={"train": np.zeros((0, 3), np.int64)}))
    with progress.task("reading triples") as task:
        graph = read_graph(
            options.paths, options.triple_columns, options.fractions, options.seed, options.storage_options
        )
        task.note(f"{short(sum(len(rows) for rows in graph.splits.values()))} triples")
    about_withheld: list[str] = []
    withheld = withhold(graph, options, about_withheld)
    notes = [*_of_triples(graph), *about_withheld]
    types = _types(locate(options.types, storage), graph, notes) if options.types else None
    labels = _labels(locate(options.labels, storage), graph, notes) if options.labels else None
    return Knowledge(graph, labels, types, notes, withheld)


def _of_triples(graph: Graph) -> list[str]:
    notes = [f"Duplicate {split} triples, dropped: {n:,}." for split, n in graph.duplicates.items() if n]
    for split, repeated in graph.repeated.items():
        if repeated:
            where = "that a split has too" if split in NEGATIVES else "that are in train too"
            notes.append(f"Triples of {split} {where}, kept: {repeated:,}.")
    return notes


def notes_on_unseen(graph: Graph) -> list[str]:
    """Sentences about triples of other splits with an entity, or a relation, that training never sees."""
    notes, degrees, names = [], graph.degrees(), (graph.entities.list(), graph.relations.list())
    for split, rows in graph.splits.items():
        for what, mask in (("an entity", graph.unseen(split, degrees)), ("a relation", graph.untrained(split))):
            if split != "train" and mask.any():
                head, relation, tail = rows[int(np.argmax(mask))].tolist()
                example = f"{names[0][head]} {names[1][relation]} {names[0][tail]}"
                relations = len(np.unique(rows[mask, 1]))
                of = f", of {relations:,} relation{'s' * (relations > 1)}" if what == "a relation" else ""
                notes.append(
                    f"Triples of {split} with {what} that no training triple has: {int(mask.sum()):,}{of} "
                    f"(such as {example})."
                )
    return notes


def _types(file: Location, graph: Graph, notes: list[str]) -> dict[str, list[str]]:
    """Types of the entities that are in the triples."""
    types = read_types(file)
    _meet(file, types, graph)
    known = {entity: names for entity, names in types.items() if entity in graph.entities}
    if others := len(types) - len(known):
        notes.append(f"Entities of {file} that are in no triple, left out: {others:,}.")
    if without := len(graph.entities) - len(known):
        notes.append(f"Entities without a type: {without:,}.")
    return known


def _labels(file: Location, graph: Graph, notes: list[str]) -> dict[str, list[str]]:
    labels = read_labels(file)
    _meet(file, labels, graph)
    if without := sum(entity not in labels for entity in graph.entities.ids):
        notes.append(f"Entities without a label: {without:,}.")
    if alone := sum(entity not in graph.entities for entity in labels):
        notes.append(f"Entities of {file} that are in no triple, but have a row: {alone:,}.")
    for entity in labels:
        graph.entities.add(entity)
    return labels


def _meet(file: Location, entities: Collection[str], graph: Graph) -> None:
    """Check that a file is about entities of the triples. raises DistjointError where none is"""
    if not any(entity in graph.entities for entity in entities):
        raise not_about(file, len(entities), next(iter(entities)), graph)


def not_about(file: Location, number: int, example: str, graph: Graph) -> DistjointError:
    """What is wrong with a file about so many entities, one of them the example, of which the graph has none."""
    known = next(iter(graph.entities.ids), "")
    return DistjointError(
        f"{file}: none of its {number:,} entities is in the graph: it has {example!r}, the graph has {known!r}"
    )
