"""Many questions of a trained run: exact answers, by blocks of a table in its files, from files to files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import Rows, write_dataset, write_run
from safetensors.numpy import load_file

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.evaluate import names as names_module
from distjoint.evaluate.stored import StoredVectors
from distjoint.results.batch import nearest_file, predict_file, score_file
from distjoint.results.best import Best
from distjoint.results.calibration import fit
from distjoint.results.embeddings import Embeddings
from distjoint.results.files import QuestionFile
from distjoint.results.options import FileOptions
from distjoint.runs.folder import shard_file
from distjoint.runs.tensors import TensorFile
from distjoint.storage import locate

pytestmark = pytest.mark.unit

DIM, WORDS, ALIGNED, ENTITIES = 8, 40, 20, 300
SCORERS = {"transe": False, "complex": False, "rotate": True}
"""Scorer, and whether it is compared by cosine."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of random triples and runs of random vectors on it, some of which are the same."""
    folder, random = tmp_path_factory.mktemp("ask"), np.random.default_rng(0)
    rows = Rows(
        words=[f"w{k}" for k in range(WORDS)],
        aligned=[(f"Word_{k}", f"a{k}") for k in range(ALIGNED)],
        entities=[(f"e{k}", f"Label {k}" if k % 3 else f"e{k}") for k in range(ENTITIES)],
        relations=["r0", "r1", "r2"],
        shards=3,
        tiles=12,
    )
    ids = rows.entity_ids[:-5]  # five are in no triple
    drawn = {
        (ids[head], f"r{relation}", ids[tail])
        for head, relation, tail in zip(*(random.integers(0, n, 900) for n in (len(ids), 3, len(ids))), strict=True)
    }
    triples = sorted(drawn)
    random.shuffle(triples)
    cuts = np.split(np.array(triples), [40, 60])
    valid, test, train = ([tuple(triple) for triple in part.tolist()] for part in cuts)
    write_dataset(folder / "data", rows, train=train, valid=valid, test=test)
    return folder


