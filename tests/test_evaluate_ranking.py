"""Link prediction: exact ranks, against a plain reference that follows the definition word by word."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Triples
from distjoint.data.types import Domains
from distjoint.evaluate import queries
from distjoint.evaluate.candidates import Candidates, entity_rows, listed_rows
from distjoint.evaluate.link_result import RANKS
from distjoint.evaluate.ranking import link_prediction
from distjoint.evaluate.ranks import TIED, LinkPrediction
from distjoint.evaluate.sampling import draw
from distjoint.evaluate.scoring import TripleModel
from distjoint.model import scorers
from distjoint.model.comparisons import comparison_of
from distjoint.registry import SCORERS

pytestmark = pytest.mark.unit


def problem(scorer, cosine, reciprocal, entities, relations, count, dim, seed, levels=None, norm=2):
    """Random entities, relations and distinct triples; `levels` rounds the values to few, so that scores tie."""
    random = np.random.default_rng(seed)
    vectors = torch.from_numpy(random.normal(size=(entities, dim)).astype(np.float32))
    shape = (relations * (2 if reciprocal else 1), scorers.scorer(scorer).relation_dim(dim))
    table = torch.from_numpy(random.normal(size=shape).astype(np.float32))
    if levels is not None:
        vectors, table = vectors.clamp(-1, 1).round() * levels, table.clamp(-1, 1).round() * levels
    every = np.unique(random.integers(0, [entities, relations, entities], (count, 3)), axis=0)
    known = Triples(*every[random.permutation(len(every))].T.copy())
    own = scorers.scorer(scorer)
    return TripleModel(own, comparison_of(own, cosine, norm, 2.0), table, reciprocal), vectors, known


def plain_rank(model, vectors, listed, known, h, r, t, side, allowed=None):
    """The definition: 1 + those that score higher + half of the others that tie, right answers left out; ties; and what
    the given end adds to the rank.

    NaN where a score is too close to the answer's to tell.
    """
    given_end, answer = (h, t) if side == "tail" else (t, h)
    query = model.queries(vectors[[given_end]], torch.tensor([r]), side)
    scores = model.score(query.double(), vectors.double())[0].tolist()
    higher = ties = own = 0
    for candidate, score in enumerate(scores):
        triple = (h, r, candidate) if side == "tail" else (candidate, r, t)
        if candidate == answer or not listed[candidate] or triple in known:
            continue
        if allowed is not None and not allowed.allowed(r, side)[candidate]:
            continue
        apart, before = abs(score - scores[answer]), (higher, ties)
        if 1e-6 <= apart < 1e-4:  # what ties in float32 depends on the size of what a score is made of
            return math.nan, math.nan, math.nan
        if apart < 1e-6:
            ties += 1
        elif score > scores[answer]:
            higher += 1
        if candidate == given_end:
            own = higher - before[0] + (ties - before[1]) / 2
    return 1 + higher + ties / 2, ties, own


def as_set(triples):
    return set(zip(triples.head.tolist(), triples.relation.tolist(), triples.tail.tolist(), strict=True))


def some_types(random, entities, relations):
    """Domains of five sets of types; a tenth of the entities have none."""
    type_of = random.integers(0, 5, entities).astype(np.int32)
    type_of[random.random(entities) < 0.1] = -1
    return Domains(type_of, *(random.random((relations, 5)) < 0.5 for _ in range(2)))


@pytest.mark.parametrize("scorer", SCORERS.names())
@pytest.mark.parametrize(
    ("cosine", "reciprocal", "norm"),
    [(False, True, 2), (True, True, 2), (False, False, 2), (True, False, 2), (False, True, 1)],
)
@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    ties=st.booleans(),
    blocks=st.integers(1, 5),
    listed_only=st.booleans(),
    typed=st.booleans(),
)
def test_ranks_are_those_of_the_definition(scorer, cosine, reciprocal, norm, seed, ties, blocks, listed_only, typed):
    # Few levels make ties; for rotate the angles 0 and +-.5 keep the two sides of a tie within rounding.
    model, vectors, known = problem(scorer, cosine, reciprocal, 17, 3, 60, 4, seed, 0.5 if ties else None, norm)
    random = np.random.default_rng(seed)
    triples = Triples(known.head[:12], known.relation[:12], known.tail[:12])
    listed = random.random(17) < 0.7 if listed_only else np.ones(17, bool)
    listed[triples.head] = listed[triples.tail] = True
    rows = np.array_split(random.permutation(17), blocks)
    allowed = some_types(random, 17, 3) if typed else None
    found = link_prediction(
        model, Candidates(rows, lambda i: vectors[rows[i]], listed), triples, known, allowed=allowed
    )
    head, tail = (found.head, found.head_ties, found.own_head), (found.tail, found.tail_ties, found.own_tail)
    for side, of_side in (("head", head), ("tail", tail)):
        expected = [
            plain_rank(model, vectors, listed, as_set(known), h, r, t, side, allowed)
            for h, r, t in zip(triples.head, triples.relation, triples.tail, strict=True)
        ]
        assume(not np.isnan(expected).any())
        np.testing.assert_array_equal(np.stack(of_side, 1), expected)
    assert found.typed == typed
    assert found.candidates == listed.sum()


def test_shards_tiles_and_chunks_change_no_rank(monkeypatch):
    model, vectors, known = problem("complex", False, True, 3000, 5, 9000, 32, 0)
    vectors[1500:] = vectors[:1500]  # Every entity has a twin that must tie, wherever the two lie.
    known.tail[:20] = (known.head[:20] + 1500) % 3000  # Some answers are the given end's twin, which ties.
    triples = Triples(known.head[:500], known.relation[:500], known.tail[:500])
    whole = link_prediction(model, Candidates([np.arange(3000)], lambda i: vectors), triples, known)
    assert (whole.tail % 1 == 0.5).mean() > 0.9
    monkeypatch.setattr(queries, "QUERY_TILE", 37)
    monkeypatch.setattr(queries, "CANDIDATE_TILE", 101)
    rows = np.array_split(np.random.default_rng(1).permutation(3000), 7)
    parts = link_prediction(model, Candidates(rows, lambda i: vectors[rows[i]]), triples, known, memory=4096)
    assert (whole.own_tail == TIED).any() and (whole.own_tail == 1).any()
    for name in RANKS:
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_vectors_that_say_nothing_rank_in_the_middle():
    """All candidates tie: an optimistic tie policy would report a perfect MRR here."""
    model, vectors, known = problem("distmult", False, False, 101, 1, 50, 8, 3)
    none = Triples(*(np.empty(0, np.int64) for _ in range(3)))
    found = link_prediction(model, Candidates([np.arange(101)], lambda i: torch.zeros_like(vectors)), known, none)
    np.testing.assert_array_equal(found.tail, np.full(len(known), 51.0))
    tree = found.metrics()
    assert tree["optimistic"]["mrr"] == 1 and tree["pessimistic"]["mean_rank"] == 101


def test_typed_ranks_survive_tiles_chunks_and_an_answer_of_the_wrong_type(monkeypatch):
    model, vectors, known = problem("distmult", False, False, 400, 7, 3000, 8, 1)
    triples = Triples(known.head[:300], known.relation[:300], known.tail[:300])
    allowed = some_types(np.random.default_rng(2), 400, 7)
    one = Candidates([np.arange(400)], lambda i: vectors)
    whole = link_prediction(model, one, triples, known, allowed=allowed)
    wrong = [not allowed.allowed(r, "tail")[t] for r, t in zip(triples.relation.tolist(), triples.tail, strict=True)]
    assert 0.2 < np.mean(wrong) < 0.8 and whole.typed and not whole.sampled
    for number in range(0, 300, 10):
        h, r, t = (int(getattr(triples, end)[number]) for end in ("head", "relation", "tail"))
        expected = plain_rank(model, vectors, np.ones(400, bool), as_set(known), h, r, t, "tail", allowed)
        assert (whole.tail[number], whole.tail_ties[number], whole.own_tail[number]) == expected
    sizes = [allowed.allowed(r, side).sum() for r in triples.relation.tolist() for side in ("head", "tail")]
    assert whole.mean_candidates == pytest.approx(np.mean(sizes))
    monkeypatch.setattr(queries, "QUERY_TILE", 37)
    monkeypatch.setattr(queries, "CANDIDATE_TILE", 101)
    rows = np.array_split(np.random.default_rng(1).permutation(400), 3)
    parts = link_prediction(
        model, Candidates(rows, lambda i: vectors[rows[i]]), triples, known, allowed=allowed, memory=4096
    )
    np.testing.assert_array_equal(parts.head, whole.head)
    np.testing.assert_array_equal(parts.tail, whole.tail)


@pytest.mark.parametrize("typed", [False, True])
def test_sampling_every_candidate_is_exact(typed):
    model, vectors, known = problem("complex", True, True, 60, 4, 400, 8, 5, 0.5)
    triples = Triples(known.head[:50], known.relation[:50], known.tail[:50])
    listed = np.random.default_rng(0).random(60) < 0.8
    allowed = some_types(np.random.default_rng(2), 60, 4) if typed else None
    rows = np.array_split(np.random.default_rng(1).permutation(60), 3)
    candidates = Candidates(rows, lambda i: vectors[rows[i]], listed)
    exact = link_prediction(model, candidates, triples, known, allowed=allowed)
    drawn = link_prediction(model, candidates, triples, known, allowed=allowed, sample=1000, memory=2048)
    assert exact.own_head.any() and exact.own_tail.any()
    for name in RANKS:
        np.testing.assert_array_equal(getattr(drawn, name), getattr(exact, name))
    assert drawn.sampled and not exact.sampled and drawn.typed == exact.typed == typed


def test_sampled_candidates_are_seeded_even_and_independent_of_shards():
    model, vectors, known = problem("distmult", False, False, 500, 3, 600, 16, 2)
    triples = Triples(known.head[:200], known.relation[:200], known.tail[:200])
    one = Candidates([np.arange(500)], lambda i: vectors)
    rows = np.array_split(np.random.default_rng(1).permutation(500), 4)
    several = Candidates(rows, lambda i: vectors[rows[i]])
    found = link_prediction(model, one, triples, known, sample=50)
    assert (found.candidates, found.mean_candidates) == (50, 50)
    again = link_prediction(model, several, triples, known, sample=50, memory=1 << 14)
    np.testing.assert_array_equal(found.head, again.head)
    np.testing.assert_array_equal(found.tail, again.tail)
    other = link_prediction(model, one, triples, known, sample=50, seed=1)
    assert (other.tail != found.tail).any()
    # Of those that score higher, a tenth is met.
    exact = link_prediction(model, one, triples, known)
    assert np.mean(found.tail - 1) == pytest.approx(np.mean(exact.tail - 1) / 10, rel=0.1)


@given(st.integers(1, 40), st.sets(st.integers(0, 50)), st.integers(1, 45), st.integers(0, 10**6))
def test_what_is_drawn_is_free_and_distinct(size, without, count, seed):
    random = np.random.default_rng(seed)
    pool = np.sort(random.choice(51, size, replace=False))
    free = set(pool.tolist()) - without
    found = draw(pool, np.array(sorted(without), np.int64), count, random)
    assert len(found) == len(set(found.tolist())) == min(count, len(free)) and set(found.tolist()) <= free


def test_every_free_candidate_is_drawn_as_often():
    pool, without = np.arange(0, 40, 2), np.array([3, 4, 10, 38])
    times = np.zeros(40)
    for seed in range(3000):
        times[draw(pool, without, 5, np.random.default_rng(seed))] += 1
    free = np.setdiff1d(pool, without)
    assert times.sum() == times[free].sum() == 15000
    np.testing.assert_allclose(times[free], 15000 / len(free), rtol=0.15)


def test_metrics_by_hand_with_unseen_ends_apart():
    found = LinkPrediction(
        *(np.array([1.0, 4.0, 1.5]), np.array([2.0, 20.0, 3.0]), np.array([0, 1, 2]), 30),
        *(np.array([0, 0, 1]), np.array([0, 4, 0])),
        *(np.array([0.0, 1.0, 0.5]), np.array([1.0, 0.5, 0.0])),
    ).metrics()
    assert found["mrr"] == pytest.approx((1 + 1 / 4 + 1 / 1.5 + 1 / 2 + 1 / 20 + 1 / 3) / 6)
    assert [found[f"hits@{k}"] for k in (1, 3, 10)] == pytest.approx([1 / 6, 4 / 6, 5 / 6])
    assert (found["mean_rank"], found["triples"], found["candidates"]) == (5.25, 3, 30)
    assert found["unseen"]["mrr"] == pytest.approx((1 / 4 + 1 / 1.5 + 1 / 20 + 1 / 3) / 4)
    assert found["seen"]["mrr"] == (1 + 1 / 2) / 2 and found["seen"]["triples"] == 1
    assert found["one_unseen"]["mrr"] == pytest.approx((1 / 4 + 1 / 20) / 2)
    assert found["one_unseen"]["pessimistic"]["mrr"] == pytest.approx((1 / 4 + 1 / 22) / 2)
    assert found["both_unseen"]["mean_rank"] == 2.25
    assert found["head"]["mean_rank"] == pytest.approx(6.5 / 3)
    assert (found["tail"]["optimistic"]["mean_rank"], found["tail"]["pessimistic"]["mean_rank"]) == (23 / 3, 9)
    # The given end is 1 of those before, or one of those that tie; without it fewer tie as well.
    without = found["without_own_end"]
    assert without["mrr"] == pytest.approx((1 + 1 / 3 + 1 + 1 + 1 / 19.5 + 1 / 3) / 6)
    assert found["one_unseen"]["without_own_end"]["mrr"] == pytest.approx((1 / 3 + 1 / 19.5) / 2)
    assert without["hits@1"] == 0.5 and without["triples"] == 3
    assert without["pessimistic"]["mean_rank"] == pytest.approx((1 + 3 + 1 + 1 + 21 + 3) / 6)


def test_the_own_end_of_a_symmetric_relation_is_counted_but_told():
    """By hand: entities 0 and 1 point one way, 2 across; a relation that changes nothing answers with the question."""
    model, _, _ = problem("distmult", True, False, 4, 1, 9, 2, 0)
    model = replace(model, relations=torch.ones(1, 2))
    vectors = torch.tensor([[2.0, 0.1], [1.0, 0.0], [0.1, 1.0], [0.0, 0.0]])
    triples = Triples(*np.array([[0, 0, 1], [2, 0, 2], [3, 0, 3], [1, 0, 3]], np.int64).T.copy())
    none = Triples.together()
    found = link_prediction(model, Candidates([np.arange(4)], lambda i: vectors), triples, none)
    # 0 and 1: the given end comes first, the answer second. (2, 2): the answer is the given end. Of 3 nothing is known.
    assert found.tail.tolist() == [2, 1, 2.5, 4] and found.own_tail.tolist() == [1, 0, 0, 1]
    assert found.head.tolist() == [2, 1, 2.5, 2.5] and found.own_head.tolist() == [1, 0, 0, 0.5]
    assert found.without_own_end.tail.tolist() == [1, 1, 2.5, 3]
    assert found.without_own_end.head_ties.tolist() == [0, 0, 3, 2]
    # An own end that is a known answer was never counted, nor one that is no candidate.
    known = Triples(*np.array([[0, 0, 0]], np.int64).T.copy())
    told = link_prediction(model, Candidates([np.arange(4)], lambda i: vectors), triples, known)
    assert told.tail[0] == 1 and told.own_tail[0] == 0 and told.own_head[0] == 1
    listed = np.array([False, True, True, True])
    few = link_prediction(model, Candidates([np.arange(4)], lambda i: vectors, listed), triples, none)
    assert few.tail[0] == 1 and few.own_tail[0] == 0 and few.own_head[0] == 1


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
    from distjoint.table.layout import Layout

    layout = Layout(shards=2, tiles=4, words=5, aligned=3, entities=4)
    rows = entity_rows(layout)
    assert sorted(np.concatenate(rows)) == list(range(5, 12))
    triples = Triples(np.array([5]), np.array([0]), np.array([9]))
    assert np.flatnonzero(listed_rows(12, triples)).tolist() == [5, 9]
