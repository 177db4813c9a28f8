"""Known answers of queries, and a checkpoint's vectors by shard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import Rows, write_dataset, write_run

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.dataset import Triples
from distjoint.data.of_run import open_dataset
from distjoint.data.streams import SPLITS
from distjoint.evaluate.candidates import entity_rows
from distjoint.evaluate.chosen import choose
from distjoint.evaluate.known import KnownAnswers
from distjoint.evaluate.ranking import link_prediction
from distjoint.evaluate.space import read_spaces
from distjoint.evaluate.trained import TrainedVectors
from distjoint.runs.folder import Checkpoint, RunFolder

pytestmark = pytest.mark.unit

ROWS = Rows(
    words=["the", "of"],
    aligned=[("dog", "e0"), ("cat", "e1"), ("cow", "e2")],
    entities=[*(f"e{place}" for place in range(3, 8)), ("e8", "last one")],
    relations=["next"],
    shards=3,
    tiles=3,
)
TRAIN = [(f"e{place}", "next", f"e{place + 1}") for place in range(7)]
TEST = [("e7", "next", "e0"), ("e0", "next", "e2")]


@given(
    st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=40),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8),
    st.sampled_from(["head", "tail"]),
)
def test_known_answers_are_those_of_the_definition(known, queries, side):
    triples = Triples(*np.array(known, np.int64).reshape(-1, 3).T.copy())
    end, relation = np.array(queries, np.int64).T
    index = KnownAnswers(triples, side, end, relation)
    for query, start, stop in zip(queries, *index.spans(end, relation), strict=True):
        if side == "tail":
            expected = {t for h, r, t in known if (h, r) == query}
        else:
            expected = {h for h, r, t in known if (t, r) == query}
        assert index.answers[start:stop].tolist() == sorted(expected)


def world(tmp_path, coupling="dual", nan=False):
    data = write_dataset(tmp_path / "data", ROWS, train=TRAIN, test=TEST)
    random = np.random.default_rng(0)
    entities = random.normal(size=(9, 4))
    entities[4, 1] = np.nan if nan else entities[4, 1]
    dense = {
        "relation": random.normal(size=(2, 4)),
        **({"map": random.normal(size=(4, 4))} if coupling == "dual" else {}),
    }
    url = write_run(tmp_path / "run", data, words=random.normal(size=(5, 4)), entities=entities, dense=dense,
                    coupling=coupling)  # fmt: skip
    return RunFolder.open(str(url))


@pytest.mark.parametrize("coupling", ["none", "tie", "dual"])
def test_vectors_by_shard_are_those_of_the_loaded_run(tmp_path, coupling):
    run = world(tmp_path, coupling)
    trained, loaded = TrainedVectors(run, run.result()), distjoint.load(str(run.folder))
    for shard, rows in enumerate(entity_rows(run.layout)):
        words, entities, said = trained.words_and_entities(shard)
        worded = run.layout.has_word(shard)[run.layout.has_entity(shard)]
        assert said.tolist() == [bool(word) and coupling != "none" for word in worded]
        names = [loaded.entities.names[row - run.layout.words] for row in rows]
        np.testing.assert_allclose(entities, [loaded.vector(name, "entity") for name in names], rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(trained.entities(shard), entities)
        ids = run.layout.rows_of(shard)[run.layout.has_word(shard)]
        np.testing.assert_array_equal(words, loaded.words.vectors[ids])
    spaces = read_spaces(trained)
    assert spaces.degrees.tolist() == [1, 2, 2, 2, 2, 2, 2, 1, 0] and spaces.labels == [
        "dog",
        "cat",
        "cow",
        *[None] * 5,
        "last one",
    ]


def test_vectors_are_kept_where_they_fit_and_read_again_where_they_do_not(tmp_path, monkeypatch):
    run, reads, shard = world(tmp_path), [], Checkpoint.shard
    monkeypatch.setattr(Checkpoint, "shard", lambda self, index: (reads.append(index), shard(self, index))[1])
    size = 9 * 4 * 4
    for memory, expected in ((size, [0, 1]), (size - 1, [0, 1, 0])):
        reads.clear()
        trained = TrainedVectors(run, run.result(), memory=memory)
        again = [trained.entities(index) for index in (0, 1, 0)]
        assert reads == expected and bool((again[0] == again[2]).all())


def test_what_is_not_finite_is_named_by_shard(tmp_path):
    run = world(tmp_path, nan=True)
    trained, found = TrainedVectors(run, run.result()), []
    for shard in range(run.layout.shards):
        try:
            trained.entities(shard)
        except DistjointError as error:
            found.append(str(error))
    assert len(found) == 1 and "epoch-00001, shard" in found[0] and "NaN or infinity" in found[0]


def test_a_checkpoint_is_ranked_as_its_run_is_evaluated(tmp_path):
    """What validation between epochs does with a checkpoint."""
    run = world(tmp_path)
    data = open_dataset(run)
    splits = [data.split(name) for name in SPLITS]
    trained = TrainedVectors(run, run.result())
    found = link_prediction(trained.model, trained.candidates(*splits), splits[-1], Triples.together(*splits))
    assert found.mrr == distjoint.evaluate(str(run.folder), link_prediction="test").links.ranks.mrr
    assert found.candidates == 8


def standard(vectors):
    return (vectors - vectors.mean(0)) / vectors.std(0)


@pytest.mark.parametrize("coupling", ["none", "tie", "dual"])
def test_vectors_are_chosen_by_kind_and_part(tmp_path, coupling):
    """Nine entities, of which three share a row with a word; X and W + C as they lie in the checkpoint."""
    run = world(tmp_path, coupling)
    trained = TrainedVectors(run, run.result())
    spaces, own, rows = read_spaces(trained), np.zeros((9, 4)), entity_rows(run.layout)
    for shard, ids in enumerate(rows):
        own[ids - 2] = trained.checkpoint.shard(shard)["X"].numpy()
    words, whole = spaces.words.vectors, spaces.entities.vectors

    def chosen(kind, vectors):
        return choose(trained, spaces, kind, vectors)

    assert chosen("word", "joint") is chosen("word", "own") is chosen(None, "joint") is spaces.words
    assert chosen("entity", "joint") is spaces.entities
    beside = chosen("word", "both")
    assert (beside.kind, list(beside.names)) == ("word", ["dog", "cat", "cow"])
    np.testing.assert_allclose(beside.vectors, np.hstack([standard(words[2:]), standard(whole[:3])]), atol=1e-5)
    alone = chosen("entity", "own")
    if coupling == "tie":  # X is not used beside a word
        assert list(alone.names) == [f"e{place}" for place in range(3, 9)] and alone.find("dog") is None
        assert alone.find("Last One") == 5
        np.testing.assert_allclose(alone.vectors, own[3:], atol=1e-6)
        with pytest.raises(UsageError, match="--vectors both: no entity has own and text vectors"):
            chosen("entity", "both")
    else:
        np.testing.assert_allclose(alone.vectors, own, atol=1e-6)
        assert alone.find("cow") == 2
    if coupling == "none":
        for vectors in ("text", "both"):
            with pytest.raises(UsageError, match="coupling none gives entities no text vectors; they have own"):
                chosen("entity", vectors)
    else:
        text = words[2:] @ trained.dense["map"].numpy() if coupling == "dual" else words[2:]
        found = chosen("entity", "text")
        assert list(found.names) == ["e0", "e1", "e2"] and found.find("cow") == 2
        np.testing.assert_allclose(found.vectors, text, atol=1e-6)
        if coupling == "dual":
            both = np.hstack([standard(own[:3]), standard(text)])
            np.testing.assert_allclose(chosen("entity", "both").vectors, both, atol=1e-5)
    with pytest.raises(UsageError, match="--vectors text is what words make of an entity; add --kind entity"):
        chosen("word", "text")
