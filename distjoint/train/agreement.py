"""How two losses agree on the rows they share: the cosine and norm ratio of what either does to them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distjoint.table.arena import Arena
from distjoint.train.tally import Tally

SUMS = ("cosine", "ratio", "measured")
_ROWS = 512


class Agreement:
    """Compares the updates of some shared rows: mark before and after what each of two sources does.

    rows   int64[n]: arena rows with a word and an entity; a sample of them is looked at
    """

    def __init__(self, arena: Arena, rows: Tensor) -> None:
        sample = np.random.default_rng(0).choice(len(rows), min(len(rows), _ROWS), replace=False)
        chosen = rows[torch.from_numpy(sample).to(rows.device)]
        self._W, self._C, self._places = arena.arrays["W"], arena.arrays["C"], arena.word_index[chosen]
        self._marks: list[Tensor] = []

    def mark(self) -> None:
        self._marks.append(self._W.index_select(0, self._places) + self._C.index_select(0, self._places))

    def add_to(self, tally: Tally) -> None:
        """Cosine and norm ratio (second / first) of the two updates of all sampled rows, taken as one vector each."""
        marks, self._marks = self._marks, []
        first, second = (marks[1] - marks[0]).flatten(), (marks[3] - marks[2]).flatten()
        norms = first.norm(), second.norm()
        moved = (norms[0] > 0) & (norms[1] > 0)
        tally.add("cosine", torch.where(moved, first @ second / (norms[0] * norms[1]), 0.0))
        tally.add("ratio", torch.where(moved, norms[1] / norms[0], 0.0))
        tally.add("measured", moved)


def metrics(sums: dict[str, float]) -> dict[str, float]:
    """Means by the names they have in metrics.jsonl; nothing where none was measured."""
    if not sums.get("measured"):
        return {}
    count = sums["measured"]
    return {"update_cosine": sums["cosine"] / count, "update_norm_ratio": sums["ratio"] / count}
