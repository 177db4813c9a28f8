"""A graph loss at work against plain references: its loss and gradients against reference/losses, a whole step against
dense autograd with row-wise AdaGrad on every view of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import torch
from members import alternating, names_of
from reference import losses
from reference.losses import Chunks, Kind, relation_loss, sampled_loss
from torch import Tensor
from world import Recorder, World, backend_of, draw, gradients_of, width_of

from distjoint.model import scorers
from distjoint.model.comparisons import comparison_of
from distjoint.optim.base import EPSILON
from distjoint.registry import SCORERS
from distjoint.table.arena import NONE
from distjoint.train import terms
from distjoint.train.batches import Batch

pytestmark = pytest.mark.unit

COMPARISONS: list[dict[str, Any]] = [
    *[{"model.scorer": name, "model.cosine": cosine} for name, cosine in product(SCORERS.names(), (False, True))],
    {"model.scorer": "transe", "model.cosine": False, "model.norm": 1},
]
PRECISIONS = [("torch", torch.float64, 1e-9), ("cpu", torch.float32, 2e-5)]
"""Backend, type of numbers, tolerance: the compiled one is of float32 alone."""


@pytest.fixture
def default_dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


class Example:
    """Vectors of which each is one end of a triple, or a negative; the last chunk is padded by the first triples.

    rows    int64[2, chunks, triples + negatives]: candidates for tails and for heads, the triples' own first
    known   filter mask of the candidates, and the triples behind it
    """

    CHUNKS, TRIPLES, PADDING = 3, 4, 2

    def __init__(self, name: str, negatives: int, masked: bool = False) -> None:
        self.scorer, dim = scorers.scorer(name), width_of(name)
        places = self.CHUNKS * self.TRIPLES
        self.count = places - self.PADDING
        rows = np.random.default_rng(0).permutation(2 * self.CHUNKS * (self.TRIPLES + negatives))
        self.rows = torch.from_numpy(rows.reshape(2, self.CHUNKS, -1))
        self.relation = (torch.arange(places) % self.count).view(self.CHUNKS, -1)
        padding = self.rows[:, 0, : self.PADDING]
        self.rows[:, -1, self.TRIPLES - self.PADDING : self.TRIPLES] = padding
        self.weight = torch.ones(self.CHUNKS, self.TRIPLES, dtype=torch.float64)
        self.weight[-1, -self.PADDING :] = 0
        self.vectors = draw(len(rows), dim)
        self.relations = draw(2 * self.count, self.scorer.relation_dim(dim), seed=1)
        tail, head = self.rows[:, :, : self.TRIPLES].reshape(2, -1)[:, : self.count].numpy()
        self.batch, self.positives, self.known = Batch(head, np.arange(self.count), tail), None, None
        if masked:
            self._mask()

    def _mask(self) -> None:
        """Make some candidates right answers, of the first query all: it has no negative."""
        chosen = draw(*self.rows.shape[:2], self.TRIPLES, self.rows.shape[2], seed=9) > 0
        chosen[0, 0, 0] = True
        triples = {tuple(triple) for triple in np.stack([self.batch.head, self.batch.relation, self.batch.tail], 1)}
        ends = self.rows[..., : self.TRIPLES]
        for side, chunk, k, place in chosen.nonzero().tolist():
            triple = [int(ends[1, chunk, k]), int(self.relation[chunk, k]), int(ends[0, chunk, k])]
            triple[2 - 2 * side] = int(self.rows[side, chunk, place])
            triples.add(tuple(triple))
        self.positives = Batch(*np.array(sorted(triples)).T.copy())
        self.known = torch.zeros_like(chosen)
        for side, chunk, k, place in np.ndindex(*chosen.shape):
            triple = [int(ends[1, chunk, k]), int(self.relation[chunk, k]), int(ends[0, chunk, k])]
            triple[2 - 2 * side] = int(self.rows[side, chunk, place])
            self.known[side, chunk, k, place] = place != k and tuple(triple) in triples

    def expected(self, settings: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Loss and gradients of the plain reference."""
        vectors, relations = self.vectors.clone().requires_grad_(), self.relations.clone().requires_grad_()
        comparison = comparison_of(
            self.scorer, settings["model.cosine"], settings.get("model.norm", 2), settings.get("model.scale")
        )
        options = {key: settings[f"graph.{key}"] for key in ("margin", "temperature") if f"graph.{key}" in settings}
        kind: Kind = settings.get("graph.loss", "softmax")
        objective = losses.Objective(self.scorer, comparison.name, comparison.scale, kind, **options)
        (tails, heads), own = vectors[self.rows], slice(self.TRIPLES)
        chunks = Chunks(
            heads[:, own],
            tails[:, own],
            relations[self.relation],
            relations[self.relation + self.count],
            heads[:, self.TRIPLES :],
            tails[:, self.TRIPLES :],
            self.weight,
            settings["graph.in_batch"],
            self.known,
        )
        loss = sampled_loss(objective, chunks)
        gradients = torch.autograd.grad(loss, (vectors, relations), materialize_grads=True)
        return loss.detach(), *gradients

    def found(self, settings: dict[str, Any], backend: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        torch.set_default_dtype(dtype)
        negatives = self.rows[..., self.TRIPLES :].contiguous()
        return gradients_of(
            {"graph.chunk": self.TRIPLES, "graph.negatives": max(negatives.shape[2], 1), **settings},
            backend_of(backend),
            self.vectors.to(dtype),
            self.relations.to(dtype),
            self.batch,
            negatives,
            self.positives,
        )


def assert_alike(example: Example, settings: dict[str, Any]) -> None:
    expected = example.expected(settings)
    for backend, dtype, tolerance in PRECISIONS:
        for actual, wanted in zip(example.found(settings, backend, dtype), expected, strict=True):
            torch.testing.assert_close(actual.double(), wanted, rtol=100 * tolerance, atol=tolerance)


@pytest.mark.usefixtures("default_dtype")
@pytest.mark.parametrize(("settings", "in_batch", "alone"), alternating(COMPARISONS, [True, False]), ids=str)
def test_the_loss_and_its_gradients_are_those_of_the_plain_loss(
    settings: dict[str, Any], in_batch: bool, alone: bool
) -> None:
    """With negatives of the batch and without, with drawn ones and without: each pair in turn."""
    example = Example(settings["model.scorer"], 0 if alone else 5)
    assert_alike(example, {**settings, "graph.in_batch": in_batch, "model.scale": 2.5})


@pytest.mark.usefixtures("default_dtype")
@pytest.mark.parametrize(("name", "kind", "masked"), alternating(names_of(SCORERS), get_args(Kind)))
def test_each_loss_and_its_gradients_are_those_of_the_plain_loss(name: str, kind: Kind, masked: bool) -> None:
    """Every scorer, and every loss, with masks and without, each by negatives of the batch and not."""
    in_batch = (names_of(SCORERS).index(name) // 2 + get_args(Kind).index(kind) // 2) % 2 == 0
    settings = {"model.scorer": name, "model.cosine": False, "graph.in_batch": in_batch, "graph.loss": kind}
    assert_alike(Example(name, 5, masked), {**settings, "graph.margin": 1.5, "graph.temperature": 0.7})


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_a_softmax_over_far_scores_does_not_overflow(backend: str) -> None:
    example = Example("distmult", 5)
    example.vectors, example.relations = 100 * example.vectors, 100 * example.relations
    settings = {"model.scorer": "distmult", "model.cosine": False, "graph.in_batch": True}
    found = example.found(settings, backend, torch.float32)
    assert all(bool(value.isfinite().all()) for value in found)


def stepped(world: World, term: str, batch: Batch, negatives: Tensor) -> dict[str, Tensor]:
    """Loss of a batch and everything after a step, by autograd over whole tables in float64.

    negatives   int64[2, chunks, n]: arena rows, for tails and for heads
    """
    config, arena, scorer = world.config, world.arena, scorers.scorer(world.config.model.scorer)
    coupling, prefix = config.model.coupling, "word_" if term == "word" else ""
    leaf = {name: arena.arrays[name].double().requires_grad_() for name in ("W", "C", "X")}
    dense = {name: value.double().requires_grad_() for name, value in world.dense.values.items()}
    relation = dense[f"{prefix}relation"]
    word_index, entity_index = arena.word_index[:-1], arena.entity_index[:-1]
    worded, owned = word_index != NONE, entity_index != NONE
    words, own = (torch.zeros(arena.rows, config.model.dim, dtype=torch.float64) for _ in range(2))
    sums = (leaf["W"] + leaf["C"])[word_index[worded]]
    mapped = coupling == "dual" and term == "graph"
    words = words.index_put((worded,), sums.detach() if mapped else sums)  # `dual` keeps entities out of words
    own = own.index_put((owned,), leaf["X"][entity_index[owned]])
    if term == "word":
        vectors = words
    elif coupling == "tie":
        vectors = torch.where(worded[:, None], words, own)
    else:
        vectors = own + words @ dense["map"] if coupling == "dual" else own
    chunk, chunks = config.graph.chunk, negatives.shape[1]
    places = np.arange(chunks * chunk)
    head, relations, tail = (torch.from_numpy(x[places % len(batch)]) for x in (batch.head, batch.relation, batch.tail))
    weight = torch.from_numpy((places < len(batch)).astype(np.float64)).view(chunks, chunk)

    def chunked(table: Tensor, rows: Tensor) -> Tensor:
        return table[rows].view(chunks, -1, table.shape[1])

    forward = chunked(relation, relations)
    backward = chunked(relation, relations + world.RELATIONS) if config.model.reciprocal else scorer.inverse(forward)
    comparison = comparison_of(scorer, config.model.cosine, config.model.norm, config.model.scale)
    objective = losses.Objective(scorer, comparison.name, comparison.scale, n3=config.graph.n3, l2=config.graph.l2)
    chunks_of = Chunks(
        chunked(vectors, head),
        chunked(vectors, tail),
        forward,
        backward,
        chunked(vectors, negatives[1].flatten()),
        chunked(vectors, negatives[0].flatten()),
        weight,
        config.graph.in_batch,
    )
    loss = sampled_loss(objective, chunks_of)
    if config.graph.relation_weight:
        ends = (vectors[torch.from_numpy(rows)] for rows in (batch.head, batch.tail))
        forward, target = relation[: world.RELATIONS], torch.from_numpy(batch.relation)
        loss = loss + config.graph.relation_weight * relation_loss(scorer, *ends, forward, target)
    loss.backward()
    if mapped:  # the pull of X to zero, for the rows of the batch that have a word
        seen = torch.cat([head, tail, negatives.flatten()]).unique()
        pulled = entity_index[seen[worded[seen]]]
        leaf["X"].grad[pulled] += config.graph.own_l2 * leaf["X"].detach()[pulled]
    after = {name: array.double() for name, array in world.parts().items()}
    for names, state, rate in ((("W", "C"), "word.graph_state", 0.05), (("X",), "X.state", 0.1)):
        if state not in after or leaf[names[0]].grad is None:
            continue
        after[state] += leaf[names[0]].grad.square().mean(1)  # W and C share one, of the gradient of W + C
        for name in names:  # half of the step of W + C goes to either
            after[name] -= rate * leaf[name].grad / (after[state] + EPSILON).sqrt()[:, None]
    gradients = {name: torch.zeros_like(value) if value.grad is None else value.grad for name, value in dense.items()}
    return {**after, **gradients, "loss": loss.detach()}


BOTH_WAYS = [{**settings, "graph.in_batch": in_batch} for settings in COMPARISONS for in_batch in (False, True)]
REGULARISED = {"graph.n3": 0.1, "graph.l2": 0.3}
STEPS: list[tuple[str, str, dict[str, Any]]] = [
    *[("none", "graph", settings) for settings in BOTH_WAYS],
    ("tie", "graph", {"model.scorer": "complex", "model.cosine": False, "model.scale": 2.5, "graph.in_batch": False}),
    *[("tie", "graph", {"model.scorer": name}) for name in ("transe", "complex")],
    *[("dual", "graph", {"model.scorer": name, "graph.own_l2": 0.4}) for name in ("transe", "rotate")],
    *[("dual", "word", {"model.scorer": name}) for name in ("distmult", "rotate")],
    ("tie", "graph", {"graph.n3": 0.1, "model.scorer": "complex", "model.cosine": False}),
    ("dual", "graph", {**REGULARISED, "model.scorer": "distmult"}),
    ("none", "graph", {**REGULARISED, "model.scorer": "transe"}),
    ("none", "graph", {**REGULARISED, "model.scorer": "rotate", "model.cosine": False}),
    ("none", "graph", {"graph.n3": 0.1, "model.scorer": "quate", "model.cosine": False}),
    *[
        ("none", "graph", {"graph.relation_weight": 0.7, "model.scorer": name, "model.cosine": False})
        for name in ("distmult", "complex", "rescal")
    ],
]


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize(("coupling", "term", "settings"), STEPS, ids=str)
def test_a_step_is_that_of_the_plain_reference(
    coupling: str, term: str, settings: dict[str, Any], backend: str
) -> None:
    """With reciprocal relations on one backend, without on the other: which is which takes turns."""
    reciprocal = (STEPS.index((coupling, term, settings)) % 2 == 0) == (backend == "cpu")
    settings = {**settings, "model.reciprocal": reciprocal}
    world = World(coupling, settings, backend_of(backend))
    rows = world.rows_of(term)
    pool, batch = world.pool(rows), world.batch(rows)
    loss = world.step(world.loss(term), batch, pool)
    assert isinstance(pool.sampler, Recorder)
    (drawn,) = pool.sampler.drawn
    expected = stepped(World(coupling, settings), term, batch, drawn)
    assert loss == pytest.approx(float(expected["loss"]), rel=1e-5)
    for name, value in world.after().items():
        torch.testing.assert_close(
            value.double(), expected[name], rtol=2e-4, atol=2e-5, msg=lambda m, n=name: f"{n} {m}"
        )


@pytest.mark.parametrize("coupling", ["tie", "dual"])
def test_words_keep_to_their_side(coupling: str) -> None:
    """`dual`'s entity side leaves W and C alone; `tie` leaves the X of rows with a word alone."""
    world = World(coupling, {})
    before = world.parts()
    world.step(world.loss(), world.batch(world.entities()), world.pool(world.entities()))
    after = world.parts()
    changed = {name for name, array in before.items() if not torch.equal(array, after[name])}
    worded = world.arena.entity_index[world.worded()]
    if coupling == "dual":
        assert changed == {"X", "X.state"}
        assert bool(world.dense.gradients["map"].any())
    else:
        assert changed == {"W", "C", "word.graph_state", "X", "X.state"}
        assert torch.equal(before["X"][worded], after["X"][worded])


PRODUCTS = {"model.scorer": "complex", "model.cosine": False}
TERMS = [("none", "graph"), ("tie", "graph"), ("dual", "graph"), ("dual", "word")]


@pytest.mark.parametrize("settings", [{}, PRODUCTS, {**PRODUCTS, "graph.in_batch": False}])
@pytest.mark.parametrize(("coupling", "term"), TERMS)
def test_a_step_has_the_same_bits_for_any_number_of_threads(
    coupling: str, term: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terms, "ROWS", 4)  # so that there are several slices of rows

    def step(threads: int) -> tuple[float, dict[str, Tensor]]:
        world = World(coupling, {"graph.chunk": 4, **settings}, backend_of("cpu", threads))
        rows = world.rows_of(term)
        value = world.step(world.loss(term), world.batch(rows, 301), world.pool(rows), seed=1)
        world.backend.close()
        return value, world.after()

    one, found = step(1)
    for threads in (2, 3):
        other, also = step(threads)
        assert one == other
        assert all(torch.equal(value, also[name]) for name, value in found.items())


SIZES = [(1, 0), (7, 0), (1, 9), (7, 9), (8, 9), (9, 9), (17, 9)]


@pytest.mark.parametrize(("size", "in_batch", "backend", "plain"), alternating(SIZES, [True, False], ["cpu", "torch"]))
def test_batches_of_any_size_train_and_padding_weighs_nothing(
    size: tuple[int, int], in_batch: bool, backend: str, plain: bool
) -> None:
    (count, pool), settings = size, {} if plain else PRODUCTS
    world = World("none", {**settings, "graph.in_batch": in_batch}, backend_of(backend))
    before = world.parts()["X.state"]
    loss = world.step(world.loss(), world.batch(world.entities(), count), world.pool(world.entities()[:pool]))
    assert np.isfinite(loss)
    alone = pool == 0 and (count == 1 or not in_batch)  # a candidate that is alone is certain
    assert torch.equal(before, world.parts()["X.state"]) == alone
