"""Measures on similarity sets, groups of pairs and analogies: results with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distjoint.evaluate import analogies as analogies_module
from distjoint.evaluate import bootstrap
from distjoint.evaluate.analogies import analogies
from distjoint.evaluate.lookup import Lookup
from distjoint.evaluate.sets import GroupedPairs, PairGroup, Question, Questions, WordPairs
from distjoint.evaluate.similarity import grouped_similarity, similarity
from distjoint.evaluate.space import Space

pytestmark = pytest.mark.unit


def space(names, vectors, **kwargs):
    return Space("word", names, np.array(vectors, np.float32), **kwargs)


def asked(text):
    """`man woman/girl king queen` as a question."""
    a, b, c, d = text.split()
    return Question(a, tuple(b.split("/")), c, tuple(d.split("/")))


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
    tree = analogies(words, [Questions("s", (asked("a b x y"),))]).to_dict()
    assert tree["total"] == {"accuracy": None, "accuracy_all": None, "covered": 0, "questions": 1}
    assert (tree["words"]["unknown"], tree["words"]["unknown_examples"]) == (2, ["x", "y"])


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


def plain_answer(words, question, method):
    unit = words.vectors.astype(float) / np.linalg.norm(words.vectors, axis=1, keepdims=True)
    a, b, c = (words.names.index(word) for word in (question.a, question.b[0], question.c))
    cosine = unit @ unit.T
    moved = (cosine + 1) / 2
    scores = {
        "3cosadd": cosine[b] - cosine[a] + cosine[c],
        "3cosmul": moved[b] * moved[c] / (moved[a] + 0.001),
    }[method]
    scores[[a, b, c]] = -np.inf
    return words.names[int(scores.argmax())] in question.d


def test_analogies_known_answer_and_plain_reference(monkeypatch):
    words = space(["man", "woman", "king", "queen", "apple"], [[1, 0, 0], [1, 1, 0], [1, 0, 2], [1, 1, 2], [9, -9, 9]])
    sections = [
        Questions("royal", (asked("Man Woman King Queen"), asked("man king woman apple"))),
        Questions("other", (asked("man woman king prince"),)),
    ]
    tree = analogies(words, sections, standardize=False).to_dict()
    figures = [(part["name"], part["accuracy"], part["accuracy_all"], part["covered"]) for part in tree["sections"]]
    assert figures == [("royal", 0.5, 0.5, 2), ("other", None, None, 0)]
    total = {"accuracy": 0.5, "accuracy_all": pytest.approx(1 / 3), "covered": 2, "questions": 3}
    assert tree["total"] == total and tree["forms"][0]["macro_accuracy_all"] == 0.25
    random = np.random.default_rng(0)
    many = space([str(i) for i in range(12)], random.normal(size=(12, 3)))
    questions = tuple(asked("{} {} {} {}/{}".format(*random.permutation(12)[:5])) for _ in range(100))
    monkeypatch.setattr(analogies_module, "SCORES_AT_ONCE", 12 * 7)  # batches of 7 questions
    right = {}
    for method in ("3cosadd", "3cosmul"):
        found = analogies(many, [Questions("s", questions)], standardize=False, method=method)
        np.testing.assert_array_equal(found.right, [plain_answer(many, each, method) for each in questions])
        right[method] = found.right.tolist()
    assert right["3cosadd"] != right["3cosmul"] and 0 < sum(right["3cosadd"]) < 100


def test_any_alternative_is_right_and_what_cannot_be_given_is_counted():
    """b - a + c is at `fish`; then come `cod` and `tree`."""
    vectors = [[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1], [1, 1, 0.9], [-1, 0, 0]]
    words = space(["a", "b", "c", "fish", "cod", "tree"], vectors)

    def ask(*questions):
        made = analogies(words, [Questions("s", tuple(map(asked, questions)))], standardize=False)
        return made.right.tolist(), made.excluded, made.words.examples

    assert ask("a b c fish", "a b c tree/fish", "a b c cod", "a b c cod/tree") == ([1, 1, 0, 0], 0, ())
    # The first alternative of b that is known is taken; d needs one that is known.
    assert ask("a x/b c fish/y", "a x c fish", "a b c y/z")[0][0] == 1
    right, excluded, unknown = ask("a x c fish", "a b c y/z", "a b c b", "a b c c/fish")
    assert np.isnan(right[:2]).all() and (right[2:], excluded, unknown) == ([0, 1], 1, ("x", "y", "z"))


def test_words_that_tie_share_the_answer():
    """`two` and `too` have one vector; so have `a` and a word of the question, which is no answer."""
    words = space(["a", "b", "c", "two", "too", "far"], [[1, 0], [1, 0], [0, 1], [1, 1], [1, 1], [-1, -1]])
    sections = [Questions("s", (asked("a b c two"), asked("a b c two/too"), asked("a b c far"), asked("c a two b")))]
    made = analogies(words, sections, standardize=False)
    assert made.right.tolist()[:3] == [0.5, 1, 0] and made.ties == 3 and made.to_dict()["ties"] == 3


def test_means_of_relations_and_categories_as_the_papers_have_them():
    """BATS: mean over a category's relations, then over categories. Google: over questions, semantic and syntactic."""
    words = space(["man", "woman", "king", "queen", "apple"], [[1, 0, 0], [1, 1, 0], [1, 0, 2], [1, 1, 2], [9, -9, 9]])
    yes, no, unknown = asked("man woman king queen"), asked("man woman king apple"), asked("man woman king x")
    sections = [
        Questions("r1", (yes, yes, no, no), "bats", "one"),  # 2 of 4
        Questions("r2", (yes,), "bats", "one"),  # 1 of 1
        Questions("r3", (no, yes, no, no, unknown), "bats", "two"),  # 1 of 4, or of 5
        Questions("r4", (unknown, unknown), "bats", "two"),  # nothing is covered
        Questions("family", (yes, unknown), "google", "semantic"),
        Questions("gram1", (no, no, yes), "google", "syntactic"),
        Questions("JJ_JJR", (yes,), "msr", "adjectives"),
    ]
    tree = analogies(words, sections, standardize=False).to_dict()
    bats, google, msr = tree["forms"]
    assert (bats["name"], bats["relations"], bats["covered"], bats["questions"]) == ("bats", 4, 9, 12)
    assert [part["macro_accuracy"] for part in bats["categories"]] == [(2 / 4 + 1) / 2, 1 / 4]
    assert [part["macro_accuracy_all"] for part in bats["categories"]] == [(2 / 4 + 1) / 2, (1 / 5 + 0) / 2]
    assert bats["macro_accuracy"] == (0.75 + 0.25) / 2 and bats["accuracy"] == pytest.approx(4 / 9)
    assert bats["macro_accuracy_all"] == pytest.approx((0.75 + 0.1) / 2)
    assert bats["accuracy_all"] == pytest.approx(4 / 12)
    assert google["accuracy"] == 2 / 4 and google["accuracy_all"] == 2 / 5
    named = {part["name"]: (part["accuracy"], part["covered"], part["questions"]) for part in google["categories"]}
    assert named == {"semantic": (1, 1, 2), "syntactic": (pytest.approx(1 / 3), 3, 3)}
    assert (msr["accuracy"], msr["categories"]) == (1, []) and tree["total"]["covered"] == 14


