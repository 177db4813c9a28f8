"""One battery that every coupling must pass: what training sees of an entity is what evaluation makes of its parts, and
gradients go where the formula says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from members import assert_covers
from torch import Tensor

from distjoint import couplings
from distjoint.backends import Backend
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.torch.backend import TorchBackend
from distjoint.couplings.base import Coupling
from distjoint.couplings.scheme import Scheme, initial_shard
from distjoint.model.scorers import scorer
from distjoint.optim import Optimizer
from distjoint.recipes.load import load_config
from distjoint.registry import COUPLINGS, OPTIMIZERS
from distjoint.table.arena import Arena
from distjoint.table.layout import Layout
from distjoint.train.build import build_dense
from distjoint.train.initial import begin_with

pytestmark = pytest.mark.unit

Formula = Callable[[Tensor, Tensor, Tensor, Mapping[str, Tensor]], Tensor]

VECTORS: dict[str, Formula] = {
    "none": lambda own, word, worded, dense: own,
    "tie": lambda own, word, worded, dense: torch.where(worded[:, None], word, own),
    "dual": lambda own, word, worded, dense: own + word.detach() @ dense["map"],
    "described": lambda own, word, worded, dense: own,
    "fields": lambda own, word, worded, dense: own,
    "soft": lambda own, word, worded, dense: own,
    "project": lambda own, word, worded, dense: own,
}
"""Vectors of entities, float[n, dim], from X (and T on top, or beside it, where there is one), W + C (zero where there
is no word), bool[n] and the dense parameters; detached where the graph's gradient does not go.
"""

DIM, RATE = 6, 0.1
LAYOUT = Layout(shards=2, tiles=4, words=9, aligned=5, entities=14)


class Plain(Optimizer):
    """Gradient descent, which has no state."""

    name = "plain"

    def state(self, width: int) -> dict[str, int]:
        return {}

    def update(self, gradient: Tensor, state: Mapping[str, Tensor], rate: float) -> Tensor:
        return rate * gradient


@pytest.fixture(autouse=True)
def plain() -> Iterator[None]:
    OPTIMIZERS.add(Plain)
    yield
    OPTIMIZERS.remove("plain")


@pytest.fixture(params=["cpu", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    return CpuBackend(1) if request.param == "cpu" else TorchBackend(torch.device("cpu"))


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Table:
    """Two shards in an arena, whose vectors and dense parameters are drawn, and the coupling's losses on them."""

    def __init__(self, name: str, backend: Backend) -> None:
        settings: dict[str, Any] = {"model.dim": DIM, "model.coupling": name, "graph.optimizer": "plain"}
        self.config = load_config(overrides={**settings, "graph.own_l2": 0})
        self.scheme = Scheme.of(self.config, has_text=True, has_graph=True)
        self.coupling = self.scheme.coupling
        self.shards = {shard: initial_shard(self.scheme, LAYOUT, shard) for shard in range(2)}
        self.arena = Arena(self.scheme.parts, LAYOUT, 2, backend.device)
        for shard in (1, 0):  # slots in another order than shards
            for seed, part in enumerate("WCXT"):
                if part in self.shards[shard]:
                    self.shards[shard][part] = draw(*self.shards[shard][part].shape, seed=10 * shard + seed)
            self.arena.put(shard, self.shards[shard])
        self.dense = {
            name: draw(*one.shape, seed=7) for name, one in build_dense(self.scheme, 3, backend).values.items()
        }
        self.terms = self.coupling.terms(self.config, self.arena, backend, self.dense)

    def entities(self) -> Tensor:
        """int64[n]: arena rows of all entities."""
        rows = [self.arena.base(shard) + np.flatnonzero(LAYOUT.has_entity(shard)) for shard in range(2)]
        return torch.from_numpy(np.concatenate(rows))

    def parts(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """X with T, W + C and whether there is a word, of some rows."""
        arrays, word = self.arena.arrays, self.arena.word_index[rows]
        worded = word >= 0
        vectors = (arrays["W"] + arrays["C"])[word.clamp_min(0)]
        own = self.coupling.own_vectors(arrays)
        return own[self.arena.entity_index[rows]], torch.where(worded[:, None], vectors, 0.0), worded


def assert_views_agree(name: str, formula: Formula, backend: Backend) -> None:
    """Training's view of the entities, evaluation's and the formula are the same vectors."""
    table = Table(name, backend)
    rows = table.entities()
    expected = formula(*table.parts(rows), table.dense)
    out = torch.empty(len(rows), DIM * table.coupling.parts)
    found = table.terms[0].view.gather(rows, out)
    assert found.data_ptr() == out.data_ptr()
    torch.testing.assert_close(found, expected)
    blocks = [table.coupling.entity_block(table.shards[shard], LAYOUT, shard, table.dense) for shard in range(2)]
    torch.testing.assert_close(torch.cat(blocks), expected)


def assert_parts_make_the_vectors(name: str, backend: Backend) -> None:
    """Parts of entities add up to their vectors; `own` is what is left where words say nothing."""
    table = Table(name, backend)
    dense = {key: value.double() for key, value in table.dense.items()}
    for shard, arrays in table.shards.items():
        doubled = {part: array.double() for part, array in arrays.items()}
        silent = {
            part: torch.zeros_like(array) if part in ("W", "C", "T") else array for part, array in doubled.items()
        }
        whole, own = (table.coupling.entity_block(each, LAYOUT, shard, dense) for each in (doubled, silent))
        found = table.coupling.entity_parts(doubled, LAYOUT, shard, dense)
        assert list(found) == (["own", "text"] if table.coupling.reads_words else ["own"])
        torch.testing.assert_close(sum(found.values(), torch.zeros(())), whole)
        torch.testing.assert_close(found["own"], own)


def assert_steps_follow_the_gradient(name: str, formula: Formula, backend: Backend) -> None:
    """A step of gradient descent is that of autograd on the formula, half of a word's going to either of W and C."""
    table = Table(name, backend)
    rows = table.entities()[::2]
    own, word, worded = (part.clone() for part in table.parts(rows))
    dense = {key: value.clone().requires_grad_() for key, value in table.dense.items()}
    gradient = draw(len(rows), DIM * table.coupling.parts, seed=99)
    formula(own.requires_grad_(), word.requires_grad_(), worded, dense).backward(gradient)
    before = {part: array.clone() for part, array in table.arena.arrays.items()}
    view = table.terms[0].view
    of_dense = view.apply(rows, gradient.clone(), RATE)
    places = {"X": table.arena.entity_index[rows], "W": table.arena.word_index[rows[worded]]}
    d_own = torch.zeros_like(own) if own.grad is None else own.grad
    d_word = torch.zeros_like(word) if word.grad is None else word.grad
    expected = {part: array.clone() for part, array in before.items()}
    expected["X"][places["X"]] -= RATE * d_own[:, :DIM]
    if "T" in expected:  # beside X, or on top of it
        expected["T.gradient"][places["X"]] += d_own[:, DIM:] if table.coupling.parts > 1 else d_own
    for part in "WC":
        expected[part][places["W"]] -= RATE / 2 * d_word[worded]
    for part, array in table.arena.arrays.items():
        torch.testing.assert_close(array, expected[part], msg=lambda message, part=part: f"{part}: {message}")
    if view.dense is None:
        assert of_dense is None
    else:
        torch.testing.assert_close(of_dense, dense[view.dense].grad)


def assert_entities_begin_as_given(name: str, backend: Backend) -> None:
    """`train.init` with vectors of entities: what the graph sees first are these."""
    table = Table(name, backend)
    start = build_dense(table.scheme, 3, backend).values
    for shard in range(2):
        given = draw(LAYOUT.shard_entities(shard), DIM, seed=5)
        nowhere = torch.empty(0, dtype=torch.int64)
        found = {"word.place": nowhere, "word": torch.empty(0, DIM)}
        found |= {"entity.place": torch.arange(len(given)), "entity": given}
        parts = begin_with(table.shards[shard], found, table.scheme, LAYOUT, shard)
        parts |= {part: torch.zeros_like(parts[part]) for part in table.coupling.own_parts[1:]}
        made = table.coupling.entity_block(parts, LAYOUT, shard, start)
        torch.testing.assert_close(made[:, :DIM], given)
        assert not made[:, DIM:].any()


def test_every_coupling_is_in_the_registry_and_in_this_battery() -> None:
    assert_covers(set(VECTORS), COUPLINGS, Coupling, couplings)


# The battery


@pytest.mark.parametrize("name", VECTORS)
def test_training_and_evaluation_see_the_vectors_of_the_formula(name: str, backend: Backend) -> None:
    assert_views_agree(name, VECTORS[name], backend)


@pytest.mark.parametrize("name", VECTORS)
def test_the_parts_of_entities_make_their_vectors(name: str) -> None:
    assert_parts_make_the_vectors(name, TorchBackend(torch.device("cpu")))


@pytest.mark.parametrize("name", VECTORS)
def test_a_step_goes_where_the_formula_says(name: str, backend: Backend) -> None:
    assert_steps_follow_the_gradient(name, VECTORS[name], backend)


@pytest.mark.parametrize("name", VECTORS)
def test_entities_begin_as_they_are_given(name: str, backend: Backend) -> None:
    assert_entities_begin_as_given(name, backend)


@pytest.mark.parametrize("name", VECTORS)
def test_dense_parameters_begin_by_the_generator_alone_and_have_a_group_that_can_be_frozen(name: str) -> None:
    coupling, config = COUPLINGS[name](), load_config(overrides={"model.dim": DIM})
    one, other = (coupling.dense(config, scorer("transe"), 3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert {parameter.group for parameter in one.values()} == {"relations", *coupling.groups}
    for key, parameter in one.items():
        assert torch.equal(parameter.value, other[key].value)
        assert parameter.rate > 0
    assert load_config(overrides={"train.freeze": ",".join(coupling.groups)}).train.freeze == coupling.groups


@pytest.mark.parametrize("name", VECTORS)
def test_words_among_entities_keep_their_shape_and_a_loss_has_its_own_name(name: str, backend: Backend) -> None:
    table = Table(name, backend)
    words = draw(4, DIM, seed=3)
    assert table.coupling.words_among_entities(words, table.dense, words).shape == (4, DIM * table.coupling.parts)
    names = [term.name for term in table.terms]
    assert names[0] == "graph"
    assert len(set(names)) == len(names)
    assert not table.terms[0].worded
