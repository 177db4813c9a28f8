"""Formats of graphs and ontologies that are neither tables nor RDF, told by how they begin: refused with what to do.

None of them is read here: programs that know them write tables or RDF.
"""

from __future__ import annotations

import re

from distjoint.base.errors import DistjointError
from distjoint.storage import Location

_ROBOT = "write RDF, for example with 'robot convert --input FILE --output graph.ttl'"
_NETWORKX = "write its edges as CSV, for example with networkx: to_pandas_edgelist(G).to_csv"
_CSV = "write its edges as CSV with a header 'source,target,label'"
_XML = rb"(?s)\s*(?:<\?xml\b[^>]*>\s*)?(?:<!--.*?-->\s*|<!DOCTYPE\b[^>\[]*(?:\[.*?\]\s*)?>\s*)*"
_FORMATS = {
    "GraphML": (_XML + rb"<(?:\w+:)?graphml\b", _NETWORKX),
    "GEXF": (_XML + rb"<(?:\w+:)?gexf\b", _NETWORKX),
    "OWL/XML": (_XML + rb"<(?:owl:)?Ontology\b", _ROBOT),
    "OWL in functional syntax": (rb"(?s)\s*(?:#[^\n]*\s+)*(?:Prefix|Ontology)\s*\(", _ROBOT),
    "OWL in Manchester syntax": (rb"\s*(?:Prefix:[ \t]+\S*:[ \t]*<|Ontology:[ \t]+<)", _ROBOT),
    "OBO": (rb"\s*(?:format-version:[ \t]|\[Term\]\s*\n)", _ROBOT),
    "GML": (rb"\s*(?:(?:Creator|Version|comment)\b[^\n]*\n\s*)*graph\s*\[\s*\n", _NETWORKX),
    "DOT": (rb"\s*(?:strict\s+)?(?:di)?graph\b[^\n\t{]*\{\s*\n", _NETWORKX),
    "Pajek": (rb"(?i)\s*\*(?:vertices|network)\b", _NETWORKX),
    "Matrix Market": (rb"%%MatrixMarket\b", _CSV),
    "Cypher": (rb"(?i)\s*(?:CREATE|MERGE|MATCH|UNWIND)\s+[(\[$][^\t\n]*\n", _CSV),
}
"""Names of formats -> how their files begin, as patterns, and what to do."""


def refuse_graph(file: Location, begin: bytes) -> None:
    """raises DistjointError for a format of graphs that is known and not read. begin: the first bytes, decompressed"""
    for name, (pattern, fix) in _FORMATS.items():
        if re.match(pattern, begin):
            raise DistjointError(f"{file}: {name}, which is not read; {fix}")
