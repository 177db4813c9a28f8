"""Descriptions: every format says the same of the same entities, and what is wrong or left out is named."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from test_mentions import folder, prepared

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.progress import Silent
from distjoint.data import lines as lines_module
from distjoint.data import mentions
from distjoint.data.alignment import Alignment, read_labels
from distjoint.data.corpus import Corpus
from distjoint.data.dataset import Dataset
from distjoint.data.descriptions import read_descriptions
from distjoint.data.lines import pieces
from distjoint.data.mentions import find_mentions
from distjoint.data.records import Columns
from distjoint.data.request import PrepareOptions
from distjoint.data.triples import Graph
from distjoint.storage import locate

pytestmark = pytest.mark.unit

SAID = {"e1": ["a dog, that barks", "four-legged"], "e2": ['an "animal", Kätzchen; \' too'], "e3": [""]}
PAIRS = [(entity, text) for entity, texts in SAID.items() for text in texts]
COLUMNS = ("word", "of_it")

__all__ = ["folder"]


def table(entity: str, text: str) -> pa.Table:
    both = [*PAIRS[:-1], ("e3", None)]
    return pa.table({"n": [1.5] * len(both), text: [text for _, text in both], entity: [entity for entity, _ in both]})


def objects(entity: str, text: str) -> list[dict[str, Any]]:
    return [{"n": [1], entity: name, text: said} if said else {entity: name} for name, said in PAIRS]


def as_csv(*header: str) -> str:
    doubled = [(entity, text.replace('"', '""')) for entity, text in PAIRS]
    return "".join([",".join(header) + "\r\n"] * bool(header) + [f'{entity},"{text}"\r\n' for entity, text in doubled])


def as_parquet(path: Path, entity: str, text: str) -> None:
    pq.write_table(table(entity, text), path)


TABBED = "\ufeff" + "".join(f"{entity}\t{text}\n\n" for entity, text in PAIRS)
LINES = "\n".join(json.dumps(each) for each in objects("id", "description"))
FILES: list[tuple[str, Columns | None, Callable[[Path], Any]]] = [
    ("a.tsv", None, lambda path: path.write_text(TABBED)),
    ("a.txt.gz", None, lambda path: path.write_bytes(gzip.compress(TABBED.encode()))),
    ("a", ("1", "0"), lambda path: path.write_text("".join(f"{text}\t{entity}\n" for entity, text in PAIRS))),
    ("a.tsv", COLUMNS, lambda path: path.write_text("word\tof_it\n" + TABBED[1:])),
    ("a.csv", None, lambda path: path.write_text(as_csv("ID", " Gloss"))),
    ("a.csv", COLUMNS, lambda path: path.write_text(as_csv(*COLUMNS))),
    ("a.csv", ("0", "1"), lambda path: path.write_text(as_csv())),
    ("a.csv.zst", None, lambda path: path.write_bytes(zstandard.compress(as_csv("name", "comment").encode()))),
    ("a.parquet", None, lambda path: as_parquet(path, "entity", "text")),
    ("a.pq", COLUMNS, lambda path: as_parquet(path, *COLUMNS)),
    ("a.parquet", ("2", "1"), lambda path: as_parquet(path, "x", "y")),
    ("a.jsonl", None, lambda path: path.write_text(LINES)),
    ("a.ndjson.gz", None, lambda path: path.write_bytes(gzip.compress(LINES.encode()))),
    ("a.jsonl", COLUMNS, lambda path: path.write_text("\n\n".join(map(json.dumps, objects(*COLUMNS))))),
    ("a.json", None, lambda path: path.write_text(LINES)),
    ("a.json", None, lambda path: path.write_text(json.dumps(objects("entity", "gloss"), indent=1))),
    ("a.json", None, lambda path: path.write_text(json.dumps(SAID))),
    ("a.json", None, lambda path: path.write_text("{" + ",".join(f'"{e}": {json.dumps(t)}' for e, t in PAIRS) + "}")),
    (
        "a.json.gz",
        None,
        lambda path: path.write_bytes(
            gzip.compress(
                json.dumps({e: {"label": "L", "description": texts or None} for e, texts in SAID.items()}).encode()
            )
        ),
    ),
]


class Seen(Silent):
    """Keeps what a task was called, how much it was to do and how much it did."""

    name, total, done = "", 0.0, 0.0

    @contextmanager
    def task(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Seen]:
        self.name, self.total = name, total or 0
        yield self

    def advance(self, amount: float = 1) -> None:
        self.done += amount


def graph_of(*entities: str) -> Graph:
    graph = Graph()
    for entity in entities:
        graph.entities.add(entity)
    return graph


def read(
    path: Path, columns: Columns | None = None, encoding: str | None = None
) -> tuple[dict[str, list[str]], list[str]]:
    notes: list[str] = []
    seen, place = Seen(), locate(str(path))
    found = read_descriptions([place], columns, graph_of("e1", "e2", "e3", "e4"), notes, seen, None, encoding)
    assert (seen.name, seen.total) == ("reading descriptions", place.size())
    assert seen.total - 1 <= seen.done <= seen.total
    return found, notes


@pytest.mark.parametrize(("name", "columns", "write"), FILES)
def test_every_format_says_the_same_to_entities_and_to_the_corpus(
    name: str, columns: Columns | None, write: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / name
    write(path)
    found, notes = read(path, columns)
    assert found == {entity: texts for entity, texts in SAID.items() if texts[0]}
    assert f"Descriptions in {path} that hold no text: 1 (such as e3)." in notes
    assert f"Descriptions in {path} of entities that have one already, read as further text: 1 (such as e1)." in notes
    corpus = Corpus.find([], about=[str(path)], columns=columns)
    blocks = list(corpus.blocks())
    documents = b"".join(block.text for block in blocks).decode().split("\n")
    assert [line for line in documents if line] == [text for _, text in PAIRS if text]
    assert blocks[-1].last and path.stat().st_size - 1 <= sum(block.read for block in blocks) <= path.stat().st_size
    parts = corpus.parts(9)
    assert (len(parts) > 1) == (name == "a.tsv" and columns is None)  # the others cannot be read from anywhere
    cut = b"".join(block.text for part in parts for block in corpus.blocks(part)).decode().split("\n")
    assert [line for line in cut if line] == [text for _, text in PAIRS if text]


def test_columns_that_were_guessed_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("name,Comment,id,gloss\nx,y,e1,a dog\n")
    assert read(path) == ({"e1": ["a dog"]}, [f"Descriptions in {path}: entities are id, texts are gloss."])
    path = tmp_path / "a.json"
    path.write_text('{"e1": {"label": "dog", "description": "barks"}}')
    assert read(path)[1] == [f"Descriptions in {path}: entities are its keys, texts are description."]


def test_lines_and_texts_of_any_length_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few bytes cut every line and every quoted newline."""
    monkeypatch.setattr(lines_module, "BLOCK", 7)
    long = " ".join(f"w{k}" for k in range(300))
    (tmp_path / "a.tsv").write_text(f"e1\tdog\ne2\t{long}\ne3\t{'x' * 99}")
    (tmp_path / "a.csv").write_text(f'id,text\ne1,dog\ne2,"{long}"\ne3,"{"x" * 99}"')
    for name in ("a.tsv", "a.csv"):
        assert read(tmp_path / name)[0] == {"e1": ["dog"], "e2": [long], "e3": ["x" * 99]}
    huge = "y" * 200_000  # more than a field of CSV may have by default
    (tmp_path / "a.csv").write_text(f'id,text\ne1,"one\ntwo, ""three"""\ne2,{huge}\n')
    monkeypatch.undo()
    assert read(tmp_path / "a.csv")[0] == {"e1": ['one\ntwo, "three"'], "e2": [huge]}
    assert list(pieces(b"ab c def  g", 2)) == [b"ab ", b"c def ", b" g"]


