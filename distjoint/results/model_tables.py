"""What scores triples besides the entities, as tables with names: relations, maps, a scorer's own parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distjoint.base.arrays import Floats
from distjoint.couplings.base import RELATION, inverse_kind
from distjoint.evaluate.trained import TrainedVectors
from distjoint.model.scorers import scorer
from distjoint.model.weighed import in_parts


@dataclass(frozen=True)
class ModelTable:
    """A dense parameter of a run.

    kind      `relation`, `inverse_relation`, `map`, ...
    names     of relations; else the numbers of the rows
    vectors   float32[len(names), width]; further axes are laid flat
    shape     of the parameter
    """

    kind: str
    names: Sequence[str]
    vectors: Floats
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.names)


def model_tables(trained: TrainedVectors, relations: Sequence[str]) -> list[ModelTable]:
    """The dense parameters of a run; the second vector of each relation, which predicts heads, as `inverse_relation`.

    relations   their names; empty where no graph was trained
    """
    if not relations:
        return []
    config, generator = trained.run.info.config, torch.Generator()
    count = len(relations) * (2 if config.model.reciprocal else 1)
    parameters = trained.coupling.dense(
        config, in_parts(scorer(config.model.scorer), trained.coupling.parts), count, generator
    )
    found = []
    for name, parameter in parameters.items():
        if name not in trained.dense:
            continue
        value = trained.dense[name]
        if parameter.by_row and name.endswith(RELATION):
            found.append(_table(name, relations, value[: len(relations)]))
            if config.model.reciprocal:
                found.append(_table(inverse_kind(name), relations, value[len(relations) :]))
        else:
            found.append(_table(name, [str(row) for row in range(len(value))], value))
    return found


def _table(kind: str, names: Sequence[str], value: Tensor) -> ModelTable:
    return ModelTable(kind, names, value.detach().cpu().flatten(1).numpy(), tuple(value.shape))
