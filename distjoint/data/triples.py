"""Triples of a knowledge graph from files of any format: read, names cleaned and numbered, duplicates dropped, split.

Entities and relations get provisional ids in order of first sight here; rank decides the final ones once the
alignment is known. What a format is, is said in `tables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow.compute as pc

from distjoint.base.arrays import Bools, Doubles, Ints
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.naming import Cleaning, NameIds, alike_but_for_case
from distjoint.data.noticed import Noticed
from distjoint.data.packing import files_of
from distjoint.data.rdf import TABLE, RdfFile, RdfGraph, RdfReading, recognise, refuse_without_triples
from distjoint.data.streams import NEGATIVES, SPLITS
from distjoint.data.tables import NotAHeaderError, TableForm, TripleBatch, TripleFile, format_of
from distjoint.data.tables.dictionaries import name_files, read_dictionary
from distjoint.storage import Location, Options

_PARTS = ("head", "relation", "tail")


@dataclass
class Graph:
    """Triples of all splits, by provisional ids.

    splits       split -> int64[n, 3]: head, relation, tail
    weights      float64[n] of the training triples; None where each weighs 1
    duplicates   split -> triples that were dropped because the same one came before
    repeated     split -> triples of valid or test that are in train too (kept); of negatives, that are in any split
    labels       entity, as its file names it -> what people call it, by formats whose names say so
    cleaning     how names were cleaned
    noticed      what was guessed, left out, merged or doubted
    """

    entities: NameIds = field(default_factory=NameIds)
    relations: NameIds = field(default_factory=NameIds)
    splits: dict[str, Ints] = field(default_factory=dict)
    weights: Doubles | None = None
    duplicates: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)
    cleaning: Cleaning = field(default_factory=Cleaning)
    noticed: Noticed = field(default_factory=Noticed)

    def degrees(self) -> Ints:
        """int64[entities]: training triples each entity is in."""
        heads, tails = self.splits["train"][:, 0], self.splits["train"][:, 2]
        degrees = np.bincount(heads, minlength=len(self.entities))
        degrees += np.bincount(tails[tails != heads], minlength=len(self.entities))
        return degrees.astype(np.int64)

    def unseen(self, split: str, degrees: Ints) -> Bools:
        """bool[n]: which triples of a split have an end that is in no training triple. degrees: int64[entities]"""
        triples = self.splits[split]
        return (degrees[triples[:, 0]] == 0) | (degrees[triples[:, 2]] == 0)

    def untrained(self, split: str) -> Bools:
        """bool[n]: which triples of a split have a relation that is in no training triple."""
        return np.asarray(self.frequencies()[self.splits[split][:, 1]] == 0)

    def frequencies(self) -> Ints:
        """int64[relations]: training triples of each relation."""
        return np.bincount(self.splits["train"][:, 1], minlength=len(self.relations)).astype(np.int64)

    def keep(self, which: Ints | Bools) -> None:
        """Keep some of the training triples, with their weights."""
        self.splits["train"] = self.splits["train"][which]
        if self.weights is not None:
            self.weights = self.weights[which]


def read_graph(
    paths: Mapping[str, str | None],
    columns: str | Sequence[str] | None = None,
    fractions: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
    options: Options | None = None,
    rdf: RdfGraph | None = None,
    form: TableForm | None = None,
    cleaning: Cleaning | None = None,
    onto: Graph | None = None,
) -> Graph:
    """The graph of all splits.

    paths       `train`, `valid`, `test`, `valid_negatives`, `test_negatives`: URL, glob or folder of each; None where
                there is none
    columns     names of the columns of head, relation and tail, or their positions from 0; by order when None
    fractions   shares of the training triples to hold out for valid and test, drawn by `seed`
    rdf         keeps what else files of RDF say
    form        of tables, in place of `columns`
    onto        a graph whose names keep their numbers; its triples are not taken up
    raises      DistjointError naming file, line and value of a bad triple; UsageError for options at odds
    """
    _check(paths, fractions)
    graph, rdf = Graph(cleaning=cleaning or Cleaning()), rdf or RdfGraph(RdfReading())
    if onto is not None:
        graph.entities, graph.relations = onto.entities, onto.relations
    reader = _Reader(graph, form or TableForm.of(columns), rdf)
    for split in (*SPLITS, *NEGATIVES):
        if pattern := paths.get(split):
            rows, weights = reader.read(pattern, options, weighed=split == "train")
            if not len(rows):
                raise refuse_without_triples(pattern, rdf)
            graph.splits[split], graph.duplicates[split] = distinct(rows)
            if split == "train" and weights is not None:
                graph.weights = _summed(rows, graph.splits[split], weights)
    for what, names in (("Entities", graph.entities), ("Relations", graph.relations)):
        count, example = alike_but_for_case(names.list())
        if count:
            graph.noticed.add(f"{what} that differ from another by case alone, which stay apart", example, "", count)
    _hold_out(graph, fractions, seed)
    graph.repeated = count_repeated(graph.splits)
    return graph


def count_repeated(splits: Mapping[str, Ints]) -> dict[str, int]:
    """Split -> triples of valid or test that are in train too; of negatives, that are in any split.

    splits   split -> int64[n, 3], distinct
    """
    repeated = {}
    for split in SPLITS[1:]:
        if split in splits:
            repeated[split] = distinct(np.concatenate([splits["train"], splits[split]]))[1]
    for split in NEGATIVES:
        if split in splits:
            known, _ = distinct(np.concatenate([splits[name] for name in SPLITS if name in splits]))
            repeated[split] = distinct(np.concatenate([known, splits[split]]))[1]
    return repeated


def _check(paths: Mapping[str, str | None], fractions: tuple[float, float]) -> None:
    if not paths.get("train"):
        raise UsageError("valid and test triples need training triples; give them with --triples")
    for split, share in zip(SPLITS[1:], fractions, strict=True):
        if share and paths.get(split):
            raise UsageError(f"--{split} names a file, so --{split}-fraction cannot be {share}; give one of the two")
        if not 0 <= share < 1:
            raise UsageError(f"--{split}-fraction is {share}; it must be in [0, 1)")
    if sum(fractions) >= 1:
        raise UsageError(
            f"--valid-fraction and --test-fraction add up to {sum(fractions)}; nothing is left to train on"
        )


class _Reader:
    """Reads files of triples into a graph."""

    def __init__(self, graph: Graph, form: TableForm, rdf: RdfGraph) -> None:
        self.graph, self.form, self.rdf = graph, form, rdf

    def read(self, pattern: str, options: Options | None, weighed: bool) -> tuple[Ints, Doubles | None]:
        """Triples of the files that a pattern stands for, int64[n, 3], and their weights where they have any.

        weighed   whether weights are read

        raises DistjointError where none of several files, or the only one, holds a triple
        """
        self.form = replace(self.form, weighed=weighed)
        skipped: list[str] = []
        files = files_of([pattern], options, skipped)
        if inside := [file for file in files if file.url.startswith("zip://")]:
            shown = f"{inside[0].name} of {inside[0].url.rpartition('::')[2]}"
            self.graph.noticed.add("Files of zip archives that are read", shown, count=len(inside))
        if skipped:
            shown = sorted(set(skipped))[0]
            self.graph.noticed.add("Markers and hidden files, skipped", shown, count=len(skipped))
        found = []
        for file in files:
            try:
                numbered = self._file(file)
            except _NoTriplesError as error:
                if len(files) == 1:
                    raise DistjointError(str(error)) from None
                self.graph.noticed.add("Files without triples, skipped", str(file))
            else:
                found.append(numbered)
        if not found:
            raise DistjointError(f"{pattern}: no triples in any of its {len(files):,} files")
        rows = np.concatenate([rows for rows, _ in found])
        weights = [weight for _, weight in found if weight is not None]
        return rows, np.concatenate(weights) if weights else None

    def _file(self, file: Location) -> tuple[Ints, Doubles | None]:
        kind = recognise(file, self.rdf.reading)
        if kind:
            if self.form.columns or self.form.weight or self.form.relation:
                raise UsageError(
                    f"{file} is {kind.title}, which has no --triple-columns, --weight-column or --relation; "
                    f"'--format {TABLE}' reads it as a table"
                )
            batches = (TripleBatch(*columns) for columns in self.rdf.triples(kind))
            return self._add(_number(file, batches), file, kind)
        if not file.size():
            raise _NoTriplesError(f"{file}: the file is empty")
        source = TripleFile.look(file)
        try:
            numbers = self._number_table(source, self.form)
        except NotAHeaderError:
            numbers = self._number_table(source, replace(self.form, header=False))
        if not len(numbers.rows):
            raise _NoTriplesError(f"{file}: no triples in it")
        self._doubt(source, numbers)
        return self._add(numbers, file, None)

    def _number_table(self, source: TripleFile, form: TableForm) -> _Numbers:
        noticed, reader = Noticed(), format_of(source, form)
        batches = reader.read(source, form, noticed)
        if self.rdf.reading.format != TABLE:
            batches = _without_statements(source.file, batches)
        found = _number(source.file, batches)
        labels = reader.labels(found.entities.list(), form, noticed)
        self.graph.labels |= {entity: [label] for entity, label in labels.items()}
        self.graph.noticed.take(noticed)
        return found

    def _add(self, numbers: _Numbers, file: Location, kind: RdfFile | None) -> tuple[Ints, Doubles | None]:
        """The triples of a file by the graph's ids."""
        entities, relations = self._names(file, numbers, kind)
        for what, names, columns in (("entity", entities, (0, 2)), ("relation", relations, (1,))):
            if "" in names:
                _refuse_empty(file, numbers.rows, [k for k, name in enumerate(names) if not name], columns, what)
        of_entity, of_relation = self.graph.entities.add_all(entities), self.graph.relations.add_all(relations)
        rows = numbers.rows
        found = np.stack([of_entity[rows[:, 0]], of_relation[rows[:, 1]], of_entity[rows[:, 2]]], axis=1)
        return found, numbers.weights

    def _names(self, file: Location, numbers: _Numbers, kind: RdfFile | None) -> tuple[list[str], list[str]]:
        cleaning, noticed = self.graph.cleaning, self.graph.noticed
        entities = cleaning.all(numbers.entities.list(), "entities", noticed)
        relations = cleaning.all(numbers.relations.list(), "relations", noticed)
        if not kind and (quoted := [name for name in entities if len(name) > 1 and name[0] == name[-1] == '"']):
            fix = "CSV takes them off, TSV does not"
            noticed.add("Names of entities in quotation marks, which stay", quoted[0], fix, len(quoted))
        if kind or self.rdf.reading.format == TABLE or numbers.named:
            return entities, relations
        always = file.name.endswith(".del") or file.name.startswith("numeric_triples")
        found = []
        for place, what, names in zip(name_files(file), ("entity", "relation"), (entities, relations), strict=False):
            dictionary = read_dictionary(place, what)
            if dictionary is None:
                noticed.add("Files beside triples that number no names, not read", str(place))
                found.append(names)
            else:
                translated = dictionary.translate(file, names, always, noticed)
                found.append([cleaning.clean(name) for name in translated])
        return (found[0], found[1]) if found else (entities, relations)

    def _doubt(self, source: TripleFile, numbers: _Numbers) -> None:
        """Say where the first line may be a header of names that nobody knows: nothing in it is ever seen again."""
        rows = numbers.rows
        if self.form.header is not None or not numbers.first_line or len(rows) < 3:
            return
        head, relation, tail = rows[0]
        again = (rows[1:, 1] == relation).any() or np.isin(rows[1:, [0, 2]], [head, tail]).any()
        if not again and head != tail:
            names = numbers.entities.list()
            line = f"{names[head]!r} {numbers.relations.list()[relation]!r} {names[tail]!r}"
            fix = "--header leaves them out, --no-header says that they are triples"
            self.graph.noticed.add(
                "First lines that may be headers, as nothing in them comes again; read as triples",
                f"{line} of {source.file}",
                fix,
            )