def run(folder: Path, coupling: str = "none", scorer: str = "complex") -> str:
    place = folder / f"{coupling}-{scorer}"
    if not place.exists():
        random = np.random.default_rng(1)
        entities = random.normal(size=(ALIGNED + ENTITIES, DIM))
        entities[100:110] = entities[100]  # equal vectors: ties
        dense: dict[str, Any] = {"relation": random.normal(size=(6, DIM // (2 if scorer == "rotate" else 1)))}
        if coupling == "dual":
            dense["map"] = random.normal(size=(DIM, DIM))
        chosen = {"model.scorer": scorer, "model.cosine": SCORERS[scorer]}
        words = random.normal(size=(WORDS + ALIGNED, DIM))
        write_run(place, folder / "data", words=words, entities=entities, dense=dense, coupling=coupling,
                  settings=chosen)  # fmt: skip
    return str(place)


def stored(url: str) -> Embeddings:
    """The run with its vectors left in their files, in blocks of a few hundred."""
    loaded = distjoint.load(url, memory=100)
    assert isinstance(loaded.entities.vectors, StoredVectors)
    return loaded


def brute_force(result: Embeddings, given: int, relation: int, side: str) -> np.ndarray:
    """float64[entities]: scores by the model's own formulas, in float64 throughout."""
    import torch

    model, vectors = result.trained.model, torch.from_numpy(np.asarray(result.entities.vectors).astype(np.float64))
    relations = model.relations.double()
    if side == "tail":
        query = model.scorer.query(vectors[given], relations[relation], model.dense)
    else:
        query = model.scorer.query(vectors[given], relations[relation + 3], model.dense)
    if model.comparison.has_units:
        return (model.comparison.scale * torch.nn.functional.cosine_similarity(query[None], vectors)).numpy()
    if model.comparison.name == "distance":
        return (-model.comparison.scale * (query - vectors).norm(dim=1)).numpy()
    return (vectors @ query).numpy()


@pytest.mark.parametrize("scorer", list(SCORERS))
@pytest.mark.parametrize("load", [distjoint.load, stored])
def test_predictions_are_those_of_brute_force(folder: Path, scorer: str, load: Any) -> None:
    """In float64; equal scores in order of place; nothing known, untrained, or the given end.

    A vector that is a word's by the map is a product in float32 of a few rows or of all, which may round differently.
    """
    rounding = 1e-6 if load is stored else 1e-9
    result = load(run(folder, "dual", scorer))
    known = {
        (int(h), int(r), int(t))
        for h, r, t in zip(
            *(getattr(result.graph.triples("all"), end) for end in ("head", "relation", "tail")), strict=True
        )
    }
    for end, relation, side in ((3, 0, "tail"), (150, 2, "head"), (100, 1, "tail")):
        name = result.entities.names[end]
        found = result.predict(**{"head" if side == "tail" else "tail": name}, relation=f"r{relation}", k=25)
        scores = brute_force(result, end, relation, side)
        answers = [
            place
            for place in np.lexsort((np.arange(len(scores)), -np.round(scores, 9))).tolist()
            if place != end
            and ((end, relation, place) if side == "tail" else (place, relation, end)) not in known
            and (result.every.degrees[place] > 0 or place < ALIGNED)
        ]
        assert [each.name for each in found] == [result.entities.names[place] for place in answers[:25]]
        np.testing.assert_allclose([each.score for each in found], scores[answers[:25]], rtol=rounding)


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=12, max_size=12), min_size=1, max_size=3),
    st.integers(1, 14),
    st.permutations(range(12)),
    st.sampled_from([1, 5, 12]),
)
def test_the_best_are_the_same_however_candidates_are_cut(
    scores: list[list[int]], k: int, order: list[int], step: int
) -> None:
    """Of many equal ones the first places; 0 stands for no candidate."""
    every = np.array(scores, np.float32)
    every[every == 0] = -np.inf
    best = Best(len(every), k)
    for start in range(0, 12, step):
        places = np.array(order[start : start + step])
        best.add(every[:, places], places)
    for query, row in enumerate(every):
        expected = [place for place in np.lexsort((np.arange(12), -row)).tolist() if np.isfinite(row[place])][:k]
        assert best.places[query].tolist() == expected + [-1] * (k - len(expected))


