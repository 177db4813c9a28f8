"""Datasets of RDF: where its files are, what statements mean, and that nothing is left out without a word."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyoxigraph
import pytest
from rich.console import Console
from runs import write_run
from test_prepare_benchmark import triples_of
from test_rdf import COMMENT, NT, RDFS, TEXTS, TRIPLES, TYPE, ZOO, P, R, put, read, written

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.alignment import Name, names_of
from distjoint.data.benchmark import find_benchmark
from distjoint.data.dataset import Dataset
from distjoint.data.rdf import ENDINGS
from distjoint.data.summary import Summary
from distjoint.storage import locate

pytestmark = pytest.mark.unit


def prepared(folder: Path, **options: Any) -> tuple[Summary, Dataset]:
    given: dict[str, Any] = {"min_count": 1, "shards": 2, "overwrite": True, **options}
    given = {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}
    summary = distjoint.prepare(str(folder / "data"), **given)
    return summary, Dataset.open(str(folder / "data"))


def test_statements_are_never_cut_into_names_but_by_request(tmp_path: Path) -> None:
    place = put(tmp_path / "a.tsv", NT.replace(" <", "\t<"))
    summary, data = prepared(tmp_path, triples=place)
    assert triples_of(data, "train") == {(R + "a", P + "is", R + "b")}
    assert f"Read as N-Triples by content ('--format table' reads a table): {place}." in summary.notes
    _, data = prepared(tmp_path, triples=place, format="table")
    assert triples_of(data, "train") == {(f"<{R}a>", f"<{P}is>", f"<{R}b> .")}
    place = put(tmp_path / "a.txt", "x\ty\tz\n" * 200 + NT.replace(" <", "\t<"))
    with pytest.raises(DistjointError, match=r"a.txt, triple 201: '<.*r/b> .' ends as a statement of N-Triples does"):
        prepared(tmp_path, triples=place)
    with pytest.raises(UsageError, match=r"a.nt is N-Triples, which has no --triple-columns"):
        prepared(tmp_path, triples=put(tmp_path / "a.nt", NT), triple_columns="0,1,2")
    with pytest.raises(DistjointError, match="JSON-LD is not read; convert it to N-Triples"):
        prepared(tmp_path, triples=put(tmp_path / "a.jsonld", "{}"))


# Where the files are


def test_splits_in_rdf_are_found_in_a_folder(tmp_path: Path) -> None:
    for ending, format in ENDINGS.items():
        folder = tmp_path / ending[1:]
        for k, split in enumerate(("train", "valid", "test")):
            put(folder / f"{split}{ending}.gz", gzip.compress(written(ZOO[k : k + 1], format)))
        assert [path.rpartition("/")[2] for path in find_benchmark(locate(str(folder))).paths.values()] == [
            f"{split}{ending}.gz" for split in ("train", "valid", "test")
        ]
    _, data = prepared(tmp_path, graph=tmp_path / "ttl")
    assert triples_of(data, "test") == {(R + "lion", P + "eats", R + "Zoë")}


def test_a_folder_without_splits_and_a_file_are_training_triples(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    put(dump / "a.nt", written(ZOO[:2], "ntriples"))
    put(dump / "b.nt", written(ZOO[2:], "ntriples"))
    put(dump / "README.md", "about")
    summary, data = prepared(tmp_path, graph=dump, valid_fraction=0.25)
    assert triples_of(data, "train") | triples_of(data, "valid") == TRIPLES
    assert len(triples_of(data, "valid")) == 1
    assert any(note.startswith(f"Graph found: {dump}: *.nt") for note in summary.notes)
    put(dump / "c.ttl", written(ZOO[2:], "turtle"))
    with pytest.raises(DistjointError, match=r"RDF of 2 endings \(.nt, .ttl\) and others \(README.md\)"):
        prepared(tmp_path, graph=dump)
    (dump / "README.md").unlink()
    assert triples_of(prepared(tmp_path, graph=dump)[1], "train") == TRIPLES
    assert triples_of(prepared(tmp_path, graph=dump / "c.ttl")[1], "train") == {*TRIPLES} - {
        (R + "Zoë", P + "eats", R + "grass"),
        (R + "Zoë", P + "lives.in", R + "St._John%27s"),
    }
    with pytest.raises(DistjointError, match="is a file; --graph takes the folder of a benchmark"):
        prepared(tmp_path, graph=put(tmp_path / "a.txt", "a\tb\tc\n"))


# What statements mean


def test_names_types_and_what_is_left_out_are_said(tmp_path: Path) -> None:
    place = put(tmp_path / "zoo.nt", written(ZOO, "ntriples"))
    summary, data = prepared(tmp_path, triples=place)
    rows = data.rows().to_pydict()
    assert dict(zip(rows["entity"], rows["label"], strict=True)) == {
        **{R + "Zoë": "Zoë the zebra", R + "lion": "lion", R + "unicorn": "unicorn"},
        **dict.fromkeys([R + "grass", R + "St._John%27s", R + "Cat"]),
    }
    for note in (
        f"Read as N-Triples: {place}.",
        f"Literals that are no names or descriptions, left out: 3: <{P}weight> 2 (such as <{R}lion> "
        f'"190"^^<http://www.w3.org/2001/XMLSchema#integer>); <{P}born> 1 (such as <{R}lion> "1970-01-02").',
        "Names and descriptions in other languages than en, left out: 2 "
        f"(such as <{R}Zoë> \"das Zebra\"@de); '--language' takes another.",
        f"Names without text, left out: 1 (such as {R}grass).",
        f"Labels of relations, by which they can be named: 1 (such as 'eats' of {P}eats).",
        f"Entities of labels in RDF that are in no triple, but have a row: 1 (such as {R}unicorn).",
        f"The graph's RDF has 2 descriptions of entities too (such as rdfs:comment of {R}lion): "
        "'--descriptions found' reads them.",
    ):
        assert note in summary.notes
    summary, data = prepared(tmp_path, triples=place, types="found", language="de", descriptions="none")
    assert triples_of(data, "train") == {triple for triple in TRIPLES if triple[1] != TYPE}
    assert (summary.counts["types"], summary.counts["typed"]) == (1, 1)
    assert "das Zebra" in data.rows()["label"].to_pylist()
    assert not any("--descriptions" in note for note in summary.notes)
    labels = put(tmp_path / "labels.tsv", f"{R}lion\tSimba\n")
    _, data = prepared(tmp_path, triples=place, labels=labels)
    assert {"Simba", "Zoë the zebra"} < {*data.rows()["label"].to_pylist()}


PREFIXED = f"""@prefix r: <{R}> . @prefix : <{P}> . @prefix unused: <http://u/> . @prefix two: <{R}l> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
r:Zoe :eats r:grass ; rdfs:label "Zoe" . r:lion :eats r:Zoe ; :livesIn <http://dbpedia.org/resource/Kenya> ;
  :LIVESIN r:Zoe .