class _NoTriplesError(DistjointError):
    """A file without triples, which is wrong only where there is no other."""


@dataclass
class _Numbers:
    """Triples of a file by numbers of its own, as the names stand there.

    named        whether the format itself has made names of numbers
    first_line   whether the first triple is the first line of lines
    """

    entities: NameIds
    relations: NameIds
    rows: Ints
    weights: Doubles | None
    named: bool
    first_line: bool


def _number(file: Location, batches: Iterator[TripleBatch]) -> _Numbers:
    entities, relations, parts, weights = NameIds(), NameIds(), [np.empty((0, 3), np.int64)], []
    named = first_line = False
    for batch in batches:
        coded = (entities.encode(batch.head), relations.encode(batch.relation), entities.encode(batch.tail))
        parts.append(np.stack(coded, axis=1))
        named, first_line = batch.named, batch.first_line
        if batch.weight is not None:
            weights.append(batch.weight.to_numpy(zero_copy_only=False))
    return _Numbers(
        entities, relations, np.concatenate(parts), np.concatenate(weights) if weights else None, named, first_line
    )


def _refuse_empty(file: Location, rows: Ints, empty: list[int], columns: Sequence[int], what: str) -> None:
    """Name the first triple that an empty name stands in."""
    places = [(int(np.argmax(found)), column) for column in columns if (found := np.isin(rows[:, column], empty)).any()]
    at, column = min(places)
    raise DistjointError(f"{file}, triple {at + 1}: the {_PARTS[column]} is empty")


