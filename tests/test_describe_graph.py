"""Descriptions of graphs: relations by kind, pairs of them, leakage and what copying scores, against plain counting."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distjoint.base.errors import DistjointError
from distjoint.base.progress import Silent
from distjoint.data.dataset import Triples
from distjoint.describe import composition
from distjoint.describe.composition import Composition
from distjoint.describe.distributions import Distribution
from distjoint.describe.keys import NumberedGraph, check_size, contains, distinct, occurrences
from distjoint.describe.leakage import CopyRule, Leakage, copied
from distjoint.describe.patterns import KINDS, Overlaps, find_pairs, wanted_share
from distjoint.describe.relations import GraphRelations
from distjoint.describe.splits import Connections

pytestmark = pytest.mark.unit

Named = tuple[int, int, int]
"""Head, relation, tail."""


def graph_of(
    train: list[Named], valid: Sequence[Named] = (), test: Sequence[Named] = (), entities: int = 8, relations: int = 3
) -> NumberedGraph:
    splits = {
        name: Triples(*np.array(part, np.int64).reshape(-1, 3).T)
        for name, part in (("train", train), ("valid", valid), ("test", test))
    }
    return NumberedGraph(splits, np.arange(entities), [f"r{k}" for k in range(relations)])


def pairs_of(graph: NumberedGraph, share: float = 0.8) -> list[tuple[str, int, int, int]]:
    found = find_pairs(graph, share, Overlaps.of(graph, graph.train_keys))
    return [(pair.kind, pair.first, pair.second, pair.common) for pair in found]


def leak_of(graph: NumberedGraph, share: float = 0.8) -> Leakage:
    return Leakage.of(graph, find_pairs(graph, share, Overlaps.of(graph, graph.train_keys)), Silent())


PARENTS = [(0, 0, 1), (0, 0, 2), (3, 0, 4), (5, 0, 6)]
CHILDREN = [(1, 1, 0), (2, 1, 0), (4, 1, 3)]


def test_an_inverse_relation_gives_the_answer_away() -> None:
    """7 of 8 triples are in training: a share of .7 is wanted. 3 of 4 parents have their child, 3 of 3 children."""
    graph = graph_of([*PARENTS, *CHILDREN], test=[(6, 1, 5)])
    assert wanted_share(graph) == pytest.approx(0.7)
    assert pairs_of(graph) == [("inverse", 0, 1, 3)]
    (found,) = leak_of(graph).splits
    assert (found.triples, found.given, found.linked) == (1, 1, 1)
    assert found.by == {"symmetric": 0, "inverse": 1, "duplicate": 0}
    assert (found.figures["mrr"], found.figures["hits@1"]) == (1.0, 1.0)


def test_a_small_pair_that_training_happens_to_lack_is_seen_in_all_splits() -> None:
    graph = graph_of([(0, 0, 1), (1, 1, 0), (2, 0, 3), (4, 0, 5), (7, 2, 6)], test=[(3, 1, 2), (5, 1, 4)])
    (pair,) = find_pairs(graph, 0.8, Overlaps.of(graph, graph.train_keys))
    assert (pair.kind, pair.common, pair.share, pair.share_second, pair.found_in) == ("inverse", 3, 1.0, 1.0, "all")
    assert [split.given for split in leak_of(graph).splits] == [2]


def test_a_pair_is_none_where_either_relation_has_much_that_the_other_lacks() -> None:
    more = [(0, 0, 5), (1, 0, 6)]
    assert pairs_of(graph_of([*PARENTS, *more, *CHILDREN], test=[(6, 1, 5)])) == []
    assert pairs_of(graph_of([*PARENTS, *more, *CHILDREN], test=[(6, 1, 5)]), share=0.5) == [("inverse", 0, 1, 3)]


def test_what_is_copied_but_wrong_comes_before_or_beside_the_answer() -> None:
    """r1 repeats r0, but lacks (0, 1): asked for the tail of (0, r1), the rule copies 1, 2 and 3.

    2 and 3 are known. Of (0, r1, 7), which is not copied, 1 is above; the entities besides, 0 and 4 to 6, tie.
    """
    train = [(0, 0, k) for k in (1, 2, 3)] + [(0, 1, k) for k in (2, 3)] + [(4, 0, 5), (4, 1, 5), (6, 0, 5), (6, 1, 5)]
    graph = graph_of(train, test=[(0, 1, 7)])
    pairs = find_pairs(graph, 0.8, Overlaps.of(graph, graph.train_keys))
    assert [(pair.kind, pair.common) for pair in pairs] == [("duplicate", 4)]
    rule = CopyRule(graph, copied(graph, pairs))
    (heads, _), (tails, tied) = rule.ranks(graph.splits["test"])
    assert (tails.tolist(), tied.tolist()) == ([1 + 1 + 4 / 2], [4])
    assert heads.tolist() == [1 + 7 / 2], "nobody is copied: the head ties with all the others"


def test_a_symmetric_relation_has_its_reversals_and_loops_do_not_count() -> None:
    graph = graph_of([(0, 0, 1), (1, 0, 0), (2, 0, 2), (0, 1, 1), (3, 1, 3)], test=[(4, 0, 4)])
    assert pairs_of(graph) == [("symmetric", 0, 0, 2)]
    symmetry = Overlaps.of(graph, graph.train_keys).symmetry
    assert symmetry[:2].tolist() == [1.0, 0.0]
    assert np.isnan(symmetry[2]), "a relation without triples is neither"
    (found,) = leak_of(graph).splits
    assert found.given == 0, "a loop is no answer by symmetry"


def test_relations_are_of_kinds() -> None:
    """r0 is transitive: 0 < 1 < 2 < 3. r1 is symmetric. r2 goes from one head to many tails."""
    less = [(a, 0, b) for a, b in product(range(4), repeat=2) if a < b]
    alike = [(4, 1, 5), (5, 1, 4)]
    many = [(6, 2, k) for k in range(4)]
    found = GraphRelations.of(graph_of([*less, *alike, *many]), 0.8, 0, Silent())
    first, second, third = found.relations
    assert (first.kinds, first.paths, first.composition_share) == (("antisymmetric", "transitive-like"), 4, 1.0)
    assert (second.kinds, second.symmetric_share, second.category) == (("symmetric",), 1.0, "1-1")
    assert second.composition_share is None, "its only paths come back"
    assert (third.category, third.tails_per_head, third.heads_per_tail) == ("1-N", 4.0, 1.0)
    assert {kind: triples for kind, _, triples in found.by_kind()}["symmetric"] == 2
    assert found.share_of("antisymmetric") == pytest.approx(10 / 12)


def test_paths_of_a_hub_are_drawn() -> None:
    """200 heads and 200 tails around one entity: 40,000 paths, of which those to half of the tails are closed."""
    ends = [(h, 0, 0) for h in range(1, 201)] + [(0, 0, t) for t in range(201, 401)]
    ends += [(h, 0, t) for h in range(1, 201) for t in range(201, 301)]
    graph = graph_of(ends, entities=401)
    with Silent().task("") as task:
        every, drawn = (Composition.of(graph, 0, task, most) for most in (composition.MOST, 5_000))
    assert (every.paths[0], every.share[0]) == (40_000, 0.5)
    assert (drawn.paths[0], drawn.walked[0]) == (40_000, 5_000)
    assert drawn.share[0] == pytest.approx(0.5, abs=0.05)


def test_what_training_does_not_have_is_counted() -> None:
    graph = graph_of([(0, 0, 1), (2, 0, 3)], valid=[(0, 0, 4)], test=[(5, 1, 6), (0, 0, 1)])
    found = Connections.of(graph)
    _, valid, test = found.splits
    assert (valid.unseen_entities, valid.one_unseen, valid.both_unseen) == (1, 1, 0)
    assert (test.unseen_entities, test.both_unseen, test.unseen_relations, test.unseen_relation_triples) == (2, 1, 1, 1)
    train, every = found.components
    assert (train.count, train.largest, train.entities) == (2, (2, 2), 4)
    assert (every.count, every.largest, every.entities) == (3, (3, 2, 2), 7)
    assert found.unnamed == 1, "entity 7"
    leaks = leak_of(graph)
    assert [split.repeated for split in leaks.splits] == [0, 1]
    assert leaks.candidates == 7


def test_a_distribution_says_percentiles_and_bins() -> None:
    found = Distribution.of_counts("x", np.array([0, 1, 1, 2, 3, 3, 9, 10, 40, 5000]))
    assert found is not None
    assert found.histogram == {
        **{"0": 1, "1": 2, "2-3": 3, "4-9": 1, "10-31": 1, "32-99": 1, "100-999": 0, "1,000-9,999": 1},
    }
    assert (found.percentiles["50"], found.percentiles["100"], found.things) == (3.0, 5000.0, 10)
    assert Distribution.of_counts("x", np.zeros(0, np.int64)) is None


def test_too_large_a_graph_for_keys_is_refused() -> None:
    check_size(2_000_000_000, 2, "data/fits")
    with pytest.raises(DistjointError, match=r"data/huge: 2,000,000,000 entities and 3 relations are too many"):
        check_size(2_000_000_000, 3, "data/huge")


# Against plain counting

TRIPLES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 5)), max_size=30)


@given(train=TRIPLES, valid=TRIPLES, test=TRIPLES, share=st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_pairs_and_leakage_are_those_of_plain_counting(
    train: list[Named], valid: list[Named], test: list[Named], share: float
) -> None:
    graph = graph_of(train, valid, test, entities=7)
    found = find_pairs(graph, share, Overlaps.of(graph, graph.train_keys))
    every = {*train, *valid, *test}
    wanted = share * len(train) / max(len([*train, *valid, *test]), 1)
    plain = plain_pairs(every, share) | plain_pairs(set(train), wanted)
    assert {(pair.kind, pair.first, pair.second) for pair in found if pair.found_in == "train"} == plain_pairs(
        set(train), wanted
    ).keys()
    assert {(pair.kind, pair.first, pair.second): pair.common for pair in found} == plain
    leaks = Leakage.of(graph, found, Silent())
    assert [split.split for split in leaks.splits] == [
        name for name, part in (("valid", valid), ("test", test)) if part
    ]
    known = {*train, *valid, *test}
    copies = {kind: plain_copies(set(train), [pair for pair in plain if pair[0] == kind]) for kind in KINDS}
    every = set().union(*copies.values())
    candidates = {end for head, _, tail in known for end in (head, tail)}
    for split, part in (("valid", valid), ("test", test)):
        if not part:
            continue
        found_split = next(each for each in leaks.splits if each.split == split)
        assert found_split.by == {kind: sum(triple in copies[kind] for triple in part) for kind in KINDS}
        assert found_split.given == sum(triple in every for triple in part)
        links = {frozenset((head, tail)) for head, _, tail in train}
        assert found_split.linked == sum(frozenset((head, tail)) in links for head, _, tail in part)
        ranks = [rank for triple in part for rank in plain_ranks(triple, every, known, candidates)]
        assert found_split.figures["mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks]))
        assert found_split.figures["hits@1"] == pytest.approx(np.mean([rank <= 1 for rank in ranks]))
        of_relation = defaultdict(list)
        for triple in part:
            of_relation[f"r{triple[1]}"] += plain_ranks(triple, every, known, candidates)
        by_relation = {each.relation: each.figures["mrr"] for each in found_split.relations}
        assert by_relation == pytest.approx({name: np.mean([1 / r for r in of]) for name, of in of_relation.items()})


def plain_pairs(train: set[Named], wanted: float) -> dict[tuple[str, int, int], int]:
    found = {}
    for r, s in product(range(3), repeat=2):
        ours, theirs = ({(h, t) for h, q, t in train if q == relation} for relation in (r, s))
        apart = [{(h, t) for h, t in pairs if h != t} for pairs in (ours, theirs)]
        these, those = apart if r == s else (ours, theirs)
        back = len({(t, h) for h, t in these} & those)
        if r <= s and back and back >= wanted * len(these) and back >= wanted * len(those):
            found["symmetric" if r == s else "inverse", r, s] = back
        same = len(ours & theirs)
        if r < s and same and same >= wanted * len(ours) and same >= wanted * len(theirs):
            found["duplicate", r, s] = same
    return found


def plain_copies(train: set[Named], pairs: list[tuple[str, int, int]]) -> set[Named]:
    copies = set()
    for kind, first, second in pairs:
        for head, relation, tail in train:
            for source, target in ((first, second), (second, first)):
                if relation == source and kind == "duplicate":
                    copies.add((head, target, tail))
                elif relation == source and (head != tail or kind == "inverse"):
                    copies.add((tail, target, head))
    return copies


def plain_ranks(triple: Named, copies: set[Named], known: set[Named], candidates: set[int]) -> list[float]:
    """Of the head and of the tail: every candidate scored, one by one."""
    head, relation, tail = triple
    ranks = []
    for place, end in ((0, head), (2, tail)):
        asked = [[candidate, relation, tail] if place == 0 else [head, relation, candidate] for candidate in candidates]
        others = [tuple(each) for each in asked if each[place] != end and tuple(each) not in known]
        scores = Counter((each in copies) - (triple in copies) for each in others)
        ranks.append(1 + scores[1] + scores[0] / 2)
    return ranks


@given(train=TRIPLES)
def test_paths_are_those_of_plain_counting(train: list[Named]) -> None:
    graph, plain = graph_of(train), set(train)
    with Silent().task("") as task:
        found = Composition.of(graph, 0, task)
    for relation in range(3):
        of_it = {(h, t) for h, r, t in plain if r == relation}
        paths = [(h, m, t) for h, m in of_it for n, t in of_it if m == n]
        apart = [(h, t) for h, m, t in paths if len({h, m, t}) == 3]
        assert found.paths[relation] == len(paths)
        assert (found.walked[relation], found.closed[relation]) == (len(apart), sum(pair in of_it for pair in apart))


@given(keys=st.lists(st.integers(-5, 5)), wanted=st.lists(st.integers(-6, 6)))
def test_sorted_keys_are_sets(keys: list[int], wanted: list[int]) -> None:
    once, asked = distinct(np.array(keys, np.int64)), np.array(wanted, np.int64)
    assert once.tolist() == sorted(set(keys))
    assert contains(once, asked).tolist() == [each in keys for each in wanted]
    assert occurrences(np.sort(np.array(keys, np.int64)), asked).tolist() == [keys.count(each) for each in wanted]
