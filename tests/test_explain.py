"""Explanations: shares that add up to the score, of every scorer, and of entities that read their text.

The league again, by ids that only labels make readable.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from members import names_of
from small import config, league
from typer.testing import CliRunner

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.cli.app import app
from distjoint.data.dataset import Dataset
from distjoint.data.streams import MENTIONS
from distjoint.evaluate.scoring import TripleModel
from distjoint.evaluate.stored import StoredVectors
from distjoint.evaluate.tables import as_text
from distjoint.model.comparisons import comparison_of
from distjoint.model.scorers import scorer
from distjoint.registry import SCORERS
from distjoint.results.batch import predict_file
from distjoint.results.embeddings import Embeddings
from distjoint.results.explain import End
from distjoint.runs.folder import RunFolder
from distjoint.storage import locate

pytestmark = pytest.mark.unit

DIM = 8
NAMES = list(dict.fromkeys(end for split in league() for triple in split for end in triple[::2]))
IDS = {name: f"Q{place}" for place, name in enumerate(NAMES)}
READS = {"model.coupling": "described", "graph.into_words": 2.0, "graph.into_reading": 2.0, "model.cosine": True}
STILL = {
    **READS,
    "graph.into_words": 0.0,
    "graph.into_reading": 0.0,
    "text.learning_rate": 1e-12,
    "train.epochs": 1,
    "train.freeze": ["map"],
}


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("name", names_of(SCORERS))
def test_a_part_of_an_end_adds_what_the_query_has_of_it(name: str, cosine: bool) -> None:
    """Heads are linear in every scorer of the package, but for what the relation adds; so are tails in a query."""
    kind, generator = scorer(name), torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    relations = draw(3, kind.relation_dim(DIM))
    model = TripleModel(kind, comparison_of(kind, cosine, 2, 3.0), relations, False)
    head, tail, part = draw(5, DIM), draw(5, DIM), draw(5, DIM)
    which = torch.tensor([0, 1, 2, 2, 0])
    score, of_head, of_tail = model.slopes(head, which, tail)
    query, no_query, of_part = (kind.query(each, relations[which]) for each in (head, torch.zeros_like(head), part))
    torch.testing.assert_close(score, model.score(query, tail).diagonal())
    of_query, expected = model.comparison.slopes(query, tail)
    torch.testing.assert_close(of_tail, expected)
    torch.testing.assert_close((of_head * part).sum(1), (of_query * (of_part - no_query)).sum(1))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the league by ids as `data`, with labels (two cities have the same) and descriptions, and a `run`."""
    folder = tmp_path_factory.mktemp("labelled")
    files = {split: folder / f"{split}.tsv" for split in ("train", "valid", "test")}
    for file, triples in zip(files.values(), league(), strict=True):
        file.write_text("".join(f"{IDS[head]}\t{relation}\t{IDS[tail]}\n" for head, relation, tail in triples))
    rng, about, labels = np.random.default_rng(0), [], []
    for name, id_ in IDS.items():
        labels.append(f"{id_}\t{'springfield' if name in ('city_1', 'city_2') else name.replace('_', ' ')}\n")
        topic = "a" if name == "newcomer_1" else name.removeprefix("team").removeprefix("coach")[0]
        words = rng.choice([f"topic{topic}{chr(97 + m)}" for m in range(12)], 4, replace=False)
        if not name.startswith("city"):
            about.append(f"{id_}\t{' '.join(words)} common{chr(97 + int(rng.integers(20)))}\n")
    (folder / "labels.tsv").write_text("".join(labels))
    (folder / "about.tsv").write_text("".join(about))
    given = {split: str(file) for split, file in files.items()}
    options = {"labels": str(folder / "labels.tsv"), "descriptions": str(folder / "about.tsv")}
    distjoint.prepare(
        str(folder / "data"),
        triples=given["train"],
        valid=given["valid"],
        test=given["test"],
        **options,
        min_count=1,
        shards=4,
    )
    distjoint.train(str(folder / "data"), str(folder / "run"), config(READS))
    return folder


@pytest.fixture(scope="module")
def loaded(labelled: Path) -> Embeddings:
    return distjoint.load(str(labelled / "run"))


