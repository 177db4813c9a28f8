"""Parts: what a row holds, which parts a run allocates, and how a shard of them begins.

A part is an array over the rows of a shard that have it: `W`, `C` and their biases over the rows with a word, `X`
over the rows with an entity. Each comes with the accumulators of its optimizer; an aligned row has one
accumulator per loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.cpu.glove import initial_states
from distjoint.config import Config
from distjoint.couplings.vectors import COUPLINGS
from distjoint.model import scorers
from distjoint.table.layout import Layout

Shard = dict[str, Tensor]
"""The parts of one shard by name, rows in order of offset."""

_RESIDUAL = 1e-3
"""Start of X beside a word: near zero, so that the entity begins as its word."""


@dataclass(frozen=True)
class Part:
    """One array of the table.

    of      `word` or `entity`: over which rows
    width   0 for one float per row, else floats per row
    """

    name: str
    of: str
    width: int


@dataclass(frozen=True)
class Scheme:
    """Which losses train and which parts they need.

    text, graph   whether each loss trains
    coupling      how aligned rows are bound; `none` unless both train
    frozen        what takes no step: `words` (W), `contexts` (C), `entities` (X), `relations`, `map`
    """

    dim: int
    text: bool
    graph: bool
    coupling: str
    frozen: frozenset[str] = frozenset()

    @classmethod
    def of(cls, config: Config, has_text: bool, has_graph: bool) -> Scheme:
        """What a configuration comes to on a dataset that has text, triples or both."""
        text = has_text and (config.loss.alpha < 1 or not has_graph)
        graph = has_graph and (config.loss.alpha > 0 or not has_text)
        assert config.model.coupling in COUPLINGS
        coupling = config.model.coupling if text and graph else "none"
        return cls(config.model.dim, text, graph, coupling, frozenset(config.train.freeze))

    @property
    def parts(self) -> tuple[Part, ...]:
        parts: list[Part] = []
        if self.text:
            parts += [Part(name, "word", self.dim) for name in ("W", "C")]
            parts += [Part(name, "word", 0) for name in ("W.bias", "C.bias", "W.state", "C.state")]
            parts += [Part(name, "word", 0) for name in ("W.bias.state", "C.bias.state")]
        if self.text and self.coupling != "none":
            parts.append(Part("word.graph_state", "word", 0))
        if self.graph:
            parts += [Part("X", "entity", self.dim), Part("X.state", "entity", 0)]
        return tuple(parts)

    def rows(self, part: Part, layout: Layout, shard: int) -> int:
        return layout.shard_words(shard) if part.of == "word" else layout.shard_entities(shard)

    def bytes(self, layout: Layout) -> int:
        """Size of the whole table."""
        words, entities = layout.words + layout.aligned, layout.aligned + layout.entities
        floats = {"word": words, "entity": entities}
        return 4 * sum(max(part.width, 1) * floats[part.of] for part in self.parts)


def initial_shard(scheme: Scheme, config: Config, layout: Layout, shard: int) -> Shard:
    """The parts of a shard before the first step; decided by the seed and the shard's number alone.

    W and C are uniform in +-0.5 / dim, as GloVe's. X is unit normal / sqrt(dim) for a distance or a cosine and
    a tenth of a unit normal for a product, except beside a word under `tie` (unused) and `dual` (near zero).
    """
    generator = torch.Generator().manual_seed(
        int(np.random.SeedSequence([config.train.seed, shard]).generate_state(1)[0])
    )
    arrays: Shard = {}
    for part in scheme.parts:
        rows = scheme.rows(part, layout, shard)
        if part.name in ("W", "C"):
            arrays[part.name] = (torch.rand(rows, part.width, generator=generator) - 0.5) / scheme.dim
        elif part.name == "X":
            arrays[part.name] = _entities(scheme, config, layout, shard, generator)
        else:
            arrays[part.name] = torch.full((rows,), _state_start(part.name, config))
    return arrays


def _state_start(name: str, config: Config) -> float:
    """GloVe's accumulators start where kernels/glove.py says; the graph's, and the biases themselves, at zero."""
    of_vector, of_bias = initial_states(config.text.learning_rate)
    starts = {"W.state": of_vector, "C.state": of_vector, "W.bias.state": of_bias, "C.bias.state": of_bias}
    return starts.get(name, 0.0)


def _entities(scheme: Scheme, config: Config, layout: Layout, shard: int, generator: torch.Generator) -> Tensor:
    own = torch.randn(layout.shard_entities(shard), scheme.dim, generator=generator)
    bilinear = scorers.scorer(config.model.scorer).compare == "dot" and not config.model.cosine
    spread = 0.1 if bilinear else scheme.dim**-0.5
    own *= spread
    if scheme.coupling != "none":
        aligned = torch.from_numpy(layout.has_word(shard)[layout.has_entity(shard)])
        own[aligned] *= _RESIDUAL / spread
    return own
