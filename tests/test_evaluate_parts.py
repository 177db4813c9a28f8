"""Groups of answers, and triple classification: by hand and against plain references."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Triples
from distjoint.evaluate.breakdown import CATEGORIES, breakdown, categories, groups
from distjoint.evaluate.candidates import Candidates
from distjoint.evaluate.classification import best_threshold, choose_thresholds, classify
from distjoint.evaluate.link_result import RANKS
from distjoint.evaluate.ranks import LinkPrediction
from distjoint.evaluate.scoring import TripleModel
from distjoint.model import scorers
from distjoint.model.comparisons import comparison_of
from distjoint.registry import SCORERS

pytestmark = pytest.mark.unit


def triples(*rows):
    return Triples(*np.array(rows, np.int64).reshape(-1, 3).T.copy())


TRAIN = triples(
    *((0, 0, 1), (2, 0, 3)),  # one to one
    *((0, 1, 1), (0, 1, 2), (0, 1, 3), (4, 1, 5)),  # two tails a head
    *((1, 2, 0), (2, 2, 0), (3, 2, 5)),  # 1.5 heads a tail: just many
    *((0, 3, 0), (0, 3, 1), (1, 3, 0), (1, 3, 1)),
    *((0, 5, 0), (0, 5, 1), (1, 5, 2), (2, 5, 3)),  # 4 tails of 3 heads: not many
)


def test_categories_are_those_of_bordes():
    assert [CATEGORIES[c] for c in categories(TRAIN, 6)] == ["1-1", "1-N", "N-1", "N-N", "not in training", "1-1"]


def some_ranks(count, seed=0):
    random = np.random.default_rng(seed)
    head, tail = random.integers(1, 50, (2, count)) / 2 + 0.5
    ties, none = random.integers(0, 2, (2, count)), np.zeros(count, np.int64)
    own = np.minimum(random.integers(0, 3, (2, count)) / 2, np.stack([head, tail]) - 1)
    return LinkPrediction(head, tail, none, 50, *ties, *own)


def test_groups_by_relation_are_the_figures_of_its_triples_alone():
    every = triples(*((h, h % 3, h + 1) for h in range(20)))
    ranks = some_ranks(20)
    found = breakdown(ranks, groups("relation", every, TRAIN, np.zeros(30), ["a", "b", "c", "d"]), True)
    assert [(part["name"], part["answers"]) for part in found] == [("a", 14), ("b", 14), ("c", 12)]
    chosen = every.relation == 2
    alone = replace(ranks, **{name: getattr(ranks, name)[chosen] for name in RANKS}).metrics()
    for name in ("mrr", "hits@10", "mean_rank", "optimistic", "pessimistic"):
        assert found[2][name] == alone[name]
    assert found[2]["without_own_end"]["mrr"] == alone["without_own_end"]["mrr"] > alone["mrr"]
    assert found[2]["tail"]["mrr"] == alone["tail"]["mrr"]


def test_groups_by_degree_take_each_end_by_its_own():
    degree = np.array([0, 1, 2, 3, 10, 11])
    every = triples((0, 0, 5), (1, 0, 4), (2, 0, 3))
    ranks = some_ranks(3)
    found = {part["name"]: part for part in breakdown(ranks, groups("degree", every, TRAIN, degree, ["a"]))}
    assert [(name, part["answers"]) for name, part in found.items()] == [
        ("0", 1), ("1-2", 2), ("3-10", 2), ("more than 10", 1)
    ]  # fmt: skip
    assert found["0"]["tail"] is None and found["0"]["head"]["mrr"] == 1 / ranks.head[0]
    assert found["1-2"]["mean_rank"] == ranks.head[1:].mean()
    assert found["3-10"]["mean_rank"] == ranks.tail[1:].mean()
    rarer = {part["name"]: part for part in breakdown(ranks, groups("rarer", every, TRAIN, degree, ["a"]))}
    assert [(name, part["answers"]) for name, part in rarer.items()] == [("0", 2), ("1-2", 4)]
    assert rarer["0"]["tail"]["mrr"] == 1 / ranks.tail[0] and rarer["1-2"]["head"]["mean_rank"] == ranks.head[1:].mean()


def test_groups_by_category_of_the_relation():
    found = breakdown(some_ranks(3), groups("category", triples((0, 0, 1), (0, 3, 1), (1, 4, 1)), TRAIN,
                                            np.zeros(6), list("abcdef")))  # fmt: skip
    assert [part["name"] for part in found] == ["1-1", "N-N", "not in training"]


def plain_accuracy(scores, truth, threshold):
    return np.mean([(score >= threshold) == right for score, right in zip(scores, truth, strict=True)])


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=20))
def test_no_threshold_is_better_than_the_one_chosen(items):
    scores, truth = np.array([score for score, _ in items], float), np.array([right for _, right in items])
    found = plain_accuracy(scores, truth, best_threshold(scores, truth))
    assert found == max(plain_accuracy(scores, truth, threshold) for threshold in np.arange(-3.5, 4.0, 1.0))


def test_neighbouring_floats_are_still_parted():
    low = np.float64(0.1)
    scores = np.array([low, np.nextafter(low, 1)])
    assert (scores >= best_threshold(scores, np.array([False, True]))).tolist() == [False, True]


def test_thresholds_by_relation_and_one_for_the_others():
    scores, truth = np.array([1.0, 2.0, 11.0, 12.0]), np.array([False, True, False, True])
    found = choose_thresholds(scores, truth, np.array([0, 0, 1, 1]), 3)
    assert found.own[:2].tolist() == [1.5, 11.5] and np.isnan(found.own[2])
    assert found.taken(np.array([1.6, 1.6, 1.6]), np.array([0, 1, 2])).tolist() == [True, False, found.overall <= 1.6]
    with pytest.raises(DistjointError, match="right and wrong validation triples"):
        choose_thresholds(scores, np.ones(4, bool), np.array([0, 0, 1, 1]), 3)


@pytest.mark.parametrize("scorer", SCORERS.names())
@pytest.mark.parametrize("blocks", [1, 3])
def test_classification_is_by_the_models_own_scores(scorer, blocks):
    random = np.random.default_rng(0)
    relation = torch.from_numpy(random.normal(size=(3, scorers.scorer(scorer).relation_dim(4))).astype(np.float32))
    own = scorers.scorer(scorer)
    model = TripleModel(own, comparison_of(own, False, 2, None), relation, False)
    vectors = torch.from_numpy(random.normal(size=(30, 4)).astype(np.float32))
    rows = np.array_split(random.permutation(30), blocks)
    candidates = Candidates(rows, lambda i: vectors[rows[i]])

    def some(count, relations):
        return Triples(*(random.integers(0, high, count) for high in (30, relations, 30)))

    def score(part):
        pairs = zip(part.head, part.relation, part.tail, strict=True)
        return np.array([
            model.score(model.queries(vectors[[h]], torch.tensor([r]), "tail"), vectors[[t]]).item()
            for h, r, t in pairs
        ])  # fmt: skip

    valid, test = (some(40, 2), some(30, 2)), (some(25, 3), some(35, 3))
    found = classify(model, candidates, valid, test, ["a", "b", "c"], memory=1)
    assert set(found.thresholds) == {"a", "b"}
    threshold = np.array([found.thresholds["a"], found.thresholds["b"], found.threshold])
    expected = np.concatenate([score(part) >= threshold[part.relation] for part in test])
    assert (found.taken == expected).mean() >= 0.98  # a score at the threshold may be rounded either way
    tree = found.to_dict()
    right = np.arange(60) < 25
    assert tree["accuracy"] == (found.taken == right).mean()
    precision, recall = right[found.taken].mean(), found.taken[right].mean()
    assert (tree["precision"], tree["recall"]) == (precision, recall)
    assert tree["f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    with pytest.raises(DistjointError, match="no test_negatives triples"):
        classify(model, candidates, valid, (test[0], some(0, 1)), ["a", "b", "c"], memory=1)
