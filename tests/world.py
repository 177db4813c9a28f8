"""Small tables in memory that one graph loss trains, without a dataset: rows of a coupling, or vectors of no table."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from distjoint.backends import Backend
from distjoint.backends.base import Random
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.torch.backend import TorchBackend
from distjoint.config import Config
from distjoint.couplings import coupling_of
from distjoint.couplings.base import DenseParameter, GraphTerm
from distjoint.couplings.scheme import Scheme, initial_shard
from distjoint.model import scorers
from distjoint.optim import optimizer_of
from distjoint.recipes.load import load_config
from distjoint.table.arena import NONE, Arena
from distjoint.table.layout import Layout
from distjoint.train.batches import Batch
from distjoint.train.candidates import CandidateStrategy, candidates_of
from distjoint.train.dense import Dense
from distjoint.train.known import KnownPositives
from distjoint.train.negatives import Pool, Uniform
from distjoint.train.terms import TermTrainer

CPU = torch.device("cpu")


def backend_of(name: str, threads: int = 1) -> Backend:
    """A backend by its name; the one for GPUs works on the CPU too."""
    return CpuBackend(threads) if name == "cpu" else TorchBackend(CPU)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """float64, unit normal."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def width_of(name: str) -> int:
    """Six, or the next width that the scorer's coordinates fill."""
    multiple = scorers.scorer(name).multiple
    return -(-6 // multiple) * multiple


class Recorder(Uniform):
    """Draws as `Uniform`, and notes what it drew: int64[2, chunks, negatives], arena rows."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__(rows)
        self.drawn: list[Tensor] = []

    def draw(self, random: Random, relation: Tensor, count: int) -> Tensor:
        self.drawn.append(super().draw(random, relation, count))
        return self.drawn[-1]


class World:
    """Two shards in an arena, most entities without a word, and the dense parameters of a coupling."""

    RELATIONS = 3

    def __init__(self, coupling: str, settings: dict[str, Any], backend: Backend | None = None) -> None:
        plain = {"model.dim": width_of(settings.get("model.scorer", "transe")), "model.coupling": coupling}
        self.config: Config = load_config(overrides={**plain, "graph.chunk": 8, "graph.negatives": 4, **settings})
        self.backend = backend or CpuBackend(1)
        self.layout = Layout(2, 4, 9, 5, 14)
        self.scheme = Scheme(self.config, True, True, coupling_of(coupling))
        self.arena = Arena(self.scheme.parts, self.layout, 2, CPU, self.scheme.frozen)
        for shard in (1, 0):  # the order decides the slots, and must not matter
            arrays = initial_shard(self.scheme, self.layout, shard)
            for name in ("W", "C", "X"):
                arrays[name] = draw(*arrays[name].shape, seed=shard + ord(name)).float()
            arrays["X.state"] += 0.5
            if "word.graph_state" in arrays:
                arrays["word.graph_state"] += 0.25
            self.arena.put(shard, arrays)
        self.dense = self._dense()

    def _dense(self) -> Dense:
        config, optimizer = self.config, optimizer_of(self.config.graph.optimizer)
        rows = self.RELATIONS * (2 if config.model.reciprocal else 1)
        scorer, generator = scorers.scorer(config.model.scorer), torch.Generator()
        dense = Dense(self.scheme.coupling.dense(config, scorer, rows, generator), optimizer, (), self.backend)
        for name, value in dense.values.items():
            value.copy_(draw(*value.shape, seed=7) if name != "map" else value + 0.1 * draw(*value.shape, seed=8))
        return dense

    def trainer(self, term: str = "graph") -> TermTrainer:
        """Of the coupling's graph loss of this name."""
        terms = self.scheme.coupling.terms(self.config, self.arena, self.backend, self.dense.values)
        (found,) = (one for one in terms if one.name == term)
        return TermTrainer(self.config, found, self.backend, self.dense, self.arena.rows)

    def loss(self, term: str = "graph") -> CandidateStrategy:
        return candidates_of(self.config.graph.candidates)(self.trainer(term))

    def step(self, loss: CandidateStrategy, batch: Batch, pool: Pool, seed: int = 0, rate: float = 0.1) -> float:
        """Train a batch; returns its loss."""
        random = self.backend.random(np.random.default_rng(seed))
        return float(loss.plan(batch, pool, random)(rate).loss)

    def pool(self, rows: np.ndarray, known: KnownPositives | None = None) -> Pool:
        return Pool(rows, Recorder(self.backend.tensor(rows)), known)

    def entities(self) -> np.ndarray:
        """Arena rows of all entities."""
        return np.flatnonzero(self.arena.entity_index[:-1] != NONE)

    def worded(self) -> np.ndarray:
        """Arena rows of entities with a word."""
        index = self.arena.entity_index, self.arena.word_index
        return np.flatnonzero((index[0][:-1] != NONE) & (index[1][:-1] != NONE))

    def rows_of(self, term: str) -> np.ndarray:
        """Arena rows that a graph loss trains."""
        return self.worded() if self.trainer(term).term.worded else self.entities()

    def batch(self, rows: np.ndarray, count: int = 21) -> Batch:
        rng = np.random.default_rng(3)
        return Batch(rng.choice(rows, count), rng.integers(0, self.RELATIONS, count), rng.choice(rows, count))

    def parts(self) -> dict[str, Tensor]:
        return {name: array.clone() for name, array in self.arena.arrays.items()}

    def after(self) -> dict[str, Tensor]:
        """Parts, and gradients of the dense parameters by their names."""
        return {**self.parts(), **{name: gradient.clone() for name, gradient in self.dense.gradients.items()}}


class FreeVectors:
    """View of vectors that no table holds. It notes their gradient instead of stepping."""

    dense: str | None = None

    def __init__(self, vectors: Tensor) -> None:
        self.vectors, self.gradient = vectors, torch.zeros_like(vectors)

    def gather(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        found = self.vectors[rows.clamp_min(0)] * (rows != NONE)[:, None]
        return found if out is None else out.copy_(found)

    def apply(self, rows: Tensor, gradient: Tensor, rate: float, allowed: Tensor | None = None) -> None:
        self.gradient.index_add_(0, rows.clamp_min(0), gradient * (rows != NONE)[:, None])


class Given:
    """Sampler of negatives that are given: int64[2, chunks, negatives], for tails and for heads."""

    limits = False

    def __init__(self, negatives: Tensor) -> None:
        self._negatives = negatives

    def draw(self, random: Random, relation: Tensor, count: int) -> Tensor:
        assert self._negatives.shape == (2, len(relation), count)
        return self._negatives

    def mark(self, side: int, relation: Tensor, candidates: Tensor, mask: Tensor) -> None:
        return None


def gradients_of(
    settings: dict[str, Any],
    backend: Backend,
    vectors: Tensor,
    relations: Tensor,
    batch: Batch,
    negatives: Tensor,
    known: Batch | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of a batch of free vectors, and its gradients of these and of the relations."""
    config = load_config(overrides={"model.dim": vectors.shape[1], **settings})
    dense = Dense({"relation": DenseParameter(relations, "relations", 0.1)}, optimizer_of("adagrad"), (), backend)
    view = FreeVectors(vectors)
    trainer = TermTrainer(config, GraphTerm("graph", view), backend, dense, len(vectors))
    positives = None if known is None else KnownPositives(known, len(vectors), backend)
    rows = np.arange(len(vectors)) if negatives.numel() else np.empty(0, np.int64)
    pool, random = Pool(rows, Given(negatives), positives), backend.random(np.random.default_rng(0))
    found = candidates_of("sampled")(trainer).plan(batch, pool, random)(0.1)
    return torch.as_tensor(found.loss), view.gradient, dense.gradients["relation"]