def ask(folder: Path, *words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def text_and_words(folder: Path, run: str, name: str) -> tuple[np.ndarray, dict[str, tuple[float, np.ndarray]]]:
    """T of an entity, and its mentions: weight, and vector where entities are. From all files, in float64."""
    data, checkpoint = Dataset.open(str(folder / "data")), RunFolder.open(str(folder / run)).result()
    rows, layout = data.rows().to_pydict(), data.layout
    words, place = np.zeros((layout.rows, 16)), rows["entity"].index(IDS[name])
    text, weights = np.zeros(16), {}
    for i in range(layout.shards):
        ids, parts = layout.rows_of(i), checkpoint.shard(i)
        words[ids[layout.has_word(i)]] = sum(parts[name].double().numpy() for name in ("W", "C", "R"))
        if place in ids:
            text = parts["T"][list(ids[layout.has_entity(i)]).index(place)].double().numpy()
        for j in range(layout.shards):
            part = data.samples(MENTIONS, i, j, {"entity": None, "word": None, "weight": None})
            for entity, word, weight in zip(*part.values(), strict=True) if part else ():
                if ids[entity] == place:
                    weights[int(layout.rows_of(j)[word])] = float(weight)
    known = [row for row, word in enumerate(rows["word"]) if word is not None]
    centred = words - words[known].mean(0)
    units = centred / np.linalg.norm(centred, axis=1, keepdims=True) @ checkpoint.dense()["map"].double().numpy()
    names = [word or f"#{gram}" for word, gram in zip(rows["word"], rows["gram"], strict=True)]
    return text, {names[row]: (weight, units[row]) for row, weight in weights.items()}


def test_shares_of_parts_and_words_add_up_to_the_score(labelled: Path, loaded: Embeddings) -> None:
    whole = loaded.explain("teama player 1", "knows", "coacha", top=100)
    few = loaded.explain("teama player 1", "knows", "coacha", top=2)
    assert whole.score == pytest.approx(loaded.score("teama player 1", "knows", "coacha"), rel=1e-5)
    for end, short in ((whole.head, few.head), (whole.tail, few.tail)):
        assert end.parts["own"] + end.parts["text"] + end.rest == pytest.approx(whole.score, abs=1e-12)
        for each in (end, short):
            shares = [*(word.score for word in each.words), each.other_words, each.moved]
            assert sum(shares) == pytest.approx(each.parts["text"], abs=1e-12)
        assert (len(short.words), short.others) == (2, len(end.words) - 2)
        assert short.words == end.words[:2] and end.others == 0
        sizes = [abs(word.score) for word in end.words]
        assert sizes == sorted(sizes, reverse=True) and min(sizes) > 0
        assert end.moved != 0  # the map and the words have taken a step since
    assert whole.tail.rest == pytest.approx(0, abs=1e-9)  # a cosine is all its tail's


def test_a_word_adds_its_vector_times_its_weight(labelled: Path, loaded: Embeddings) -> None:
    """Of a tail by cosine, a part p adds scale * q.p / (|q| |t|): T and each word's vector, taken from the files."""
    found = loaded.explain("teama player 1", "knows", "coacha", top=100)
    text, words = text_and_words(labelled, "run", "coacha")
    model = RunFolder.open(str(labelled / "run")).info.config.model
    relations = RunFolder.open(str(labelled / "run")).result().dense()["relation"].double()
    head, tail = (loaded.vector(name, "entity").astype(float) for name in ("teama player 1", "coacha"))
    kind, relation = scorer(model.scorer), loaded.relations.index("knows")
    query = kind.query(torch.from_numpy(head), relations[relation]).numpy()
    scale = comparison_of(kind, model.cosine, model.norm, model.scale).scale
    slope = scale * query / (np.linalg.norm(query) * np.linalg.norm(tail))
    assert found.tail.parts["text"] == pytest.approx(slope @ text, rel=1e-4)
    assert {word.word: word.weight for word in found.tail.words} == {
        name: weight for name, (weight, _) in words.items()
    }
    expected = {name: weight * vector @ slope for name, (weight, vector) in words.items()}
    assert {word.word: word.score for word in found.tail.words} == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("coupling", ["described", "fields"])
def test_words_that_stay_where_they_are_are_all_of_a_text(labelled: Path, coupling: str) -> None:
    run = str(labelled / f"still-{coupling}")
    distjoint.train(str(labelled / "data"), run, config({**STILL, "model.coupling": coupling}))
    for end in ends(distjoint.load(run), "newcomer 1", "coachb"):
        assert abs(end.moved) < 1e-4 < abs(end.parts["text"])


def ends(loaded: Embeddings, head: str, tail: str) -> Sequence[End]:
    found = loaded.explain(head, "knows", tail)
    return found.head, found.tail


def test_ranks_are_those_of_predict(loaded: Embeddings) -> None:
    tails = [each.name for each in loaded.predict(head="newcomer 1", relation="knows", k=1000)]
    heads = [each.name for each in loaded.predict(tail="coachb", relation="knows", k=1000)]
    head, tail = ends(loaded, "newcomer 1", "coachb")  # not in the dataset: both list the other
    assert (tail.rank, tail.among) == (tails.index(IDS["coachb"]) + 1, len(tails))
    assert (head.rank, head.among) == (heads.index(IDS["newcomer_1"]) + 1, len(heads))
    assert not loaded.explain("newcomer 1", "knows", "coachb").known
    known = loaded.explain("newcomer 1", "knows", "coacha")  # in it: others that are known compete no more
    assert known.known and known.tail.among == len(tails) + 1


def test_without_the_dataset_parts_are_explained_and_words_are_not(labelled: Path) -> None:
    gone = labelled / "gone"
    (labelled / "data").rename(gone)
    try:
        vectors = distjoint.load(str(labelled / "run"))
        found = vectors.explain("teama player 1", "knows", "coacha", top=0)
        assert found.known is None and found.head.words == () and "dataset was not read" in as_text(found)
        with pytest.raises(DistjointError, match=r"no such dataset.*; --top 0 explains without its words"):
            vectors.explain("teama player 1", "knows", "coacha")
    finally:
        gone.rename(labelled / "data")


def test_what_cannot_be_explained_is_said(loaded: Embeddings, labelled: Path) -> None:
    with pytest.raises(DistjointError, match="unknown entity 'coach'; did you mean"):
        loaded.explain("newcomer 1", "knows", "coach")
    with pytest.raises(UsageError, match="top = -1"):
        loaded.explain("newcomer 1", "knows", "coacha", top=-1)


# Commands


def test_the_command_prints_both_ways_with_labels(labelled: Path) -> None:
    run = str(labelled / "run")
    table = ask(labelled, "explain", run, IDS["newcomer_1"], "knows", IDS["coacha"], "--top", "3")
    tree = json.loads(ask(labelled, "explain", run, "newcomer 1", "knows", "coacha", "--top", "3", "--json"))
    assert "newcomer 1  knows  coacha: score" in table and "a triple of the dataset" in table
    assert f"By its head: newcomer 1 ({IDS['newcomer_1']}), rank " in table and "By its tail: coacha (" in table
    for side in ("head", "tail"):
        assert len(tree[side]["words"]) == 3
        for word in tree[side]["words"]:
            assert f"  {word['word']} " in table and f"{word['score']:+.3f}" in table
    assert f"{tree['tail']['others']} other words" in table and "its own vector" in table


def test_answers_go_by_their_labels(labelled: Path) -> None:
    """Ids stand beside them only where several answers have one label, and never the question among them."""
    run = str(labelled / "run")
    asked = ("predict", run, "--head", "teama player 1", "--relation", "born_in", "-k", "200", "--known", "include")
    lines = [line.split("  ")[0].strip() for line in ask(labelled, *asked).splitlines()[2:]]
    rows = json.loads(ask(labelled, *asked, "--json"))
    shared = {f"springfield ({IDS[name]})" for name in ("city_1", "city_2")}
    assert shared <= set(lines) and "city 3" in lines
    assert not set(lines) - shared & set(IDS.values()) and "teama player 1" not in lines
    assert {row["name"] for row in rows} <= set(IDS.values()) and len(rows) == len(lines) > 50
    near = ask(labelled, "nearest", run, "coacha", "-k", "200", "--kind", "entity", "--of", "entity")
    assert "coachb" in near and IDS["coachb"] not in near.split()


def test_parts_of_entities_are_exported(labelled: Path, tmp_path: Path) -> None:
    run = str(labelled / "run")
    out = str(tmp_path / "v.txt")
    count = int(ask(labelled, "export", run, "--out", out, "--kind", "entity", "--vectors", "text").split()[1])
    described = Dataset.open(str(labelled / "data")).manifest.counts["described"]
    assert count == described
    line = next(line for line in (tmp_path / "v.txt").read_text().splitlines() if line.startswith(IDS["coacha"] + " "))
    np.testing.assert_allclose(
        np.array(line.split()[1:], float), text_and_words(labelled, "run", "coacha")[0], atol=1e-6
    )


def test_text_is_asked_for_from_a_file_and_of_a_table_in_its_files(labelled: Path, loaded: Embeddings) -> None:
    """T and X are read by rows, text by words that are all read; entities that only text speaks of are answers."""
    stored = distjoint.load(str(labelled / "run"), memory=1000)
    assert isinstance(stored.entities.vectors, StoredVectors)
    plausible = loaded.graph.plausible(np.arange(len(loaded.entities)))
    found = np.concatenate([stored.graph.plausible(at, said) for at, _, said in stored.entities.vectors.blocks()])
    places = np.concatenate([at for at, _, _ in stored.entities.vectors.blocks()])
    np.testing.assert_array_equal(found, plausible[places])
    for name, of in ((IDS["coacha"], "entity"), ("topicaa", "word")):
        here, there = (each.nearest(name, 15, of=of) for each in (loaded, stored))
        assert [each.name for each in here] == [each.name for each in there]
    questions, out = labelled / "text.jsonl", labelled / "answers.jsonl"
    text = "topicaa and topicab, of commona"
    questions.write_text(
        json.dumps({"head_text": text, "relation": "knows"})
        + "\n"
        + json.dumps({"tail_text": text, "relation": "knows"})
        + "\n"
    )
    predict_file(stored, locate(str(questions)), locate(str(out)), 3, stored.choice())
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for number, given in enumerate(({"head_text": text}, {"tail_text": text}), 1):
        expected = loaded.predict(relation="knows", k=3, **given)
        side = "tail" if number == 1 else "head"
        assert [row[side] for row in rows if row["query"] == number] == [each.name for each in expected]
