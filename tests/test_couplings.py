"""One battery that every coupling must pass: vectors and gradients of its views, parts, start values, comparability."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from members import assert_covers
from problem import DIM, LAYOUT, Problem, configuration, draw, start_values
from reference.couplings import LEARNS, leaves, stepped, term_vectors
from torch import Tensor

from distjoint import couplings
from distjoint.backends import Backend
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.torch.backend import TorchBackend
from distjoint.couplings import Coupling, coupling_of
from distjoint.couplings.base import entity_block, word_block, words_of_entities
from distjoint.couplings.scheme import Scheme, initial_shard
from distjoint.model.scorers import scorer
from distjoint.registry import COUPLINGS
from distjoint.table.arena import NONE

pytestmark = pytest.mark.unit

RATE, OWN_L2 = 0.1, 0.4


@dataclass(frozen=True)
class Expected:
    """What is known of a coupling, besides what tests/reference/couplings.py knows.

    worded    whether there is a second loss, on words
    dense     dense parameters
    """

    reads_words: bool = True
    kinds_meet: bool = True
    worded: bool = False
    dense: set[str] = field(default_factory=lambda: {"relation"})


EXPECTED = {
    "none": Expected(reads_words=False, kinds_meet=False),
    "tie": Expected(),
    "dual": Expected(worded=True, dense={"relation", "word_relation", "map"}),
}


@pytest.fixture(params=EXPECTED)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["cpu", "torch"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    made: Backend = CpuBackend(1) if request.param == "cpu" else TorchBackend(torch.device("cpu"))
    yield made
    made.close()


def problem_of(backend: Backend, name: str, **settings: Any) -> Problem:
    return Problem(backend, {"model.coupling": name, "graph.own_l2": OWN_L2, "graph.loss": "softmax", **settings})


def test_every_coupling_is_in_the_registry_and_in_this_battery() -> None:
    assert_covers(set(EXPECTED), COUPLINGS, Coupling, couplings)
    assert EXPECTED.keys() == LEARNS.keys()


# What others ask it


def test_what_it_says_of_itself_is_so(name: str) -> None:
    coupling, expected = coupling_of(name), EXPECTED[name]
    assert (coupling.reads_words, coupling.kinds_meet) == (expected.reads_words, expected.kinds_meet)
    own, word, worded = draw(4, DIM), draw(4, DIM, seed=1), torch.tensor([True, True, False, True])
    dense = {"map": draw(DIM, DIM, seed=2)}
    changed = coupling.entity_vectors(own, word + worded[:, None], worded, dense)
    assert (not torch.equal(changed, coupling.entity_vectors(own, word, worded, dense))) == expected.reads_words


def test_its_dense_parameters_begin_as_the_scorer_says_and_the_map_at_the_identity(name: str) -> None:
    config = configuration({"model.coupling": name, "model.scorer": "complex", "graph.map_learning_rate": 0.02})
    made = coupling_of(name).dense(config, scorer("complex"), 6, torch.Generator().manual_seed(0))
    assert made.keys() == EXPECTED[name].dense
    again = coupling_of(name).dense(config, scorer("complex"), 6, torch.Generator().manual_seed(0))
    for parameter, one in made.items():
        assert torch.equal(one.value, again[parameter].value)
        assert one.group == ("map" if parameter == "map" else "relations")
        assert one.rate == (0.02 if parameter == "map" else config.graph.learning_rate)
        assert one.by_row == (parameter != "map")
    start = scorer("complex").initial_relations(6, DIM, torch.Generator().manual_seed(0))
    assert torch.equal(made["relation"].value, start)
    if "map" in made:
        assert torch.equal(made["map"].value, torch.eye(DIM))
        assert not torch.equal(made["word_relation"].value, start)


@pytest.mark.parametrize(("text", "graph"), [(True, True), (True, False), (False, True)])
def test_parts_are_those_of_the_sides_that_train(name: str, text: bool, graph: bool) -> None:
    words = {"W", "C", "W.bias", "C.bias", "W.state", "C.state", "W.bias.state", "C.bias.state"}
    for optimizer, state in (("adagrad", {"state"}), ("adam", {"mean", "square", "steps"})):
        scheme = Scheme.of(configuration({"model.coupling": name, "graph.optimizer": optimizer}), text, graph)
        expected = set(words) if text else set()
        if graph:
            expected |= {"X", *(f"X.{kind}" for kind in state)}
        if text and graph and EXPECTED[name].reads_words:
            expected |= {f"word.graph_{kind}" for kind in state}
        assert {part.name for part in scheme.parts} == expected
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


def some_rows(problem: Problem, term: str) -> Tensor:
    """Most of the rows that a loss may see, in any order, with NONE as padding among them."""
    rows = np.random.default_rng(0).permutation(problem.entities(worded=term == "word"))
    rows = rows[: len(rows) - 1]
    return torch.from_numpy(np.concatenate([rows[:3], [NONE, NONE], rows[3:]]))


def test_its_losses_are_on_entities_and_perhaps_on_words(name: str, backend: Backend) -> None:
    problem = problem_of(backend, name)
    terms = [loss.trainer.term for loss in problem.losses]
    assert [term.name for term in terms] == ["graph", "word"][: 1 + EXPECTED[name].worded]
    assert [term.worded for term in terms] == [False, True][: len(terms)]
    assert {f"{term.prefix}relation" for term in terms} == EXPECTED[name].dense - {"map"}
    assert terms[0].view.dense == ("map" if "map" in LEARNS[name] else None)


@pytest.mark.parametrize("into", [False, True])
def test_views_give_the_vectors_of_the_formula(name: str, backend: Backend, into: bool) -> None:
    problem = problem_of(backend, name)
    for loss in problem.losses:
        term, rows = loss.trainer.term, some_rows(problem, loss.trainer.term.name)
        out = torch.full((len(rows), DIM), torch.nan) if into else None
        found = term.view.gather(rows, out)
        assert out is None or found.data_ptr() == out.data_ptr()
        expected = term_vectors(name, term.name, problem.arena, leaves_of(problem), rows).detach()
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("allowed", [None, True, False])
def test_views_step_what_lies_behind_them_and_nothing_else(name: str, backend: Backend, allowed: bool | None) -> None:
    """One step of row-wise AdaGrad by the gradients that autograd finds through the formula."""
    for number in range(1 + EXPECTED[name].worded):
        problem = problem_of(backend, name)
        term = problem.losses[number].trainer.term
        rows = some_rows(problem, term.name)
        gradient = draw(len(rows), DIM, seed=4)
        gradient[rows == NONE] = 0
        leaf = leaves_of(problem)
        (term_vectors(name, term.name, problem.arena, leaf, rows) * gradient).sum().backward()
        before = {key: leaf[key].detach() for key in problem.arena.arrays}
        after = stepped(name, term.name, problem.arena, leaf, rows, RATE, OWN_L2)
        expected = before if allowed is False else after
        told = None if allowed is None else torch.tensor(allowed)
        d_dense = term.view.apply(rows, gradient.float(), RATE, told)
        assert (d_dense is not None) == (term.view.dense is not None)
        if d_dense is not None:
            torch.testing.assert_close(d_dense.double(), leaf["map"].grad, rtol=1e-4, atol=1e-4)
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
    found = entity_block(problem.scheme.coupling, parts, LAYOUT, shard, problem.dense.values)
    torch.testing.assert_close(found, expected)
    if not EXPECTED[name].reads_words:
        assert torch.equal(
            found, entity_block(problem.scheme.coupling, {"X": parts["X"]}, LAYOUT, shard, problem.dense.values)
        )


def test_words_lie_among_entities_where_the_kinds_meet(name: str) -> None:
    """An entity without a vector of its own is then where its word is."""
    coupling, word, dense = coupling_of(name), draw(4, DIM), {"map": draw(DIM, DIM, seed=2)}
    among = coupling.words_among_entities(word, dense)
    entity = coupling.entity_vectors(torch.zeros_like(word), word, torch.ones(4, dtype=torch.bool), dense)
    assert torch.equal(among, entity) == EXPECTED[name].kinds_meet


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
    given[0] = word_block(parts)[word_of[0]]  # the same vector as its word's
    words_before, own_before = word_block(parts).clone(), parts["X"].clone()
    chosen, own = coupling.begin_entities(parts, word_of, given, taken)
    parts["X"][places[chosen]] = own[chosen]
    assert torch.equal(word_block(parts)[word_of[taken]], words_before[word_of[taken]])
    found = entity_block(coupling, parts, LAYOUT, shard, {"map": torch.eye(DIM)})[places]
    follows = taken if name == "tie" else torch.zeros_like(taken)  # the entity is its word, which has a vector
    torch.testing.assert_close(found[~follows][1:], given[~follows][1:])
    torch.testing.assert_close(found[follows], words_before[word_of[follows]])
    if name == "dual":  # X is left near zero beside a word that says it all
        assert torch.equal(parts["X"][places[0]], own_before[places[0]])


def test_entities_begin_near_zero_beside_a_word_that_they_are_made_from(name: str) -> None:
    scheme = Scheme.of(configuration({"model.coupling": name}), True, True)
    for shard in range(LAYOUT.shards):
        own, worded = initial_shard(scheme, LAYOUT, shard)["X"], words_of_entities(LAYOUT, shard) >= 0
        size = own.square().mean(1).sqrt()
        assert (size[worded] < 0.01).all() == EXPECTED[name].reads_words
        assert (size[~worded] > 0.01).all()