@pytest.mark.parametrize("coupling", ["none", "tie", "dual", "soft"])
def test_a_table_in_its_files_answers_as_one_in_memory(folder: Path, coupling: str) -> None:
    url = run(folder, coupling)
    here, there = distjoint.load(url), stored(url)
    for one, other in ((here.words, there.words), (here.entities, there.entities)):
        np.testing.assert_allclose(np.asarray(other.vectors), one.vectors, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(other.vectors[5:11], one.vectors[5:11], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(other.vectors[[7, -1, 0]], one.vectors[[7, -1, 0]], rtol=1e-6, atol=1e-6)
    for name, of in (("Word_3", "entity"), ("word_3", "word"), ("e7", "entity"), ("w5", "word")):
        near, far = (each.nearest(name, 12, of=of) for each in (here, there))
        assert [each.name for each in near] == [each.name for each in far]
        np.testing.assert_allclose([e.similarity for e in near], [e.similarity for e in far], atol=1e-6)
    assert here.score("e1", "r1", "label 2") == pytest.approx(there.score("e1", "r1", "label 2"))
    pairs = folder / "pairs.txt"
    pairs.write_text("".join(f"w{k} w{3 * k % 40} {k % 7}\n" for k in range(1, 30)))
    evaluated = [distjoint.evaluate(url, similarity=[str(pairs)], memory=size) for size in ("1GB", "1KB")]
    assert evaluated[0].similarity[0].spearman == pytest.approx(evaluated[1].similarity[0].spearman, abs=1e-9)
    for form in ("glove", "safetensors", "parquet"):
        files = [folder / f"{coupling}-{which}.{form}" for which in ("here", "there")]
        for each, file in zip((here, there), files, strict=True):
            each.export(str(file), form, kind="entity")
        if form == "parquet":
            tables = [pq.read_table(file) for file in files]
            assert tables[0].column("name") == tables[1].column("name")
        elif coupling != "dual":  # whose products round by the shape of a block
            assert files[0].read_bytes() == files[1].read_bytes()


def test_many_names_are_found_as_few_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = distjoint.load(run(folder)).entities
    monkeypatch.setattr(names_module, "MANY", 10)
    many = distjoint.load(run(folder)).entities
    asked = ["e7", "E7", "label 7", "Label_7", "A3", "a3", "word_3", " e7 ", "nothing", "", "Straße", "e7\udcff"]
    assert (
        few.find_all(asked).tolist() == many.find_all(asked).tolist() == [many.find(name) for name in asked]
        or [-1 if few.find(name) is None else few.find(name) for name in asked] == many.find_all(asked).tolist()
    )
    assert few.similar_names("labels 7") and set(many.similar_names("labels 7")) == set(few.similar_names("labels 7"))


def test_neighbours_are_those_of_gensim(folder: Path, tmp_path: Path) -> None:
    """Raw vectors, as the export has them."""
    KeyedVectors = pytest.importorskip("gensim.models").KeyedVectors
    result = distjoint.load(run(folder, "dual"))
    result.export(str(tmp_path / "w.txt"), "word2vec", kind="word")
    theirs = KeyedVectors.load_word2vec_format(str(tmp_path / "w.txt"))

    def same(one: Any, other: Any) -> None:
        assert [name for name, _ in one] == [name for name, _ in other]
        np.testing.assert_allclose([cosine for _, cosine in one], [cosine for _, cosine in other], atol=1e-6)

    same(result.most_similar("w3"), theirs.most_similar("w3"))
    asked: dict[str, Any] = {"positive": ["w1", ("w2", 0.5)], "negative": ["Word_3"], "topn": 7}
    same(result.most_similar(**asked), theirs.most_similar(**asked))
    same(result.most_similar("w3", restrict_vocab=20), theirs.most_similar("w3", restrict_vocab=20))
    same(result.most_similar(result["w3"]), theirs.most_similar(theirs["w3"]))
    np.testing.assert_allclose(result.most_similar("w3", topn=None), theirs.most_similar("w3", topn=None), atol=1e-6)
    assert result.similarity("w1", "w2") == pytest.approx(theirs.similarity("w1", "w2"), abs=1e-6)
    sets = ["w1", "w2"], ["w5", "Word_1", "w7"]
    assert result.n_similarity(*sets) == pytest.approx(theirs.n_similarity(*sets), abs=1e-6)
    assert result.doesnt_match(["w1", "w2", "w9", "Word_4"]) == theirs.doesnt_match(["w1", "w2", "w9", "Word_4"])
    np.testing.assert_array_equal(result[["w1", "w2"]], theirs[["w1", "w2"]])
    assert "w1" in result and "zebra" not in result and list(result)[:3] == ["w0", "w1", "w2"]
    same([(each.name, each.similarity) for each in result.nearest("w3", kind="word", standardize=False)],
         theirs.most_similar("w3"))  # fmt: skip
    with pytest.raises(KeyError, match="unknown word or entity 'zebra'"):
        result["zebra"]
    with pytest.raises(UsageError, match="at least one name"):
        result.most_similar()


def test_answers_are_tables(folder: Path) -> None:
    result = distjoint.load(run(folder))
    found = result.predict("e1", "r1", k=3, probabilities=True)
    assert found.to_arrow().column_names == ["name", "score", "label", "known", "probability"]
    assert found.to_arrow().to_pylist() == found.to_dicts() and len(found.to_pandas()) == 3
    assert all(0 < each.probability < 1 for each in found)
    assert result.nearest("e1", 2).to_arrow().schema.field("similarity").type == pa.float64()


def test_what_may_be_an_answer_can_be_limited(folder: Path) -> None:
    result = distjoint.load(run(folder))
    triples = result.graph.triples("train")
    tails = {result.entities.names[at] for at in triples.tail[triples.relation == 1].tolist()}
    seen = result.predict("e1", "r1", k=999, known="include", types=True)
    assert {each.name for each in seen} == tails - {"e1"}
    few = result.predict("e1", "r1", k=9, candidates=["e5", "label 7", "e6"], filter="none")
    assert sorted(each.name for each in few) == ["e5", "e6", "e7"] and few[0].known is None
    with pytest.raises(DistjointError, match="unknown entity 'nobody'"):
        result.predict("e1", "r1", candidates=["e5", "nobody"])
    with pytest.raises(UsageError, match="has no types"):
        result.predict("e1", "r1", types=["city"])
    head, relation, tail = (getattr(result.graph.triples("all"), end)[-1] for end in ("head", "relation", "tail"))
    ends = {"head": result.entities.names[head], "tail": result.entities.names[tail]}
    marked = result.predict(**ends, known="include")
    assert {each.name: each.known for each in marked}[f"r{relation}"] and len(marked) == 3
    scores = [result.score(ends["head"], each.name, ends["tail"]) for each in marked]
    assert scores == sorted(scores, reverse=True) == pytest.approx([each.score for each in marked])
    assert f"r{relation}" not in {each.name for each in result.predict(**ends)}
    test_only = result.predict(**ends, filter="train")
    assert len(test_only) == 3 - sum(
        (triples.head == head) & (triples.tail == tail) & np.isin(triples.relation, [0, 1, 2])
    )


def test_probabilities_are_those_of_greatest_likelihood() -> None:
    random = np.random.default_rng(0)
    right, wrong = random.normal(2, 1, 4000), random.normal(0, 1, 4000)
    found = fit(right, wrong)
    # Of two normals of one deviation, log odds are linear: slope 2, zero half way.
    assert found.slope == pytest.approx(2, rel=0.06) and -found.offset / found.slope == pytest.approx(1, abs=0.05)
    assert found.probability(np.array([1.0, -np.inf, np.inf])) == pytest.approx([0.5, 0, 1], abs=0.03)
    with pytest.raises(DistjointError, match="at least 10"):
        fit(right[:9], wrong)
    apart = fit(np.full(20, 5.0), np.full(20, 1.0))
    assert apart.probability(np.array([5.0]))[0] == pytest.approx(21 / 22, abs=1e-3)  # Platt's target, not 1


READERS: dict[str, Any] = {
    "tsv": lambda file: pacsv.read_csv(file, parse_options=pacsv.ParseOptions(delimiter="\t", quote_char=False)),
    "csv": pacsv.read_csv,
    "parquet": pq.read_table,
    "jsonl": pajson.read_json,
    "tsv.gz": lambda file: pacsv.read_csv(file, parse_options=pacsv.ParseOptions(delimiter="\t")),
}
ASKED = [("e1", "r1", None), (None, "r2", "e3"), ("e4", None, "e9"), ("label 5", "R0", None), ("e2", "r2", None)]


def write_questions(file: Path, header: bool = True) -> None:
    columns = dict(zip(("head", "relation", "tail"), (list(each) for each in zip(*ASKED, strict=True)), strict=True))
    form = file.name.split(".", 1)[1]
    if form == "parquet":
        pq.write_table(pa.table(columns), file)
        return
    if form == "jsonl":
        file.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in ASKED))
        return
    between = "," if form == "csv" else "\t"
    lines = [between.join(columns)] * header + [between.join(name or "?" for name in row) for row in ASKED]
    content = "".join(f"{line}\n" for line in lines).encode()
    file.write_bytes(pa.compress(content, "gzip", asbytes=True) if form == "tsv.gz" else content)