def _without_statements(file: Location, batches: Iterator[TripleBatch]) -> Iterator[TripleBatch]:
    """Find N-Triples further down a table than `recognise` looks."""
    before = 0
    for batch in batches:
        brackets = pc.and_(pc.starts_with(batch.head, "<"), pc.starts_with(batch.tail, "<"))
        if pc.any(found := pc.and_(brackets, pc.ends_with(batch.tail, "."))).as_py():
            at = pc.index(found, True).as_py()
            raise DistjointError(
                f"{file}, triple {before + at + 1}: {batch.tail[at].as_py()[:80]!r} ends as a statement of N-Triples "
                f"does; '--format ntriples' reads it as such, '--format {TABLE}' as a name"
            )
        before += len(batch)
        yield batch


def _summed(rows: Ints, kept: Ints, weights: Doubles) -> Doubles:
    """float64[kept]: for each triple, the sum of the weights of all that are the same. rows: with repetitions"""
    order, ordered = np.lexsort(kept.T), np.lexsort(rows.T)
    changes = np.ones(len(rows), bool)
    changes[1:] = (rows[ordered][1:] != rows[ordered][:-1]).any(1)
    sums = np.add.reduceat(weights[ordered], np.flatnonzero(changes))
    found = np.empty(len(kept), np.float64)
    found[order] = sums  # both in one order, which all rows of a kind share
    return found


