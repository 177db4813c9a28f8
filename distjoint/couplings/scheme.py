"""The scheme of a run: which sides train, bound how, in which parts of the table, and how a shard of them begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distjoint.config import Config
from distjoint.couplings import Coupling, coupling_of
from distjoint.model.scorers import scorer
from distjoint.model.text import initial_states
from distjoint.optim import optimizer_of
from distjoint.table.layout import Layout
from distjoint.table.parts import Part, Parts, Shard, state_parts

_RESIDUAL = 1e-3
"""Start of X beside a word: near zero, so that the entity begins as its word."""
_PARTS_OF_GROUP = {"words": "W", "contexts": "C", "entities": "X"}
"""What `train.freeze` calls the parts."""


@dataclass(frozen=True)
class Scheme:
    """What a configuration comes to on a dataset that has text, triples or both.

    text, graph   whether each side trains
    coupling      how aligned rows are bound; `none` unless both train
    """

    config: Config
    text: bool
    graph: bool
    coupling: Coupling

    @classmethod
    def of(cls, config: Config, has_text: bool, has_graph: bool) -> Scheme:
        text = has_text and (config.loss.alpha < 1 or not has_graph)
        graph = has_graph and (config.loss.alpha > 0 or not has_text)
        return cls(config, text, graph, coupling_of(config.model.coupling if text and graph else "none"))

    @property
    def dim(self) -> int:
        return self.config.model.dim

    @property
    def parts(self) -> Parts:
        state = optimizer_of(self.config.graph.optimizer, self.config.graph.optimizer_options).state(self.dim)
        parts: list[Part] = []
        if self.text:
            parts += [Part(name, "word", self.dim) for name in ("W", "C")]
            parts += [Part(name, "word", 0) for name in ("W.bias", "C.bias", "W.state", "C.state")]
            parts += [Part(name, "word", 0) for name in ("W.bias.state", "C.bias.state")]
        if self.text and self.coupling.reads_words:
            parts += state_parts("word.graph_", "word", state)
        if self.graph:
            parts += [Part("X", "entity", self.dim), *state_parts("X.", "entity", state)]
        return tuple(parts)

    @property
    def frozen(self) -> set[str]:
        """Parts that take no step."""
        return {_PARTS_OF_GROUP[group] for group in self.config.train.freeze if group in _PARTS_OF_GROUP}


def initial_shard(scheme: Scheme, layout: Layout, shard: int) -> Shard:
    """The parts of a shard before the first step; decided by the seed and the shard's number alone.

    W and C are uniform in +-0.5 / dim, as GloVe's. X is unit normal / sqrt(dim) for a distance or a cosine and
    a tenth of a unit normal for a product, except near zero beside a word that its entity is made from.
    """
    seed = np.random.SeedSequence([scheme.config.train.seed, shard]).generate_state(1)[0]
    generator = torch.Generator().manual_seed(int(seed))
    of_vector, of_bias = initial_states(scheme.config.text.learning_rate)
    starts = {"W.state": of_vector, "C.state": of_vector, "W.bias.state": of_bias, "C.bias.state": of_bias}
    arrays: Shard = {}
    for part in scheme.parts:
        rows = part.rows(layout, shard)
        if part.name in ("W", "C"):
            arrays[part.name] = (torch.rand(rows, part.width, generator=generator) - 0.5) / scheme.dim
        elif part.name == "X":
            arrays[part.name] = _entities(scheme, layout, shard, generator)
        else:
            shape = (rows, part.width) if part.width else (rows,)
            arrays[part.name] = torch.full(shape, starts.get(part.name, 0.0))
    return arrays


def _entities(scheme: Scheme, layout: Layout, shard: int, generator: torch.Generator) -> Tensor:
    model = scheme.config.model
    own = torch.randn(layout.shard_entities(shard), scheme.dim, generator=generator)
    bilinear = scorer(model.scorer).compare == "dot" and not model.cosine
    spread = 0.1 if bilinear else scheme.dim**-0.5
    own *= spread
    if scheme.coupling.reads_words:
        aligned = torch.from_numpy(layout.has_word(shard)[layout.has_entity(shard)])
        own[aligned] *= _RESIDUAL / spread
    return own