@pytest.mark.parametrize("form", list(READERS))
def test_a_file_is_answered_as_its_questions_are(folder: Path, tmp_path: Path, form: str) -> None:
    url = run(folder)
    result, file, out = distjoint.load(url), tmp_path / f"q.{form}", tmp_path / f"a.{form}"
    write_questions(file, header=form != "csv")
    loaded = stored(url) if form == "parquet" else result
    tally = predict_file(loaded, locate(str(file)), locate(str(out)), 4, result.choice("include"))
    found = READERS[form](str(out)).to_pylist()
    assert (tally.questions, tally.answers, tally.unknown) == (5, len(found), 0) and len(found) == 4 * 4 + 3
    for number, (head, relation, tail) in enumerate(ASKED, 1):
        mine = [row for row in found if row["query"] == number]
        expected = result.predict(head, relation, tail, 4, "include")
        lacking = "head" if head is None else "tail" if tail is None else "relation"
        assert [row[lacking] for row in mine] == [each.name for each in expected]
        assert [row["rank"] for row in mine] == list(range(1, len(mine) + 1))
        assert [row["score"] for row in mine] == pytest.approx([each.score for each in expected])
        assert [row["known"] for row in mine] == [each.known for each in expected]
        if head:
            assert {row["head"] for row in mine} == {head}


