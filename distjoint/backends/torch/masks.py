"""Filter masks of known positives as one binary search for all candidates at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.base import KnownSide


class SearchedMask:
    """See `base.FilterMask`. Known triples are sorted keys (question, answer), looked up without waiting for a device.

    device   where keys and candidates lie
    """

    def __init__(self, sides: tuple[KnownSide, KnownSide], device: torch.device) -> None:
        self._sides = [_keys(side, device) for side in sides]

    def mark(self, side: int, head: Tensor, relation: Tensor, tail: Tensor, candidates: Tensor, mask: Tensor) -> None:
        questions, width, keys, rows = self._sides[side]
        source = head if side == 0 else tail
        question = torch.searchsorted(questions, source * width + relation)
        wanted = question[..., None] * rows + candidates[:, None, :]
        place = torch.searchsorted(keys, wanted.flatten()).clamp_max(len(keys) - 1)
        mask |= (keys[place] == wanted.flatten()).view(mask.shape)


def _keys(known: KnownSide, device: torch.device) -> tuple[Tensor, int, Tensor, int]:
    """Sorted keys of questions, the factor in them, and sorted keys of questions with answers, with theirs."""
    width = int(known.relation.max(initial=0)) + 1
    source = np.repeat(np.arange(known.rows), np.diff(known.first))
    question = np.repeat(np.arange(len(known.relation)), np.diff(known.starts))
    questions, keys = source * width + known.relation, np.sort(question * known.rows + known.answer)
    return torch.from_numpy(questions).to(device), width, torch.from_numpy(keys).to(device), known.rows
