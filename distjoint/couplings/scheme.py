"""The scheme of a run: which sides train, bound how, in which parts of the table, and how a shard of them begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from distjoint.base.arrays import Bools
from distjoint.config import Config
from distjoint.couplings import Coupling, coupling_of
from distjoint.model.comparisons import comparison_of
from distjoint.model.scorers import scorer
from distjoint.names import GIVEN, OLD
from distjoint.optim import Optimizer, optimizer_of
from distjoint.registry import SOURCES
from distjoint.table.layout import Layout
from distjoint.table.parts import Part, Parts, Shard, state_parts

RESIDUAL = 1e-3
"""Start of X beside a word: near zero, so that the entity begins as its word."""
_PARTS_OF_GROUP = {"words": "W", "contexts": "C", "entities": "X"}
"""What `train.freeze` calls the parts."""


@dataclass(frozen=True)
class Scheme:
    """What a configuration comes to on a dataset that has text, triples or both.

    text, graph   whether each side trains
    coupling      how aligned rows are bound; `none` unless both train
    rotates       whether a visit has some shards of the table, not all
    carries       whether rows go on from another run
    """

    config: Config
    text: bool
    graph: bool
    coupling: Coupling
    rotates: bool = False
    carries: bool = False

    @classmethod
    def of(
        cls, config: Config, has_text: bool, has_graph: bool, rotates: bool = False, carries: bool = False
    ) -> Scheme:
        text = has_text and (config.loss.alpha < 1 or not has_graph)
        graph = has_graph and (config.loss.alpha > 0 or not has_text)
        coupling = coupling_of(config.model.coupling if text and graph else "none", config.model)
        return cls(config, text, graph, coupling, rotates, carries)

    @property
    def dim(self) -> int:
        return self.config.model.dim

    @property
    def parts(self) -> Parts:
        """What the sources that train say they need, in their order."""
        kinds = [SOURCES[name] for name in SOURCES.names()]
        return tuple(part for kind in kinds if kind.trains(self) for part in kind.parts(self))

    @property
    def optimizer(self) -> Optimizer:
        """What steps the rows of all losses but GloVe's, and dense parameters."""
        return optimizer_of(self.config.graph.optimizer, self.config.graph.optimizer_options)

    def state(self, prefix: str, of: Literal["word", "entity"]) -> list[Part]:
        """The parts that hold the optimizer's state of a vector: for each loss that steps it, parts of its own."""
        return state_parts(prefix, of, self.optimizer.state(self.dim))

    @property
    def frozen(self) -> set[str]:
        """Parts that take no step."""
        return {_PARTS_OF_GROUP[group] for group in self.config.train.freeze if group in _PARTS_OF_GROUP}

    def held(self, rows: int, old: int, given: Mapping[str, Bools]) -> dict[str, Bools]:
        """Part -> bool[rows]: single rows that take no step.

        rows    of the table
        old     how many of the first were another run's
        given   `word`, `entity` -> bool[rows]: which begin with vectors of `train.init`; where they are to be held
        """
        found: dict[str, Bools] = {}
        if OLD in self.config.train.freeze:
            found = dict.fromkeys((*_PARTS_OF_GROUP.values(), *self.coupling.read_parts), np.arange(rows) < old)
        if GIVEN in self.config.train.freeze:
            for kind, names in (("word", ("W", "C")), ("entity", ("X",))):
                found |= {name: given[kind] | found.get(name, False) for name in names if kind in given}
        return found


def initial_shard(scheme: Scheme, layout: Layout, shard: int) -> Shard:
    """The parts of a shard before the first step; decided by the seed and the shard's number alone.

    W and C are uniform in +-0.5 / dim, as GloVe's. X is unit normal / sqrt(dim) for a distance or a cosine and
    a tenth of a unit normal for a product, except near zero beside a word that its entity is made from.
    """
    seed = np.random.SeedSequence([scheme.config.train.seed, shard]).generate_state(1)[0]
    generator = torch.Generator().manual_seed(int(seed))
    arrays: Shard = {}
    for part in scheme.parts:
        rows = part.rows(layout, shard)
        if part.name in ("W", "C"):
            arrays[part.name] = torch.rand(rows, part.width, generator=generator).sub_(0.5).div_(scheme.dim)
        elif part.name == "X":
            arrays[part.name] = _entities(scheme, layout, shard, generator)
        else:
            shape = (rows, part.width) if part.width else (rows,)
            arrays[part.name] = torch.full(shape, part.start)
    return arrays


def _entities(scheme: Scheme, layout: Layout, shard: int, generator: torch.Generator) -> Tensor:
    own = torch.randn(layout.shard_entities(shard), scheme.dim, generator=generator)
    spread = spread_of(scheme.config)
    own *= spread
    if scheme.coupling.reads_words:
        aligned = torch.from_numpy(layout.has_word(shard)[layout.has_entity(shard)])
        own[aligned] *= RESIDUAL / spread
    return own


def spread_of(config: Config) -> float:
    """Standard deviation of the numbers that X begins as."""
    model = config.model
    comparison = comparison_of(scorer(model.scorer), model.cosine, model.norm, model.scale)
    return 0.1 if comparison.is_product else float(model.dim**-0.5)
