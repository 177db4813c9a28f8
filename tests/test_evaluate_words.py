"""Similarity sets and analogies: reading them, and results with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distjoint.base.errors import DistjointError
from distjoint.evaluate import analogies as analogies_module
from distjoint.evaluate import bootstrap
from distjoint.evaluate.analogies import analogies
from distjoint.evaluate.similarity import similarity
from distjoint.evaluate.space import Space
from distjoint.evaluate.wordsets import Questions, WordPairs, read_analogies, read_similarity

pytestmark = pytest.mark.unit

LINES = [("sun", "sunlight", 5.0), ("New York", "city", 4.5), ("old", "new", 1.58)]


@pytest.mark.parametrize(
    "text",
    [
        "sun\tsunlight\t5.0\nNew York\tcity\t4.5\nold\tnew\t1.58\n",
        "sun,sunlight,5.0\nNew York,city,4.5\nold,new,1.58",
        "Word 1,Word 2,Human (mean)\r\nsun,sunlight,5.0\r\nNew York,city,4.5\r\nold,new,1.58\r\n",
        "# The set\n# Word 1\tWord 2\n\nsun \tsunlight\t 5.0\nNew York\tcity\t4.5\n\nold\tnew\t1.58\n",
        "\ufeffword1\tword2\tPOS\tSimLex999\nsun\tsunlight\tN\t5\nNew York\tcity\tN\t4.5\nold\tnew\tA\t1.58\t0.9\n",
    ],
)
def test_similarity_files_as_they_come(tmp_path, text):
    (tmp_path / "set.txt").write_text(text, encoding="utf-8", newline="")
    (found,) = read_similarity([str(tmp_path / "set.txt")])
    assert found.name == "set"
    assert [(*pair, score) for pair, score in zip(found.pairs, found.scores, strict=True)] == LINES


def test_similarity_with_white_space_only(tmp_path):
    (tmp_path / "set.txt").write_text("sun   sunlight 5.0\nnew_york city  4.5\nold new 1.58")
    assert read_similarity([str(tmp_path / "set.txt")])[0].pairs[1] == ("new_york", "city")


def test_folders_and_globs_leave_licences_out(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("a b 1\nb c 2\na c 3")
    (tmp_path / "LICENSE").write_text("MIT License")
    assert [each.name for each in read_similarity([str(tmp_path)])] == ["a", "b"]
    assert [each.name for each in read_similarity([str(tmp_path / "*.txt")])] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds 0 pairs"),
        (b"a b 1\nb c 2\n", "holds 2 pairs"),
        (b"a b 1\na b\nc d 2\n", "line 2: 'a b' is not two words and a score"),
        (b"a b nan\na b inf\nc d 2\n", "line 2: 'a b inf' is not"),
        (b"a \xff 1\n", "not UTF-8 text"),
    ],
)
def test_bad_similarity_files_are_named(tmp_path, content, message):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(DistjointError, match=rf"bad\.txt.*{message}"):
        read_similarity([str(tmp_path / "bad.txt")])
    with pytest.raises(DistjointError, match=r"none\.txt: no such file"):
        read_similarity([str(tmp_path / "none.txt")])


def test_analogy_files_with_sections_and_without(tmp_path):
    (tmp_path / "family.txt").write_text("boy girl king queen\n")
    (tmp_path / "google.txt").write_text(
        ": capitals\nAthens Greece Oslo Norway\n: empty\n: plural\ncat cats dog dogs\n"
    )
    found = read_analogies([str(tmp_path)])
    assert [(each.name, len(each.questions)) for each in found] == [("family", 1), ("capitals", 1), ("plural", 1)]
    (tmp_path / "family.txt").write_text("boy girl king\n")
    with pytest.raises(DistjointError, match=r"family\.txt, line 1: .* four words"):
        read_analogies([str(tmp_path / "family.txt")])
    (tmp_path / "family.txt").write_text(": only a name\n")
    with pytest.raises(DistjointError, match="holds no analogy questions"):
        read_analogies([str(tmp_path / "family.txt")])


def space(names, vectors, **kwargs):
    return Space("word", names, np.array(vectors, np.float32), **kwargs)


def test_lookups_forgive_case_and_spaces():
    words = space(["Of", "of", "new_york", "Bank"], np.eye(4), aliases=[("the bank", 3), ("of", 3)])
    assert [words.find(name) for name in ("Of", "of", "OF", "New York", "bank", "The Bank", "x")] == [
        *(0, 1, 0, 2, 3, 3, None)
    ]


def test_spearman_is_scipys_over_covered_pairs():
    import scipy.stats  # here, since it takes a second

    random = np.random.default_rng(0)
    words = space([f"w{i}" for i in range(40)], random.normal(size=(40, 8)) + 3)
    names = [(f"W{a}", f"w{b}") for a, b in random.integers(0, 50, (60, 2))]
    scores = random.integers(0, 5, 60).astype(float)
    result = similarity(words, WordPairs("set", tuple(names), tuple(scores)), standardize=False)
    expected_covered = [all(int(name[1:]) < 40 for name in pair) for pair in names]
    np.testing.assert_array_equal(result.covered, expected_covered)
    unit = words.vectors / np.linalg.norm(words.vectors, axis=1, keepdims=True)
    kept = [(unit[int(a[1:])] @ unit[int(b[1:])], score) for (a, b), score in zip(names, scores, strict=True)
            if int(a[1:]) < 40 and int(b[1:]) < 40]  # fmt: skip
    assert result.spearman == pytest.approx(scipy.stats.spearmanr(*zip(*kept, strict=True)).statistic)
    assert result.interval.low < result.spearman < result.interval.high
    again = similarity(words, WordPairs("set", tuple(names), tuple(scores)), standardize=False)
    assert again.interval == result.interval


def test_standardising_undoes_a_column_of_frequency():
    """One loud column that says nothing about meaning hides the others from a raw cosine."""
    random = np.random.default_rng(1)
    meaning, loud = random.normal(size=(200, 5)), 50 * np.abs(random.normal(size=(200, 1)))
    words = space([str(i) for i in range(200)], np.hstack([meaning, loud]))
    pairs = random.integers(0, 200, (300, 2))
    unit = meaning / np.linalg.norm(meaning, axis=1, keepdims=True)
    gold = WordPairs(
        "m", tuple((str(a), str(b)) for a, b in pairs), tuple((unit[pairs[:, 0]] * unit[pairs[:, 1]]).sum(1))
    )
    assert similarity(words, gold, standardize=False).spearman < 0.5 < similarity(words, gold).spearman


def test_what_is_not_covered_has_no_result():
    words = space(["a", "b"], np.eye(2))
    result = similarity(words, WordPairs("set", (("x", "y"), ("a", "b"), ("a", "y")), (1.0, 2.0, 3.0)))
    assert np.isnan(result.spearman) and np.isnan(result.interval.low) and result.to_dict()["covered"] == 1
    tree = analogies(words, [Questions("s", (("a", "b", "x", "y"),))]).to_dict()
    assert tree["total"] == {"accuracy": None, "covered": 0, "questions": 1}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=20))
def test_spearman_of_rows_agrees_with_scipy(pairs):
    import scipy.stats  # here, since it takes a second

    first, second = np.array(pairs, float).T
    found = bootstrap.spearman(np.stack([first, second]), np.stack([second, first]))
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert np.isnan(found).all()
    else:
        np.testing.assert_allclose(found, [scipy.stats.spearmanr(first, second).statistic] * 2, atol=1e-9)


def test_bootstrap_interval_of_a_mean_is_the_textbooks():
    values = np.random.default_rng(0).normal(1.0, 2.0, 2000)
    found = bootstrap.interval(bootstrap.mean_of(values), 2000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)


def plain_3cosadd(words, question):
    unit = words.vectors.astype(float) / np.linalg.norm(words.vectors, axis=1, keepdims=True)
    index = [words.names.index(word) for word in question]
    scores = unit @ (unit[index[1]] - unit[index[0]] + unit[index[2]])
    scores[index[:3]] = -np.inf
    return int(scores.argmax()) == index[3]


def test_analogies_known_answer_and_plain_reference(monkeypatch):
    words = space(["man", "woman", "king", "queen", "apple"], [[1, 0, 0], [1, 1, 0], [1, 0, 2], [1, 1, 2], [9, -9, 9]])
    sections = [
        Questions("royal", (("Man", "Woman", "King", "Queen"), ("man", "king", "woman", "apple"))),
        Questions("other", (("man", "woman", "king", "prince"),)),
    ]
    tree = analogies(words, sections, standardize=False).to_dict()
    assert tree["sections"] == [
        {"name": "royal", "accuracy": 0.5, "covered": 2, "questions": 2},
        {"name": "other", "accuracy": None, "covered": 0, "questions": 1},
    ]
    assert tree["total"] == {"accuracy": 0.5, "covered": 2, "questions": 3}
    random = np.random.default_rng(0)
    many = space([str(i) for i in range(12)], random.normal(size=(12, 3)))
    asked = tuple(tuple(map(str, random.permutation(12)[:4])) for _ in range(100))
    monkeypatch.setattr(analogies_module, "SCORES_AT_ONCE", 12 * 7)  # batches of 7 questions
    found = analogies(many, [Questions("s", asked)], standardize=False)
    np.testing.assert_array_equal(found.right, [plain_3cosadd(many, question) for question in asked])
