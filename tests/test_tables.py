"""Tables of triples as people have them: headers, blanks, weights, folders, packings, and tables from a program."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import assert_same_bits, config, league, tensors

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.columns import TableForm
from distjoint.data.dataset import Dataset
from distjoint.data.triples import Graph, read_graph

pytestmark = pytest.mark.unit

MORE = int(os.environ.get("DISTJOINT_FUZZ", "100"))
"""Damaged files that are tried; 10,000 once in a while."""
Triple = tuple[str, str, str]
KIN: list[Triple] = [("anna", "knows", "ben"), ("ben", "knows", "cara"), ("cara", "helps", "anna")]


def write(place: Path, content: str | bytes) -> str:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(place)


def lines(triples: list[Triple], separator: str = "\t", header: str = "") -> str:
    return "".join(f"{line}\n" for line in ([header] if header else []) + [separator.join(each) for each in triples])


def graph_of(path: str | Path, **form: Any) -> Graph:
    return read_graph({"train": str(path)}, form=TableForm.of(**form))


def triples_of(graph: Graph) -> list[Triple]:
    entities, relations = graph.entities.list(), graph.relations.list()
    return [(entities[h], relations[r], entities[t]) for h, r, t in graph.splits["train"].tolist()]


def notes(graph: Graph) -> str:
    return "\n".join(graph.noticed.notes())


@pytest.mark.parametrize(
    ("header", "order"),
    [
        ("head,relation,tail", (0, 1, 2)),
        ("Subject,PREDICATE,Object", (0, 1, 2)),
        ("source,target,label", (0, 2, 1)),
        ("h,r,t", (0, 1, 2)),
        ("rel,from,to", (1, 0, 2)),
        ("src,dst,kind of edge", (0, 2, 1)),
        (":START_ID(Person),:END_ID(Person),:TYPE", (0, 2, 1)),
        ("from_id:START_ID(Person),to_id:END_ID(Person),type:TYPE", (0, 2, 1)),
    ],
)
def test_headers_are_known_by_their_names_which_say_the_order_too(
    header: str, order: tuple[int, ...], tmp_path: Path
) -> None:
    place = [0, 0, 0]
    for column, part in enumerate(order):
        place[part] = column
    rows = [tuple(each[order[k]] for k in range(3)) for each in KIN]
    graph = graph_of(write(tmp_path / "kg.csv", lines(rows, ",", header)))  # type: ignore[arg-type]
    assert triples_of(graph) == KIN
    assert f"header '{header}' taken as column names; --no-header keeps it" in notes(graph)
    kept = graph_of(write(tmp_path / "kg.csv", lines(rows, ",", header)), header=False)  # type: ignore[arg-type]
    assert len(kept.splits["train"]) == 4 and "header" not in notes(kept)


def test_a_first_line_whose_names_come_again_in_their_columns_is_a_triple(tmp_path: Path) -> None:
    words: list[Triple] = [("subject", "label", "object"), ("subject", "is a", "word"), ("word", "label", "x")]
    assert triples_of(graph_of(write(tmp_path / "kg.tsv", lines(words)))) == words
    # Whole, it is the header of another part.
    graph = graph_of(
        write(tmp_path / "parts.tsv", lines([*KIN, ("head", "relation", "tail")], header="head\trelation\ttail"))
    )
    assert triples_of(graph) == KIN and "Headers further down, left out: 1" in notes(graph)


def test_a_header_of_names_that_nobody_knows_is_doubted(tmp_path: Path) -> None:
    content = lines(KIN, header="wer\twas\twen")
    graph = graph_of(write(tmp_path / "kg.tsv", content))
    assert len(triples_of(graph)) == 4 and "'wer' 'was' 'wen'" in notes(graph) and "--header" in notes(graph)
    assert triples_of(graph_of(tmp_path / "kg.tsv", header=True)) == KIN
    assert "'wer'" not in notes(graph_of(tmp_path / "kg.tsv", header=False))
    assert not notes(graph_of(write(tmp_path / "plain.tsv", lines(KIN))))


def test_two_columns_take_their_relation_from_an_option_or_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "edges.tsv", "# Nodes: 3\n# FromNodeId\tToNodeId\nanna\tben\nben\tcara\n")
    with pytest.raises(DistjointError, match="--relation"):
        graph_of(write(tmp_path / "two.tsv", "anna\tben\n"))
    graph = graph_of(tmp_path / "edges.tsv", relation="knows")
    assert triples_of(graph) == KIN[:2] and "comment above triples, left out: 2" in notes(graph)
    assert triples_of(graph_of(tmp_path / "edges.tsv", relation="knows", columns="0,1")) == KIN[:2]
    write(tmp_path / "hive/relation=knows/part-0.csv", "head,tail\nanna,ben\nben,cara\n")
    pq.write_table(
        pa.table({"subj": ["cara"], "obj": ["anna"]}), _made(tmp_path / "hive/relation=helps/part-0.parquet")
    )
    write(tmp_path / "hive/_SUCCESS", "")
    assert sorted(triples_of(graph_of(tmp_path / "hive"))) == KIN
    write(tmp_path / "odd/predicate=is%20a%2Fb/p.csv", "anna,ben\n")
    assert triples_of(graph_of(tmp_path / "odd")) == [("anna", "is a/b", "ben")]


def _made(place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def test_weights_add_up_and_must_be_above_zero(tmp_path: Path) -> None:
    rows = "head,relation,tail,strength\na,r,b,2\nb,r,c,0.5\na,r,b,1e0\n"
    graph = graph_of(write(tmp_path / "kg.csv", rows), weight="strength")
    assert triples_of(graph) == [("a", "r", "b"), ("b", "r", "c")]
    assert graph.weights is not None and graph.weights.tolist() == [3, 0.5]
    assert "strength" in notes(graph_of(tmp_path / "kg.csv"))  # left out, and said
    assert graph_of(write(tmp_path / "w.tsv", "a\tr\tb\t7\n"), weight="3").weights.tolist() == [7]  # type: ignore[union-attr]
    for wrong in ("0", "-1", "nan", "inf", "x", ""):
        with pytest.raises(DistjointError, match=r"kg.csv, triple 2: weight .*above 0"):
            graph_of(write(tmp_path / "kg.csv", f"head,relation,tail,w\na,r,b,1\nb,r,c,{wrong}\n"), weight="w")
    with pytest.raises(DistjointError, match="no column 'w'; it has head"):
        graph_of(write(tmp_path / "kg.csv", "head,relation,tail\na,r,b\n"), weight="w")


def test_weights_reach_the_dataset_and_not_the_held_out(tmp_path: Path) -> None:
    rows = [f"e{k},r,e{k + 1},{1 + k % 3}" for k in range(60)]
    write(tmp_path / "kg.csv", "\n".join(["head,relation,tail,w", *rows]))
    write(tmp_path / "test.csv", "e1,r,e5\n")
    out = str(tmp_path / "data")
    options: dict[str, Any] = {"weight_column": "w", "test": str(tmp_path / "test.csv"), "valid_fraction": 0.1}
    summary = distjoint.prepare(out, triples=str(tmp_path / "kg.csv"), unseen_fraction=0.1, shards=2, **options)
    assert any(note.startswith("Weights of training triples: 1 to 3") for note in summary.notes)
    data, weights, names = Dataset.open(out), {}, {}
    names = dict(enumerate(data.rows()["entity"].to_pylist()))
    for i in range(2):
        for j in range(2):
            part = data.triples(i, j)
            heads = data.layout.rows_of(i)[part.head]
            weights |= {names[head]: weight for head, weight in zip(heads.tolist(), part.weight.tolist(), strict=True)}  # type: ignore[union-attr]
    expected = {f"e{k}": 1 + k % 3 for k in range(60) if f"e{k}" in weights}
    mean = sum(expected.values()) / len(expected)
    assert weights == pytest.approx({name: weight / mean for name, weight in expected.items()})
    assert len(weights) == data.manifest.counts["weighted"] == data.manifest.counts["triples/train"] < 54
    assert data.split("test").weight is None


def test_names_that_blanks_or_composition_set_apart_are_one(tmp_path: Path) -> None:
    cafe = "caf\u00e9"
    rows = [
        ("anna", "knows", "ben"),
        ("ben ", " knows", cafe),
        (" ben", "knows", normalize("NFD", cafe)),
        ("Ben", "knows", "anna"),
    ]
    graph = graph_of(write(tmp_path / "kg.tsv", lines(rows)))  # type: ignore[arg-type]
    assert set(graph.entities.list()) == {"anna", "ben", cafe, "Ben"} and graph.relations.list() == ["knows"]
    said = notes(graph)
    assert "Names of entities with blanks around or in them, taken off: 2 (such as 'ben ')" in said
    assert "brought to Unicode's form NFC: 1" in said and "--no-nfc" in said
    assert "by case alone, which stay apart: 1 (such as 'ben' and 'Ben')" in said
    kept = distjoint.prepare(str(tmp_path / "data"), triples=str(tmp_path / "kg.tsv"), nfc=False, align="none")
    assert kept.counts["entities"] == 5
    # What else names entities is read alike.
    labels = write(tmp_path / "labels.tsv", f"{normalize('NFD', cafe)}\tCoffee house\n")
    summary = distjoint.prepare(str(tmp_path / "labelled"), triples=str(tmp_path / "kg.tsv"), labels=labels)
    assert "coffee house" in str(Dataset.open(str(tmp_path / "labelled")).rows()["label"].to_pylist()).lower()
    assert not any("in no triple" in note for note in summary.notes)
    with pytest.raises(DistjointError, match="triple 2: the tail is empty"):
        graph_of(write(tmp_path / "empty.tsv", "a\tr\tb\nb\tr\t\u200b \n"))


def test_columns_that_are_no_part_of_triples_are_said(tmp_path: Path) -> None:
    graph = graph_of(write(tmp_path / "kg.csv", ",head,relation,tail,since\n0,anna,knows,ben,2001\n"))
    assert triples_of(graph) == KIN[:1] and "left out in files: 1 (such as since of" in notes(graph)
    with pytest.raises(DistjointError, match=r"line 1: 4 columns instead of 3.*--triple-columns"):
        graph_of(write(tmp_path / "no.csv", "anna,knows,ben,2001\n"))
    with pytest.raises(DistjointError, match="line 1: a quote that is never closed"):
        graph_of(write(tmp_path / "open.csv", 'anna,knows,"ben\nben,knows,cara\n'))
    with pytest.raises(DistjointError, match="goes over the end of a line; a quote"):
        graph_of(write(tmp_path / "open.csv", 'anna,knows,"ben\nben"\nanna,knows,ben\n'))
    with pytest.raises(DistjointError, match="never closed"):
        graph_of(write(tmp_path / "open.csv", 'head,relation,tail\nanna,knows,"ben\n'))
    with pytest.raises(UsageError, match="which --no-header leaves none of"):
        TableForm.of("a,b,c", header=False)


def test_spark_folders_are_read_without_their_markers_and_empty_parts(tmp_path: Path) -> None:
    for name in (
        "_SUCCESS",
        "_metadata",
        "_common_metadata",
        ".part-0.parquet.crc",
        "part-0.parquet.crc",
        "_tmp/x.parquet",
    ):
        write(tmp_path / "kg" / name, b"\0" if "crc" in name else b"")
    kinds = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()))
    for number, kind in enumerate(kinds):
        chosen = KIN[number : number + 1]
        table = {
            name: pa.array([each[k] for each in chosen], pa.string()).cast(pa.string())
            for k, name in enumerate(("subject", "predicate", "object"))
        }
        columns = {
            name: column.dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)
            for name, column in table.items()
        }
        pq.write_table(
            pa.table(columns | {"__index_level_0__": list(range(len(chosen)))}), tmp_path / f"kg/part-{number}.parquet"
        )
    graph = graph_of(tmp_path / "kg")
    assert triples_of(graph) == KIN
    assert "Files without triples, skipped: 1" in notes(graph) and "Markers and hidden files, skipped: 6" in notes(
        graph
    )
    assert "left out" not in notes(graph)
    csvs = tmp_path / "csv"
    for number in range(4):
        write(csvs / f"part-{number}.csv", lines(KIN[number : number + 1], ",", "head,relation,tail"))
    assert triples_of(graph_of(csvs)) == triples_of(graph_of(f"{csvs}/*.csv", columns="head,relation,tail")) == KIN
    write(tmp_path / "none/_SUCCESS", "")
    with pytest.raises(DistjointError, match="no such file but _SUCCESS"):
        graph_of(tmp_path / "none")
    write(tmp_path / "none/a.csv", ""), write(tmp_path / "none/b.csv", "head,relation,tail\n")
    with pytest.raises(DistjointError, match="no triples in any of its 2 files"):
        graph_of(tmp_path / "none")
    write(tmp_path / "delta/_delta_log/0.json", "{}")
    with pytest.raises(DistjointError, match=r"a table of Delta Lake.*deltalake"):
        graph_of(tmp_path / "delta")


def test_folders_of_text_labels_and_descriptions_are_read_alike(tmp_path: Path) -> None:
    kg = write(tmp_path / "kg.tsv", lines(KIN))
    for folder in ("labels", "texts", "corpus"):
        write(tmp_path / folder / "_SUCCESS", "")
    for number, name in enumerate(("anna", "ben", None)):
        ids = pa.array([name] if name else [], pa.string())
        for folder, column in (("labels", "label"), ("texts", "text")):
            words = pa.array([f"Word {name}"] if name else [], pa.string()).dictionary_encode()
            pq.write_table(pa.table({"id": ids, column: words}), tmp_path / folder / f"part-{number}.parquet")
        write(tmp_path / f"corpus/part-{number}", f"word {name} " * 9 if name else "")
    folders = {"labels": "labels", "descriptions": "texts", "corpus": "corpus"}
    paths = {option: str(tmp_path / folder) for option, folder in folders.items()}
    summary = distjoint.prepare(str(tmp_path / "data"), triples=kg, min_count=1, **paths)
    assert summary.counts["described"] >= 2 and summary.counts["words"] >= 2
    said = "\n".join(summary.notes)
    assert "Files without text, skipped: 1" in said and "Files without descriptions of the graph's entities" in said


class Stream:
    """A table that knows Arrow's capsules alone, as Polars' do."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


