"""What training compiles, made ready before the clock runs."""

from __future__ import annotations

import numpy as np

from distjoint.backends import Backend
from distjoint.config import Config
from distjoint.couplings.scheme import Scheme, initial_shard
from distjoint.registry import CANDIDATES
from distjoint.table.arena import Arena
from distjoint.table.layout import Layout
from distjoint.train.batches import Batch
from distjoint.train.build import build_dense
from distjoint.train.known import KnownPositives
from distjoint.train.negatives import Pool, Uniform
from distjoint.train.terms import TermTrainer


def warm_up(scheme: Scheme, backend: Backend) -> None:
    """Compile what a wave of tiles and a batch of triples go through, or load it from the cache."""
    if scheme.text:
        backend.warm_up()
    if scheme.graph:
        _train_two_entities(scheme.config, backend)


def _train_two_entities(config: Config, backend: Backend) -> None:
    """One batch on a table of two entities."""
    layout, scheme = Layout(1, 1, 0, 0, 2), Scheme.of(config, has_text=False, has_graph=True)
    arena = Arena(scheme.parts, layout, 1, backend.device)
    arena.put(0, initial_shard(scheme, layout, 0))
    dense = build_dense(scheme, 1, backend)
    term = scheme.coupling.terms(config, arena, backend, dense.values)[0]
    head, tail = np.arange(2)[:, None]
    triples = Batch(head, np.zeros(1, np.int64), tail)
    known, rows = KnownPositives(triples, arena.rows, backend), np.arange(2)
    candidates = CANDIDATES[config.graph.candidates](TermTrainer(config, term, backend, dense, arena.rows))
    pool = Pool(rows, Uniform(backend.tensor(rows)), known)
    candidates.plan(triples, pool, backend.random(np.random.default_rng(0)))(0.0)
