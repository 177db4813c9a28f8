"""A problem of 28 rows that any backend trains: words, entities, and graph losses of a coupling on random triples."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.base import Backend, Random
from distjoint.backends.cpu.backend import HostRandom
from distjoint.backends.torch.backend import TorchBackend
from distjoint.base.arrays import Ints
from distjoint.config import Config
from distjoint.couplings.scheme import Scheme, initial_shard
from distjoint.data.types import Domains
from distjoint.recipes.load import load_config
from distjoint.table.arena import Arena
from distjoint.table.layout import Layout
from distjoint.table.parts import Shard
from distjoint.train.batches import Batch
from distjoint.train.build import build_dense
from distjoint.train.candidates import CandidateStrategy, candidates_of
from distjoint.train.known import KnownPositives
from distjoint.train.negatives import Pool, sampler_of
from distjoint.train.terms import BatchLoss, TermTrainer

DIM, RELATIONS, TRIPLES = 8, 3, 21
LAYOUT = Layout(shards=2, tiles=4, words=9, aligned=5, entities=14)
SMALL = {
    "model.dim": DIM,
    "model.coupling": "none",
    "model.cosine": False,
    "graph.chunk": 8,
    "graph.negatives": 4,
    "graph.own_l2": 0.0,
}
STATES = {"state": 0.5, "square": 0.5, "steps": 3.0}
"""What optimizers' states begin with: at zero, a first gradient of 1e-8 would step as far as any other."""


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class DrawnOnHost:
    """Random numbers of `HostRandom`, carried to where the rows lie: any backend then draws the same negatives."""

    def __init__(self, rng: np.random.Generator, device: torch.device) -> None:
        self._random, self._device = HostRandom(rng), device

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        return self._random.integers(high, shape).to(self._device)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return self._random.uniform(shape).to(self._device)

    def dropout(self, shape: tuple[int, int], share: float) -> Tensor:
        return self._random.dropout(shape, share).to(self._device)


class ComparableBackend(TorchBackend):
    """The torch backend with the CPU backend's random numbers."""

    def random(self, rng: np.random.Generator) -> Random:
        return DrawnOnHost(rng, self.device)


def configuration(settings: dict[str, Any] | None) -> Config:
    return load_config(overrides={**SMALL, **(settings or {})})


def scheme_of(config: Config) -> Scheme:
    return Scheme.of(config, has_text=True, has_graph=True)


def start_values(scheme: Scheme) -> dict[int, Shard]:
    """Shards with vectors of unit length in each coordinate, and states that some steps could have left."""
    shards = {shard: initial_shard(scheme, LAYOUT, shard) for shard in range(LAYOUT.shards)}
    for shard, arrays in shards.items():
        for number, (name, values) in enumerate(arrays.items()):
            if name in ("W", "C", "X"):
                arrays[name] = draw(*values.shape, seed=10 * shard + number).float()
            else:
                values += next((start for kind, start in STATES.items() if name.endswith(kind)), 0.0)
    return shards