def test_tables_of_a_program_make_the_dataset_that_a_file_makes(tmp_path: Path) -> None:
    table = pa.table({name: [each[k] for each in KIN] for k, name in enumerate(("head", "relation", "tail"))})
    swapped = table.select(["tail", "head", "relation"])
    kinds = {"tuples": KIN, "lists": map(list, KIN), "numpy": np.array(KIN), "arrow": table, "capsule": Stream(swapped)}
    kinds |= {"records": swapped.to_pylist(), "columns": swapped.to_pydict()}
    distjoint.prepare(str(tmp_path / "file"), triples=write(tmp_path / "kg.tsv", lines(KIN)), align="none")
    rows = Dataset.open(str(tmp_path / "file")).rows()
    for name, kind in kinds.items():
        distjoint.prepare(str(tmp_path / name), triples=kind, test=KIN[:1], align="none")
        data = Dataset.open(str(tmp_path / name))
        assert data.rows().equals(rows)
        assert "of 3 rows, xxh3:" in data.manifest.options["triples"]
    mixed = [{"head": "a", "relation": "r", "tail": "b"}, ("a", "r", "b")]
    for wrong in (5, ["kg.tsv"], np.zeros((2, 7)), [("a", "b")], [("a", 1.5, "b")], mixed, [{"a": 1, "b": 2}]):
        with pytest.raises(DistjointError, match=r"--triples|triples\.parquet"):
            distjoint.prepare(str(tmp_path / "wrong"), triples=wrong)


