"""RDF as a graph: every format says the same, names and texts come along, nothing is left out without a word."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args
from unicodedata import normalize

import fsspec
import pyoxigraph as ox
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from distjoint.base.errors import DistjointError
from distjoint.data.cases import Cases
from distjoint.data.rdf import ENDINGS, FORMATS, RdfFile, RdfGraph, RdfReading, recognise, statements, texts_of
from distjoint.data.request import Format
from distjoint.data.triples import read_graph
from distjoint.storage import locate

pytestmark = pytest.mark.unit

R, P, RDFS = "http://zoo.example/r/", "http://zoo.example/p#", "http://www.w3.org/2000/01/rdf-schema#"
COMMENT, LABEL = f"{RDFS}comment", f"{RDFS}label"
TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
FUZZED = int(os.environ.get("DISTJOINT_FUZZ", "100"))


def node(name: str) -> ox.NamedNode:
    return ox.NamedNode(name if ":" in name else R + name)


def said(head: str, relation: str, thing: Any) -> ox.Quad:
    return ox.Quad(node(head), ox.NamedNode(relation), node(thing) if isinstance(thing, str) else thing)


def text(value: str, language: str | None = "en") -> ox.Literal:
    return ox.Literal(value, language=language)


ZOO = [
    said("Zoë", P + "eats", "grass"),
    said("Zoë", P + "lives.in", "St._John%27s"),
    said("lion", P + "eats", "Zoë"),
    said("lion", TYPE, "Cat"),
    said("Zoë", LABEL, text("Zoë\tthe  zebra")),
    said("Zoë", LABEL, text("Zebra", None)),
    said("Zoë", "http://www.w3.org/2004/02/skos/core#altLabel", text("stripes", "en-GB")),
    said("Zoë", LABEL, text("das Zebra", "de")),
    said("lion", "https://schema.org/name", text("lion")),
    said("lion", "http://xmlns.com/foaf/0.1/name", text("Leo")),
    said("grass", LABEL, text("")),
    said("unicorn", LABEL, text("unicorn")),
    said(P + "eats", LABEL, text("eats")),
    said("lion", COMMENT, text("a big cat,\nthat roars \\ \"loudly\"")),
    said("grass", "http://dbpedia.org/ontology/abstract", text("green", "EN-us")),
    said("grass", COMMENT, text("Gras", "de")),
    said("lion", P + "weight", ox.Literal(190)),
    said("Zoë", P + "weight", ox.Literal(300)),
    said("lion", P + "born", ox.Literal("1970-01-02")),
]  # fmt: skip
TRIPLES = {
    (R + "Zoë", P + "eats", R + "grass"),
    (R + "Zoë", P + "lives.in", R + "St._John%27s"),
    (R + "lion", P + "eats", R + "Zoë"),
    (R + "lion", TYPE, R + "Cat"),
}
LABELS = {
    R + "Zoë": ["Zoë the zebra", "Zebra", "stripes"],
    R + "lion": ["lion", "Leo"],
    R + "unicorn": ["unicorn"],
    P + "eats": ["eats"],
}
TEXTS = [(R + "lion", 'a big cat,\nthat roars \\ "loudly"'), (R + "grass", "green")]


def written(quads: Iterable[ox.Quad], format: str) -> bytes:
    kind = FORMATS[format][1]
    several = quads if kind.supports_datasets else [quad.triple for quad in quads]
    made = ox.serialize(several, format=kind, prefixes={"r": R, "p": P} if format in ("turtle", "trig") else None)
    assert made is not None
    return made


def read(path: Path | str, **options: Any) -> tuple[set[tuple[str, str, str]], RdfGraph]:
    rdf = RdfGraph(RdfReading(graph=(locate(str(path)).absolute,), **options))
    graph = read_graph({"train": str(path)}, rdf=rdf)
    entities, relations = graph.entities.list(), graph.relations.list()
    return {(entities[h], relations[r], entities[t]) for h, r, t in graph.splits["train"].tolist()}, rdf


def texts(path: Path | str, format: str = "auto") -> list[tuple[str, str]]:
    reading = RdfReading(format, graph=(locate(str(path)).absolute,))
    rdf = recognise(locate(str(path)), reading)
    assert rdf
    return [pair for pairs, _, _ in texts_of(rdf, reading) for pair in pairs]


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Formats


def test_every_format_has_an_option() -> None:
    assert {*get_args(Format)} == {"auto", "table", *FORMATS}
    assert {*ENDINGS.values()} == {*FORMATS}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_compressed_or_not_says_the_same(format: str, tmp_path: Path) -> None:
    content = written(ZOO, format)
    ending = next(ending for ending, named in ENDINGS.items() if named == format)
    packed = {"": content, ".gz": gzip.compress(content), ".xz": lzma.compress(content), ".bz2": bz2.compress(content)}
    for end, stored in {**packed, ".zst": zstandard.compress(content)}.items():
        place = put(tmp_path / f"zoo{ending}{end}", stored)
        triples, rdf = read(place)
        assert (triples, rdf.labels(), texts(place)) == (TRIPLES, LABELS, TEXTS)
    with fsspec.open(f"memory://zoo/no-ending-{format}", "wb") as stream:
        stream.write(b"\xef\xbb\xbf" + content)
    triples, rdf = read(f"memory://zoo/no-ending-{format}", format=format)
    assert (triples, rdf.labels()) == (TRIPLES, LABELS)


IRIS = st.builds(
    lambda name: ox.NamedNode(R + normalize("NFC", name)),
    st.text(st.characters(categories=["L", "N"], exclude_characters="#"), max_size=9),
)
NODES = st.builds(ox.BlankNode, st.from_regex(r"[a-z]{1,3}[0-9]", fullmatch=True))
# XML cannot say what is no character of XML, whatever the serializer writes.
CONTENT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))
TEXT_LITERALS = st.builds(ox.Literal, CONTENT.map(lambda t: t + "\n\t\"'\\<&>"), language=st.sampled_from(["en", "de"]))
QUADS = st.lists(
    st.builds(
        ox.Quad,
        st.one_of(IRIS, NODES),
        st.sampled_from([ox.NamedNode(name) for name in (P + "eats", LABEL, COMMENT, P + "weight")]),
        st.one_of(IRIS, NODES, TEXT_LITERALS, st.builds(ox.Literal, st.integers())),
    ),
    max_size=8,
)


@given(QUADS)
def test_what_is_written_in_any_format_is_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, quads: list[ox.Quad]
) -> None:
    folder, quads = tmp_path_factory.mktemp("rdf"), [said("a", P + "is", "b"), *quads]

    def called(end: Any) -> str:
        return end.value if isinstance(end, ox.NamedNode) else f"_:1.{end.value}"

    triples = {
        (called(q.subject), q.predicate.value, called(q.object)) for q in quads if type(q.object) is not ox.Literal
    }
    names = [q for q in quads if type(q.object) is ox.Literal and q.object.language in ("en", None)]
    labels: dict[str, set[str]] = {}
    for q in names:
        if q.predicate.value == LABEL:
            labels.setdefault(called(q.subject), set()).add(" ".join(q.object.value.split()))
    about = sorted((called(q.subject), q.object.value.strip()) for q in names if q.predicate.value == COMMENT)
    for format in FORMATS:
        place = put(folder / f"graph.{format}", written(quads, format))
        found, rdf = read(place, format=format)
        assert found == triples
        assert {entity: {*names} for entity, names in rdf.labels().items()} == labels
        assert sorted(texts(place, format)) == about


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_is_read_as_a_stream(format: str, tmp_path: Path) -> None:
    many = [said(f"e{k}", P + "note", text("x" * 100)) for k in range(20_000)]
    place = put(tmp_path / "a", written(many, format))
    rdf = recognise(locate(str(place)), RdfReading(format, graph=(str(place),)))
    assert rdf
    read = [consumed for _, consumed in statements(rdf, 0, Cases())]
    assert len(read) > 4
    assert max(read) < place.stat().st_size / 2
    assert sum(read) == place.stat().st_size


# Recognition

NT = f"<{R}a> <{P}is> <{R}b> .\n"


@pytest.mark.parametrize(
    ("name", "content", "format", "how"),
    [
        ("a.nt", NT, "ntriples", "ending"),
        ("a.tsv", NT.replace(" ", "\t"), "ntriples", "content"),
        ("a.tsv", f"<{R}a>\t<{P}is>\t<{R}b> .\n", "ntriples", "content"),
        ("a.csv", f"# made by us\n\n_:x <{P}is> _:y.\n", "ntriples", "content"),
        ("a", f'<{R}a> <{LABEL}> "one \\" . two"@en-GB . # yes\r\n', "ntriples", "content"),
        ("a.txt", f'<{R}a> <{COMMENT}> "{"long " * 20_000}"@en .\n', "ntriples", "content"),
        ("a.txt", NT.replace(" .", f" <{R}g> ."), "nquads", "content"),
        ("a.nt", NT.replace(" .", f" <{R}g> ."), "nquads", "content"),
        ("a.nq", NT, "nquads", "ending"),
        ("a.ttl", NT, "turtle", "ending"),
        ("a.txt", f"# x\nPREFIX r: <{R}>\nr:a r:b r:c .\n", "turtle", "content"),
        ("a.nt", f"@prefix : <{R}> .\n:a :b :c .\n", "turtle", "content"),
        ("a.owl", f"@base <{R}> .\n<a> <b> <c> .\n", "turtle", "content"),
        ("a.ttl", written(ZOO, "rdfxml").decode(), "rdfxml", "content"),
        ("a.xml", written(ZOO, "rdfxml").decode(), "rdfxml", "content"),
        ("a.txt", "a\tb\tc\n", None, None),
        ("a.tsv", "<a>\t<b>\t<c>\n", None, None),
        ("a.xml", "<?xml version='1.0'?>\n<html/>", None, None),
        ("a.txt", "prefix\tof\tword\n", None, None),
        ("a.txt", "", None, None),
        ("a.json", NT, None, None),
    ],
)
def test_rdf_is_recognised_by_content_and_by_ending(
    name: str, content: str, format: str | None, how: str | None, tmp_path: Path
) -> None:
    for place in (put(tmp_path / name, content), put(tmp_path / f"{name}.gz", gzip.compress(content.encode()))):
        found = recognise(locate(str(place)), RdfReading())
        assert (found and found.format, found and found.how) == (format, how)


# What is wrong

PREFIX = f"@prefix r: <{R}> .\n"
HEAD = '<?xml version="1.0"?>\n<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:p="http://p/">\n'
ABOUT = '<rdf:Description rdf:about="http://a"><p:is rdf:resource="http://%s"/></rdf:Description>\n'


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.nt", NT * 9000 + f"<{R}a> <{R}b c> <{R}d> .\n", "line 9001, column 26: not N-Triples (Invalid IRI code"),
        (
            "a.nt",
            NT + "\n# x\n<a> <b> <c> .\n",
            "line 4, column 1: not N-Triples (No scheme found in an",
        ),
        ("a.tsv", NT + "x\ty\tz\n", "line 2, column 1: not N-Triples"),
        ("a.nt", "x\ty\tz\n" + NT, "goes on past N, '--format table' reads it as a table"),
        ("a.nt", NT + NT.strip() + NT, "line 2, column 78: not N-Triples (Only a single triple"),
        ("a.nt", NT.encode() + b'<http://a> <http://b> "\xe4" .\n', "line 2: byte 0xe4 is not UTF-8"),
        ("a.nt", NT + f'<{R}a> <{LABEL}> "open .', "line 2, column 71: not N-Triples (Unexpected end"),
        (
            "a.ttl",
            f"{PREFIX}r:a r:b\n q:c .\n",
            "line 3, column 2: not Turtle (The prefix q: has not been",
        ),
        ("a.ttl", "<a> <b> <c> .", "at '<a> <b> <c> .'; relative IRIs want a base: '@base <http://...> .'"),
        ("a.ttl", PREFIX.encode() + b"r:a r:b '\xe4' .", "line 2, column 10: not Turtle (Invalid UTF-8"),
        ("a.ttl.gz", gzip.compress(NT.encode() * 9, mtime=0)[:-12], "the file is cut short"),
        ("a.ttl", "", "the file is empty"),
        ("a.ttl", f'{PREFIX}r:a r:b """{"x " * (9 << 20)}', "not Turtle, or a statement of more than 16 MiB"),
        (
            "a.rdf",
            HEAD + ABOUT % "b" + ABOUT % "b c" + "</rdf:RDF>",
            "line 4, column 71: not RDF/XML (error",
        ),
        ("a.rdf", HEAD + ABOUT % "b", "line 5, column 1: not XML (no element found); the file is cut short"),
        ("a.rdf", HEAD + ABOUT % "b" + "</rdf:RDF", "line 4, column 1: not XML (unclosed token)"),
        ("a.rdf", '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>' + HEAD[22:], "entity 'b' of its DTD is not"),
        ("a.rdf", '<!DOCTYPE x [<!ENTITY a SYSTEM "/etc/passwd">]>' + HEAD[22:], "entity 'a' of its DTD is not read"),
        ("a.nt", f'<{R}a> <{R}b> "c" .\n', "no triples between IRIs or blank nodes in it; Read as N-Triples"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_column(
    name: str, content: str | bytes, says: str, tmp_path: Path
) -> None:
    with pytest.raises(DistjointError) as caught:
        read(put(tmp_path / name, content))
    assert says in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_wrong_lines_are_skipped_up_to_a_number(tmp_path: Path) -> None:
    place = put(tmp_path / "a.nt", written(ZOO, "ntriples") + b"<a> <b> <c> .\nnonsense\n" + NT.encode())
    triples, rdf = read(place, skip_errors=2)
    assert triples == {*TRIPLES, (R + "a", P + "is", R + "b")}
    assert f"Statements that are wrong, skipped: 2 (such as {place}, line 20: '<a> <b> <c> .')." in rdf.notes()
    with pytest.raises(DistjointError, match=r"line 21, .*; more than the 1 that --skip-errors allows"):
        read(place, skip_errors=1)
    with pytest.raises(DistjointError, match=r"not Turtle .*; --skip-errors goes on past lines, of files that"):
        read(place, skip_errors=9, format="turtle")


def test_lines_about_quoted_triples_of_older_dumps_are_left_out_and_counted(tmp_path: Path) -> None:
    place = tmp_path / "facts.nt"
    place.write_text(
        '<x:a> <x:r> <x:b> .\n<< <x:a> <x:r> <x:b> >> <x:since> "2001" .\n<< <x:a> <x:r> <x:b> >> <x:by> <x:c> .\n'
    )
    rdf = RdfGraph(RdfReading())
    graph = read_graph({"train": str(place)}, rdf=rdf)
    assert graph.entities.list() == ["x:a", "x:b"] and len(graph.splits["train"]) == 1
    assert "Statements about quoted triples, left out: 2" in "\n".join(rdf.notes())
    place.write_text("<< <x:a> <x:r> >> <x:by> <x:c> .\n")
    with pytest.raises(DistjointError, match=r"facts\.nt, line 1"):
        read_graph({"train": str(place)})


def test_the_entities_of_a_dtd_that_people_write_are_read(tmp_path: Path) -> None:
    content = f'<!DOCTYPE rdf:RDF [<!ENTITY r "{R}">]>' + HEAD[22:] + ABOUT.replace("http://%s", "&r;b") + "</rdf:RDF>"
    assert read(put(tmp_path / "a.owl", content))[0] == {("http://a", "http://p/is", R + "b")}


_PART = st.text(st.sampled_from("ab/:#%4é\u200e\ue000[]@?\\ ~'\U0001f600\t\r{"), max_size=6)
_BEGIN = st.sampled_from(["http://a/", "http://", "x:", "", "h2.+-://a.b/", "http://a:8/"])
_IRIS = st.builds("<{}{}>".format, _BEGIN, _PART)
_ANY = _IRIS | st.sampled_from(["_:b", "<http://a/b>", "<http://a/b>", '"t \\" <x> ."@en', '"1"', "<http://a/\\u00e9>"])
_GAP, _END = st.sampled_from([" ", " ", "\t", "", "  "]), st.sampled_from([".", ". ", "", ". #"])
_PLAIN = "<http://a/b> <http://a/b> <http://a/b> ."
_LINE = st.builds("{}{}{}{}{}{}{}".format, _ANY, _GAP, _IRIS, _GAP, _ANY, _GAP, _END)
_LINES = st.lists(_LINE | st.sampled_from(["", " ", f"# {_PLAIN}", _PLAIN]), min_size=1, max_size=6)


@settings(max_examples=FUZZED // 2, deadline=None)
@given(_LINES, st.sampled_from(["\n", "\r\n"]), st.integers(0, 6), st.booleans())
def test_lines_that_need_no_parser_say_what_it_says(lines: list[str], end: str, allowed: int, quads: bool) -> None:
    place = locate("memory://plain.nt")
    place.write_bytes(end.join([*lines, ""]).encode(errors="replace"))
    rdf = RdfFile(place, "nquads" if quads else "ntriples", "ending")
    parsed, error, skipped = [], "", Cases()
    try:
        parsed = [quad for several, _ in statements(rdf, allowed, skipped) for quad in several]
    except DistjointError as wrong:
        error = str(wrong)
    graph = RdfGraph(RdfReading(skip_errors=allowed))
    try:
        columns = [column.to_pylist() for batch in graph.triples(rdf) for column in batch]
    except DistjointError as wrong:
        assert str(wrong) == error
        return
    assert not error and graph.skipped.count == skipped.count
    named = [quad for quad in parsed if not isinstance(quad.object, ox.Literal)]
    assert columns[1] == [quad.predicate.value for quad in named]
    for column, ends in ((columns[0], "subject"), (columns[2], "object")):
        nodes = [getattr(quad, ends) for quad in named]
        assert [name if name.startswith("_:") else f"<{name}>" for name in column] == [
            "_:0.b" if isinstance(node, ox.BlankNode) else f"<{node.value}>" for node in nodes
        ]


def test_damaged_files_are_read_or_refused_by_name(tmp_path: Path) -> None:
    """Cut short, or with some bytes shuffled: what is read is made of the bytes that are there, without a traceback."""
    rng, refused = random.Random(5), 0
    files = {format: written(ZOO, format) for format in FORMATS}
    for turn in range(FUZZED):
        format = [*FORMATS][turn % len(FORMATS)]
        content = bytearray(files[format])
        if turn % 3:
            at, size = rng.randrange(len(content)), rng.randrange(2, 9)
            some = content[at : at + size]
            rng.shuffle(some)
            content[at : at + size] = some
        else:
            del content[rng.randrange(len(content)) :]
        name = f"a{rng.choice(['.txt', '.tsv', '', *[end for end, kind in ENDINGS.items() if kind == format]])}"
        place = put(tmp_path / name, bytes(content))
        try:
            triples, _ = read(place)
        except DistjointError as error:
            refused += 1
            assert str(place) in str(error)
            assert len(str(error)) < 2000
        else:
            assert all(part[:2] == "_:" or ":" in part for triple in triples for part in triple)
            assert not any(part.startswith("<") or part.endswith(" .") for triple in triples for part in triple)
    assert refused > FUZZED / 4
