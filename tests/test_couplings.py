"""One battery that every coupling must pass: steps of both backends, parts, frozen ones, start values, comparability.

Its formula is in `VECTORS` of test_coupling_formulas.py, with the part of the battery that examples pass too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from problem import DIM, LAYOUT, Problem, configuration, draw, start_values
from reference.couplings import Formula, leaves, stepped, term_vectors
from test_coupling_formulas import VECTORS
from torch import Tensor

from distjoint.backends import Backend
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.torch.backend import TorchBackend
from distjoint.couplings import coupling_of
from distjoint.couplings.base import Coupling, GraphTerm, word_block, words_of_entities
from distjoint.couplings.scheme import Scheme, initial_shard
from distjoint.model.scorers import scorer
from distjoint.table.arena import NONE
from distjoint.train.build import build_dense
from distjoint.train.sources.base import sources_of

pytestmark = pytest.mark.unit

RATE = 0.1


@pytest.fixture(params=VECTORS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["cpu", "torch"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    made: Backend = CpuBackend(1) if request.param == "cpu" else TorchBackend(torch.device("cpu"))
    yield made
    made.close()


def problem_of(backend: Backend, name: str, **settings: Any) -> Problem:
    return Problem(backend, {"model.coupling": name, **settings})


def reads_its_word(coupling: Coupling) -> bool:
    """Whether an entity is made from the word it shares a row with, rather than from what words say of it."""
    return coupling.reads_words and coupling.own_parts == ("X",)


# What others ask it


def test_it_reads_words_where_its_formula_does(name: str) -> None:
    own, word, worded = draw(4, DIM), draw(4, DIM, seed=1), torch.tensor([True, True, False, True])
    dense = {key: value.double() for key, value in problem_of(CpuBackend(1), name).dense.values.items()}
    vectors, changed = (VECTORS[name](own, word + k * worded[:, None], worded, dense) for k in (0, 1))
    assert (not torch.equal(vectors, changed)) == reads_its_word(coupling_of(name))
    torch.testing.assert_close(coupling_of(name).entity_vectors(own, word, worded, dense), vectors)


def test_relations_begin_as_the_scorer_says(name: str) -> None:
    config = configuration({"model.coupling": name, "model.scorer": "complex"})
    made = coupling_of(name).dense(config, scorer("complex"), 6, torch.Generator().manual_seed(0))
    start = scorer("complex").initial_relations(6, DIM, torch.Generator().manual_seed(0))
    assert torch.equal(made["relation"].value, start)
    tables = [one for key, one in made.items() if key.endswith("relation")]
    assert all(one.group == "relations" and one.by_row and one.rate == config.graph.learning_rate for one in tables)
    assert len({tuple(one.value.flatten().tolist()) for one in tables}) == len(tables)


def parts_of_other_sources(scheme: Scheme) -> set[str]:
    """What sources bring along besides those of the text and of the graph."""
    others = [kind for kind in sources_of(scheme) if kind.name not in ("cells", "triples")]
    return {part.name for kind in others for part in kind.parts(scheme)}


@pytest.mark.parametrize(("text", "graph"), [(True, True), (True, False), (False, True)])
def test_parts_are_those_of_the_sides_that_train(name: str, text: bool, graph: bool) -> None:
    words = {"W", "C", "W.bias", "C.bias", "W.state", "C.state", "W.bias.state", "C.bias.state"}
    for optimizer, state in (("adagrad", {"state"}), ("adam", {"mean", "square", "steps"})):
        scheme = Scheme.of(configuration({"model.coupling": name, "graph.optimizer": optimizer}), text, graph)
        expected = set(words) if text else set()
        if graph:
            expected |= {"X", *(f"X.{kind}" for kind in state)}
        if text and graph and coupling_of(name).reads_words:
            expected |= {f"word.graph_{kind}" for kind in state}
        assert {part.name for part in scheme.parts} - parts_of_other_sources(scheme) == expected
        assert {part.of for part in scheme.parts if part.name.startswith("X")} <= {"entity"}
        assert scheme.coupling.name == (name if text and graph else "none")


def test_alpha_that_trains_one_side_alone_has_that_sides_parts_only(name: str) -> None:
    for alpha, missing in ((0.0, "X"), (1.0, "W")):
        scheme = Scheme.of(configuration({"model.coupling": name, "loss.alpha": alpha}), True, True)
        assert missing not in {part.name for part in scheme.parts}
        assert scheme.coupling.name == "none"


# Its graph losses


def leaves_of(problem: Problem) -> dict[str, Tensor]:
    return leaves(problem.arena, problem.dense.values)


def formula_of(problem: Problem, term: GraphTerm) -> Formula | None:
    """Of the vectors that a loss scores; None for words."""
    return None if term.worded else VECTORS[problem.scheme.coupling.name]


def some_rows(problem: Problem, worded: bool) -> Tensor:
    """Most of the rows that a loss may see, in any order, with NONE as padding among them."""
    rows = np.random.default_rng(0).permutation(problem.entities(worded))
    rows = rows[: len(rows) - 1]
    return torch.from_numpy(np.concatenate([rows[:3], [NONE, NONE], rows[3:]]))


def test_its_losses_have_relations_of_their_own(name: str, backend: Backend) -> None:
    problem = problem_of(backend, name)
    terms = [loss.trainer.term for loss in problem.losses]
    assert [f"{term.prefix}relation" for term in terms] == [key for key in problem.dense.values if "relation" in key]
    assert {term.view.dense for term in terms} <= {None, *problem.dense.values}


@pytest.mark.parametrize("into", [False, True])
def test_views_give_the_vectors_of_the_formula(name: str, backend: Backend, into: bool) -> None:
    problem = problem_of(backend, name)
    for loss in problem.losses:
        term, rows = loss.trainer.term, some_rows(problem, loss.trainer.term.worded)
        out = torch.full((len(rows), DIM * term.parts), torch.nan) if into else None
        found = term.view.gather(rows, out)
        assert out is None or found.data_ptr() == out.data_ptr()
        expected = term_vectors(formula_of(problem, term), problem.arena, leaves_of(problem), rows).detach()
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("allowed", [None, True, False])
def test_views_step_what_lies_behind_them_and_nothing_else(name: str, backend: Backend, allowed: bool | None) -> None:
    """One step of row-wise AdaGrad by the gradients that autograd finds through the formula."""
    for number in range(len(problem_of(backend, name).losses)):
        problem = problem_of(backend, name)
        term = problem.losses[number].trainer.term
        rows = some_rows(problem, term.worded)
        gradient = draw(len(rows), DIM * term.parts, seed=4)
        gradient[rows == NONE] = 0
        leaf = leaves_of(problem)
        (term_vectors(formula_of(problem, term), problem.arena, leaf, rows) * gradient).sum().backward()
        before = {key: leaf[key].detach() for key in problem.arena.arrays}
        expected = before if allowed is False else stepped(problem.arena, leaf, RATE)
        told = None if allowed is None else torch.tensor(allowed)
        d_dense = term.view.apply(rows, gradient.float(), RATE, told)
        assert (d_dense is not None) == (term.view.dense is not None)
        if d_dense is not None and term.view.dense is not None:
            torch.testing.assert_close(d_dense.double(), leaf[term.view.dense].grad, rtol=1e-4, atol=1e-4)
        for key, value in problem.arena.arrays.items():
            where = f"{term.name}, {key}"
            torch.testing.assert_close(
                value.double(), expected[key], rtol=1e-4, atol=1e-5, msg=lambda m, w=where: f"{w}: {m}"
            )


FROZEN = {"words": "W", "contexts": "C", "entities": "X"}


@pytest.mark.parametrize("frozen", [["words"], ["contexts"], ["entities"], ["words", "contexts", "entities"]])
def test_frozen_parts_keep_their_bits_and_others_step(name: str, backend: Backend, frozen: list[str]) -> None:
    free, problem = (problem_of(backend, name, **{"train.freeze": groups}) for groups in ([], frozen))
    start = problem.values()
    free.train(1)
    problem.train(1)
    still, moved = problem.values(), free.values()
    for part in FROZEN.values():
        held = part in {FROZEN[group] for group in frozen}
        assert torch.equal(still[part], start[part]) == (held or torch.equal(moved[part], start[part])), part


# Vectors of a shard, and how they begin


@pytest.mark.parametrize("shard", range(LAYOUT.shards))
def test_the_entities_of_a_shard_are_what_the_loss_on_entities_scores(name: str, shard: int) -> None:
    problem = problem_of(CpuBackend(1), name)
    rows = problem.arena.base(shard) + np.flatnonzero(LAYOUT.has_entity(shard))
    expected = problem.losses[0].trainer.view.gather(torch.from_numpy(rows))
    parts = problem.arena.views(shard)
    found = problem.scheme.coupling.entity_block(parts, LAYOUT, shard, problem.dense.values)
    torch.testing.assert_close(found, expected)
    if not coupling_of(name).reads_words:
        alone = problem.scheme.coupling.entity_block({"X": parts["X"]}, LAYOUT, shard, problem.dense.values)
        assert torch.equal(found, alone)


def test_an_entity_without_a_vector_of_its_own_is_where_its_word_is_if_it_is_made_of_it(name: str) -> None:
    coupling, word = coupling_of(name), draw(4, DIM)
    dense = {key: value.double() for key, value in problem_of(CpuBackend(1), name).dense.values.items()}
    among = coupling.words_among_entities(word, dense, word)
    entity = VECTORS[name](torch.zeros_like(word), word, torch.ones(4, dtype=torch.bool), dense)
    assert (among.shape == entity.shape and torch.equal(among, entity)) == reads_its_word(coupling)
    assert coupling.kinds_meet or not coupling.reads_words


@pytest.mark.parametrize("shard", range(LAYOUT.shards))
def test_entities_begin_with_the_vectors_given_whether_their_word_has_one_or_not(name: str, shard: int) -> None:
    config = configuration({"model.coupling": name})
    scheme = Scheme.of(config, True, True)
    coupling, parts = scheme.coupling, start_values(scheme)[shard]
    if not coupling.reads_words:
        return  # its entities begin with their vectors, whatever words do
    word_of = words_of_entities(LAYOUT, shard)
    places = (word_of >= 0).nonzero()[:, 0]
    given, word_of = draw(len(places), DIM, seed=5).float(), word_of[places]
    taken = torch.arange(len(places)) % 2 == 0
    words_before = word_block(parts).clone()
    chosen, own = coupling.begin_entities(parts, word_of, given, taken)
    parts["X"][places[chosen]] = own[chosen]
    assert torch.equal(word_block(parts)[word_of[taken]], words_before[word_of[taken]])
    start = build_dense(scheme, 3, CpuBackend(1)).values
    found = coupling.entity_block(parts, LAYOUT, shard, start)[places, :DIM]
    torch.testing.assert_close(found[~taken], given[~taken])
    follows = (found - words_before[word_of]).abs().amax(1) < 1e-5  # the entity is its word, which has a vector
    torch.testing.assert_close(found[taken & ~follows], given[taken & ~follows])


def test_entities_begin_near_zero_beside_a_word_that_they_are_made_from(name: str) -> None:
    scheme = Scheme.of(configuration({"model.coupling": name}), True, True)
    for shard in range(LAYOUT.shards):
        own, worded = initial_shard(scheme, LAYOUT, shard)["X"], words_of_entities(LAYOUT, shard) >= 0
        size = own.square().mean(1).sqrt()
        assert (size[worded] < 0.01).all() == coupling_of(name).reads_words
        assert (size[~worded] > 0.01).all()


# What each one claims


def test_the_map_of_dual_begins_at_the_identity_and_steps_by_number() -> None:
    config = configuration({"graph.map_learning_rate": 0.02})
    made = coupling_of("dual").dense(config, scorer("transe"), 6, torch.Generator())["map"]
    assert torch.equal(made.value, torch.eye(DIM))
    assert (made.group, made.rate, made.by_row) == ("map", 0.02, False)


def test_dual_has_a_loss_on_words_and_tie_and_none_have_not(backend: Backend) -> None:
    found = {name: [loss.trainer.term for loss in problem_of(backend, name).losses] for name in ("none", "tie", "dual")}
    assert {name: [(term.name, term.prefix, term.worded) for term in terms] for name, terms in found.items()} == {
        "none": [("graph", "", False)],
        "tie": [("graph", "", False)],
        "dual": [("graph", "", False), ("word", "word_", True)],
    }


def test_dual_pulls_the_own_vector_of_an_entity_to_zero_beside_a_word(backend: Backend) -> None:
    problem = problem_of(backend, "dual", **{"graph.own_l2": 0.4})
    rows, before = some_rows(problem, worded=False), problem.values()
    problem.losses[0].trainer.view.apply(rows, torch.zeros(len(rows), DIM), RATE)
    worded = rows[(rows >= 0) & (problem.arena.word_index[rows] >= 0)]
    pulled, after = problem.arena.entity_index[worded], problem.values()
    slope = 0.4 * before["X"][pulled]
    state = before["X.state"][pulled] + slope.square().mean(1)
    torch.testing.assert_close(after["X"][pulled], before["X"][pulled] - RATE * slope / state.sqrt()[:, None])
    others = torch.ones(len(before["X"]), dtype=torch.bool).index_fill_(0, pulled, False)
    assert torch.equal(after["X"][others], before["X"][others])


def test_dual_leaves_an_entity_near_zero_whose_word_begins_with_the_same_vector() -> None:
    scheme = Scheme.of(configuration({"model.coupling": "dual"}), True, True)
    parts, word_of = start_values(scheme)[0], words_of_entities(LAYOUT, 0)
    word_of = word_of[word_of >= 0]
    given = word_block(parts)[word_of]
    given[1:] += 1
    chosen, _ = scheme.coupling.begin_entities(parts, word_of, given, torch.ones(len(given), dtype=torch.bool))
    assert chosen.tolist() == [False, *[True] * (len(given) - 1)]