def packed(name: str, content: bytes) -> bytes:
    """content, packed as a name's ending says."""
    if name.endswith("zip"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner/" + name.removesuffix(".zip"), content)
        return stream.getvalue()
    how: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    if name.endswith("zst"):
        return bytes(pa.compress(content, "zstd", asbytes=True))
    return how.get(name.rpartition(".")[2], bytes)(content)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst", "zip"])
def test_packing_is_told_by_content_whatever_the_name(ending: str, tmp_path: Path) -> None:
    content = packed(f"kg.tsv.{ending}", lines(KIN).encode())
    for name in (f"kg.tsv.{ending}", "kg", "kg.gz" if ending != "gz" else "kg.tsv"):
        assert triples_of(graph_of(write(tmp_path / name, content))) == KIN
    named = [("PK", "near", "PKR"), ("BZh9", "in", "7z")]  # as archives begin, and these are none
    assert triples_of(graph_of(write(tmp_path / "names", packed(f"a.{ending}", lines(named).encode())))) == named
    assert triples_of(graph_of(write(tmp_path / "plain", lines(named)))) == named
    if ending != "zip":  # several streams in one file
        parts = [packed(f"a.{ending}", line.encode()) for line in lines(KIN).splitlines(True)]
        assert triples_of(graph_of(write(tmp_path / "parts", b"".join(parts)))) == KIN


def test_archives_are_read_whole_where_their_files_are_of_one_kind(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "kg.zip", "w") as archive:
        for number, each in enumerate(KIN):
            archive.writestr(f"part-{number}.csv", lines([each], ",", "head,relation,tail"))
        archive.writestr("__MACOSX/._part-0.csv", b"\0")
    graph = graph_of(tmp_path / "kg.zip")
    assert triples_of(graph) == KIN and "zip archives that are read: 3" in notes(graph)
    with zipfile.ZipFile(tmp_path / "kg.zip", "a") as archive:
        archive.writestr("README.md", "x")
    with pytest.raises(DistjointError, match=r"files of several kinds \(README.md"):
        graph_of(tmp_path / "kg.zip")
    for content, says in (
        (b"7z\xbc\xaf\x27\x1c123", "7z archive"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x80\x04.", "pickle"),
    ):
        with pytest.raises(DistjointError, match=says):
            graph_of(write(tmp_path / "kg.tsv", content))


def test_other_forms_of_triples(tmp_path: Path) -> None:
    objects = "".join(json.dumps({"subject": h, "predicate": r, "object": t}) + "\n" for h, r, t in KIN)
    assert triples_of(graph_of(write(tmp_path / "kg.jsonl", objects))) == KIN
    assert triples_of(graph_of(write(tmp_path / "kg.json", json.dumps(KIN, indent=1)))) == KIN
    assert triples_of(graph_of(write(tmp_path / "rows.jsonl", "".join(json.dumps(each) + "\n" for each in KIN)))) == KIN
    assert triples_of(graph_of(write(tmp_path / "kg.csv", lines(KIN, ";", "head;relation;tail")))) == KIN
    sif = graph_of(write(tmp_path / "kg.sif", "anna knows ben cara\ndora\n"))
    assert triples_of(sif) == [KIN[0], ("anna", "knows", "cara")] and "without an edge in SIF, left out: 1" in notes(
        sif
    )
    feather.write_feather(pa.table({"h": ["anna"], "r": ["knows"], "t": ["ben"]}), str(tmp_path / "kg.arrow"))
    assert triples_of(graph_of(tmp_path / "kg.arrow")) == KIN[:1]
    np.savez(tmp_path / "kg.npz", head=[0, 1], relation=[0, 0], tail=[1, 2])
    assert triples_of(graph_of(tmp_path / "kg.npz")) == [("0", "0", "1"), ("1", "0", "2")]
    np.save(tmp_path / "kg.npy", np.array([["anna", "knows", "ben"]]))
    assert triples_of(graph_of(tmp_path / "kg.npy")) == KIN[:1]
    for wrong, says in (
        ('{"head": 1.5, "relation": "r", "tail": "t"}', "no name"),
        ('["a"]', "a triple has three"),
        ("{", "not JSON"),
    ):
        with pytest.raises(DistjointError, match=says):
            graph_of(write(tmp_path / "wrong.jsonl", wrong))


def test_blanks_part_columns_where_nothing_else_does_and_all_lines_have_as_many(tmp_path: Path) -> None:
    graph = graph_of(write(tmp_path / "kg.txt", lines(KIN, " ")))
    assert triples_of(graph) == KIN and "Columns that blanks part, as the lines say" in notes(graph)
    edges = graph_of(write(tmp_path / "edges.csv", "anna;ben\nben;cara\n"), relation="knows")
    assert triples_of(edges) == KIN[:2]
    assert triples_of(graph_of(write(tmp_path / "edges.txt", "anna ben\nben cara\n"), relation="knows")) == KIN[:2]
    weighed = write(tmp_path / "w.txt", "anna knows ben 1\nben knows cara 2\n")
    assert triples_of(graph_of(weighed, weight="3")) == KIN[:2]
    for text, says in (("anna knows ben\nben knows cara well\n", "anna knows ben"), ("a r b 1\nb r c 2\n", "a r b 1")):
        with pytest.raises(DistjointError, match=f"line 1: 1 column instead of 3 .*'{says}'; put tabs between"):
            graph_of(write(tmp_path / "not.txt", text))


def test_lines_end_as_those_of_files_do(tmp_path: Path) -> None:
    """Unicode and Python have more ends of lines than files have: a name or a comment may hold one."""
    graph = graph_of(write(tmp_path / "kg.tsv", "# made\u2028by\tme\tor\tyou\n" + lines(KIN)))
    assert triples_of(graph) == KIN
    found = graph_of(write(tmp_path / "odd.tsv", "an\x0bna\tknows\tben\nben\tknows\tca\u2028ra\n"))
    assert triples_of(found) == [("an na", "knows", "ben"), ("ben", "knows", "ca ra")]


def test_names_in_quotation_marks_are_counted_where_they_stay(tmp_path: Path) -> None:
    text = lines([('"anna"', "knows", '"ben"')])
    assert 'in quotation marks, which stay: 2 (such as "anna")' in notes(graph_of(write(tmp_path / "kg.tsv", text)))
    comma = graph_of(write(tmp_path / "kg.csv", text.replace("\t", ",")))
    assert triples_of(comma) == KIN[:1] and "quotation" not in notes(comma)


def test_an_encoding_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--encoding belongs to --corpus and --descriptions; triples are UTF-8"):
        distjoint.prepare(str(tmp_path / "out"), triples=write(tmp_path / "kg.tsv", lines(KIN)), encoding="latin-1")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lines(KIN).encode("utf-16"), "in UTF-16, not UTF-8; convert it with 'iconv -f UTF-16"),
        (lines(KIN).encode("utf-16-le"), "in UTF-16-LE, not UTF-8"),
        (b"a" * 70_000 + b"\tknows\tben\n", "line 1: longer than 65,536 bytes"),
        ('<?xml version="1.0"?>\n<!-- made -->\n<graphml xmlns="x"><graph/></graphml>', "GraphML, which .* networkx"),
        ("| head | relation | tail |\n|---|---|---|\n| anna | knows | ben |\n", "a table drawn with bars and dashes"),
        (" h | r | t \n---+---+---\n a | b | c\n(1 row)\n", "a table drawn"),
        ("('anna', 'knows', 'ben')\n('ben', 'knows', 'cara')\n", "line 1: .* as Python prints it; write JSON Lines"),
        ("sep=;\nhead;relation;tail\nanna;knows;ben\n", "line 1: 'sep=;' is for Excel alone; take this line out"),
        ("graph [\n  directed 1\n]\n", "GML, which is not read"),
        ("digraph kg {\n  anna -> ben;\n}\n", "DOT, which is not read"),
        ("*Vertices 2\n1 a\n2 b\n", "Pajek, which is not read"),
        ("%%MatrixMarket matrix coordinate\n2 2 1\n1 2 1\n", "Matrix Market, .* 'source,target,label'"),
        ("CREATE (a:Person)-[:KNOWS]->(b);\n", "Cypher, which is not read"),
        ("format-version: 1.2\n\n[Term]\nid: x\n", "OBO, which is not read; .*robot convert"),
        ("Prefix(:=<http://o/>)\nOntology(<http://o>\n)\n", "OWL in functional syntax"),
        ("Prefix: : <http://o/>\nClass: Dog\n", "OWL in Manchester syntax"),
    ],
)
def test_what_is_no_table_is_named_with_what_to_do(content: str | bytes, says: str, tmp_path: Path) -> None:
    for name in ("kg.tsv", "kg.owl") if "OWL" in says else ("kg.tsv",):
        with pytest.raises(DistjointError, match=says) as caught:
            graph_of(write(tmp_path / name, content))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["a[1].tsv", "a*.tsv", "with blank.tsv", "\u00e9\u4e2d.tsv", "d[x]/y*/q?.tsv", "%41=b.tsv"]
)
def test_names_of_files_are_taken_as_they_stand_where_they_are_there(name: str, tmp_path: Path) -> None:
    write(tmp_path / "a1.tsv", "wrong\twrong\twrong\n")
    place = write(tmp_path / name, lines(KIN))
    assert triples_of(graph_of(place)) == KIN
    assert triples_of(graph_of(f"{Path(place).parent}/{'*' if '/' in name else Path(place).name}")) == KIN


