"""Link prediction: exact ranks, against a plain reference that follows the definition word by word."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distjoint.data.dataset import Triples
from distjoint.errors import DistjointError
from distjoint.evaluate import ranking
from distjoint.evaluate.ranking import Candidates, link_prediction
from distjoint.evaluate.scoring import TripleModel
from distjoint.model.scorers import SCORERS

pytestmark = pytest.mark.unit


def problem(scorer, cosine, reciprocal, entities, relations, count, dim, seed, levels=None):
    """Random entities, relations and distinct triples; `levels` rounds the values to few, so that scores tie."""
    random = np.random.default_rng(seed)
    vectors = torch.from_numpy(random.normal(size=(entities, dim)).astype(np.float32))
    shape = (relations * (2 if reciprocal else 1), SCORERS[scorer].relation_dim(dim))
    table = torch.from_numpy(random.normal(size=shape).astype(np.float32))
    if levels is not None:
        vectors, table = vectors.clamp(-1, 1).round() * levels, table.clamp(-1, 1).round() * levels
    every = np.unique(random.integers(0, [entities, relations, entities], (count, 3)), axis=0)
    known = Triples(*every[random.permutation(len(every))].T.copy())
    compare = "cosine" if cosine else SCORERS[scorer].compare
    return TripleModel(SCORERS[scorer], compare, 2.0, table, reciprocal), vectors, known


def plain_rank(model, vectors, listed, known, h, r, t, side):
    """The definition: 1 + those that score higher + half of the others that tie, right answers left out."""
    given_end, answer = (h, t) if side == "tail" else (t, h)
    query = model.queries(vectors[[given_end]], torch.tensor([r]), side)
    scores = model.score(query.double(), vectors.double())[0].tolist()
    rank = 1.0
    for candidate, score in enumerate(scores):
        triple = (h, r, candidate) if side == "tail" else (candidate, r, t)
        if candidate == answer or not listed[candidate] or triple in known:
            continue
        if abs(score - scores[answer]) < 1e-6:
            rank += 0.5
        elif score > scores[answer]:
            rank += 1
    return rank


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize(("cosine", "reciprocal"), [(False, True), (True, True), (False, False), (True, False)])
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), ties=st.booleans(), blocks=st.integers(1, 5), listed_only=st.booleans())
def test_ranks_are_those_of_the_definition(scorer, cosine, reciprocal, seed, ties, blocks, listed_only):
    # Few levels make ties; for rotate the angles 0 and +-.5 keep the two sides of a tie within rounding.
    model, vectors, known = problem(scorer, cosine, reciprocal, 17, 3, 60, 4, seed, 0.5 if ties else None)
    random = np.random.default_rng(seed)
    triples = Triples(known.head[:12], known.relation[:12], known.tail[:12])
    listed = random.random(17) < 0.7 if listed_only else np.ones(17, bool)
    listed[triples.head] = listed[triples.tail] = True
    rows = np.array_split(random.permutation(17), blocks)
    found = link_prediction(model, Candidates(rows, lambda i: vectors[rows[i]], listed), triples, known)
    right = set(zip(known.head.tolist(), known.relation.tolist(), known.tail.tolist(), strict=True))
    for side, ranks in (("head", found.head), ("tail", found.tail)):
        expected = [
            plain_rank(model, vectors, listed, right, h, r, t, side)
            for h, r, t in zip(triples.head, triples.relation, triples.tail, strict=True)
        ]
        np.testing.assert_array_equal(ranks, expected)
    assert found.candidates == listed.sum()


def test_shards_tiles_and_chunks_change_no_rank(monkeypatch):
    model, vectors, known = problem("complex", False, True, 3000, 5, 9000, 32, 0)
    vectors[1500:] = vectors[:1500]  # Every entity has a twin that must tie, wherever the two lie.
    triples = Triples(known.head[:500], known.relation[:500], known.tail[:500])
    whole = link_prediction(model, Candidates([np.arange(3000)], lambda i: vectors), triples, known)
    assert (whole.tail % 1 == 0.5).mean() > 0.9
    monkeypatch.setattr(ranking, "QUERY_TILE", 37)
    monkeypatch.setattr(ranking, "CANDIDATE_TILE", 101)
    rows = np.array_split(np.random.default_rng(1).permutation(3000), 7)
    parts = link_prediction(model, Candidates(rows, lambda i: vectors[rows[i]]), triples, known, memory=4096)
    np.testing.assert_array_equal(parts.head, whole.head)
    np.testing.assert_array_equal(parts.tail, whole.tail)


def test_vectors_that_say_nothing_rank_in_the_middle():
    """All candidates tie: an optimistic tie policy would report a perfect MRR here."""
    model, vectors, known = problem("distmult", False, False, 101, 1, 50, 8, 3)
    none = Triples(*(np.empty(0, np.int64) for _ in range(3)))
    found = link_prediction(model, Candidates([np.arange(101)], lambda i: torch.zeros_like(vectors)), known, none)
    np.testing.assert_array_equal(found.tail, np.full(len(known), 51.0))


def test_metrics_by_hand_with_unseen_apart():
    found = ranking.LinkPrediction(
        np.array([1.0, 4.0]), np.array([2.0, 20.0]), np.array([False, True]), candidates=30
    ).metrics()
    assert found["mrr"] == pytest.approx((1 + 1 / 4 + 1 / 2 + 1 / 20) / 4)
    assert (found["hits@1"], found["hits@3"], found["hits@10"]) == (0.25, 0.5, 0.75)
    assert (found["mean_rank"], found["triples"], found["candidates"]) == (6.75, 2, 30)
    assert found["unseen"]["mrr"] == pytest.approx((1 / 4 + 1 / 20) / 2)
    assert found["head"]["mean_rank"] == 2.5


def test_not_finite_vectors_are_refused_not_ranked_first():
    model, vectors, known = problem("transe", True, True, 20, 2, 30, 4, 0)
    vectors[7] = torch.nan
    with pytest.raises(DistjointError, match="NaN or infinity"):
        link_prediction(model, Candidates([np.arange(20)], lambda i: vectors), known, known)


def test_no_triples_is_said():
    model, vectors, known = problem("transe", True, True, 20, 2, 30, 4, 0)
    none = Triples(*(np.empty(0, np.int64) for _ in range(3)))
    with pytest.raises(DistjointError, match="holds no triples"):
        link_prediction(model, Candidates([np.arange(20)], lambda i: vectors), none, known)


def test_layout_rows_and_listed_rows():
    from distjoint.data.layout import Layout

    layout = Layout(shards=2, tiles=4, words=5, aligned=3, entities=4)
    rows = ranking.entity_rows(layout)
    assert sorted(np.concatenate(rows)) == list(range(5, 12))
    triples = Triples(np.array([5]), np.array([0]), np.array([9]))
    assert np.flatnonzero(ranking.listed_rows(12, triples)).tolist() == [5, 9]
