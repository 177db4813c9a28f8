"""Triples of a knowledge graph from TSV, CSV, Parquet or RDF: read in batches, numbered, duplicates dropped, split.

Entities and relations get provisional ids in order of first sight here; rank decides the final ones once the
alignment is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from distjoint.base.arrays import Bools, Ints
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.lines import decoded, open_text, split_compression
from distjoint.data.numbered import NUMBERED, read_numbered
from distjoint.data.rdf import TABLE, RdfReading, recognise
from distjoint.data.rdf_graph import RdfGraph, refuse_without_triples
from distjoint.data.streams import NEGATIVES, SPLITS
from distjoint.storage import Location, Options, expand, locate

_PARTS = ("head", "relation", "tail")


class NameIds:
    """Strings numbered in order of first sight."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, name: str) -> bool:
        return name in self.ids

    def add(self, name: str) -> int:
        return self.ids.setdefault(name, len(self.ids))

    def list(self) -> list[str]:
        return list(self.ids)

    def encode(self, column: pa.Array) -> Ints:
        """Ids of a column of strings; new ones are added. Only distinct strings are touched in Python."""
        coded = pc.dictionary_encode(column)
        ids = np.fromiter((self.add(name) for name in coded.dictionary.to_pylist()), np.int64, len(coded.dictionary))
        return ids[coded.indices.to_numpy(zero_copy_only=False)]


@dataclass
class Graph:
    """Triples of all splits, by provisional ids.

    splits       split -> int64[n, 3]: head, relation, tail
    duplicates   split -> triples that were dropped because the same one came before
    repeated     split -> triples of valid or test that are in train too (kept); of negatives, that are in any split
    """

    entities: NameIds = field(default_factory=NameIds)
    relations: NameIds = field(default_factory=NameIds)
    splits: dict[str, Ints] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)

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


def read_graph(
    paths: dict[str, str | None],
    columns: str | Sequence[str] | None = None,
    fractions: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
    options: Options | None = None,
    rdf: RdfGraph | None = None,
) -> Graph:
    """The graph of all splits.

    paths       `train`, `valid`, `test`, `valid_negatives`, `test_negatives`: URL, glob or folder of each; None where
                there is none
    columns     names of the columns of head, relation and tail, or their positions from 0; by order when None
    fractions   shares of the training triples to hold out for valid and test, drawn by `seed`
    rdf         keeps what else files of RDF say
    raises      DistjointError naming file, line and value of a bad triple; UsageError for options at odds
    """
    _check(paths, fractions)
    graph, names, rdf = Graph(), _column_names(columns), rdf or RdfGraph(RdfReading())
    for split in (*SPLITS, *NEGATIVES):
        if pattern := paths.get(split):
            files = [locate(name, options) for name in expand(pattern, options)]
            parts = [part for file in files for part in _read(file, names, graph, rdf)]
            rows = np.concatenate(parts) if parts else np.empty((0, 3), np.int64)
            if not len(rows):
                raise refuse_without_triples(pattern, rdf)
            graph.splits[split], graph.duplicates[split] = distinct(rows)
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


def _check(paths: dict[str, str | None], fractions: tuple[float, float]) -> None:
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


def _column_names(columns: str | Sequence[str] | None) -> list[str] | None:
    if columns is None:
        return None
    names = [name.strip() for name in (columns.split(",") if isinstance(columns, str) else columns)]
    if len(names) != 3 or len(set(names)) != 3 or not all(names):
        raise UsageError(
            f"--triple-columns is {','.join(names)!r}; it takes three names, 'head,relation,tail', or numbers, '0,1,2'"
        )
    return names


def _read(file: Location, columns: list[str] | None, graph: Graph, rdf: RdfGraph) -> list[Ints]:
    """Triples of a file, int64[n, 3] for each batch; a file of RDF may have none."""
    parts = []
    name, compression = split_compression(file.path)
    parquet = name.endswith((".parquet", ".pq"))
    kind = None if parquet else recognise(file, rdf.reading)
    if kind and columns:
        raise UsageError(f"{file} is {kind.title}, which has no --triple-columns; '--format table' reads it as a table")
    if columns is None and NUMBERED.fullmatch(file.name):
        batches = read_numbered(file)
    elif kind:
        batches = rdf.triples(kind)
    elif parquet:
        batches = _parquet(file, columns)
    else:
        batches = _delimited(file, compression, name.endswith(".csv"), columns)
    rows = 0
    for head, relation, tail in batches:
        for part, column in zip(_PARTS, (head, relation, tail), strict=True):
            # Arrow reads an empty field of text as "" and a missing Parquet value as null: neither is a name.
            empty = pc.fill_null(pc.equal(column, ""), True)
            if pc.any(empty).as_py():
                line = rows + pc.index(empty, True).as_py() + 1
                raise DistjointError(f"{file}, triple {line}: the {part} is empty")
        if not kind and rdf.reading.format != TABLE:
            _refuse_statements(file, rows, head, tail)
        rows += len(head)
        coded = (graph.entities.encode(head), graph.relations.encode(relation), graph.entities.encode(tail))
        parts.append(np.stack(coded, axis=1))
    if not rows and not kind:
        raise DistjointError(f"{file}: no triples in it")
    return parts