def test_a_pattern_that_finds_nothing_says_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "train.tsv", "x")
    with pytest.raises(
        DistjointError, match=r"no such file: looked for names like '\*\.csv' in .*, which holds train\.tsv"
    ):
        graph_of(tmp_path / "*.csv")
    with pytest.raises(DistjointError, match=r"no such file; did you mean train\.tsv\?"):
        graph_of(tmp_path / "trian.tsv")
    with pytest.raises(DistjointError, match="too long"):
        graph_of(tmp_path / ("x" * 400))


# Any names in any form; any damage to any form

_NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12).filter(
    lambda name: name.strip() == name and name.strip("\ufeff\u200b\u2060\u180e") == name and not name.isspace()
)
_ROWS = st.lists(st.tuples(_NAMES, _NAMES, _NAMES), min_size=1, max_size=8)


def forms(rows: list[Triple]) -> Iterator[tuple[str, bytes]]:
    """The same triples in files of every form."""
    names = ("head", "relation", "tail")
    tsv = lines([names, *rows]).encode()
    yield "kg.tsv", tsv
    yield "kg.tsv.gz", gzip.compress(tsv)
    yield "kg.tsv.zip", packed("kg.tsv.zip", tsv)
    text = io.StringIO()
    csv.writer(text).writerows([names, *rows])
    yield "kg.csv", text.getvalue().encode()
    yield "kg.jsonl", "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows).encode()
    table, stream = pa.table({name: [row[k] for row in rows] for k, name in enumerate(names)}), io.BytesIO()
    pq.write_table(table, stream)
    yield "kg.parquet", stream.getvalue()
    arrays = io.BytesIO()
    np.savez(arrays, **{name: np.array([row[k] for row in rows]) for k, name in enumerate(names)})
    yield "kg.npz", arrays.getvalue()


