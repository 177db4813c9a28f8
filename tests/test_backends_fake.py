"""Training on a device never waits for it, nor mixes its tensors with the host's: proved on a fake CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from fake_device import CUDA, FakeCudaBackend, Watch, fake_device
from members import names_of
from problem import Problem, configuration, scheme_of, start_values
from small import config
from test_backends import COMPLEX, named
from test_source_pulls import Pulled
from test_sources import Recording
from torch import Tensor

from distjoint.backends.base import TileCells, WordParts
from distjoint.backends.torch import glove
from distjoint.couplings.scheme import initial_shard
from distjoint.data.dataset import Dataset
from distjoint.model.losses import loss_of
from distjoint.registry import COUPLINGS, LOSSES, OPTIMIZERS, SCORERS, SOURCES
from distjoint.train import build as build_module
from distjoint.train.build import Place, build
from distjoint.train.lane import Lane
from distjoint.train.plan import plan
from distjoint.train.rates import Rates
from distjoint.train.schedule import schedule
from distjoint.train.sources.base import LaneVisit

pytestmark = pytest.mark.unit

Settings = dict[str, Any]


def step(settings: Settings, losses: list[str] | None = None) -> None:
    """A batch of a problem whose rows are on the fake device, from plan to dense step; fail where the host waits.

    losses   with each of which entities are trained; by default the configured one
    """
    shards = start_values(scheme_of(configuration(settings)))  # the host's, with values
    with fake_device():
        problem = Problem(FakeCudaBackend(), settings, shards)
        with Watch() as watch:
            random = problem.backend.random(np.random.default_rng(0))
            for strategy, pool in zip(problem.losses, problem.pools, strict=True):
                train = strategy.plan(problem.chosen(strategy, problem.batch(0)), pool, random)
                first = strategy is problem.losses[0]
                for loss in losses if losses and first else [problem.config.graph.loss]:
                    strategy.trainer.loss = loss_of(loss, 1.0, 1.0)
                    found = train(0.1)
                    assert found.allowed is not None
                    assert all(on.device == CUDA for on in (found.loss, found.squares, found.allowed))
            problem.dense.sync(1.0)
    assert {"index_select", "index_add_", "all"} <= watch.seen
    assert watch.waits == []


EVERY = list(names_of(LOSSES))
OVER_ALL_LOSSES = [name for name in EVERY if LOSSES[name].over_all]


def in_turn() -> list[tuple[str, str]]:
    """Pairs of a scorer and a coupling, in which each of either is met."""
    scorers, couplings = names_of(SCORERS), names_of(COUPLINGS)
    count = max(len(scorers), len(couplings))
    return [(scorers[place % len(scorers)], couplings[place % len(couplings)]) for place in range(count)]


@pytest.mark.parametrize(("scorer", "coupling"), in_turn())
def test_every_scorer_and_coupling_with_every_loss(scorer: str, coupling: str) -> None:
    step({"model.scorer": scorer, "model.coupling": coupling}, EVERY)


@pytest.mark.parametrize("scorer", names_of(SCORERS))
def test_every_scorer_and_loss_over_all_candidates(scorer: str) -> None:
    """With a loss on words too, by one of them."""
    coupling = "dual" if scorer == "transe" else "none"
    step({"model.scorer": scorer, "model.coupling": coupling, "graph.candidates": "1vsall"}, OVER_ALL_LOSSES)


@pytest.mark.parametrize("compared", [{**COMPLEX, "model.cosine": True}, {"model.norm": 1}], ids=named)
def test_every_other_comparison_and_loss(compared: Settings) -> None:
    step({**compared, "graph.in_batch": False}, EVERY)
    step({**compared, "graph.candidates": "kvsall"}, OVER_ALL_LOSSES)


@pytest.mark.parametrize("optimizer", [name for name in names_of(OPTIMIZERS) if name != "adagrad"])
@pytest.mark.parametrize("coupling", names_of(COUPLINGS))
def test_every_other_optimizer_and_coupling(coupling: str, optimizer: str) -> None:
    step({"model.coupling": coupling, "graph.optimizer": optimizer})


MORE: Settings = {**COMPLEX, "graph.n3": 0.1, "graph.l2": 0.1, "graph.relation_weight": 0.7, "graph.dropout": 0.2}
OPTIONS: list[Settings] = [
    {**MORE, "graph.typed": True, "graph.power": 0.75, "graph.relation_dropout": 0.1},
    {**MORE, "graph.candidates": "1vsall", "graph.smoothing": 0.1},
    {**MORE, "graph.negatives": 0, "graph.in_batch": False},
    {"graph.power": 0.75, "graph.chunk": 1, "graph.mask_known": False},
    {"model.coupling": "dual", "graph.own_l2": 0.1, "train.freeze": ["entities", "map"]},
    {"model.coupling": "tie", "train.freeze": ["words"]},
    {"model.coupling": "described", "graph.own_dropout": 0.5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=named)
def test_every_option(options: Settings) -> None:
    step(options)


def test_a_wave_of_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glove, "STEPS", 2)
    rng = np.random.default_rng(0)
    tiles = [
        TileCells(
            *rng.integers(0, 8, (2, 50)).astype(np.uint16), *rng.random((2, 50)).astype(np.float32), 8 * k, 8 - 8 * k
        )
        for k in range(2)
    ]
    with fake_device():
        for frozen in (0, 16):
            vectors = [torch.zeros(16, 5, device=CUDA) for _ in range(2)]
            numbers = [torch.zeros(16, device=CUDA) for _ in range(6)]
            masks = [torch.zeros(frozen, dtype=torch.bool, device=CUDA) for _ in range(2)]
            with Watch() as watch:
                found = FakeCudaBackend().wave(WordParts(*vectors, *numbers, *masks), tiles, 0.1)
            assert isinstance(found.cost, Tensor)
            assert isinstance(found.squares, Tensor)
            assert "index_add_" in watch.seen
            assert watch.waits == []


@pytest.fixture
def pulled() -> Iterator[None]:
    """A source of pairs, besides the package's own."""
    SOURCES.add(Pulled)
    yield
    SOURCES.remove(Pulled.name)