def test_what_no_line_could_hold_is_cleaned(tmp_path: Path) -> None:
    """Half a surrogate pair and NUL: the text goes to the tokeniser as UTF-8."""
    (tmp_path / "a.jsonl").write_text(r'{"id": "e1", "text": "a \ud800dog\u0000barks \ud83d\ude00"}')
    (tmp_path / "a.json").write_text(r'{"e1": "a \ud800dog\u0000barks \ud83d\ude00"}')
    pq.write_table(pa.table({"id": ["e1"], "text": ["a ?dog\0barks \U0001f600"]}), tmp_path / "a.parquet")
    for path in sorted(tmp_path.iterdir()):
        assert read(path)[0] == {"e1": ["a ?dog barks \U0001f600"]}


def test_what_is_left_out_or_odd_is_counted_with_an_example(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("e1\ta <b>dog</b>\ne9\t<p>ghost\ne2\t\t \ne4\tx < y & z > 1; AT&T\ne1\tbarks &amp; bites\ne8\tx\n")
    found, notes = read(path)
    assert found == {"e1": ["a <b>dog</b>", "barks &amp; bites"], "e4": ["x < y & z > 1; AT&T"]}
    assert notes == [
        f"Descriptions in {path} of entities that are in no triple and have no label, left out: 2 (such as e9).",
        f"Descriptions in {path} that hold no text: 1 (such as e2).",
        f"Descriptions in {path} of entities that have one already, read as further text: 1 (such as e1).",
        f"Descriptions in {path} with HTML, whose tags are read as words: 2 (such as e1: <b>).",
    ]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.json"])
def test_other_encodings_and_bad_bytes_are_read_as_in_a_corpus(name: str, tmp_path: Path) -> None:
    lines = {
        "a.tsv": "e1\tcafé {}\ne2\tпёс\n",
        "a.csv": "id,text\ne1,café {}\ne2,пёс\n",
        "a.jsonl": '{{"id": "e1", "text": "café {}"}}\n{{"id": "e2", "text": "пёс"}}\n',
        "a.json": '{{"e1": "café {}",\n"e2": "пёс"}}',
    }
    path, text = tmp_path / name, lines[name].format("crème")
    expected = {"e1": ["café crème"], "e2": ["пёс"]}
    path.write_bytes(text.encode("utf-16"))
    found, notes = read(path)
    assert found == expected and "Files in UTF-16, by their byte order mark: 1" in " ".join(notes)
    path.write_bytes(text.encode("utf-16-le") + b"\0\n\0"[1:])
    assert read(path, encoding="utf-16-le")[0] == expected
    corpus = Corpus.find([], about=[str(path)], encoding="utf-16-le")
    assert b"".join(block.text for block in corpus.blocks()).decode().split() == ["café", "crème", "пёс"]
    assert len(corpus.parts(1)) == 1
    path.write_bytes(lines[name].format("cr\udce8me\0.").encode(errors="surrogateescape"))
    found, notes = read(path)
    assert found == {"e1": ["café cr\ufffdme ."], "e2": ["пёс"]}
    line = 2 if name == "a.csv" else 1
    assert any(f"line {line} of {name}" in note and note.startswith("Bytes that are not UTF-8") for note in notes)
    assert any(note.startswith(f"NUL bytes, read as blanks: 1 (such as line {line}") for note in notes)


NOT_UTF8 = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe"))

BAD: list[tuple[str, bytes | pa.Table, str]] = [
    ("a.tsv", b"e1\ta dog\ne2 an animal\n", "a.tsv, line 2: expected 'entity TAB text'"),
    ("a.tsv", b"e1\ta dog\n\tan animal\n", "a.tsv, line 2: expected 'entity TAB text'"),
    ("a.tsv", b"e8\ta dog\n", "a.tsv: none of its 1 entities is in the graph: it has 'e8', the graph has 'e1'"),
    ("a.tsv", b"e1\ta dog\ne1\td\xffg \xe9 \xff\n", "a.tsv, line 2: byte 0xff is not UTF-8, and 2 more of the"),
    ("a.tsv", b"", "a.tsv: the file is empty"),
    ("a.tsv", b"\n\n", "a.tsv: no descriptions in it"),
    ("a.txt", b"e1\tdog\n\x89PNG\r\n\x1a\n\0\0\0\0\n", "a.txt, line 2: 4 NUL bytes in the first 20, so it is binary"),
    ("a.json", "e1\tdog".encode("utf-16"), "a.json, line 1: not JSON"),
    ("a.txt.gz", gzip.compress(b"e1\tdog\n" * 99, mtime=0)[:-12], "a.txt.gz: the file is cut short"),
    ("a.csv", b"", "a.csv: the file is empty"),
    ("a.csv", b"id,text\n", "a.csv: no descriptions in it"),
    ("a.csv", b"e1,a dog\n", "a.csv: no column 'entity' or 'id' or 'name'; it has e1, a dog; name the columns with"),
    ("a.csv", b"id,words\ne1,x\n", "a.csv: no column 'text' or 'description' or 'gloss' or 'comment'; it has id"),
    ("a.csv", b"id,text\ne1,x\n\ne1,a dog, that barks\n", "a.csv, line 4: 3 columns, the first line has 2; a text"),
    ("a.csv", b'id,text\ne1,x\ne1,"not\nclosed\n', "a.csv, line 3: not CSV (unexpected end of data); a quote inside"),
    ("a.csv", b'id,text\ne1,x\n,"y"\n', "a.csv, line 3: the column of entities is empty"),
    ("a.jsonl", b'{"id": "e1", "text": "x"}\n{"id": "e1"\n', "a.jsonl, line 2: not JSON"),
    ("a.jsonl", b'{"id": "e1", "text": "x"}\n["e1"]\n', "a.jsonl, line 2: an array; expected {"),
    ("a.jsonl", b'{"id": "e1", "text": 5}\n', "a.jsonl, line 1: field 'text' holds 5, not text"),
    ("a.jsonl", b'{"id": null, "text": "x"}\n', "a.jsonl, line 1: field 'id' holds None, which names no entity"),
    ("a.jsonl", b'{"id": "e1", "body": "x"}\n', "a.jsonl: no column 'text' or 'description' or 'gloss' or 'comment'"),
    ("a.json", b'{"e1": 5}', "a.json: entity 'e1' holds 5, not text"),
    ("a.json", b'{"e1": {"body": "x"}}', "a.json: no column 'text' or 'description' or 'gloss' or 'comment'; it"),
    ("a.json", b'{"e1": "x",\n"e2" "y"}', "a.json, line 2: not JSON (Expecting ':' delimiter)"),
    ("a.json", b'"text"', 'a.json: holds "text"; expected {"entity": "text", ...}'),
    ("a.json", b'[{"id": "e1", "text": "x"}, 7]', "a.json, record 2: 7; expected {"),
    ("a.json", b"[" * 100_000, "a.json: not JSON of entities and texts (nested too deeply)"),
    ("a.parquet", b"e1\tdog\n", "a.parquet: damaged or not Parquet"),
    ("a.parquet", pa.table({"id": ["e1"], "text": [1]}), "a.parquet: column 'text' holds int64, not text; name the"),
    ("a.parquet", pa.table({"id": ["e1", None], "text": ["x", "y"]}), "a.parquet, row 2: column 'id' is empty"),
    ("a.parquet", pa.table({"id": ["e1"], "text": NOT_UTF8}), "a.parquet: a column of entities or texts holds bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_bad_descriptions_are_named(name: str, content: bytes | pa.Table, message: str, tmp_path: Path) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        pq.write_table(content, tmp_path / name)
    with pytest.raises(DistjointError) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("a.csv", "id,text\ne1,x\n", ("id", "words"), "a.csv: no column 'words'; it has id, text"),
        ("a.csv", "id,text\ne1,x\n", ("0", "2"), "a.csv: no column '2'; it has 0, 1"),
        ("a.tsv", "e1\tx\n", ("id", "text"), "a.tsv: no column 'id'; it has e1, x"),
        ("a.jsonl", '{"id": "e1", "text": "x"}', ("id", "words"), "a.jsonl: no column 'words'; it has id, text"),
        ("a.json", '{"e1": {"text": "x"}}', ("id", "words"), "a.json: no column 'words'; it has text"),
    ],
)
def test_columns_that_are_not_there_are_named_with_those_that_are(
    name: str, content: str, columns: Columns, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DistjointError, match=message):
        read(tmp_path / name, columns)
    pq.write_table(pa.table({"id": ["e1"], "text": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(DistjointError, match=r"a.parquet: it has columns 0 to 1, not 0,2"):
        read(tmp_path / "a.parquet", ("0", "2"))


# What is said of entities


def test_a_word_that_is_said_of_all_weighs_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,000 entities: `the` at place 0, a word of its own at place 1, log(1001 / 1000) and log(1001) by rarity."""
    monkeypatch.setattr(mentions, "PIECE", 64)  # so that texts are tokenised in pieces
    words = ["the", *(f"own{k}" for k in range(1000))]
    options = PrepareOptions("somewhere", corpus="text", triples="graph")
    texts = [[f"the own{k} "] for k in range(1000)]  # a piece may end with the last blank of a line
    found = find_mentions([[] for _ in texts], texts, Alignment(), words, options)
    the, own = math.log(1001 / 1000) * (1 + 8), math.log(1001) * (1 + 8 * math.exp(-1 / 3))
    assert found.word.tolist() == [word for k in range(1000) for word in (0, k + 1)]
    length = math.hypot(the, own)
    np.testing.assert_allclose(found.weight, np.tile([the / length, own / length], 1000), rtol=1e-12)
    assert the / length < 2e-4


def test_an_entity_of_very_many_descriptions_keeps_the_heaviest_words(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("".join(f"e1\tword{k % 700} thing\n" for k in range(5_000)))
    found, notes = read(path)
    assert notes == [
        f"Descriptions in {path} of entities that have one already, read as further text: 4,999 (such as e1)."
    ]
    words = [*(f"word{k}" for k in range(700)), "thing"]
    options = PrepareOptions("somewhere", corpus="text", triples="graph")
    kept = find_mentions([[]], [found["e1"]], Alignment(), words, options)
    assert (len(kept), kept.capped, kept.tokens) == (mentions.MOST, 1, (10_000, 10_000))
    assert 700 in kept.word  # said 5,000 times


# Through `prepare`


def test_descriptions_want_a_graph_and_a_text(folder: Path) -> None:
    with pytest.raises(UsageError, match="--descriptions belongs to a graph; give its triples with --triples"):
        prepared(folder, triples=None, corpus=str(folder / "about.tsv"))
    with pytest.raises(UsageError, match="--no-read-descriptions leaves no text"):
        prepared(folder, read_descriptions=False)
    with pytest.raises(UsageError, match="--descriptions found looks in the folder of --graph"):
        prepared(folder, descriptions="found")
    with pytest.raises(UsageError, match="--descriptions none goes with no other; a file of this name is"):
        prepared(folder, descriptions=["a.tsv", "none"])
    with pytest.raises(UsageError, match="--description-columns is 'text'; it takes two names, 'entity,text'"):
        prepared(folder, description_columns="text")
    with pytest.raises(UsageError, match="--description-columns belongs to descriptions"):
        prepared(folder, descriptions=(), description_columns="id,text")
    (folder / "about.tsv").write_text("e9\ta dog\n")
    with pytest.raises(DistjointError, match="none of its 1 entities is in the graph"):
        prepared(folder)
    assert not (folder / "data").exists()


def test_named_columns_are_those_of_mentions_and_of_the_corpus(folder: Path) -> None:
    (folder / "about.csv").write_text("n,about,who\n1,a dog that barks,e1\n2,an animal,e2\n3,nobody here,e9\n")
    summary, data = prepared(folder, descriptions=str(folder / "about.csv"), description_columns=["who", "about"])
    assert (summary.counts["documents"], summary.counts["text_tokens"], summary.counts["mentions"]) == (3, 8, 6)
    assert data.manifest.options["description_columns"] == ["who", "about"]


# Found in the folder of a benchmark


@pytest.fixture
def benchmark(folder: Path) -> Path:
    """A folder as it is unpacked: triples in one below, texts beside it."""
    place = folder / "graph"
    (place / "original").mkdir(parents=True)
    (folder / "train.tsv").rename(place / "original/train.txt")
    (folder / "text").write_text("a dog barks\na cat meows\nDog\n")
    (place / "entity2text.txt").write_text("e1\tDog\ne2\tanimal\n")
    (place / "entity2textlong.txt").write_text("e1\ta dog that barks\ne2\tan animal\n")
    return place


def graphed(place: Path, **options: Any) -> tuple[distjoint.data.summary.Summary, Dataset]:
    return prepared(place.parent, triples=None, graph=str(place), overwrite=True, **{"descriptions": (), **options})


def test_a_graph_stays_alone_where_its_folder_has_texts_too(benchmark: Path) -> None:
    summary, data = graphed(benchmark)
    hint = "The folder has descriptions of entities too (entity2textlong.txt): '--descriptions found' reads them."
    assert hint in summary.notes
    assert (summary.counts["words"], data.manifest.options["descriptions"], summary.described) == (0, [], None)
    plain = (benchmark.parent / "data/rows.parquet").read_bytes()
    summary, _ = graphed(benchmark, descriptions="none")
    assert not any("descriptions" in note for note in summary.notes)
    assert (benchmark.parent / "data/rows.parquet").read_bytes() == plain


def test_texts_of_the_folder_are_found_where_they_are_wanted(benchmark: Path) -> None:
    long, short = str(benchmark / "entity2textlong.txt"), str(benchmark / "entity2text.txt")
    said = f"Descriptions of entities: {long}, found beside the triples; it says more than entity2text.txt."
    named = f"Labels of entities: {short}, found beside the triples."
    summary, data = graphed(benchmark, descriptions="found")
    assert said in summary.notes and named in summary.notes
    assert "There is no other text, so the descriptions are read as corpus." in summary.notes
    assert (data.manifest.options["descriptions"], data.manifest.options["labels"]) == ([long], short)
    text = str(benchmark.parent / "text")
    summary, data = graphed(benchmark, corpus=text)
    assert said in summary.notes and summary.counts["text_tokens"] == 7 and summary.described is not None
    summary, data = graphed(benchmark, corpus=text, descriptions="none")
    assert said not in summary.notes and data.manifest.options["labels"] is None and summary.described is None
    about = str(benchmark.parent / "about.tsv")
    summary, data = graphed(benchmark, descriptions=[about, "found"], labels=short)
    assert data.manifest.options["descriptions"] == [about, long]
    summary, data = graphed(benchmark, descriptions=about)
    assert (data.manifest.options["descriptions"], data.manifest.options["labels"]) == ([about], None)


def test_which_files_of_a_folder_are_descriptions_and_labels(benchmark: Path) -> None:
    def found() -> tuple[list[str], str | None]:
        options = graphed(benchmark, descriptions="found")[1].manifest.options
        return [Path(path).name for path in options["descriptions"]], options["labels"] and Path(options["labels"]).name

    (benchmark / "entity2textlong.txt").unlink()
    assert found() == (["entity2text.txt"], None)  # alone, it may be glosses as well as names
    wikidata = {"e1": {"label": "Dog", "alternatives": ["hound"], "description": "barking animal"}}
    (benchmark / "original/entity2wikidata.json").write_text(json.dumps(wikidata))
    assert found() == (["entity2wikidata.json"], "entity2wikidata.json")
    (benchmark / "entity2label.txt").write_text("e1\tDog\n")
    assert found() == (["entity2wikidata.json"], "entity2label.txt")
    for place in [*benchmark.glob("entity2*"), benchmark / "original/entity2wikidata.json"]:
        place.unlink()
    with pytest.raises(DistjointError, match="graph/original: no descriptions of entities: looked for entity2textlong"):
        graphed(benchmark, descriptions="found")
    for place in (benchmark / "original").iterdir():
        with fsspec.open(f"memory://described/{place.name}", "wb") as stream:
            stream.write(place.read_bytes())
    with fsspec.open("memory://described/entity2text.txt", "w") as stream:
        stream.write("e1\ta dog\n")
    summary, data = prepared(
        benchmark.parent, triples=None, graph="memory://described", descriptions="found", overwrite=True
    )
    assert data.manifest.options["descriptions"] == ["memory://described/entity2text.txt"]
    assert summary.counts["described"] == 1


# Labels


def test_labels_of_json_and_of_numbers_are_names(tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    path.write_text(
        json.dumps(
            {
                "e1": {"label": " Dog ", "alternatives": ["hound", None, "Dog"], "description": "barks"},
                "e2": {"label": None, "aliases": ["x"]},
                "e3": ["Cat", "kitten"],
                "e4": "Cow",
            }
        )
    )
    assert read_labels(locate(str(path))) == {"e1": ["Dog", "hound"], "e3": ["Cat", "kitten"], "e4": ["Cow"]}
    for content, message in (
        ('{"e1": 7}', "l.json: entity 'e1' is called 7; a name is text"),
        ('{"e1": "a", "e1": "b"}', "l.json: entity 'e1' has a label already; put further names in one list"),
        ("[1]", "l.json: not one object of JSON"),
        ("{}", "l.json: no labels in it"),
    ):
        path.write_text(content)
        with pytest.raises(DistjointError, match=message):
            read_labels(locate(str(path)))
    strings = tmp_path / "entity_strings.del"  # LibKGE's
    strings.write_text("0\tDog\n2\tCat\n")
    (tmp_path / "entity_ids.del").write_text("0\te1\n1\te2\n2\te3\n")
    assert read_labels(locate(str(strings))) == {"e1": ["Dog"], "e3": ["Cat"]}
    strings.write_text("0\tDog\n7\tCat\n")
    with pytest.raises(DistjointError, match=r"entity_strings.del: entity 7 is not in entity_ids.del, which numbers 3"):
        read_labels(locate(str(strings)))
    (tmp_path / "entity_ids.del").unlink()
    with pytest.raises(DistjointError, match=r"entity_ids.del: no such file"):
        read_labels(locate(str(strings)))


def test_names_that_descriptions_begin_with_are_labels(folder: Path) -> None:
    (folder / "about.tsv").write_text("e1\tBig Dog, that barks, often\ne1\tdog\ne2\t, nothing\ne3\tcat , meows\n")
    (folder / "labels.tsv").write_text("e3\tTom\n")
    summary, data = prepared(folder, name_before=",", labels=str(folder / "labels.tsv"), align="none")
    labels = dict(zip(*(data.rows().column(name).to_pylist() for name in ("entity", "label")), strict=True))
    assert {name: labels[name] for name in ("e1", "e2", "e3")} == {"e1": "Big Dog", "e2": None, "e3": "Tom"}
    assert "Names before ',' in descriptions: of 2 entities; without one: 2 (such as e1: dog)." in summary.notes
    # A name is said once, as a name: "big" weighs as much as any word of a name, not as the first of a description.
    assert summary.described is not None
    said = next(line for line in summary.described.examples if line.startswith("e1: "))
    assert said.index("dog") < said.index("barks")
