"""A table that stays in its files is never in memory whole: what is asked of it reads rows and blocks, and answers as
one in memory does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from runs import Rows, write_dataset, write_run
from small import Train

import distjoint
from distjoint.base.errors import UsageError
from distjoint.evaluate import analogies as analogies_module
from distjoint.evaluate import stored as stored_module
from distjoint.evaluate.stored import RowReader, StoredVectors
from distjoint.results.embeddings import Embeddings
from distjoint.results.exports import usearch as usearch_module
from distjoint.runs.folder import Checkpoint

pytestmark = pytest.mark.unit

AT_ONCE = 16
"""Vectors that a test lets be read at a time; the tables have more of each kind."""


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run whose words and entities are random vectors, some of them the same."""
    folder, random = tmp_path_factory.mktemp("stored"), np.random.default_rng(0)
    rows = Rows(
        words=[f"w{k}" for k in range(40)],
        aligned=[(f"Word_{k}", f"a{k}") for k in range(30)],
        entities=[(f"e{k}", f"Label {k}") for k in range(60)],
        relations=["r0", "r1"],
        shards=3,
        tiles=12,
    )
    ids = rows.entity_ids
    triples = [(ids[k], f"r{k % 2}", ids[(7 * k + 3) % 80]) for k in range(80)]  # ten entities are in none
    write_dataset(folder / "data", rows, train=triples[10:], valid=triples[:5], test=triples[5:10])
    words, entities = random.normal(size=(70, 8)), random.normal(size=(90, 8))
    words[20:24], entities[40:44] = words[20], entities[40]
    dense = {"relation": random.normal(size=(4, 8)), "map": random.normal(size=(8, 8))}
    write_run(folder / "run", folder / "data", words=words, entities=entities, dense=dense, coupling="dual")
    return str(folder / "run")


@pytest.fixture
def described(known: Train) -> str:
    return str(known({"model.coupling": "described"}))


@pytest.fixture
def by_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shard is read whole, nor all vectors, nor more than a few at a time."""

    def refuse(*_: Any, **__: Any) -> Any:
        pytest.fail("all vectors are read")

    def arrays(self: Checkpoint, path: str, whole: Any = Checkpoint.arrays) -> Any:
        return refuse() if path.startswith("shard-") else whole(self, path)

    def counted(method: Any) -> Any:
        def read(self: Any, rows: Any, *more: Any) -> Any:
            assert len(rows) <= AT_ONCE, f"{len(rows)} vectors are read at a time"
            return method(self, rows, *more)

        return read

    monkeypatch.setattr(Checkpoint, "arrays", arrays)
    monkeypatch.setattr(Checkpoint, "shard", refuse)
    monkeypatch.setattr(StoredVectors, "__array__", refuse)
    monkeypatch.setattr(stored_module, "LEAST", AT_ONCE)
    for name in ("words", "entities", "entity_parts"):
        monkeypatch.setattr(RowReader, name, counted(getattr(RowReader, name)))


def stored(url: str) -> Embeddings:
    loaded = distjoint.load(url, memory=1)
    assert isinstance(loaded.entities.vectors, StoredVectors)
    assert len(loaded.entities) > AT_ONCE < len(loaded.words)
    return loaded


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
@pytest.mark.parametrize("raw", [False, True])
def test_analogies_are_judged_by_blocks(
    dual: str, tmp_path: Path, by_rows: None, monkeypatch: pytest.MonkeyPatch, method: Any, raw: bool
) -> None:
    """Right ones, ties of equal vectors, answers among the question, words without a vector; few questions a time."""
    words = [*(f"w{k}" for k in range(40)), *(f"a{k}" for k in range(30))]
    lines = [": one"]
    for k in range(60):
        if k == 30:
            lines.append(": other")
        lines.append(" ".join(words[(k * step + k % 7) % 70] for step in (1, 3, 5, 11)))
    lines += ["w1 w20 w1 w21", "w20 w21 w22 w23", "w1 w2 w3 zebra", "w1 w2 w1 w2", "w5 w6 w5 w7"]
    (tmp_path / "q.txt").write_text("\n".join(lines) + "\n")
    asked: dict[str, Any] = {"analogies": [str(tmp_path / "q.txt")], "analogy_method": method, "standardize": not raw}
    there = distjoint.evaluate(dual, **asked, memory="1B").analogies
    monkeypatch.undo()
    monkeypatch.setattr(analogies_module, "SCORES_AT_ONCE", 200)
    here = distjoint.evaluate(dual, **asked, memory="1GB").analogies
    assert here is not None and there is not None
    np.testing.assert_allclose(there.right, here.right)
    assert there.to_dict() == here.to_dict() and there.ties and there.excluded
    assert 0 < np.nansum(here.right) < len(here.right)


@pytest.mark.parametrize("which", ["own", "text", "both"])
def test_parts_of_vectors_are_exported_by_blocks(
    dual: str, described: str, tmp_path: Path, by_rows: None, monkeypatch: pytest.MonkeyPatch, which: Any
) -> None:
    there = {url: stored(url) for url in (dual, described)}
    for number, loaded in enumerate(there.values()):
        loaded.export(str(tmp_path / f"{number}.parquet"), "parquet", kind="entity", vectors=which)
    if which == "both":
        there[dual].export(str(tmp_path / "w.parquet"), "parquet", kind="word", vectors=which)
    monkeypatch.undo()
    for number, url in enumerate(there):
        distjoint.load(url).export(str(tmp_path / f"{number}-.parquet"), "parquet", kind="entity", vectors=which)
        compare(tmp_path / f"{number}.parquet", tmp_path / f"{number}-.parquet")
    if which == "both":
        distjoint.load(dual).export(str(tmp_path / "w-.parquet"), "parquet", kind="word", vectors=which)
        compare(tmp_path / "w.parquet", tmp_path / "w-.parquet")


def compare(one: Path, other: Path) -> None:
    """Two files of the same names and vectors; products of few rows may round otherwise than those of all."""
    tables = pq.read_table(one), pq.read_table(other)
    assert tables[0].column("name") == tables[1].column("name") and len(tables[0]) > 10
    vectors = [np.array(table.column("vector").to_pylist()) for table in tables]
    np.testing.assert_allclose(*vectors, rtol=1e-4, atol=1e-5)


def test_word_tests_of_parts_look_names_up_as_in_memory(dual: str, tmp_path: Path) -> None:
    """Ids, labels and words, of entities that have a text: few of the table's."""
    (tmp_path / "p.txt").write_text(
        "Word_1 Word_2 1\na1 a2 2\na3 a5 4\na3 word_9 5\nA4 a11 3\nWord_5 Word_20 2\nWord_6 e1 2\n"
    )
    for kind, vectors in (("entity", "text"), ("entity", "own"), ("word", "both")):
        asked: dict[str, Any] = {"similarity": [str(tmp_path / "p.txt")], "kind": kind, "vectors": vectors}
        there, here = (distjoint.evaluate(dual, **asked, memory=size).similarity[0] for size in ("1B", "1GB"))
        assert there.words == here.words and there.covered.tolist() == here.covered.tolist()
        assert there.spearman == pytest.approx(here.spearman, nan_ok=True)
    with pytest.raises(UsageError, match="gives entities no text vectors; they have own"):
        distjoint.evaluate(untied(dual, tmp_path), similarity=[str(tmp_path / "p.txt")], kind="entity",
                           vectors="text", memory="1B")  # fmt: skip