@pytest.mark.usefixtures("pulled")
@pytest.mark.parametrize(("coupling", "candidates"), [("dual", "sampled"), ("none", "kvsall"), ("project", "sampled")])
def test_a_lane_on_its_visit(paired: str, coupling: str, candidates: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All sources of a real dataset, step after step, up to the last: in that one the host looks at what was noted."""
    data = Dataset.open(paired)
    chosen = {"model.coupling": coupling, "graph.candidates": candidates}
    settings = config({**chosen, "graph.batch": 40, "train.groups": 2})
    info = plan(data, paired, settings, workers=1)
    scheme = build_module.scheme_of(info)
    shards = [initial_shard(scheme, data.layout, shard) for shard in range(data.layout.shards)]
    visit = schedule(data.layout.shards, 0, 0, 2, 1).rounds[0].visits[0]
    assert visit is not None
    monkeypatch.setattr(build_module, "backend_of", FakeCudaBackend)
    monkeypatch.setattr(glove, "STEPS", 1)
    with fake_device():
        parts = build(info, data, Place(0, 1, CUDA, 1))
        for number, shard in enumerate(shards):
            parts.resources.arena.put(number, shard)
        tally = Recording(["cosine", "ratio", "measured", *(name for source in parts.sources for name in source.sums)])
        lane = Lane(parts.resources, parts.sources, LaneVisit(visit, epoch=1), tally)
        with Watch() as watch:
            for number in range(2):
                lane.advance(number, 3, Rates(1.0, 1.0))
                parts.resources.dense.sync(1.0)
        parts.close()
    assert len(parts.sources) == 3 + len(scheme.coupling.sources)
    assert watch.waits == []
    assert ("measured" in tally.added) == (coupling == "dual")  # how updates of the two sides agree
    assert {"index_add_", "all", "sort"} <= watch.seen


# What the watch sees


WAITS: dict[str, Callable[[Tensor], object]] = {
    "a number": lambda x: float(x.sum()),
    "a truth": lambda x: bool((x > 0).any()),
    "a list": lambda x: x.tolist(),
    "to the host": lambda x: x.cpu(),
    "into the host's": lambda x: torch.zeros(5).copy_(x),
    "places": lambda x: x.nonzero(),
    "by a mask": lambda x: x[x > 0],
    "set by a mask": lambda x: x.__setitem__(x > 0, x[:2]),
    "distinct": lambda x: x.unique(),
    "compared": lambda x: torch.equal(x, x),
    "by the host's index": lambda x: x[torch.tensor([1])],
}


@pytest.mark.parametrize("work", WAITS.values(), ids=WAITS)
def test_what_makes_the_host_wait_is_seen(work: Callable[[Tensor], object]) -> None:
    # A fake tensor has no values to give.
    with fake_device(), Watch() as watch, suppress(RuntimeError, NotImplementedError):
        work(torch.zeros(5, device=CUDA))
    assert len(watch.waits) >= 1


def test_tensors_of_the_host_do_not_mix_with_those_of_the_device() -> None:
    with fake_device(), pytest.raises(RuntimeError, match="cpu"):
        torch.zeros(5, device=CUDA) + torch.zeros(5)


def test_an_index_of_the_fake_device_gives_what_torchs_own_would() -> None:
    host = torch.arange(60.0).view(3, 4, 5)
    index = torch.tensor([2, 0])
    keys: list[Any] = [
        1,
        slice(1, 3),
        (..., slice(0, 2)),
        (slice(None), 1),
        (0, slice(None), slice(2, 4)),
        (None, 1, ..., None),
        (slice(None), slice(None), None),
        index,
        (index, index),
        (slice(None), index),
        (slice(None), index, slice(1, 3)),
        (1, index),
    ]
    for key in keys:
        with fake_device():
            made = host.to(CUDA)
            carried = tuple(k.to(CUDA) if isinstance(k, Tensor) else k for k in key) if isinstance(key, tuple) else key
            found = made[carried.to(CUDA) if isinstance(carried, Tensor) else carried]
        assert found.shape == host[key].shape
        assert found.device == CUDA