class Problem:
    """Two shards in an arena, dense parameters, and the graph losses of a coupling as a source has them.

    shards     start values by number; by default those of `start_values`
    weighted   whether triples have weights
    """

    def __init__(
        self,
        backend: Backend,
        settings: dict[str, Any] | None = None,
        shards: dict[int, Shard] | None = None,
        weighted: bool = False,
    ) -> None:
        self.config: Config = configuration(settings)
        self.backend, self.scheme = backend, scheme_of(self.config)
        shards = shards or start_values(self.scheme)
        self.arena = Arena(self.scheme.parts, LAYOUT, LAYOUT.shards, backend.device, self.scheme.frozen)
        for shard in (1, 0):  # slots are in another order than shards, which must not matter
            self.arena.put(shard, shards[shard])
        self.dense = build_dense(self.scheme, RELATIONS, backend)
        for seed, (name, value) in enumerate(self.dense.values.items()):
            value += (0.1 * draw(*value.shape, seed=seed + 50)).float().to(backend.device)
            for kind, state in self.dense.states[name].items():
                state += STATES.get(kind, 0.0)
        terms = self.scheme.coupling.terms(self.config, self.arena, backend, self.dense.values)
        kind = candidates_of(self.config.graph.candidates)
        self.losses: list[CandidateStrategy] = [
            kind(TermTrainer(self.config, term, backend, self.dense, self.arena.rows)) for term in terms
        ]
        self.triples = self._triples(weighted)
        self.known = KnownPositives(self.triples, self.arena.rows, backend)
        self.pools = [self._pool(loss) for loss in self.losses]

    def entities(self, worded: bool = False) -> Ints:
        """Arena rows of entities, or of those that have a word."""
        chosen = [LAYOUT.has_entity(shard) & (LAYOUT.has_word(shard) | (not worded)) for shard in range(LAYOUT.shards)]
        return np.concatenate([self.arena.base(shard) + np.flatnonzero(has) for shard, has in enumerate(chosen)])

    def _triples(self, weighted: bool) -> Batch:
        """All there are: distinct, of few enough ends that questions have several answers, some between words."""
        rng, rows, worded = np.random.default_rng(0), self.entities(), self.entities(worded=True)
        head = np.concatenate([rng.choice(rows[::2], 60), rng.choice(worded, 15)])
        tail = np.concatenate([rng.choice(rows, 60), rng.choice(worded, 15)])
        every = np.unique(np.stack([head, rng.integers(0, RELATIONS, len(head)), tail]), axis=1)
        head, relation, tail = (np.ascontiguousarray(ids) for ids in every)
        weight = rng.uniform(0.2, 3, len(head)).astype(np.float32) if weighted else None
        return Batch(head, relation, tail, weight=weight)

    def batch(self, number: int) -> Batch:
        """Some of the triples, queried at one end where the losses want it so."""
        every = self.triples
        side: Literal["both", "tail", "head"] = "both"
        if self.losses[0].one_end:
            side = "head" if number % 2 else "tail"
        chosen = every.select(np.random.default_rng(number).permutation(len(every))[:TRIPLES])
        return Batch(chosen.head, chosen.relation, chosen.tail, side, chosen.weight)

    def domains(self) -> Domains:
        """Types of entities, some of which do not fit at an end of a relation."""
        rng, sets = np.random.default_rng(5), 4
        allowed = rng.random((2, RELATIONS, sets)) < 0.5
        allowed[..., 0] = True
        return Domains(rng.integers(0, sets, self.arena.rows).astype(np.int32), allowed[0], allowed[1])

    def _pool(self, loss: CandidateStrategy) -> Pool:
        graph, rows = self.config.graph, self.entities(loss.trainer.term.worded)
        domains = self.domains() if graph.typed else None
        type_of = np.full(self.arena.rows, -1, np.int64) if domains is None else domains.type_of.astype(np.int64)
        weight = np.arange(1.0, len(rows) + 1) ** graph.power if graph.power or domains else None
        known = self.known if loss.needs_known(graph.mask_known, few=True, complete=False) else None
        return Pool(rows, sampler_of(rows, weight, domains, type_of, self.backend), known)

    def chosen(self, loss: CandidateStrategy, batch: Batch) -> Batch:
        """The triples of a batch that a loss takes."""
        if not loss.trainer.term.worded:
            return batch
        return batch.select(self.arena.has_word[batch.head] & self.arena.has_word[batch.tail])

    def train(self, batches: int = 3) -> list[BatchLoss]:
        """Train some batches as a lane does, dense parameters after each."""
        random, found = self.backend.random(np.random.default_rng(1)), []
        for number in range(batches):
            for loss, pool in zip(self.losses, self.pools, strict=True):
                chosen = self.chosen(loss, self.batch(number))
                if len(chosen):
                    found.append(loss.plan(chosen, pool, random)(self.config.graph.learning_rate))
            self.dense.sync(1.0)
        return found

    def values(self) -> dict[str, Tensor]:
        """Copies of all arrays of the arena and all dense parameters with their states, on the host."""
        return {name: value.cpu().clone() for name, value in {**self.arena.arrays, **self.dense.tensors()}.items()}
