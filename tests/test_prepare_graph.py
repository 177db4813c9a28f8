"""Triples, splits and alignment."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data import triples as triples_module
from distjoint.data.alignment import Alignment, Name, align_by_names, align_by_pairs, names_of, read_labels, read_pairs
from distjoint.data.triples import Graph, read_graph
from distjoint.storage import locate

pytestmark = pytest.mark.unit

TRIPLES = [("dog", "is a", "animal"), ("007", "likes", "true"), ("dog", "likes", "1.0")]


def named(graph: Graph, split: str = "train") -> list[tuple[str, str, str]]:
    entities, relations = graph.entities.list(), graph.relations.list()
    return [(entities[h], relations[r], entities[t]) for h, r, t in graph.splits[split].tolist()]


def graph_of(tmp_path: Path, content: str | bytes, name: str = "train.txt", **options: object) -> Graph:
    place = tmp_path / name
    place.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_graph({"train": str(place)}, **options)  # type: ignore[arg-type]


def test_tsv_csv_and_parquet_read_the_same(tmp_path: Path) -> None:
    tsv = "\n".join("\t".join(triple) for triple in TRIPLES)
    assert named(graph_of(tmp_path, tsv)) == TRIPLES
    assert named(graph_of(tmp_path, tsv.replace("\n", "\r\n") + "\r\n\r\n")) == TRIPLES
    assert named(graph_of(tmp_path, gzip.compress(tsv.encode()), "train.tsv.gz")) == TRIPLES
    assert named(graph_of(tmp_path, tsv.replace("\t", ","), "train.csv")) == TRIPLES
    heads, relations, tails = zip(*TRIPLES, strict=True)
    pq.write_table(pa.table({"h": heads, "r": relations, "t": tails}), tmp_path / "train.parquet")
    assert named(read_graph({"train": str(tmp_path / "train.parquet")})) == TRIPLES


def test_quotes_are_text_in_tsv_and_quotes_in_csv(tmp_path: Path) -> None:
    assert named(graph_of(tmp_path, 'a "b\tr\tc"\n')) == [('a "b', "r", 'c"')]
    assert named(graph_of(tmp_path, '"a, b",r,c\n', "train.csv")) == [("a, b", "r", "c")]


def test_columns_by_name_and_by_number(tmp_path: Path) -> None:
    content = "tail\tyear\thead\trelation\nanimal\t2001\tdog\tis a\n"
    assert named(graph_of(tmp_path, content, columns="head, relation,tail")) == TRIPLES[:1]
    assert named(graph_of(tmp_path, content.split("\n", 1)[1], columns="2,3,0")) == TRIPLES[:1]
    with pytest.raises(DistjointError, match="no column 'subject'; it has tail, year, head, relation"):
        graph_of(tmp_path, content, columns="subject,relation,tail")
    with pytest.raises(DistjointError, match="it has columns 0 to 3, not 9"):
        graph_of(tmp_path, content, columns="1,2,9")
    with pytest.raises(UsageError, match="takes three names"):
        graph_of(tmp_path, content, columns="head,tail")


def test_duplicates_are_dropped_and_counted_and_test_triples_of_train_are_kept(tmp_path: Path) -> None:
    (tmp_path / "test").write_text("a\tr\tb\nx\tr\ty\nx\tr\ty\n")
    (tmp_path / "train").write_text("a\tr\tb\nb\tr\ta\na\tr\tb\na\tr\tb\n")
    graph = read_graph({"train": str(tmp_path / "train"), "test": str(tmp_path / "test")})
    assert named(graph) == [("a", "r", "b"), ("b", "r", "a")]
    assert named(graph, "test") == [("a", "r", "b"), ("x", "r", "y")]
    assert graph.duplicates == {"train": 2, "test": 1}
    assert graph.repeated == {"test": 1}
    assert graph.degrees().tolist() == [2, 2, 0, 0]


def test_split_is_seeded_and_loses_nothing(tmp_path: Path) -> None:
    content = "\n".join(f"e{k}\tr\te{k + 1}" for k in range(100))
    graphs = [graph_of(tmp_path, content, fractions=(0.1, 0.2), seed=seed) for seed in (0, 0, 1)]
    assert [len(graphs[0].splits[split]) for split in ("train", "valid", "test")] == [70, 10, 20]
    together = [triple for split in graphs[0].splits for triple in named(graphs[0], split)]
    assert sorted(together) == sorted(named(graph_of(tmp_path, content)))
    assert named(graphs[0], "test") == named(graphs[1], "test") != named(graphs[2], "test")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", b"", "t.txt: the file is empty"),
        ("t.txt", b"\n\n", "t.txt: no triples in it"),
        ("t.txt", b"a\tr\tb\na\tr\n", r"t.txt, line 2: 2 columns instead of 3 \(separated by tabs\) in 'a\\tr'"),
        ("t.txt", b"a\tr\nb\tr\n", "t.txt, line 1: 2 columns instead of 3"),
        ("t.txt", b"a r b\n", "t.txt, line 1: 1 column instead of 3"),
        ("t.txt", b"a\tr\tb\t0.5\n", "t.txt, line 1: 4 columns instead of 3.*--triple-columns"),
        ("t.csv", b"a,r,b\na,r\n", "t.csv, line 2: 2 columns instead of 3"),
        ("t.txt", b"a\tr\tb\ncaf\xe9\tr\tb\n", "t.txt, line 2: byte 0xe9 is not UTF-8"),
        ("t.txt", b"a\tr\tb\n\tr\tb\n", "t.txt, triple 2: the head is empty"),
        ("t.parquet", b"PAR1", "t.parquet: damaged or not Parquet"),
        ("t.txt.gz", gzip.compress(b"a\tr\tb\n" * 99, mtime=0)[:-12], "t.txt.gz: the file is cut short"),
    ],
)
def test_bad_triples_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DistjointError, match=message):
        graph_of(tmp_path, content, name)


def test_missing_file_and_options_at_odds() -> None:
    with pytest.raises(DistjointError, match=r"nowhere/x\.txt: no such file"):
        read_graph({"train": "nowhere/x.txt"})
    with pytest.raises(UsageError, match="--valid names a file, so --valid-fraction cannot be"):
        read_graph({"train": "x", "valid": "y"}, fractions=(0.1, 0))
    with pytest.raises(UsageError, match="add up to"):
        read_graph({"train": "x"}, fractions=(0.5, 0.5))


def test_distinct_keeps_the_first_of_equal_rows() -> None:
    rows = np.array([[2, 0, 1], [0, 0, 0], [2, 0, 1], [2, 1, 1], [0, 0, 0]])
    kept, dropped = triples_module.distinct(rows)
    assert kept.tolist() == [[2, 0, 1], [0, 0, 0], [2, 1, 1]]
    assert dropped == 2


# Alignment: words by falling count; entities as letters.

WORDS = ["bank", "new_york", "usa", "dog", "nyc", "Bank", "puppy"]
ENTITIES = ["A", "B", "C", "D"]


def aligned(names: list[list[str]], degrees: list[int] | None = None, most_frequent: bool = False) -> Alignment:
    called = [[Name(text, "label" if k == 0 else "alias") for k, text in enumerate(texts)] for texts in names]
    return align_by_names(called, WORDS, degrees or [1] * len(names), "unicode", most_frequent, ENTITIES[: len(names)])


def samples(found: Alignment) -> list[tuple[int, str, float, str]]:
    return sorted((s.entity, WORDS[s.word], s.weight, s.how) for s in found.samples)


def test_label_shares_a_row_and_aliases_become_samples() -> None:
    found = aligned([["New York", "NYC", "Big Apple"], ["Dog"], ["nothing like it"]])
    assert found.shared == {0: (1, "label"), 1: (3, "label")}
    assert samples(found) == [(0, "nyc", 1.0, "alias")]
    assert found.ambiguous == []


def test_alias_shares_a_row_where_the_label_is_no_word() -> None:
    found = aligned([["United States", "U.S.A.", "USA"], ["Hound", "puppy", "dog"]])
    assert found.shared == {0: (2, "alias"), 1: (3, "alias")}
    assert samples(found) == [(1, "puppy", 1.0, "alias")]


def test_two_spellings_of_one_word_the_more_frequent_shares_the_row() -> None:
    found = aligned([["bank"]])
    assert found.shared == {0: (0, "label")}
    assert samples(found) == [(0, "Bank", 1.0, "label")]


def test_ambiguous_labels_share_no_row_unless_asked_to() -> None:
    names = [["dog"], ["Dog", "puppy"], ["dog", "nyc"]]
    found = aligned([*names[:1], ["Dog"]])
    assert found.shared == {}
    assert samples(found) == [(0, "dog", 0.5, "label"), (1, "dog", 0.5, "label")]
    assert found.ambiguous == [(0, 3, 2), (1, 3, 2)]
    found = aligned(names, degrees=[3, 9, 2], most_frequent=True)
    assert found.shared == {1: (3, "label"), 2: (4, "alias")}
    assert [entity for entity, _, _ in found.ambiguous] == [0]


def test_a_name_written_like_the_word_outweighs_one_that_loses_a_mark() -> None:
    found = aligned([["'dog"], ["Dog"], ["dog!"]])
    assert found.shared == {1: (3, "label")}
    assert samples(found) == [(0, "dog", 1 / 3, "label"), (2, "dog", 1 / 3, "label")]
    assert aligned([["'dog"], ["dog!"]]).shared == {}


def test_a_label_outweighs_an_alias() -> None:
    found = aligned([["Hound", "dog"], ["dog"]])
    assert found.shared == {1: (3, "label")}
    assert found.ambiguous == [(0, 3, 2)]
    # An alias that is the label of two others belongs to nobody either.
    assert aligned([["Hound", "dog"], ["dog"], ["dog"]]).shared == {}


def test_no_word_and_no_entity_shares_two_rows() -> None:
    generator = np.random.default_rng(0)
    pool = ["bank", "New York", "usa", "dog", "nyc", "puppy", "x", "y"]
    for _ in range(200):
        names = [list(generator.choice(pool, generator.integers(1, 4), replace=False)) for _ in ENTITIES]
        found = aligned(names, generator.integers(0, 5, 4).tolist(), bool(generator.integers(2)))
        words = [word for word, _ in found.shared.values()]
        assert len(words) == len(set(words))
        pairs = {(s.entity, s.word) for s in found.samples}
        assert len(pairs) == len(found.samples)
        assert not pairs & {(entity, word) for entity, (word, _) in found.shared.items()}
        assert not {entity for entity, _, _ in found.ambiguous} & found.shared.keys()


def test_pairs_are_taken_as_given() -> None:
    found = align_by_pairs(
        [(0, 1), (0, 4), (1, 3), (2, 3)], counts=[9, 8, 7, 6, 5], degrees=[1, 1, 2], most_frequent=False
    )
    assert found.shared == {0: (1, "pairs")}
    assert samples(found) == [(0, "nyc", 1.0, "pairs"), (1, "dog", 0.5, "pairs"), (2, "dog", 0.5, "pairs")]
    found = align_by_pairs([(1, 3), (2, 3)], counts=[9, 8, 7, 6], degrees=[1, 1, 2], most_frequent=True)
    assert found.shared == {2: (3, "pairs")}


def test_readable_ids_serve_where_there_is_no_file_of_labels() -> None:
    ids = ["New_York", "http://dbpedia.org/resource/New_York", "<http://x.org/a#Dog>", "Q42"]
    assert [names[0].text for names in names_of(ids, None)] == ["New_York", "New_York", "Dog", "Q42"]
    assert names_of(ids, {"Q42": ["Adams", "D. N. A."]})[3] == [Name("Adams", "label"), Name("D. N. A.", "alias")]
    assert names_of(ids, {"Q42": ["Adams"]})[0] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a\tb\nc\n", "line 2: expected 'entity TAB label"),
        (b"a\tb\na\tc\n", "line 2: entity 'a' has a label already"),
        (b"a\tb\nc\tcaf\xe9\n", "line 2: byte 0xe9 is not UTF-8"),
    ],
)
def test_bad_labels_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.tsv").write_bytes(content)
    with pytest.raises(DistjointError, match=f"labels.tsv(, |: ){message}"):
        read_labels(locate(str(tmp_path / "labels.tsv")))


def test_pairs_need_two_columns(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("a\tb\nc\td\te\n")
    with pytest.raises(DistjointError, match="line 2: expected 'entity TAB word', found 3 columns"):
        read_pairs(locate(str(tmp_path / "pairs.tsv")))


def test_headers_of_pairs_are_no_pairs_and_are_said(tmp_path: Path) -> None:
    files = {
        "k.tsv": "anna\tknows\tben\nben\tknows\tanna\n",
        "labels.tsv": "\ufeffID\tLabel\nanna\tAnna\n",
        "types.tsv": "entity\ttype\nanna\tperson\n",
        "about.tsv": "id\tdescription\nanna\ta woman here\n",
        "pairs.tsv": "entity\tword\nanna\twoman\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    at = {name: str(tmp_path / f"{name}.tsv") for name in ("labels", "types", "about", "pairs")}
    summary = distjoint.prepare(
        str(tmp_path / "data"),
        triples=str(tmp_path / "k.tsv"),
        labels=at["labels"],
        types=at["types"],
        descriptions=at["about"],
        align=at["pairs"],
        min_count=1,
    )
    notes = "\n".join(summary.notes)
    assert summary.counts["entities"] == 2 and summary.counts["words"] == 3
    for first in ("'ID, Label'", "'entity, type'", "'entity, word'"):
        assert f"its first line, {first}, is taken for a header." in notes
    assert "First lines of descriptions taken for headers: 1 (such as id, description" in notes
    assert "left out" not in notes and "in no triple" not in notes
    (tmp_path / "labels.tsv").write_text("name\tname\nanna\tAnna\n")  # an entity called by its own name
    assert read_labels(locate(at["labels"])) == {"name": ["name"], "anna": ["Anna"]}
    (tmp_path / "labels.csv").write_text("id;label\nanna;Anna\n")
    assert read_labels(locate(str(tmp_path / "labels.csv")), notes := []) == {"anna": ["Anna"]}
    assert "Columns that semicolons part" in notes[0]