def untied(dual: str, folder: Path) -> str:
    """The same data without a coupling."""
    random = np.random.default_rng(0)
    words, entities = random.normal(size=(70, 8)), random.normal(size=(90, 8))
    dense = {"relation": random.normal(size=(4, 8))}
    place = write_run(folder / "none", Path(dual).parent / "data", words=words, entities=entities, dense=dense)
    return str(place)


def test_folders_of_other_programs_are_written_by_blocks(
    dual: str, tmp_path: Path, by_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("usearch")
    monkeypatch.setattr(usearch_module, "QUERIES", 10)  # of which neighbours are sought to measure the index
    there = stored(dual)
    for form in ("usearch", "huggingface"):
        there.export(str(tmp_path / form), form)
    monkeypatch.undo()
    monkeypatch.setattr(usearch_module, "QUERIES", 10)
    for form in ("usearch", "huggingface"):
        distjoint.load(dual).export(str(tmp_path / f"{form}-"), form)
        for file in (tmp_path / form).iterdir():
            if file.suffix not in (".usearch", ".safetensors"):
                assert file.read_bytes() == (tmp_path / f"{form}-" / file.name).read_bytes(), file
            assert file.stat().st_size == (tmp_path / f"{form}-" / file.name).stat().st_size


def answers_to(loaded: Embeddings, text: str) -> list[Any]:
    vector = loaded.text_vector(text)
    found = [
        loaded.predict(head_text=text, relation="knows", k=5),
        loaded.predict(tail_text=text, relation="knows", k=5),
        loaded.nearest(vector, 7, of="entity"),
    ]
    score = loaded.score(None, "knows", "teamb", head_text=text)
    return [vector, [[each.name for each in answers] for answers in found], found[0][0].score, score]


def test_texts_are_read_by_the_rows_of_their_words(
    described: str, by_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "teama coachb of city"
    there = answers_to(stored(described), text)
    monkeypatch.undo()
    here = answers_to(distjoint.load(described), text)
    np.testing.assert_allclose(there[0], here[0], rtol=1e-4, atol=1e-6)
    assert there[1] == here[1] and there[2:] == pytest.approx(here[2:], rel=1e-4)


def test_explanations_read_the_rows_of_their_ends_and_words(
    dual: str, described: str, by_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = [
        (dual, {"head": "Word_3", "relation": "r0", "tail": "e5"}),
        (described, {"head": "teama", "relation": "knows", "tail": "coachb"}),
        (described, {"head": None, "head_text": "coachb of city", "relation": "knows", "tail": "teama"}),
    ]
    found = [stored(url).explain(**triple) for url, triple in asked]
    monkeypatch.undo()
    for (url, triple), there in zip(asked, found, strict=True):
        here = distjoint.load(url).explain(**triple)
        assert there.score == pytest.approx(here.score, rel=1e-4)
        for one, other in ((there.head, here.head), (there.tail, here.tail)):
            assert (one.name, one.rank, one.among, one.others) == (other.name, other.rank, other.among, other.others)
            assert one.parts == pytest.approx(other.parts, rel=1e-3, abs=1e-4)
            assert [word.word for word in one.words] == [word.word for word in other.words]