def test_groups_are_the_mean_of_their_correlations_by_hand():
    """Angles to `seed` are 10, 20, 40, 30 degrees: of the ranks 1 2 3 4, two are exchanged, so rho is .8."""
    angle = np.radians([0, 10, 20, 40, 30, 90, 50, 60, 70])
    names = ["seed", "a", "b", "c", "d", "other", "x", "y", "z"]
    words = space(names, np.stack([np.cos(angle), np.sin(angle)], 1))

    def ranked(name, *others):
        return PairGroup(name, tuple((name, other) for other in others), tuple(-float(k) for k in range(len(others))))

    groups = ranked("seed", *"abcd"), ranked("other", *"xyz"), ranked("nobody", *"xyz"), ranked("seed", "a", "b", "no")
    made = grouped_similarity(words, GroupedPairs("kore", groups), standardize=False)
    # `other` is ranked from the far end: rho -1. No seed, no correlation; two pairs have none either.
    np.testing.assert_allclose(made.by_group, [0.8, -1, np.nan, np.nan], atol=1e-12)
    assert made.spearman == pytest.approx(-0.1)
    # With what is unknown at 0: nobody's cosines are all alike, so 0; a, b, no at cosines .98, .94, 0, so 1.
    assert made.spearman_all == pytest.approx((0.8 - 1 + 0 + 1) / 4)
    tree = made.to_dict()
    assert [part["covered"] for part in tree["groups"]] == [4, 3, 0, 2]
    assert (tree["groups_covered"], tree["covered"], tree["pairs"]) == (2, 9, 13)
    assert tree["words"]["unknown_examples"] == ["nobody", "no"]


