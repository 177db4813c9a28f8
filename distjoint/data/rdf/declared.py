"""Prefixes by which a graph's names are shown: those that its files declare, else those that everybody uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from distjoint.base.prefixes import Prefixes
from distjoint.data.cases import Cases

KNOWN = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "owl": "http://www.w3.org/2002/07/owl#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "dcterms": "http://purl.org/dc/terms/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "schema": "http://schema.org/",
    "sdo": "https://schema.org/",
    "prov": "http://www.w3.org/ns/prov#",
    "geo": "http://www.w3.org/2003/01/geo/wgs84_pos#",
    "dbr": "http://dbpedia.org/resource/",
    "dbo": "http://dbpedia.org/ontology/",
    "dbp": "http://dbpedia.org/property/",
    "dbc": "http://dbpedia.org/resource/Category:",
    "wd": "http://www.wikidata.org/entity/",
    "wdt": "http://www.wikidata.org/prop/direct/",
    "p": "http://www.wikidata.org/prop/",
    "yago": "http://yago-knowledge.org/resource/",
    "freebase": "http://rdf.freebase.com/ns/",
    "gn": "http://sws.geonames.org/",
    "obo": "http://purl.obolibrary.org/obo/",
    "wn": "http://wordnet-rdf.princeton.edu/id/",
    "ontolex": "http://www.w3.org/ns/lemon/ontolex#",
}
"""As prefix.cc, Wikidata and DBpedia have them."""
_MOST = 1000
"""Prefixes that are kept: a file may declare any number."""


class DeclaredPrefixes:
    """Prefixes that files declare, gathered while these are read. One that stands for two namespaces is not used."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}
        self._two: dict[str, str] = {}

    def add(self, namespaces: Mapping[str, str]) -> None:
        """Those of one file."""
        for prefix, namespace in sorted(namespaces.items()):  # the parser gives them in no order
            if len(self._found) < _MOST and self._found.setdefault(prefix, namespace) != namespace:
                self._two.setdefault(prefix, namespace)

    def used(self, entities: Sequence[str], relations: Sequence[str], notes: list[str]) -> Prefixes:
        """Those that names begin with, the files' before those that are known; what is to be said of them."""
        ambiguous = Cases("Prefixes that stand for two namespaces, by which no name is shortened")
        for prefix, other in self._two.items():
            ambiguous.add(f"'{prefix}:' of {self._found[prefix]} and {other}")
        declared = {prefix: name for prefix, name in self._found.items() if prefix not in self._two and name}
        free = {prefix: name for prefix, name in KNOWN.items() if prefix not in self._found}
        known = {prefix: name for prefix, name in free.items() if name not in declared.values()}
        found = {**declared, **known}
        used = _used(found.values(), (entities, relations))
        found = {prefix: name for prefix, name in found.items() if name in used}
        notes += [f"{ambiguous}."] * (ambiguous.count > 0)
        if found:
            shown = ", ".join(f"{prefix}: for {name}" for prefix, name in [*found.items()][:3])
            more = f" and {len(found) - 3:,} more" * (len(found) > 3)
            notes.append(f"Names are shown, and may be typed, by prefixes: {shown}{more}.")
        return Prefixes(found)


def _used(namespaces: Iterable[str], names: Iterable[Sequence[str]]) -> set[str]:
    """The namespaces that some name begins with."""
    found: set[str] = set()
    for several in names:
        column = pa.array(several, pa.large_string())
        if pc.any(pc.match_substring(column, ":")).as_py():
            found |= {each for each in namespaces if pc.any(pc.starts_with(column, each)).as_py()}
    return found
