"""What the graph's loss compiles, made ready before the clock runs."""

from __future__ import annotations

import numpy as np
import torch

from distjoint.backends.cpu.rows import RowKernels
from distjoint.config import Config
from distjoint.couplings.views import Own
from distjoint.model import scorers
from distjoint.table.arena import Arena
from distjoint.table.layout import Layout
from distjoint.table.parts import Scheme, initial_shard
from distjoint.train.batches import Batch
from distjoint.train.graph import GraphLoss
from distjoint.train.negatives import Known, Pool


def warm_up(config: Config, kind: type[GraphLoss]) -> None:
    """Compile what a batch of triples goes through, or load it from the cache, by training a table of two entities."""
    layout, scheme = Layout(1, 1, 0, 0, 2), Scheme(config.model.dim, text=False, graph=True, coupling="none")
    arena = Arena(scheme, layout, 1, torch.device("cpu"))
    arena.put(0, initial_shard(scheme, config, layout, 0))
    rows, scorer = RowKernels(arena.rows, 1), scorers.scorer(config.model.scorer)
    relation = scorer.initial_relations(2 if config.model.reciprocal else 1, scheme.dim, torch.Generator())
    loss = kind(config, Own(arena, rows), rows, relation, torch.zeros_like(relation))
    head, tail = np.arange(2)[:, None]
    triples = Batch(head, np.zeros(1, np.int64), tail)
    loss.plan(triples, Pool(np.arange(2), known=Known(triples, arena.rows)), np.random.default_rng(0))(0.0)