def test_scores_of_a_file(folder: Path, tmp_path: Path) -> None:
    result, file, out = distjoint.load(run(folder)), tmp_path / "t.tsv", tmp_path / "s.csv"
    file.write_text("e1\tr1\te2\nnobody\tr1\te2\nlabel 5\tr0\te9\n")
    with pytest.raises(DistjointError, match=r"1 of 3 questions .*question 2: head 'nobody'.*--skip-unknown"):
        score_file(result, locate(str(file)), locate(str(out)))
    assert not out.exists()
    skipping = FileOptions(skip_unknown=True)
    tally = score_file(result, locate(str(file)), locate(str(out)), skipping, probabilities=True)
    rows = pacsv.read_csv(out).to_pylist()
    assert (tally.answers, tally.unknown, len(rows)) == (2, 1, 3) and "left out" in tally.notes[0]
    assert rows[1]["score"] is None and rows[1]["head"] == "nobody"
    assert tally.chance == 0
    file.write_text("e1\tr1\te2\ne299\tr1\te2\n")  # the second is in no triple
    tally = score_file(result, locate(str(file)), locate(str(tmp_path / "chance.csv")))
    assert tally.chance == 1 and "answers are chance" in tally.notes[0]
    with pytest.raises(UsageError, match="holds the questions"):
        score_file(result, locate(str(file)), locate(str(file)))
    file.write_text("e1\tr1\te2\nnobody\tr1\te2\nlabel 5\tr0\te9\n")
    assert [rows[0]["score"], rows[2]["score"]] == pytest.approx(
        [result.score("e1", "r1", "e2"), result.score("e5", "r0", "e9")]
    )