def distinct(rows: Ints) -> tuple[Ints, int]:
    """Rows without repetitions, each where it first stood, and how many were dropped."""
    again = repeated(rows)
    return rows[~again], int(again.sum())


def repeated(rows: Ints) -> Bools:
    """bool[n]: which rows, int64[n, 3], stood there before."""
    again = np.zeros(len(rows), bool)
    if len(rows):
        entities, relations = int(rows[:, [0, 2]].max()) + 1, int(rows[:, 1].max()) + 1
        if entities * entities * relations < 2**63:
            keys = (rows[:, 0] * entities + rows[:, 2]) * relations + rows[:, 1]
            order = np.argsort(keys, kind="stable")
            equal = np.equal(keys[order[1:]], keys[order[:-1]])
        else:
            order = np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))
            equal = (rows[order[1:]] == rows[order[:-1]]).all(1)
        again[order[1:]] = equal  # the order is stable, so of equal rows the first in the file comes first
    return again


def _hold_out(graph: Graph, fractions: tuple[float, float], seed: int) -> None:
    total = len(graph.splits["train"])
    shuffled = np.random.default_rng([seed, 1]).permutation(total)
    start = 0
    for split, share in zip(SPLITS[1:], fractions, strict=True):
        if share:
            stop = start + max(1, round(share * total))
            graph.splits[split] = graph.splits["train"][np.sort(shuffled[start:stop])]
            start = stop
    if start >= total:
        raise UsageError(f"{total} triples are too few to hold out {fractions[0]:g} and {fractions[1]:g} of them")
    if start:
        graph.keep(np.sort(shuffled[start:]))