def test_rated_pairs_are_compared_with_the_offset_of_the_others():
    import scipy.stats  # here, since it takes a second

    random = np.random.default_rng(3)
    words = space([f"w{k}" for k in range(10)], random.normal(size=(10, 4)))
    pairs = tuple((f"w{2 * k}", f"w{2 * k + 1}") for k in range(5))
    groups = (PairGroup("r", (*pairs, ("w0", "gone")), (3.0, 1.0, 4.0, 1.5, 9.0, 2.0)),)
    made = grouped_similarity(words, GroupedPairs("s", groups, by_offset=True, form="rated"), standardize=False)
    unit = words.vectors / np.linalg.norm(words.vectors, axis=1, keepdims=True)
    offsets = [unit[2 * k + 1] - unit[2 * k] for k in range(5)]
    expected = []
    for k, one in enumerate(offsets):
        mean = np.mean([other / np.linalg.norm(other) for j, other in enumerate(offsets) if j != k], axis=0)
        expected.append(one @ mean / np.linalg.norm(one) / np.linalg.norm(mean))
    np.testing.assert_allclose(made.predicted[:5], expected, atol=1e-6)
    assert np.isnan(made.predicted[5])
    assert made.spearman == pytest.approx(scipy.stats.spearmanr(expected, [3, 1, 4, 1.5, 9]).statistic)


def test_pairs_that_are_left_out_are_counted_and_the_figure_with_them_is_there():
    """Cosines to `a` are 1, .8, .6; gold has them in that order. A missing pair at 0 takes the last place."""
    words = space(["a", "b", "c"], [[1, 0], [0.8, 0.6], [0.6, 0.8]])
    pairs = (("a", "a"), ("a", "b"), ("a", "c"), ("a", "gone"))
    tree = similarity(words, WordPairs("s", pairs, (9.0, 7.0, 5.0, 8.0)), standardize=False).to_dict()
    # Ranks of gold 4 2 1 3 against 4 3 2 1: d is 0, 1, 1, 2, so rho is 1 - 6 * 6 / (4 * 15).
    assert tree["spearman"] == pytest.approx(1) and tree["spearman_all"] == pytest.approx(1 - 36 / 60)
    assert (tree["covered"], tree["pairs"]) == (3, 4)
    assert tree["words"] == {
        "names": 4, "unknown": 1, "unknown_examples": ["gone"], "shared": 0, "shared_examples": []
    }  # fmt: skip


def test_labels_that_several_entities_have_are_counted():
    names, aliases = ["q1", "q2", "q3", "Q4"], [("Paris", 1), ("paris", 0), ("Rome Town", 2), ("q4", 0)]
    lookup = Lookup(space(names, np.eye(4), aliases=aliases))
    assert [lookup.find(name) for name in ("q2", "Paris", "Rome_Town", "Q4", "q4", "gone")] == [1, 1, 2, 3, 3, -1]
    found = lookup.coverage()
    assert (found.names, found.examples, found.shared_examples) == (6, ("gone",), ("Paris", "q4"))
