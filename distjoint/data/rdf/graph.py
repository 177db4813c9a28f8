"""What statements of RDF mean for a graph: triples between IRIs and blank nodes, names and texts among the literals.

Names and texts are those of the predicates that people publish them by, in one language or in none. Whatever else there
is, other literals, quoted triples, names of graphs, is counted and said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyoxigraph import BlankNode, DefaultGraph, Literal, NamedNode

from distjoint.base.errors import DistjointError
from distjoint.data.cases import Cases
from distjoint.data.rdf.declared import DeclaredPrefixes
from distjoint.data.rdf.statements import OF_LINES, RdfFile, RdfReading, plain_and_others, statements

_RDFS, _SKOS = "http://www.w3.org/2000/01/rdf-schema#", "http://www.w3.org/2004/02/skos/core#"
RDF_TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
NAMES = {
    f"{_RDFS}label": "rdfs:label",
    f"{_SKOS}prefLabel": "skos:prefLabel",
    "http://schema.org/name": "schema:name",
    "https://schema.org/name": "schema:name",
    "http://xmlns.com/foaf/0.1/name": "foaf:name",
    f"{_SKOS}altLabel": "skos:altLabel",
}
"""Predicates of names; of the first one here that an entity has comes its label, from all others aliases."""
TEXTS = {
    f"{_RDFS}comment": "rdfs:comment",
    "http://schema.org/description": "schema:description",
    "https://schema.org/description": "schema:description",
    f"{_SKOS}definition": "skos:definition",
    "http://dbpedia.org/ontology/abstract": "dbo:abstract",
    "http://purl.org/dc/terms/description": "dcterms:description",
    "http://purl.org/dc/elements/1.1/description": "dc:description",
}
"""Predicates of descriptions."""
_NO_LANGUAGE, _LANGUAGES = 2, 3
_SHOWN, _PREDICATES = 40, 3

Columns = tuple[pa.Array, pa.Array, pa.Array]
Pair = tuple[str, str]


class RdfGraph:
    """Everything but the triples in RDF files of a graph, gathered while these are read.

    files    that were read
    types    entity -> its types, where `rdf:type` gives types rather than triples; else None
    texts    descriptions in the language that is wanted
    declared prefixes of the files
    """

    def __init__(self, reading: RdfReading, types: bool = False) -> None:
        self.reading = reading
        self.files: list[RdfFile] = []
        self.types: dict[str, dict[str, None]] | None = {} if types else None
        self.texts, self.declared = Cases(), DeclaredPrefixes()
        self.nodes = Cases("Blank nodes, which are named by file and node")
        self.skipped = Cases("Statements that are wrong, skipped")
        self._ranks = {predicate: rank for rank, predicate in enumerate(NAMES)}
        self._names: dict[int, dict[str, list[str]]] = {}
        self._others: dict[str, Cases] = defaultdict(Cases)
        language = reading.language
        self._foreign = Cases(f"Names and descriptions in other languages than {language}, left out")
        self._empty = Cases("Names without text, left out")
        self._quoted = Cases("Statements about quoted triples, left out")
        self._named = Cases("Statements in named graphs, read as one graph with the others")

    def triples(self, rdf: RdfFile) -> Iterator[Columns]:
        """Heads, relations and tails of a file's triples, some at a time; keeps what else it says.

        raises DistjointError naming file, line and column of what is wrong
        """
        self.files.append(rdf)
        nodes = _Nodes(rdf, self.reading, self.nodes)
        in_graphs = rdf.format in ("nquads", "trig")
        for plain, quads in plain_and_others(rdf, self.reading.skip_errors, self.skipped, self.declared):
            heads, relations, tails, which = [], [], [], []
            for place, quad in enumerate(quads):
                subject, thing, relation = quad.subject, quad.object, quad.predicate.value
                head = subject.value if type(subject) is NamedNode else nodes.name(subject)
                if in_graphs and type(quad.graph_name) is not DefaultGraph:
                    self._named.add(self._named.example or str(quad.graph_name))
                if type(thing) is Literal and head:
                    self._literal(head, relation, thing)
                    continue
                tail = thing.value if type(thing) is NamedNode else nodes.name(thing)
                if not (head and tail):
                    self._quoted.add(self._quoted.example or _short(str(quad)))
                else:
                    heads.append(head)
                    relations.append(relation)
                    tails.append(tail)
                    which.append(place)
            columns = pa.array(heads, pa.string()), pa.array(relations, pa.string()), pa.array(tails, pa.string())
            yield self._without_types(plain.merged(columns, np.array(which, np.int64)) if plain else columns)

    def _without_types(self, columns: Columns) -> Columns:
        """Some triples without those of `rdf:type`, where it gives types."""
        if self.types is None:
            return columns
        typed = pc.equal(columns[1], RDF_TYPE)
        for head, kind in zip(*(columns[k].filter(typed).to_pylist() for k in (0, 2)), strict=True):
            self.types.setdefault(head, {})[kind] = None
        head, relation, tail = (column.filter(pc.invert(typed)) for column in columns)
        return head, relation, tail

    def _literal(self, head: str, relation: str, literal: Literal) -> None:
        if relation not in NAMES and relation not in TEXTS:
            others = self._others[relation]
            others.add(others.example or _short(f"<{head}> {literal}"))
        elif (fit := _fit(literal, self.reading.language)) is None:
            self._foreign.add(self._foreign.example or _short(f"<{head}> {literal}"))
        elif relation in TEXTS:
            self.texts.add(f"{TEXTS[relation]} of {head}")
        elif name := " ".join(literal.value.replace("\0", " ").split()):
            self._names.setdefault(self._ranks[relation] * _LANGUAGES + fit, {}).setdefault(head, []).append(name)
        else:
            self._empty.add(head)

    def labels(self) -> dict[str, list[str]]:
        """Entity -> label, alias, alias ...: names of the best predicate and the nearest language come first."""
        labels: dict[str, list[str]] = {}
        for rank in sorted(self._names):
            for entity, names in self._names[rank].items():
                labels.setdefault(entity, []).extend(names)
        return {entity: [*dict.fromkeys(names)] for entity, names in labels.items()}

    def notes(self) -> list[str]:
        """Sentences about the files, and about what of them is left out or changed."""
        notes = _of_files(self.files)
        if self._others:
            notes.append(_of_others(self._others))
        if self._foreign.count:
            notes.append(f"{self._foreign}; '--language' takes another.")
        kinds = (self._empty, self._quoted, self._named, self.nodes, self.skipped)
        return notes + [f"{kind}." for kind in kinds if kind.count]


def texts_of(rdf: RdfFile, reading: RdfReading) -> Iterator[tuple[list[Pair], int, list[str]]]:
    """Descriptions in a file, some at a time.

    yields   pairs of entity and text; the bytes of the file, as stored, consumed for them; at the end sentences about
             what of the file is left out, where it is none of the graph's, of which `RdfGraph` tells
    raises   DistjointError naming file, line and column of what is wrong
    """
    skipped, others = Cases("Lines that are wrong, skipped"), Cases("Statements that are no descriptions")
    foreign = Cases(f"Descriptions in other languages than {reading.language}, left out")
    nodes = _Nodes(rdf, reading, Cases())
    for quads, read in statements(rdf, reading.skip_errors, skipped):
        pairs = []
        for quad in quads:
            subject, thing = quad.subject, quad.object
            head = subject.value if type(subject) is NamedNode else nodes.name(subject)
            if type(thing) is not Literal or quad.predicate.value not in TEXTS:
                nodes.name(thing)  # so that each has the name that it has among the triples
                others.add(head)
            elif _fit(thing, reading.language) is None:
                foreign.add(head)
            else:
                pairs.append((head, thing.value.replace("\0", " ").strip()))
        yield pairs, read, []
    kinds = () if reading.number(rdf.file) else (others, foreign, skipped)
    yield [], 0, [f"{rdf.file}: {kind}." for kind in kinds if kind.count]


class _Nodes:
    """Names of a file's blank nodes: `_:2.b1` is b1 of file 2, `_:2#7` the seventh of those that have no name there."""

    def __init__(self, rdf: RdfFile, reading: RdfReading, seen: Cases) -> None:
        self.number, self.seen, self.all_labelled = reading.number(rdf.file), seen, rdf.format in OF_LINES
        self._names: dict[str, str] = {}
        self._without = 0

    def name(self, node: object) -> str:
        """Name of a blank node; empty for what is none."""
        if type(node) is not BlankNode:
            return ""
        label = node.value
        if (name := self._names.get(label)) is None:
            if not self.all_labelled and _is_made(label):
                self._without += 1
                name = f"_:{self.number}#{self._without}"
            else:
                name = f"_:{self.number}.{label}"
            self._names[label] = name
            self.seen.add(name)
        return name


