"""A trained result in use: look-ups, neighbours and predictions of a space made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from runs import Rows, write_dataset, write_run

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.evaluate.space import Space
from distjoint.storage import locate

pytestmark = pytest.mark.unit

ROWS = Rows(
    words=["the", "Of", "runs"],
    aligned=[("dog", "Q144"), ("cat", "Q146"), ("new_york", "Q60")],
    entities=[("Q1", "Big Universe"), "Q2", ("Q3", "Dog"), ("Q9", "never trained")],
    relations=["likes", "part_of"],
)
TRAIN = [("Q144", "likes", "Q146"), ("Q146", "likes", "Q60"), ("Q1", "part_of", "Q2"), ("Q3", "likes", "Q2")]
TEST = [("Q144", "likes", "Q60")]

#        the     Of      runs     dog     cat    new_york
WORDS = [[1, 0], [0, 1], [-1, 0], [3, 1], [3, 2], [-2, 2]]
#           Q144    Q146     Q60     Q1      Q2      Q3       Q9
ENTITIES = [[0, 0], [0, 1], [1, 0], [5, 5], [4, 4], [9, 8], [7, 7]]
TURN = [[0, 1], [-1, 0]]
"""(x, y) M = (-y, x)"""
LIKES = [0.0, 1.0]
TRANSE = {"model.scorer": "transe", "model.cosine": False, "model.reciprocal": False}


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "data", ROWS, train=TRAIN, test=TEST)


def run(dataset, coupling="dual", words=WORDS, entities=ENTITIES):
    dense = {"relation": [LIKES, [2.0, 2.0]], **({"map": TURN} if coupling == "dual" else {})}
    return str(
        write_run(
            dataset.parent / f"run-{coupling}",
            dataset,
            words=None if words is None else np.array(words, float),
            entities=None if entities is None else np.array(entities, float),
            dense=dense if entities is not None else None,
            coupling=coupling,
            settings=TRANSE,
        )
    )


def test_vector_by_word_id_and_label_of_each_kind(dataset):
    joint = distjoint.load(run(dataset))
    np.testing.assert_array_equal(joint.vector("dog"), [3, 1])
    assert joint.vector("dog").dtype == np.float32
    np.testing.assert_array_equal(joint.vector("dog", kind="entity"), [-1, 3])  # X = 0, plus (3, 1) turned
    np.testing.assert_array_equal(joint.vector("Q146"), np.add([0, 1], [-2, 3]))
    np.testing.assert_array_equal(joint.vector("big universe"), [5, 5])
    np.testing.assert_array_equal(joint.vector("New York"), [-2, 2])
    np.testing.assert_array_equal(joint.vector("of"), [0, 1])
    assert joint.kinds("dog") == ["word", "entity"] and joint.kinds("Q2") == ["entity"] and "zebra" not in joint
    assert len(joint) == 6 + 7 and joint.relations == ["likes", "part_of"]


@pytest.mark.parametrize(("coupling", "expected"), [("none", [0, 0]), ("tie", [3, 1]), ("dual", [-1, 3])])
def test_entity_vector_follows_the_coupling(dataset, coupling, expected):
    loaded = distjoint.load(run(dataset, coupling))
    np.testing.assert_array_equal(loaded.vector("Q144"), expected)
    np.testing.assert_array_equal(loaded.vector("Q1"), [5, 5])


def test_names_are_found_in_either_unicode_form():
    for stored in ("caf\u00e9 noir", "cafe\u0301 noir"):
        space = Space("entity", ["x", stored], np.eye(2, dtype=np.float32), [("L\u00e9on", 0)])
        for typed in ("caf\u00e9 noir", "cafe\u0301 noir", " CAFE\u0301 noir\u00a0", "Cafe\u0301\tnoir"):
            assert space.find(typed) == 1
        assert space.find("le\u0301on") == 0 and space.find("cafe noir") is None
        assert space.similar_names("cafe\u0301 noirs") == [stored]
    both = Space("entity", ["\u00e9", "e\u0301"], np.eye(2, dtype=np.float32))
    assert (both.find("\u00e9"), both.find("e\u0301")) == (0, 1), "--no-nfc keeps them apart"


def test_unknown_name_suggests_near_ones(dataset):
    joint = distjoint.load(run(dataset))
    assert joint.score("dog", "  LIKES", "cat") == joint.score("dog", "likes", "cat")
    with pytest.raises(DistjointError, match=r"unknown word or entity 'new_yorks'; did you mean new_york"):
        joint.vector("new_yorks")
    with pytest.raises(DistjointError, match=r"unknown relation 'like'; there is likes"):
        joint.score("dog", "like", "cat")


def test_nearest_by_hand(dataset):
    joint = distjoint.load(run(dataset))
    near = joint.nearest("dog", 2, kind="word", standardize=False)
    assert [each.name for each in near] == ["cat", "the"] and {each.kind for each in near} == {"word"}
    assert near[1].similarity == pytest.approx(3 / np.sqrt(10))
    both = joint.nearest("dog", 20, standardize=False)
    assert [each.similarity for each in both] == sorted((each.similarity for each in both), reverse=True)
    entities = {each.name: each for each in both if each.kind == "entity"}
    # Across kinds the word is turned by M, so its own entity, with X = 0, is its nearest.
    assert entities["Q144"].similarity == pytest.approx(1)
    assert entities["Q1"].similarity == pytest.approx(np.dot([-1, 3], [5, 5]) / np.sqrt(10 * 50))
    assert entities["Q1"].label == "Big Universe" and entities["Q2"].label is None
    assert "Q9" not in entities  # never trained
    back = joint.nearest("dog", 1, kind="word", of="entity")
    assert back[0].name == "dog" and back[0].similarity == pytest.approx(1)


def test_nearest_standardises_words_by_column(dataset):
    joint = distjoint.load(run(dataset))
    words = np.array(WORDS, float)
    unit = (words - words.mean(0)) / words.std(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    found = {each.name: each.similarity for each in joint.nearest("dog", 9, kind="word")}
    expected = dict(zip(["the", "Of", "runs", "dog", "cat", "new_york"], unit @ unit[3], strict=True))
    del expected["dog"]
    assert found == pytest.approx(expected, abs=1e-6)


def test_nearest_to_a_vector(dataset):
    joint = distjoint.load(run(dataset))
    assert joint.nearest(np.array([0.0, 2.0]), 1, of="word", kind="word", standardize=False)[0].name == "Of"
    with pytest.raises(UsageError, match="shape"):
        joint.nearest(np.zeros(3))


def test_without_coupling_neighbours_stay_within_the_kind(dataset):
    apart = distjoint.load(run(dataset, "none"))
    assert {each.kind for each in apart.nearest("dog", 20)} == {"word"}
    with pytest.raises(UsageError, match="space of their own"):
        apart.nearest("dog", kind="entity")


def test_predict_ranks_by_score_and_knows_the_dataset(dataset):
    joint = distjoint.load(run(dataset))
    # dog likes: (-1, 3) + (0, 1) = (-1, 4); Q146 is at (-2, 4), Q60 at (1, 0) + (-2, -2) = (-1, -2)
    found = joint.predict(head="dog", relation="likes", k=20, known="include")
    assert [(each.name, each.known) for each in found[:2]] == [("Q146", True), ("Q2", False)]  # not dog itself
    itself = joint.predict(head="dog", relation="likes", k=2, known="include", own_end=True)
    assert [(each.name, each.known) for each in itself] == [("Q144", False), ("Q146", True)]
    assert found[0].score == pytest.approx(-1) and joint.score("dog", "likes", "cat") == pytest.approx(-1)
    assert "Q9" not in {each.name for each in found}
    new = [each.name for each in joint.predict(head="dog", relation="likes", k=20)]
    assert new == [each.name for each in found if each.name not in ("Q146", "Q60")]
    back = joint.predict(tail="Q146", relation="LIKES", k=1, known="include")[0]
    assert (back.name, back.known, back.score) == ("Q144", True, pytest.approx(-1))
    with pytest.raises(UsageError, match="one end"):
        joint.predict(head="dog", relation="likes", tail="cat")


def test_explain_by_hand(dataset):
    """dog likes cat by TransE: q - t = (-1, 4) - (-2, 4) = (1, 0), so a head's part p adds -p[0], a tail's p[0]."""
    found = distjoint.load(run(dataset)).explain("dog", "likes", "cat")
    assert (found.score, found.known, found.relation) == (pytest.approx(-1), True, "likes")
    head, tail = found.head, found.tail
    assert (head.name, head.label, tail.label) == ("Q144", "dog", "cat")
    assert head.parts == pytest.approx({"own": 0, "text": 1}) and head.rest == pytest.approx(-2)
    assert tail.parts == pytest.approx({"own": 0, "text": -2}) and tail.rest == pytest.approx(1)
    assert [(each.word, each.weight, each.score) for each in tail.words] == [("cat", 1, pytest.approx(-2))]
    assert (tail.rank, tail.among, head.rank) == (1, 4, 1)  # Q60 is known, Q9 never trained, dog the question
    tied = distjoint.load(run(dataset, "tie")).explain("Q1", "part_of", "Q2")  # neither has a word
    assert (tied.head.parts["text"], tied.head.words, tied.tail.words) == (0, (), ())
    apart = distjoint.load(run(dataset, "none")).explain("dog", "likes", "cat")
    assert set(apart.tail.parts) == {"own"} and sum(apart.tail.parts.values()) + apart.tail.rest == apart.score


def test_predict_without_the_dataset_can_still_include(dataset):
    url = run(dataset)
    (dataset / "manifest.json").unlink()
    joint = distjoint.load(url)
    assert joint.predict(head="dog", relation="likes", known="include")[0].known is None
    with pytest.raises(DistjointError, match="include them instead"):
        joint.predict(head="dog", relation="likes")


def test_text_alone_has_no_entities_and_graph_alone_no_words(dataset):
    glove = distjoint.load(run(dataset, "none", entities=None))
    assert len(glove.entities) == 0
    with pytest.raises(UsageError, match="trained on text only"):
        glove.predict(head="dog", relation="likes")
    with pytest.raises(UsageError, match="no entity vectors"):
        glove.nearest("dog", kind="entity")
    (dataset.parent / "run-none").rename(dataset.parent / "glove")
    graph = distjoint.load(run(dataset, "none", words=None))
    np.testing.assert_array_equal(graph.vector("cat"), [0, 1])  # an entity answers to its row's word
    with pytest.raises(UsageError, match="no word vectors"):
        graph.nearest("cat", of="word")


def test_bad_runs_are_named(dataset, tmp_path):
    with pytest.raises(DistjointError, match="no such run"):
        distjoint.load(str(tmp_path / "nowhere"))
    with pytest.raises(DistjointError, match=r"no run\.json"):
        distjoint.load(str(dataset))
    url = run(dataset)
    place = dataset.parent / "run-dual"
    file = locate(str(place / "run.json"))
    info = file.read_json()
    file.write_json({**info, "result": None, "status": "running"})
    with pytest.raises(DistjointError, match="no result yet, the run is running"):
        distjoint.load(url)
    file.write_json({**info, "format": 7})
    with pytest.raises(DistjointError, match=r"run\.json: format 7, this distjoint reads 1"):
        distjoint.load(url)
    file.write_json({**info, "lanes": "many"})
    with pytest.raises(DistjointError, match=r"run\.json: lanes: "):
        distjoint.load(url)
    file.write_bytes(b"{")
    with pytest.raises(DistjointError, match="not JSON"):
        distjoint.load(url)


def test_damaged_checkpoints_are_named(dataset):
    url = run(dataset)
    place = dataset.parent / "run-dual/checkpoints/epoch-00001"
    shard = place / "shard-00001.safetensors"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(DistjointError, match=r"shard-00001\.safetensors: .* bytes, the manifest says"):
        distjoint.load(url)
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DistjointError, match=r"shard-00001\.safetensors: does not match its checksum"):
        distjoint.load(url)
    shard.unlink()
    with pytest.raises(DistjointError, match=r"shard-00001\.safetensors: missing"):
        distjoint.load(url)
    (place / "manifest.json").unlink()
    with pytest.raises(DistjointError, match="not complete"):
        distjoint.load(url)
