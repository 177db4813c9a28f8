"""The fast step of the graph against plain references: its loss against reference/losses, a whole step against dense
autograd with row-wise AdaGrad on every view of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import torch
from distjoint.backends.cpu.comparison import Objective, as_candidates, through_candidates
from distjoint.backends.cpu.graph import gradient
from distjoint.couplings.vectors import entity_vectors
from distjoint.train.graph import GraphLoss
from reference import losses
from reference.losses import Chunks, Kind, relation_loss, sampled_loss
from torch import Tensor

from distjoint.backends.cpu.queries import Queries
from distjoint.backends.cpu.rows import EPSILON, RowKernels
from distjoint.config import Config
from distjoint.couplings.views import Mapped, Own, Tied, View, Word
from distjoint.model import scorers
from distjoint.model.scorers import Compare, comparison
from distjoint.recipes.load import load_config
from distjoint.registry import SCORERS
from distjoint.table.arena import NONE, Arena
from distjoint.table.layout import Layout
from distjoint.table.parts import Scheme, initial_shard
from distjoint.train import graph
from distjoint.train.batches import Batch
from distjoint.train.negatives import Pool

pytestmark = pytest.mark.unit

CPU = torch.device("cpu")
COMPARISONS = [(name, cosine) for name, cosine in product(sorted(SCORERS.names()), (False, True))]
COMPARES: list[tuple[str, Compare]] = [
    *[(name, comparison(scorers.scorer(name), cosine, 2)) for name, cosine in COMPARISONS],
    ("transe", "manhattan"),
]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def width_of(name: str) -> int:
    """Six, or the next width that the scorer's coordinates fill."""
    multiple = scorers.scorer(name).multiple
    return -(-6 // multiple) * multiple


def fast(
    objective: Objective,
    ends: Tensor,
    relation: Tensor,
    inverse: Tensor,
    weight: Tensor,
    refused: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, and gradients of ends and negatives, float[2, chunks, triples + negatives, dim], and of relations."""
    triples = relation.shape[1]
    candidates, norms = as_candidates(objective, ends)
    right, given = candidates[:, :, :triples], ends[:, :, :triples].flip(0)
    d_candidates, d_own = torch.empty_like(candidates), torch.zeros_like(given)
    asked, ways = torch.stack([relation, inverse]), torch.arange(2 * weight.numel()).view(2, *weight.shape)
    queries = Queries(objective, right, given, asked, ways, d_candidates[:, :, :triples], d_own)
    compared = slice(None) if objective.in_batch else slice(triples, None)
    loss, found, d_relation = gradient(
        objective, queries, candidates[:, :, compared], weight, refused, d_candidates[:, :, compared]
    )
    assert torch.equal(found, ways.flatten())
    d_ends = through_candidates(d_candidates, candidates, norms)
    d_ends[:, :, :triples] += d_own
    return torch.as_tensor(loss), d_ends, d_relation.view(asked.shape)


@pytest.mark.parametrize(("name", "compare"), COMPARES)
@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("negatives", [5, 0])
def test_the_fast_loss_and_its_gradients_are_those_of_the_plain_loss(
    name: str, compare: Compare, negatives: int, in_batch: bool
) -> None:
    scorer, chunks, triples, dim, scale = scorers.scorer(name), 3, 4, width_of(name), 2.5
    ends = draw(2, chunks, triples + negatives, dim).requires_grad_()
    width = scorer.relation_dim(dim)
    relation, inverse = (draw(chunks, triples, width, seed=seed).requires_grad_() for seed in (1, 2))
    weight = torch.ones(chunks, triples, dtype=torch.float64)
    weight[-1, 2:] = 0  # padding
    chunked = Chunks(
        ends[1, :, :triples],
        ends[0, :, :triples],
        relation,
        inverse,
        ends[1, :, triples:],
        ends[0, :, triples:],
        weight,
        in_batch,
    )
    expected = sampled_loss(losses.Objective(scorer, compare, scale), chunked)
    expected_gradients = torch.autograd.grad(expected, (ends, relation, inverse))
    objective = Objective(scorer, compare, scale, in_batch=in_batch)
    with torch.no_grad():
        loss, d_ends, d_relation = fast(objective, ends, relation, inverse, weight)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-10, atol=1e-10)
    for actual, wanted in zip((d_ends, *d_relation), expected_gradients, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("name", sorted(SCORERS.names()))
def test_each_loss_and_its_gradients_are_those_of_the_plain_loss(
    name: str, kind: Kind, in_batch: bool, masked: bool
) -> None:
    scorer, chunks, triples, negatives, dim = scorers.scorer(name), 2, 4, 5, width_of(name)
    ends = draw(2, chunks, triples + negatives, dim).requires_grad_()
    relation, inverse = (draw(chunks, triples, scorer.relation_dim(dim), seed=k).requires_grad_() for k in (1, 2))
    weight = torch.ones(chunks, triples, dtype=torch.float64)
    weight[-1, 2:] = 0
    head, tail = ends[1, :, :triples], ends[0, :, :triples]
    drawn = ends[1, :, triples:], ends[0, :, triples:]
    refused = None
    if masked:
        refused = draw(2, chunks, triples, triples + negatives, seed=9) > 0
        refused[0, 0, 0] = True  # one has no negative at all
        refused.diagonal(dim1=2, dim2=3).fill_(False)
    settings = {"margin": 1.5, "temperature": 0.7}
    expected = sampled_loss(
        losses.Objective(scorer, scorer.compare, kind=kind, **settings),
        Chunks(head, tail, relation, inverse, *drawn, weight, in_batch, refused),
    )
    expected_gradients = torch.autograd.grad(expected, (ends, relation, inverse))
    objective = Objective(scorer, scorer.compare, 1.0, loss=kind, in_batch=in_batch, **settings)
    with torch.no_grad():
        competing = refused if refused is None or in_batch else refused[..., triples:]
        for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 2e-5)):  # of the latter some are compiled
            inputs = (tensor.to(dtype) for tensor in (ends, relation, inverse, weight))
            loss, d_ends, d_relation = fast(objective, *inputs, competing)
            torch.testing.assert_close(loss.double(), expected.detach(), rtol=tolerance, atol=tolerance)
            for actual, wanted in zip((d_ends, *d_relation), expected_gradients, strict=True):
                torch.testing.assert_close(actual.double(), wanted, rtol=100 * tolerance, atol=tolerance)


def test_a_softmax_over_far_scores_does_not_overflow() -> None:
    scorer = scorers.scorer("distmult")
    ends, relation = draw(2, 1, 6, 4).float() * 100, draw(1, 3, 4).float() * 100
    found = fast(Objective(scorer, "dot", 1.0), ends, relation, relation, torch.ones(1, 3))
    assert all(bool(value.isfinite().all()) for value in found)


class World:
    """Two shards in an arena, most entities without a word, and the dense parameters of a coupling."""

    RELATIONS = 3

    def __init__(self, coupling: str, settings: dict[str, Any]) -> None:
        plain = {"model.dim": width_of(settings.get("model.scorer", "transe")), "model.coupling": coupling}
        self.config: Config = load_config(overrides={**plain, "graph.chunk": 8, "graph.negatives": 4, **settings})
        dim, scorer = self.config.model.dim, scorers.scorer(self.config.model.scorer)
        self.layout = Layout(2, 4, 9, 5, 14)
        self.scheme = Scheme(dim, True, True, coupling)
        self.arena = Arena(self.scheme, self.layout, 2, CPU)
        for shard in (1, 0):  # the order decides the slots, and must not matter
            arrays = initial_shard(self.scheme, self.config, self.layout, shard)
            for name in ("W", "C", "X"):
                arrays[name] = draw(*arrays[name].shape, seed=shard + ord(name)).float()
            arrays["X.state"] += 0.5
            if "word.graph_state" in arrays:
                arrays["word.graph_state"] += 0.25
            self.arena.put(shard, arrays)
        rows = self.RELATIONS * (2 if self.config.model.reciprocal else 1)
        self.relation = draw(rows, scorer.relation_dim(dim), seed=7).float()
        self.relation_gradient = torch.zeros_like(self.relation)
        self.map = torch.eye(dim) + 0.1 * draw(dim, dim, seed=8).float()
        self.map_gradient = torch.zeros_like(self.map)

    def loss(self, view: str, threads: int = 1) -> GraphLoss:
        kernels = RowKernels(self.arena.rows, threads)
        made: View = {
            "own": lambda: Own(self.arena, kernels),
            "tied": lambda: Tied(self.arena, kernels),
            "word": lambda: Word(self.arena, kernels),
            "mapped": lambda: Mapped(self.arena, kernels, self.map, self.config.graph.own_l2),
        }[view]()
        return GraphLoss(self.config, made, kernels, self.relation, self.relation_gradient, self.map_gradient)

    def entities(self) -> np.ndarray:
        return np.flatnonzero(self.arena.entity_index != NONE)

    def worded(self) -> np.ndarray:
        return np.flatnonzero((self.arena.entity_index != NONE) & (self.arena.word_index != NONE))

    def batch(self, rows: np.ndarray, count: int = 21) -> Batch:
        rng = np.random.default_rng(3)
        return Batch(rng.choice(rows, count), rng.integers(0, self.RELATIONS, count), rng.choice(rows, count))

    def parts(self) -> dict[str, Tensor]:
        return {name: array.clone() for name, array in self.arena.arrays.items()}


class Recorder(np.random.Generator):
    """Notes which negatives were drawn."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(5))
        self.drawn: list[np.ndarray] = []

    def integers(self, *args: Any, **kwargs: Any) -> Any:
        self.drawn.append(super().integers(*args, **kwargs))
        return self.drawn[-1]


def reference(world: World, view: str, batch: Batch, negatives: np.ndarray) -> dict[str, Tensor]:
    """Loss of a batch and everything after a step, by autograd over whole tables in float64.

    negatives   int64[2, chunks, n]: arena rows, for tails and for heads
    """
    config, arena, scorer = world.config, world.arena, scorers.scorer(world.config.model.scorer)
    leaf = {name: arena.arrays[name].double().requires_grad_() for name in ("W", "C", "X")}
    relation, map_ = world.relation.double().requires_grad_(), world.map.double().requires_grad_()
    worded, owned = (torch.from_numpy(index != NONE) for index in (arena.word_index, arena.entity_index))
    words, own = (torch.zeros(arena.rows, config.model.dim, dtype=torch.float64) for _ in range(2))
    sums = (leaf["W"] + leaf["C"])[arena.word_index[worded.numpy()]]
    words = words.index_put((worded,), sums if view in ("tied", "word") else sums.detach())
    own = own.index_put((owned,), leaf["X"][arena.entity_index[owned.numpy()]])
    coupling = {"own": "none", "tied": "tie", "mapped": "dual"}.get(view)
    vectors = words if coupling is None else entity_vectors(coupling, own, words, map_)
    chunk, chunks = config.graph.chunk, negatives.shape[1]
    places = np.arange(chunks * chunk)
    head, relations, tail = (x[places % len(batch)] for x in (batch.head, batch.relation, batch.tail))
    weight = torch.from_numpy((places < len(batch)).astype(np.float64)).view(chunks, chunk)

    def chunked(table: Tensor, rows: np.ndarray) -> Tensor:
        return table[torch.from_numpy(rows)].view(chunks, -1, table.shape[1])

    forward = chunked(relation, relations)
    backward = chunked(relation, relations + world.RELATIONS) if config.model.reciprocal else scorer.inverse(forward)
    objective = losses.Objective(
        scorer,
        comparison(scorer, config.model.cosine, config.model.norm),
        config.model.scale or (10.0 if config.model.cosine else 1.0),
        n3=config.graph.n3,
        l2=config.graph.l2,
    )
    chunks_of = Chunks(
        chunked(vectors, head),
        chunked(vectors, tail),
        forward,
        backward,
        chunked(vectors, negatives[1].reshape(-1)),
        chunked(vectors, negatives[0].reshape(-1)),
        weight,
        config.graph.in_batch,
    )
    loss = sampled_loss(objective, chunks_of)
    if config.graph.relation_weight:
        ends = (vectors[torch.from_numpy(rows)] for rows in (batch.head, batch.tail))
        forward, target = relation[: world.RELATIONS], torch.from_numpy(batch.relation)
        loss = loss + config.graph.relation_weight * relation_loss(scorer, *ends, forward, target)
    loss.backward()
    after = {name: array.double() for name, array in world.parts().items()}
    states = {"W": "word.graph_state", "C": "word.graph_state", "X": "X.state"}
    stepped = set()
    if view == "mapped":  # the pull of X to zero, for the rows of the batch that have a word
        seen = np.unique(np.concatenate([batch.head, batch.tail, negatives.reshape(-1)]))
        pulled = torch.from_numpy(arena.entity_index[seen[arena.word_index[seen] != NONE]])
        leaf["X"].grad[pulled] += config.graph.own_l2 * leaf["X"].detach()[pulled]
    for name, state in states.items():
        if leaf[name].grad is None or state not in after:
            continue
        if state not in stepped:  # W and C share one accumulator of the gradient of W + C
            after[state] += leaf[name].grad.square().mean(1)
            stepped.add(state)
        # Half of the step of W + C goes to either.
        rate = 0.1 * (0.5 if name != "X" else 1.0)
        after[name] -= rate * leaf[name].grad / (after[state] + EPSILON).sqrt()[:, None]
    zero = torch.zeros_like
    after["relation"] = zero(relation) if relation.grad is None else relation.grad
    after["map"] = zero(map_) if map_.grad is None else map_.grad
    after["loss"] = loss.detach()
    return after


STEPS: list[tuple[str, str, dict[str, Any]]] = [
    *[
        ("none", "own", {"model.scorer": name, "model.cosine": cosine, "graph.in_batch": False})
        for name, cosine in COMPARISONS
    ],
    ("tie", "tied", {"model.scorer": "complex", "model.cosine": False, "model.scale": 2.5, "graph.in_batch": False}),
    *[("none", "own", {"model.scorer": name, "model.cosine": cosine}) for name, cosine in COMPARISONS],
    ("none", "own", {"model.scorer": "transe", "model.cosine": False, "model.norm": 1}),
    *[("tie", "tied", {"model.scorer": name}) for name in ("transe", "complex")],
    *[("dual", "mapped", {"model.scorer": name, "graph.own_l2": 0.4}) for name in ("transe", "rotate")],
    *[("dual", "word", {"model.scorer": name}) for name in ("distmult", "rotate")],
    ("tie", "tied", {"graph.n3": 0.1, "model.scorer": "complex", "model.cosine": False}),
    ("dual", "mapped", {"graph.n3": 0.1, "graph.l2": 0.3, "model.scorer": "distmult"}),
    ("none", "own", {"graph.n3": 0.1, "graph.l2": 0.3, "model.scorer": "transe"}),
    ("none", "own", {"graph.n3": 0.1, "graph.l2": 0.3, "model.scorer": "rotate", "model.cosine": False}),
    pytest.param(
        *("none", "own", {"graph.n3": 0.1, "model.scorer": "quate", "model.cosine": False}),
        marks=pytest.mark.xfail(strict=True, reason="backends take moduli of real and complex coordinates only"),
    ),
    *[
        ("none", "own", {"graph.relation_weight": 0.7, "model.scorer": name, "model.cosine": False})
        for name in ("distmult", "complex", "rescal")
    ],
]


@pytest.mark.parametrize("reciprocal", [True, False])
@pytest.mark.parametrize(("coupling", "view", "settings"), STEPS)
def test_a_step_is_that_of_the_plain_reference(
    coupling: str, view: str, settings: dict[str, Any], reciprocal: bool
) -> None:
    world = World(coupling, {**settings, "model.reciprocal": reciprocal})
    pool = world.worded() if view == "word" else world.entities()
    batch, rng = world.batch(pool), Recorder()
    probe = World(coupling, {**settings, "model.reciprocal": reciprocal})
    loss = world.loss(view).plan(batch, Pool(pool), rng)(0.1)
    (drawn,) = rng.drawn
    expected = reference(probe, view, batch, pool[drawn])
    assert loss == pytest.approx(float(expected["loss"]), rel=1e-5)
    actual = {**world.parts(), "relation": world.relation_gradient, "map": world.map_gradient}
    for name, value in actual.items():
        torch.testing.assert_close(
            value.double(), expected[name], rtol=2e-4, atol=2e-5, msg=lambda m, n=name: f"{n} {m}"
        )


@pytest.mark.parametrize("view", ["tied", "mapped"])
def test_words_keep_to_their_side(view: str) -> None:
    """`dual`'s entity side leaves W and C alone; `tie` leaves the X of rows with a word alone."""
    world = World("tie" if view == "tied" else "dual", {})
    before = world.parts()
    world.loss(view).plan(world.batch(world.entities()), Pool(world.entities()), np.random.default_rng(0))(0.1)
    after = world.parts()
    changed = {name for name, array in before.items() if not torch.equal(array, after[name])}
    worded = world.arena.entity_index[world.worded()]
    if view == "mapped":
        assert changed == {"X", "X.state"}
        assert bool(world.map_gradient.any())
    else:
        assert changed == {"W", "C", "word.graph_state", "X", "X.state"}
        assert torch.equal(before["X"][worded], after["X"][worded])


PRODUCTS = {"model.scorer": "complex", "model.cosine": False}


@pytest.mark.parametrize("settings", [{}, PRODUCTS, {**PRODUCTS, "graph.in_batch": False}])
@pytest.mark.parametrize(("coupling", "view"), [("none", "own"), ("tie", "tied"), ("dual", "mapped"), ("dual", "word")])
def test_a_step_has_the_same_bits_for_any_number_of_threads(
    coupling: str, view: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "_ROWS", 4)  # so that there are several pieces

    def step(threads: int) -> tuple[float, dict[str, Tensor]]:
        world = World(coupling, {"graph.chunk": 4, **settings})
        pool = world.worded() if view == "word" else world.entities()
        loss = world.loss(view, threads)
        value = loss.plan(world.batch(pool, 301), Pool(pool), np.random.default_rng(1))(0.1)
        loss.kernels.close()
        return value, {**world.parts(), "relation": world.relation_gradient, "map": world.map_gradient}

    one, found = step(1)
    for threads in (2, 3):
        other, also = step(threads)
        assert one == other
        assert all(torch.equal(value, also[name]) for name, value in found.items())


def sizes() -> Iterator[tuple[int, int]]:
    yield from ((1, 0), (7, 0), (1, 9), (7, 9), (8, 9), (9, 9), (17, 9))


@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("settings", [{}, PRODUCTS])
@pytest.mark.parametrize(("count", "pool"), sizes())
def test_batches_of_any_size_train_and_padding_weighs_nothing(
    count: int, pool: int, settings: dict[str, Any], in_batch: bool
) -> None:
    world = World("none", {**settings, "graph.in_batch": in_batch})
    before = world.parts()["X.state"]
    batch, drawn = world.batch(world.entities(), count), Pool(world.entities()[:pool])
    loss = world.loss("own").plan(batch, drawn, np.random.default_rng(0))(0.1)
    assert np.isfinite(loss)
    alone = pool == 0 and (count == 1 or not in_batch)  # a candidate that is alone is certain
    assert torch.equal(before, world.parts()["X.state"]) == alone


def test_a_pool_is_drawn_from_evenly_or_by_weight() -> None:
    rows, rng, relation = np.array([3, 5, 9]), np.random.default_rng(0), np.zeros((15, 4), np.int64)
    even = np.bincount(Pool(rows).draw(rng, relation, 1_000).reshape(-1), minlength=10)
    weighted = np.bincount(Pool(rows, np.cumsum([1.0, 0.0, 3.0])).draw(rng, relation, 1_000).reshape(-1), minlength=10)
    assert even.sum() == even[rows].sum() == 30_000
    np.testing.assert_allclose(even[rows] / 30_000, 1 / 3, atol=0.02)
    np.testing.assert_allclose(weighted[rows] / 30_000, (0.25, 0, 0.75), atol=0.02)
