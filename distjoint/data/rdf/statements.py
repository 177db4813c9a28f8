"""RDF files as statements: which files are RDF, of which format, and their statements as pyoxigraph reads them.

A file is read block by block, whatever its size. Formats of lines (N-Triples, N-Quads) are parsed by blocks of lines,
so that a wrong line can be told from its neighbours, and skipped; the others are one stream. What statements mean for
a graph is decided in `graph`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import IO, cast

import pyoxigraph
from pyoxigraph import Quad, QuadParser, RdfFormat, Triple

from distjoint.base.errors import DistjointError
from distjoint.data.cases import Cases
from distjoint.data.graph_formats import refuse_graph
from distjoint.data.lines import Block, Slice, decoded, line_blocks, open_text
from distjoint.data.packing import inner_name
from distjoint.data.rdf.declared import DeclaredPrefixes
from distjoint.data.rdf.plain import PlainLines, split_plain
from distjoint.data.rdf.stream import RdfStream, XmlStream, place_in_xml
from distjoint.storage import Location

FORMATS = {
    "ntriples": ("N-Triples", RdfFormat.N_TRIPLES),
    "nquads": ("N-Quads", RdfFormat.N_QUADS),
    "turtle": ("Turtle", RdfFormat.TURTLE),
    "trig": ("TriG", RdfFormat.TRIG),
    "rdfxml": ("RDF/XML", RdfFormat.RDF_XML),
}
"""Name of a format as an option -> its name in sentences, and the parser's."""
ENDINGS = {
    ".nt": "ntriples",
    ".ntriples": "ntriples",
    ".nq": "nquads",
    ".nquads": "nquads",
    ".ttl": "turtle",
    ".turtle": "turtle",
    ".trig": "trig",
    ".rdf": "rdfxml",
    ".rdfs": "rdfxml",
    ".owl": "rdfxml",
}
_OVERRULED_BY = {
    "ntriples": ("nquads", "turtle", "rdfxml"),
    "nquads": ("turtle", "rdfxml"),
    "turtle": ("rdfxml",),
    "trig": ("rdfxml",),
    "rdfxml": ("ntriples", "nquads", "turtle"),
}
"""Format by the ending -> those by content that it cannot be read as."""
TABLE = "table"
"""Word for files that are no RDF, whatever they look like."""
OF_LINES = ("ntriples", "nquads")
_NEVER = (".parquet", ".pq", ".json", ".jsonl", ".ndjson")
_NOT_READ = {".jsonld": "JSON-LD", ".hdt": "HDT"}

_LOOKED_AT, _LINES_LOOKED_AT = 1 << 16, 100
_AT_ONCE, _SHOWN, _AHEAD = 4096, 60, 2
_IRI, _NODE = rb"<[^<>\s\"]*>", rb"_:[^\s<>\"]+"
_LITERAL = rb'"(?:[^"\\]|\\.)*"(?:@[\w-]+|\^\^' + _IRI + rb")?"
_BEGIN = rb"\s*(?:%b|%b)\s*%b\s*" % (_IRI, _NODE, _IRI)
_STATEMENT = re.compile(
    _BEGIN + rb"(?:%b|%b|%b)\s*(%b|%b)?\s*\.\s*(?:#.*)?" % (_IRI, _NODE, _LITERAL, _IRI, _NODE), re.DOTALL
)
_CUT = re.compile(_BEGIN + rb'(?:"|<|_:)')
"""The beginning of a statement whose line is longer than what is looked at."""
_DIRECTIVE = re.compile(rb"\s*(?:@prefix|@base|prefix|base)\s+(?:[^\s:<]*:\s*)?<", re.IGNORECASE)
_XML, _RDF = re.compile(rb"\s*<(?:\?xml|!DOCTYPE|!--|[\w-]+:RDF)"), b"http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_HINTS = {
    "No scheme": "; relative IRIs want a base: '@base <http://...> .' in Turtle, 'xml:base' in RDF/XML",
    "UTF-8": "; write the file as UTF-8, from the encoding that it has",
}
_WHERE = re.compile(r"Parser error (?:at|between) .*?: ", re.DOTALL)


@dataclass(frozen=True)
class RdfReading:
    """How RDF is read.

    format        of the graph's files: `auto` by content and ending, `table` for none, or one of `FORMATS`
    language      of the labels and texts that are taken
    skip_errors   statements of a file that may be wrong, in formats of lines
    graph         absolute URLs of the graph's files, in order: blank nodes are named by their places here
    """

    format: str = "auto"
    language: str = "en"
    skip_errors: int = 0
    graph: tuple[str, ...] = ()

    def number(self, file: Location) -> int:
        """Place of a file of the graph, from 1; 0 for others."""
        return self.graph.index(file.absolute) + 1 if file.absolute in self.graph else 0