def _refuse_statements(file: Location, before: int, head: pa.Array, tail: pa.Array) -> None:
    """Find N-Triples further down a table than `recognise` looks. before: triples that came before these"""
    brackets = pc.and_(pc.starts_with(head, "<"), pc.starts_with(tail, "<"))
    if pc.any(found := pc.and_(brackets, pc.ends_with(tail, "."))).as_py():
        at = pc.index(found, True).as_py()
        raise DistjointError(
            f"{file}, triple {before + at + 1}: {tail[at].as_py()[:80]!r} ends as a statement of N-Triples does; "
            f"'--format ntriples' reads it as such, '--format {TABLE}' as a name"
        )


def _parquet(file: Location, columns: list[str] | None) -> Iterator[tuple[pa.Array, pa.Array, pa.Array]]:
    try:
        with file.open_input() as stream:
            source = pq.ParquetFile(stream, page_checksum_verification=True)
            order = _positions(file, source.schema_arrow.names, columns)
            for batch in source.iter_batches(columns=[source.schema_arrow.names[k] for k in order]):
                found = [batch.column(source.schema_arrow.names[k]) for k in order]
                yield tuple(pc.cast(column, pa.string()) for column in found)
    except (pa.ArrowException, OSError) as error:
        raise DistjointError(f"{file}: damaged or not Parquet ({str(error).splitlines()[0]})") from error


def _delimited(
    file: Location, compression: str | None, comma: bool, columns: list[str] | None
) -> Iterator[tuple[pa.Array, pa.Array, pa.Array]]:
    header = columns is not None and not all(name.isdigit() for name in columns)
    delimiter = "," if comma else "\t"
    if file.size() == 0:
        raise DistjointError(f"{file}: the file is empty")
    convert = _all_strings(file, compression, delimiter, header)
    try:
        with open_text(file, compression) as (stream, _):
            reader = pa_csv.open_csv(
                stream,
                pa_csv.ReadOptions(autogenerate_column_names=not header, block_size=8 << 20),
                pa_csv.ParseOptions(delimiter=delimiter, quote_char='"' if comma else False),
                convert,
            )
            order = _positions(file, reader.schema.names, columns)
            for batch in reader:
                yield tuple(batch.column(k) for k in order)
    except (pa.ArrowException, DistjointError) as error:
        _diagnose(file, compression, delimiter, columns)
        if isinstance(error, DistjointError):
            raise
        raise DistjointError(f"{file}: {str(error).splitlines()[0]}") from error


def _all_strings(file: Location, compression: str | None, delimiter: str, header: bool) -> pa_csv.ConvertOptions:
    """Column types that keep Arrow from guessing: `007`, `1.0` and `true` are names here."""
    with open_text(file, compression) as (stream, _):
        first = bytes(stream.read(1 << 16)).decode(errors="replace").lstrip("\ufeff\r\n").splitlines()
    if not first:
        raise DistjointError(f"{file}: no triples in it")
    # A header may quote its names; naming more columns than there are does no harm.
    fields = first[0].split(delimiter)
    names = [name.strip().strip('"') for name in fields] if header else [f"f{k}" for k in range(len(fields))]
    return pa_csv.ConvertOptions(column_types={name: pa.string() for name in names}, check_utf8=True)


def _positions(file: Location, names: list[str], columns: list[str] | None) -> list[int]:
    """Which columns are head, relation and tail."""
    if columns is None:
        if len(names) == 3:
            return [0, 1, 2]
        raise DistjointError(
            f"{file}: {len(names)} column{'s' * (len(names) != 1)}, a triple has three (head, relation, tail); "
            "name them with --triple-columns"
        )
    if all(name.isdigit() for name in columns):
        order = [int(name) for name in columns]
        if max(order) >= len(names):
            raise DistjointError(f"{file}: it has columns 0 to {len(names) - 1}, not {','.join(columns)}")
        return order
    missing = [name for name in columns if name not in names]
    if missing:
        raise DistjointError(f"{file}: no column '{missing[0]}'; it has {', '.join(names)}")
    return [names.index(name) for name in columns]


def _diagnose(file: Location, compression: str | None, delimiter: str, columns: list[str] | None) -> None:
    """Find the line Arrow could not read and raise an error that shows it; slow, and only after a failure."""
    wanted = 3 if columns is None else None
    with open_text(file, compression) as (stream, _):
        rest, number = b"", 0
        while True:
            block = bytes(stream.read(1 << 20))
            lines = (rest + block).split(b"\n")
            rest = lines.pop() if block else b""
            for line in lines:
                number += 1
                wanted = _diagnose_line(file, number, line.rstrip(b"\r"), delimiter, wanted)
            if not block:
                return


def _diagnose_line(file: Location, number: int, line: bytes, delimiter: str, wanted: int | None) -> int | None:
    if not line:
        return wanted
    text = decoded(file, line, number)
    fields = text.count(delimiter) + 1
    if wanted is not None and fields != wanted and '"' not in text:
        name = "tabs" if delimiter == "\t" else "commas"
        hint = "; name the three of a triple with --triple-columns" if fields > wanted and number == 1 else ""
        raise DistjointError(
            f"{file}, line {number}: {fields} column{'s' * (fields != 1)} instead of {wanted} (separated by {name}) "
            f"in {text[:80]!r}{hint}"
        )
    return wanted or fields


def distinct(rows: Ints) -> tuple[Ints, int]:
    """Rows without repetitions, each where it first stood, and how many were dropped."""
    if not len(rows):
        return rows, 0
    order = np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))
    ordered = rows[order]
    again = np.zeros(len(rows), bool)
    # lexsort is stable, so of equal rows the first in the file comes first.
    again[order[1:]] = (ordered[1:] == ordered[:-1]).all(1)
    return rows[~again], int(again.sum())


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
        graph.splits["train"] = graph.splits["train"][np.sort(shuffled[start:])]