@settings(max_examples=max(5, MORE // 20))
@given(_ROWS)
def test_every_form_gives_the_same_graph(tmp_path_factory: pytest.TempPathFactory, rows: list[Triple]) -> None:
    folder = tmp_path_factory.mktemp("forms")
    wanted = list(dict.fromkeys(tuple(normalize("NFC", name) for name in row) for row in rows))
    for name, content in forms(rows):
        found = read_graph({"train": write(folder / name, content)}, form=TableForm(header=True))
        assert triples_of(found) == wanted, name


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Cut short, with bytes changed, or with a part moved."""
    kind, at = random.integers(3), int(random.integers(len(content)))
    if kind == 0:
        return content[:at]
    if kind == 1:
        changed = bytearray(content)
        for place in random.integers(len(content), size=int(random.integers(1, 8))):
            changed[place] = random.integers(256)
        return bytes(changed)
    return content[at:] + content[:at]


def test_any_damage_is_an_error_that_names_the_file_or_text_that_stands_there(tmp_path: Path) -> None:
    """Of packed files and tables with checksums nothing else comes out than what was there, or an error."""
    random, whole = np.random.default_rng(0), list(forms(KIN))
    whole += [("kg.tsv.xz", lzma.compress(lines(KIN).encode())), ("kg.sif", lines(KIN).encode())]
    for number in range(MORE):
        name, content = whole[number % len(whole)]
        broken = damaged(content, random)
        try:
            graph = graph_of(write(tmp_path / name, broken))
        except DistjointError as error:
            assert name in str(error) and "\n" not in str(error), broken
            continue
        if name.endswith((".gz", ".zip", ".xz", ".npz")):
            assert triples_of(graph) == KIN, broken


def documented() -> list[tuple[str, str, str]]:
    """Form, files and options of each line in the manual's table."""
    text = (Path(__file__).parent.parent / "docs/data.md").read_text()
    table = text.split("form | files | options\n--- | --- | ---\n")[1].split("\n\n")[0]
    rows = [tuple(row.split(" | ")) for row in table.splitlines()]
    assert all(len(row) == 3 for row in rows) and len(rows) > 15
    return rows  # type: ignore[return-value]


@pytest.mark.parametrize(("form", "files", "options"), documented(), ids=[form for form, *_ in documented()])
def test_every_form_of_the_manual_is_read(form: str, files: str, options: str, tmp_path: Path) -> None:
    for each in files.split("; `"):
        name, _, content = each.strip("`").partition("`: `")
        write(tmp_path / name, content.replace("\\t", "\t").replace("\\n", "\n").strip(" "))
    words = options.strip("`").split()
    given: dict[str, Any] = {}
    for word, value in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            given[word[2:].replace("-", "_")] = True if value.startswith("--") else value
    for path in {"triples", "graph"} & given.keys():
        given[path] = str(tmp_path / given[path])
    distjoint.prepare(str(tmp_path / "out"), **given, align="none")
    data = Dataset.open(str(tmp_path / "out"))
    entities, (relation,) = data.rows()["entity"].to_pylist(), data.relations()["name"].to_pylist()
    train = data.split("train")
    found = [entities[int(train.head[0])], relation, entities[int(train.tail[0])]]
    assert [name.rpartition("/")[2].rpartition(":")[2] for name in found] == ["anna", "knows", "ben"] and len(
        train
    ) == 1


def test_weights_train_by_their_ratios_and_equal_ones_are_none(tmp_path: Path) -> None:
    rows = ["\t".join(triple) for triple in league()[0]]
    runs: dict[str, Any] = {}
    for name, weight in (
        ("none", None),
        ("equal", lambda k: 2.5),
        ("some", lambda k: 1 + k % 5),
        ("more", lambda k: 8 * (1 + k % 5)),
    ):
        table = "\n".join(rows if weight is None else [f"{row}\t{weight(k)}" for k, row in enumerate(rows)])
        path = write(tmp_path / f"{name}.tsv", table)
        data = str(tmp_path / f"data-{name}")
        distjoint.prepare(data, triples=path, weight_column=None if weight is None else "3", shards=4, align="none")
        for candidates in ("sampled", "kvsall"):
            out = str(tmp_path / f"{name}-{candidates}")
            distjoint.train(data, out, config({"graph.candidates": candidates, "train.groups": 4, "train.epochs": 1}))
            runs[name, candidates] = tensors(out)
    for candidates in ("sampled", "kvsall"):
        assert_same_bits(runs["none", candidates], runs["equal", candidates])
        assert_same_bits(runs["some", candidates], runs["more", candidates])
        assert not np.array_equal(runs["none", candidates]["0/X"], runs["some", candidates]["0/X"])