@dataclass(frozen=True)
class RdfFile:
    """A file of RDF. format: one of `FORMATS`; how: what says so, `ending`, `content` or `option`"""

    file: Location
    format: str
    how: str

    @property
    def title(self) -> str:
        """The format's name in sentences."""
        return FORMATS[self.format][0]


def recognise(file: Location, reading: RdfReading) -> RdfFile | None:
    """What a file is as RDF; None where it is none, or not to be read as such.

    The content decides where it is clear (N-Triples in a `.txt`, XML in a `.owl` or not), else the ending.

    raises DistjointError for a file that cannot be read, or RDF of a kind that is not
    """
    if file.absolute in reading.graph and reading.format != "auto":
        return None if reading.format == TABLE else RdfFile(file, reading.format, "option")
    name = inner_name(file.path)
    ending = name[name.rfind(".") :] if "." in file.name else ""
    if ending in _NOT_READ:
        raise DistjointError(f"{file}: {_NOT_READ[ending]} is not read; convert it to N-Triples")
    if ending in _NEVER:
        return None
    begin = _begin(file)
    said, seen = ENDINGS.get(ending), _by_content(begin)
    if seen is None and reading.format == "auto":
        refuse_graph(file, begin)
    if said is None or seen in _OVERRULED_BY[said]:
        return RdfFile(file, seen, "content") if seen else None
    return RdfFile(file, said, "ending")


def _begin(file: Location) -> bytes:
    begin = b""
    with open_text(file) as (stream, _):
        while len(begin) < _LOOKED_AT and (more := stream.read(_LOOKED_AT - len(begin))):
            begin += more
    return begin.removeprefix(b"\xef\xbb\xbf")


def _by_content(begin: bytes) -> str | None:
    """Format of which a file's first bytes are; None where they are of none."""
    if _XML.match(begin):
        return "rdfxml" if _RDF in begin else None
    cut = len(begin) >= _LOOKED_AT - 3  # a mark of the byte order may have stood before
    lines = re.split(rb"[\r\n]+", begin)
    last = lines.pop() if cut else b""
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith(b"#")][:_LINES_LOOKED_AT]
    if lines and _DIRECTIVE.match(lines[0]):
        return "turtle"
    found = [match for line in lines if (match := _STATEMENT.fullmatch(line))]
    if found:
        return "nquads" if any(match.group(1) for match in found) else "ntriples"
    return "ntriples" if not lines and _CUT.match(last) else None


def statements(rdf: RdfFile, allowed: int, skipped: Cases) -> Iterator[tuple[list[Quad], int]]:
    """The statements of a file, some at a time, and the bytes of the file, as stored, consumed for them.

    allowed   wrong statements to go on past; only in formats of lines
    skipped   gets those
    raises    DistjointError naming file, line and column of what is wrong
    """
    if rdf.format in OF_LINES:
        yield from _of_lines(rdf, allowed, skipped)
    else:
        yield from _of_stream(rdf, allowed, DeclaredPrefixes())


def plain_and_others(
    rdf: RdfFile, allowed: int, skipped: Cases, declared: DeclaredPrefixes
) -> Iterator[tuple[PlainLines | None, list[Quad]]]:
    """The same statements where lines that are plain need no parser: those, if any, and all others as parsed.

    declared  gets the prefixes that the file declares
    """
    if rdf.format not in OF_LINES:
        for quads, _ in _of_stream(rdf, allowed, declared):
            yield None, quads
        return
    lines = _Lines(rdf, allowed, skipped)
    for block, plain in _split_ahead(line_blocks(Slice(rdf.file))):
        others = lines.parsed(plain.rest)
        if others is not None and len(others) == len(plain.others):
            lines.number += block.text.count(b"\n")
            yield plain, others
        else:  # something is wrong, or a line has several statements: line by line
            yield None, lines.quads(block.text)


def _split_ahead(blocks: Iterator[Block]) -> Iterator[tuple[Block, PlainLines]]:
    """Blocks and their plain lines, found ahead by other threads: Arrow does not hold the interpreter's lock."""
    with ThreadPoolExecutor(_AHEAD, "plain lines") as pool:
        begun: deque[tuple[Block, Future[PlainLines]]] = deque()
        for block in blocks:
            begun.append((block, pool.submit(split_plain, block.text)))
            if len(begun) > _AHEAD:
                earlier, plain = begun.popleft()
                yield earlier, plain.result()
        for earlier, plain in begun:
            yield earlier, plain.result()


def _of_lines(rdf: RdfFile, allowed: int, skipped: Cases) -> Iterator[tuple[list[Quad], int]]:
    lines = _Lines(rdf, allowed, skipped)
    for block in line_blocks(Slice(rdf.file)):
        yield lines.quads(block.text), block.read