def test_neighbours_of_a_file(folder: Path, tmp_path: Path) -> None:
    result, file, out = distjoint.load(run(folder, "dual")), tmp_path / "n.txt", tmp_path / "near.parquet"
    file.write_text("w1\nword_3\ne9\n")
    for source in (result, stored(run(folder, "dual"))):
        nearest_file(source, locate(str(file)), locate(str(out)), 3, standardize=False)
        rows = pq.read_table(out).to_pylist()
        assert {(row["name"], row["kind"]) for row in rows} == {
            ("w1", "word"), ("word_3", "word"), ("word_3", "entity"), ("e9", "entity")}  # fmt: skip
        for row_name, kind in (("word_3", "word"), ("word_3", "entity"), ("e9", "entity")):
            expected = result.nearest(row_name, 3, of=kind, standardize=False)
            mine = [row for row in rows if (row["name"], row["kind"]) == (row_name, kind)]
            assert [(row["neighbour"], row["neighbour_kind"]) for row in mine] == [(e.name, e.kind) for e in expected]
            assert [row["label"] for row in mine] == [each.label for each in expected]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.tsv", b"", "no questions in it"),
        ("q.parquet", b"nothing", "damaged or not Parquet"),
        ("q.doc", b"e1\tr1\t?\n", "the ending says the format"),
        ("q.tsv", b"e1\tr1\n", r"line 1: 2 columns and no header; give 3 \(head, relation, tail\)"),
        ("q.tsv", b"e1\tr1\te2\n", "question 1: has head 'e1', relation 'r1', tail 'e2'; give exactly two"),
        ("q.tsv", b"e1\tr1\t?\ne1\tr1\n", "Expected 3 columns, got 2"),
        ("q.tsv", b"e1\tr1\t\xff\xff\n", "not UTF-8|invalid UTF"),
        ("q.jsonl", b'{"head": "e1"', "q.jsonl"),
        ("q.jsonl", b'{"head": "e1", "relation": "r1", "tail": "zz"}\n', "give exactly two"),
        ("q.json", b'[{"head": "e1", "relation": "r1"}]', "one JSON array; write JSON Lines"),
        ("q.tsv", "e1\tr1\t?\n".encode("utf-16"), "q.tsv: in UTF-16, not UTF-8; convert it with 'iconv"),
        ("gone.tsv", None, "no such file"),
    ],
)
def test_files_that_cannot_be_answered_are_named(
    folder: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    result, file, out = distjoint.load(run(folder)), tmp_path / name, tmp_path / "a.tsv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises((DistjointError, UsageError), match=message):
        predict_file(result, locate(str(file)), locate(str(out)), 4, result.choice())
    assert not list(tmp_path.glob("a.tsv*"))


def test_a_damaged_table_in_its_files_is_named(folder: Path, tmp_path: Path) -> None:
    import shutil

    place = tmp_path / "copy"
    shutil.copytree(run(folder), place)
    shard = place / "checkpoints/epoch-00001/shard-00002.safetensors"
    content = shard.read_bytes()
    shard.write_bytes(content[:-8])
    with pytest.raises(DistjointError, match="bytes, the manifest says"):
        distjoint.load(str(place), memory=1000)
    shard.write_bytes(b"\xff" * len(content))
    with pytest.raises(DistjointError, match="not a safetensors file"):
        distjoint.load(str(place), memory=1000)
    shard.write_bytes(content[:-4] + b"\0\0\xc0\x7f")
    with pytest.raises(DistjointError, match="holds NaN or infinity"):
        distjoint.load(str(place), memory=1000).nearest("e1")
    shard.unlink()
    with pytest.raises(DistjointError, match="missing"):
        distjoint.load(str(place), memory=1000)


def test_files_of_a_store_are_fetched_once_and_compared(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, cache = "memory://ask/run", tmp_path / "cache"
    monkeypatch.setenv("DISTJOINT_CACHE", str(cache))
    here = Path(run(folder))
    for file in here.rglob("*"):
        if file.is_file():
            locate(f"{url}/{file.relative_to(here)}").write_bytes(file.read_bytes())
    expected = [each.name for each in distjoint.load(str(here)).nearest("e1")]
    there = stored(url)
    assert [each.name for each in there.nearest("e1")] == expected
    kept = sorted(cache.iterdir())
    assert len(kept) == 3 and all(file.suffix == ".safetensors" for file in kept)
    shard = locate(f"{url}/checkpoints/epoch-00001/shard-00001.safetensors")
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert [each.name for each in stored(url).nearest("e1")] == expected  # of the copy
    for file in kept:
        file.unlink()
    with pytest.raises(DistjointError, match="does not match its checksum"):
        stored(url).nearest("e1")
    assert not list(cache.glob("*.part"))


def test_neighbours_load_neither_torch_nor_numba(folder: Path) -> None:
    """Torch alone takes a second and a half."""
    code = (
        "import sys; from distjoint.cli.app import app\n"
        "for run in sys.argv[1:]: app(['nearest', run, 'word_3'], standalone_mode=False)\n"
        "print({'torch', 'numba', 'ray', 'scipy', 'pandas'} & set(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *(run(folder, coupling) for coupling in ("none", "dual"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()" and done.stdout.count("similarity") == 2 * 2  # of words and entities


def test_types_say_what_may_stand_where(tmp_path: Path) -> None:
    """People live in cities; a river has a type that stood nowhere."""
    triples = [(f"person_{k}", "lives_in", f"city_{k % 3}") for k in range(9)] + [("river", "near", "city_0")]
    file, types = tmp_path / "train.tsv", tmp_path / "types.tsv"
    file.write_text("".join("\t".join(triple) + "\n" for triple in triples))
    names = sorted({end for head, _, tail in triples for end in (head, tail)})
    types.write_text("".join(f"{name}\t{name.split('_')[0]}\n" for name in names))
    distjoint.prepare(str(tmp_path / "data"), triples=str(file), types=str(types))
    random, settings = np.random.default_rng(0), {"model.scorer": "transe"}
    dense, entities = {"relation": random.normal(size=(4, 4))}, random.normal(size=(len(names), 4))
    write_run(tmp_path / "run", tmp_path / "data", entities=entities, dense=dense, settings=settings)
    for load in (distjoint.load, stored):
        result = load(str(tmp_path / "run"))
        cities = result.predict("person_1", "lives_in", k=99, known="include", types=True)
        assert {each.name for each in cities} == {"city_0", "city_1", "city_2"}
        people = result.predict(relation="lives_in", tail="city_2", k=99, filter="none", types=["person", "river"])
        assert {each.name for each in people} == set(names) - {"city_0", "city_1", "city_2"}
        with pytest.raises(DistjointError, match=r"--candidates: unknown entity 'ghost'.*, one of 1 unknown"):
            result.predict("person_1", "lives_in", candidates=["person_1", "ghost"])
        with pytest.raises(UsageError, match=r"--type ghost: no entity has this type; there is city, person, river"):
            result.predict("person_1", "lives_in", types=["ghost"])


def test_a_first_line_is_a_header_or_a_question(folder: Path, tmp_path: Path) -> None:
    """Names that look like a header's, like quotation marks, and lines that end as Windows has them."""
    file = tmp_path / "q.tsv"
    for content, expected in (
        (b'head\tr1\tbody\n"e1\tr1\t?\n', [("head", "r1", "body"), ('"e1', "r1", None)]),
        (b"\xef\xbb\xbfrelation\thead\r\nr1\te1\r\n", [("e1", "r1", None)]),
        (b"Object\tPredicate\tSubject\n?\tr1\te1\n", [("e1", "r1", None)]),
        (b'e1;"r;1";?\n', [("e1", "r;1", None)]),
    ):
        file.write_bytes(content)
        (table,) = QuestionFile(locate(str(file)), ("head", "relation", "tail"), 3).batches(9)
        assert list(zip(*table.to_pydict().values(), strict=True)) == expected
    names = tmp_path / "n.txt"
    names.write_text("name\nw1\n")
    tally = nearest_file(distjoint.load(run(folder)), locate(str(names)), locate(str(tmp_path / "o.csv")), 2)
    assert tally.questions == 1 and "'name', is taken for a header" in tally.notes[0]


def test_rows_of_a_file_come_as_asked_some_of_them_twice(folder: Path) -> None:
    """Three rows from the third to the fifth need not be the third, fourth and fifth."""
    path = Path(run(folder)) / "checkpoints/epoch-00001" / shard_file(0)
    whole, file = load_file(path)["X"], TensorFile.open(str(path), "shard 0")
    random = np.random.default_rng(3)
    lists = [[3, 3, 5], [5, 3, 3], [7], *(random.integers(0, 30, size).tolist() for size in (5, 20, 60))]
    for places in map(np.array, lists):
        assert np.array_equal(file.rows("X", places), whole[places]), places