:eats rdfs:label "feeds on" . :livesIn rdfs:seeAlso r:grass .
"""


def test_names_are_shown_and_taken_by_prefixes_and_stored_whole(tmp_path: Path) -> None:
    place = put(tmp_path / "zoo.ttl", PREFIXED)
    put(tmp_path / "more/two.ttl", f"@prefix two: <http://v/> . <{R}Zoe> <{P}eats> <{R}Zoe> .")
    summary, data = prepared(tmp_path, triples=place, test=tmp_path / "more/two.ttl", align="none")
    prefixes = {"r": R, "": P, "rdfs": RDFS, "dbr": "http://dbpedia.org/resource/"}
    assert dict(data.manifest.prefixes) == prefixes
    names = {*data.rows()["entity"].to_pylist()} | {*data.relations()["name"].to_pylist()}
    assert {R + "lion", P + "eats"} <= names and not any(name.startswith(("r:", ":")) for name in names)
    assert (
        f"Prefixes that stand for two namespaces, by which no name is shortened: 1 (such as 'two:' of {R}l and "
        "http://v/)." in summary.notes
    )
    assert any(
        note.startswith(f"Names are shown, and may be typed, by prefixes: : for {P}, r: for {R}, ")
        for note in summary.notes
    )
    # The same names without prefixes make the same dataset, whatever they are shown by.
    plain = put(tmp_path / "zoo.nt", b"".join(_plain(place)))
    _, other = prepared(tmp_path / "plain", triples=plain, test=tmp_path / "more/two.ttl", align="none")
    assert other.manifest.prefixes == {key: prefixes[key] for key in ("rdfs", "dbr")}
    assert other.manifest.fingerprint() == data.manifest.fingerprint()

    relations = data.relations()["name"].to_pylist()
    random = np.random.default_rng(0)
    dense = {"relation": random.normal(size=(2 * len(relations), 4))}
    vectors = random.normal(size=(data.manifest.counts["entities"], 4))
    run = distjoint.load(str(write_run(tmp_path / "run", tmp_path / "data", entities=vectors, dense=dense)))
    for typed in (R + "lion", "r:lion", "r:Lion"):
        assert run.explain(typed, ":eats", "Zoe").head == run.explain(R + "lion", P + "eats", R + "Zoe").head
    assert run.explain("r:lion", "feeds on", "r:grass", 0).relation == P + "eats"
    assert run.explain("r:lion", "seeAlso", "dbr:Kenya", 0).relation_label == "rdfs:seeAlso"
    assert run.explain("r:lion", ":livesIn", "dbr:Kenya", 0).relation == P + "livesIn"
    shown = {near.name: near.label for near in run.nearest("r:grass")}
    assert shown[R + "lion"] == "r:lion" and shown[R + "Zoe"] == "Zoe"
    assert ("dbr:Kenya", True) in {
        (found.label, found.known) for found in run.predict("r:lion", ":livesIn", known="include")
    }
    for call, says in (
        (lambda: run.predict("r:lyon", ":eats"), r"unknown entity 'r:lyon'; did you mean r:lion"),
        (lambda: run.predict("r:lion", ":eat"), r"unknown relation ':eat'; there is :eats"),
        (lambda: run.predict("r:lion", "livesin"), r"relation 'livesin' may be 2: :LIVESIN, :livesIn; give its whole"),
    ):
        with pytest.raises(DistjointError, match=says):
            call()


def _plain(place: Path) -> Iterator[bytes]:
    """Statements of a file of Turtle, a line each."""
    for quad in pyoxigraph.parse(path=str(place), format=pyoxigraph.RdfFormat.TURTLE):
        yield f"{quad.subject} {quad.predicate} {quad.object} .\n".encode()


def test_labels_types_and_descriptions_in_rdf_go_with_a_table_too(tmp_path: Path) -> None:
    table = put(tmp_path / "train.tsv", f"{R}Zoë\teats\t{R}grass\n{R}lion\teats\t{R}Zoë\n")
    zoo = put(tmp_path / "zoo.ttl", written(ZOO, "turtle"))
    summary, data = prepared(tmp_path, triples=table, labels=zoo, types=zoo, descriptions=zoo)
    assert "Zoë the zebra" in data.rows()["label"].to_pylist()
    assert (summary.counts["typed"], summary.counts["documents"]) == (1, 2)
    for note in (
        f"{zoo} is read for labels alone, left out: 4 triples, 2 descriptions.",
        f"{zoo} is read for types alone, left out: 3 triples, 2 descriptions, 4 names.",
        f"{zoo}: Statements that are no descriptions: 16 (such as {R}Zoë).",
        f"{zoo}: Descriptions in other languages than en, left out: 1 (such as {R}grass).",
    ):
        assert note in summary.notes
    with pytest.raises(DistjointError, match=r"zoo.ttl: no descriptions in it.*other languages than fr, left out: 3"):
        prepared(tmp_path, triples=table, descriptions=zoo, language="fr")
    with pytest.raises(UsageError, match="--types found takes rdf:type of a graph in RDF"):
        prepared(tmp_path, triples=table, types="found")


def test_descriptions_are_read_where_they_are_wanted_as_those_of_files_are(tmp_path: Path) -> None:
    zoo = put(tmp_path / "zoo.nt", written(ZOO, "ntriples"))
    pairs = put(tmp_path / "about.tsv", "".join(f"{e}\t{' '.join(said.split())}\n" for e, said in TEXTS))
    summary, data = prepared(tmp_path, triples=zoo, descriptions="found")
    alone = {name: (tmp_path / "data" / name).read_bytes() for name in ("rows.parquet", "mentions/part-00000.parquet")}
    assert (summary.counts["documents"], summary.counts["described"]) == (2, 3)
    assert data.manifest.options["descriptions"] == [str(zoo)]
    prepared(tmp_path, triples=zoo, descriptions=pairs)
    assert alone == {name: (tmp_path / "data" / name).read_bytes() for name in alone}
    corpus = put(tmp_path / "text.txt", "a zebra eats green grass\n" * 3)
    summary, _ = prepared(tmp_path, graph=zoo, corpus=corpus)
    assert (summary.counts["documents"], summary.described and summary.described.tokens) == (3, 7)
    bare = put(tmp_path / "bare.nt", NT)
    summary, _ = prepared(tmp_path, graph=bare, corpus=corpus)
    assert any("bare.nt has no descriptions in 'en': looked for rdfs:comment" in note for note in summary.notes)
    with pytest.raises(DistjointError, match=r"no descriptions, and no other text: .*bare.nt has no descriptions"):
        prepared(tmp_path, graph=bare, descriptions="found")
    summary, data = prepared(tmp_path, graph=zoo, corpus=corpus, descriptions="none")
    assert summary.alignment and summary.alignment.how == {"id": 1, "alias": 1}  # grass has no label, stripes no word


def test_blank_nodes_of_two_files_differ_and_are_the_same_each_time(tmp_path: Path) -> None:
    both = [f'_:x <{P}is> _:y .\n_:x <{COMMENT}> "one" .\n', f"_:x <{P}is> _:z . [] <{P}is> [ <{P}has> _:x ] .\n"]
    put(tmp_path / "kg/a.nt", both[0])
    put(tmp_path / "kg/b.ttl", both[1])
    expected = {
        ("_:1.x", P + "is", "_:1.y"),
        ("_:2.x", P + "is", "_:2.z"),
        ("_:2#2", P + "is", "_:2#1"),
        ("_:2#1", P + "has", "_:2.x"),
    }
    for _ in range(2):
        summary, data = prepared(tmp_path, graph=tmp_path / "kg", descriptions="found")
        assert triples_of(data, "train") == expected
        assert summary.counts["described"] == 1
    assert "Blank nodes, which are named by file and node: 6 (such as _:1.x)." in summary.notes


def test_named_graphs_and_quoted_triples_are_counted(tmp_path: Path) -> None:
    content = f"@prefix r: <{R}> .\nr:g {{ r:a r:b r:c . r:a r:b <<( r:a r:b r:c )>> }}\nr:a r:b r:c , r:d .\n"
    triples, rdf = read(put(tmp_path / "a.trig", content))
    assert triples == {(R + "a", R + "b", R + "c"), (R + "a", R + "b", R + "d")}
    assert f"Statements in named graphs, read as one graph with the others: 2 (such as <{R}g>)." in rdf.notes()
    assert any(note.startswith("Statements about quoted triples, left out: 1 (such as <") for note in rdf.notes())


def test_the_summary_shows_what_it_quotes_as_it_is(tmp_path: Path) -> None:
    place = put(tmp_path / "a.nt", f'{NT}<{R}a> <{P}note> "[/b] [red]x" .\n')
    console = Console(file=io.StringIO(), width=500)
    console.print(prepared(tmp_path, triples=place)[0])
    assert '(such as <http://zoo.example/r/a> "[/b] [red]x")' in console.file.getvalue()  # type: ignore[attr-defined]


def test_entities_without_a_label_are_called_by_their_iri() -> None:
    names = names_of(["http://x/St._John%27s", "http://x#Riga", "_:1.b", "m"], {"http://x#Riga": ["Rīga"]})
    assert names == [[Name("St._John's", "id")], [Name("Rīga", "label")], [], []]