class _Lines:
    """Statements of a file of lines, past some that are wrong. number: lines that were read"""

    def __init__(self, rdf: RdfFile, allowed: int, skipped: Cases) -> None:
        self.rdf, self.allowed, self.skipped = rdf, allowed, skipped
        self.number, self._left = 0, allowed

    def parsed(self, text: bytes) -> list[Quad] | None:
        """The statements of some lines; None where something is wrong."""
        try:
            return [*_parse(self.rdf, text)]
        except SyntaxError:
            return None

    def quads(self, text: bytes) -> list[Quad]:
        """The statements of the next lines."""
        found = self.parsed(text)
        quads = found or []
        if found is None:
            for at, line in enumerate(text.split(b"\n")[:-1], self.number + 1):
                try:
                    quads += [*_parse(self.rdf, line)]
                except SyntaxError as error:
                    if (about := self._quoted(line)) is not None:
                        quads += about
                        continue
                    if not self._left:
                        raise _wrong_line(self.rdf, at, line, error, self.allowed) from None
                    self._left -= 1
                    self.skipped.add(f"{self.rdf.file}, line {at}: {line.decode(errors='replace')[:_SHOWN]!r}")
        self.number += text.count(b"\n")
        return quads

    def _quoted(self, line: bytes) -> list[Quad] | None:
        """Which triple a line is about that quotes one, `<< s p o >> p o .`, as dumps older than RDF 1.2 have it.

        None for other lines. What it says is of a node that has no name, so it is left out.
        """
        if not line.lstrip().startswith(b"<<"):
            return None
        try:
            quads = [*pyoxigraph.parse(line, format=RdfFormat.TURTLE)]
        except SyntaxError:
            return None
        return [quad for quad in quads if isinstance(quad.object, Triple)]


def _wrong_line(rdf: RdfFile, number: int, line: bytes, error: SyntaxError, allowed: int) -> DistjointError:
    place = f"{rdf.file}, line {number}"
    try:
        text = decoded(rdf.file, line, number)[(error.offset or 1) - 1 :]
    except DistjointError as wrong:
        return wrong
    more = f"; more than the {allowed:,} that --skip-errors allows" if allowed else "; '--skip-errors N' goes on past N"
    table = f", '--format {TABLE}' reads it as a table" if rdf.how != "option" and number == 1 else ""
    what = f"not {rdf.title} ({_reason(error)}) {_at(text)}"
    return DistjointError(f"{place}, column {error.offset}: {what}{more}{table}")


def _parse(rdf: RdfFile, content: bytes | RdfStream) -> QuadParser:
    return pyoxigraph.parse(cast(IO[bytes], content), format=FORMATS[rdf.format][1])


def _of_stream(rdf: RdfFile, allowed: int, declared: DeclaredPrefixes) -> Iterator[tuple[list[Quad], int]]:
    stream = XmlStream(rdf.file) if rdf.format == "rdfxml" else RdfStream(rdf.file)
    parser = _parse(rdf, stream)
    while True:
        try:
            quads: list[Quad] = [*islice(parser, _AT_ONCE)]
        except SyntaxError as error:
            raise _wrong_stream(rdf, error, allowed) from None
        except MemoryError as error:
            raise DistjointError(
                f"{rdf.file}: not {rdf.title}, or a statement of more than 16 MiB ({error}); a quote may not be closed"
            ) from None
        if not quads:
            declared.add(parser.prefixes)
            return
        yield quads, stream.taken()


def _wrong_stream(rdf: RdfFile, error: SyntaxError, allowed: int) -> DistjointError:
    line, column = error.lineno, error.offset
    if line is None or column is None:  # of XML
        line, column = place_in_xml(rdf.file, lambda stream: deque(_parse(rdf, stream), 0))
        text = _line(rdf.file, line)[:column][-_SHOWN:]
    else:
        text = _line(rdf.file, line)[column - 1 :]
    reason = _reason(error)
    hint = next((hint for what, hint in _HINTS.items() if what in reason), "")
    hint += "; --skip-errors goes on past lines, of files that '--format ntriples' can read" * (allowed > 0)
    return DistjointError(f"{rdf.file}, line {line}, column {column}: not {rdf.title} ({reason}) {_at(text)}{hint}")


def _reason(error: SyntaxError) -> str:
    """The parser's words, without the place."""
    return " ".join(_WHERE.sub("", error.msg, count=1).split())


def _at(text: str) -> str:
    return f"at {text[:_SHOWN]!r}" if text.strip() else "at the end"


def _line(file: Location, number: int) -> str:
    """A line of a file, to show it; slow, and only after a failure."""
    before = 0
    for block in line_blocks(Slice(file)):
        here = block.text.count(b"\n")
        if before + here >= number:
            return block.text.split(b"\n")[number - before - 1].decode(errors="replace").rstrip("\r")
        before += here
    return ""