def _is_made(label: str) -> bool:
    """Whether a label looks like those that the parser draws at random: 128 bits, without zeros in front."""
    return 20 <= len(label) <= 32 and not label.strip("0123456789abcdef")


def _fit(literal: Literal, language: str) -> int | None:
    """How near a literal's language is to one: 0 the same, 1 a variety of it, 2 none at all; None for another."""
    tag, wanted = literal.language, language.lower()
    if not tag:
        return _NO_LANGUAGE
    tag = tag.lower()
    return 0 if tag == wanted else 1 if tag.startswith(f"{wanted}-") else None


def _of_files(files: list[RdfFile]) -> list[str]:
    """Which files were read as what, a sentence for each format and reason."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for rdf in files:
        groups[rdf.title, rdf.how].append(rdf.file.url)
    said = {"ending": "", "content": " by content ('--format table' reads a table)", "option": ", as --format says"}
    return [
        f"Read as {title}{said[how]}: {', '.join(names[:3])}{f' and {len(names) - 3:,} more' * (len(names) > 3)}."
        for (title, how), names in groups.items()
    ]


def _of_others(others: Mapping[str, Cases]) -> str:
    most = sorted(others.items(), key=lambda item: -item[1].count)
    shown = "; ".join(f"<{name}> {tally.count:,} (such as {tally.example})" for name, tally in most[:_PREDICATES])
    more = f"; and {len(most) - _PREDICATES:,} more predicates" * (len(most) > _PREDICATES)
    return f"Literals that are no names or descriptions, left out: {sum(t.count for _, t in most):,}: {shown}{more}."


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 3 * _SHOWN else f"{text[: 3 * _SHOWN]}..."


def refuse_without_triples(source: str, rdf: RdfGraph) -> DistjointError:
    """What is wrong with RDF files that hold no triple between entities."""
    return DistjointError(f"{source}: no triples between IRIs or blank nodes in it; {' '.join(rdf.notes())}")
