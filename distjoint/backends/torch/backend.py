"""The backend of GPUs: plain torch operations on any device, none of which waits for it.

Sizes that only the device knows, such as how many rows of a batch are distinct, are replaced by what they cannot
exceed: the rest is padding that changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from distjoint.backends.base import (
    NONE,
    Backend,
    Distinct,
    FilterMask,
    KnownSide,
    Queries,
    QueryTables,
    Random,
    TileCells,
    WaveLoss,
    WordParts,
)
from distjoint.backends.queries import TorchQueries
from distjoint.backends.torch.glove import train_wave
from distjoint.backends.torch.masks import SearchedMask
from distjoint.model.comparisons import Comparison
from distjoint.model.scorers import Scorer


class DeviceRandom:
    """See `base.Random`: torch's generator on the device."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device, self._generator = device, torch.Generator(device).manual_seed(seed)

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(0, high, shape, generator=self._generator, device=self._device)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self._generator, device=self._device, dtype=torch.float64)

    def dropout(self, shape: tuple[int, int], share: float) -> Tensor:
        kept = torch.rand(shape, generator=self._generator, device=self._device) >= share
        return kept.float().div_(1 - share)


class TorchBackend(Backend):
    """Torch operations on a device."""

    name = "torch"

    def __init__(self, device: torch.device, threads: int = 1) -> None:
        self.device, self.threads = device, threads

    def slices(self, count: int, size: int) -> list[slice]:
        return [slice(0, count)] if count else []

    def random(self, rng: np.random.Generator) -> Random:
        return DeviceRandom(int(rng.integers(1 << 62)), self.device)

    def compact(self, chosen: Tensor) -> Tensor | None:
        return None

    def gather(self, part: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
        found = torch.index_select(part, 0, index.clamp_min(0), out=out)
        return found.mul_((index >= 0)[:, None])

    def distinct(self, ids: Tensor, rows: int) -> Distinct:
        ordered, order = ids.sort(stable=True)
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        place = first.cumsum(0) - 1
        inverse = torch.empty_like(ids).scatter_(0, order, place)
        return Distinct(torch.full_like(ids, NONE).scatter_(0, place, ordered), inverse)

    def occurrences(self, inverse: Tensor, distinct: int) -> Tensor:
        return inverse

    def sum_rows(self, gradient: Tensor, occurrences: Tensor, rows: slice) -> Tensor:
        return gradient.new_zeros(rows.stop, gradient.shape[1]).index_add_(0, occurrences, gradient)[rows.start :]

    def regularise(
        self, multiple: int, n3: float, l2: float, vectors: Tensor, weight: Tensor, gradient: Tensor
    ) -> float | Tensor:
        if not (n3 or l2):
            return 0.0
        groups = vectors.view(len(vectors), multiple, -1)
        square = groups.square().sum(1)
        modulus = square.sqrt()
        loss = n3 * (modulus * square).sum(1) + l2 / 2 * square.sum(1)
        pull = 3 * n3 * modulus[:, None] * groups + l2 * groups
        gradient += weight[:, None] * pull.reshape(vectors.shape)
        return (loss * weight).sum()

    def check(self, *values: float | Tensor) -> Tensor | None:
        finite = [value.isfinite() for value in values if isinstance(value, Tensor)]
        return torch.stack(finite).all() if finite else None

    def cross_entropy(
        self, scores: Tensor, weight: Tensor, target: Tensor | None, place: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        if mask is not None:
            scores.masked_fill_(mask, -torch.inf)
        top = scores.amax(-1) if scores.shape[-1] else scores.new_full(scores.shape[:-1], -torch.inf)
        top = top if target is None else torch.maximum(top, target)
        scores.sub_(top[..., None])
        if target is not None:
            right = target.sub_(top).clone()
        elif place is not None:
            column = place.expand(scores.shape[:-1])[..., None]
            right = scores.gather(-1, column)[..., 0]
        else:
            right = -top
        summed = scores.exp_().sum(-1)
        summed = summed if target is None else summed + target.exp_()
        share = weight / summed
        scores.mul_(share[..., None])
        if target is not None:
            target.mul_(share).sub_(weight)
        elif place is not None:
            scores.scatter_add_(-1, column, -weight.expand(scores.shape[:-1])[..., None].to(scores.dtype))
        return (weight * (summed.log() - right)).sum()

    def queries(
        self, scorer: Scorer, comparison: Comparison, in_batch: bool, tables: QueryTables, chunks: slice
    ) -> Queries:
        return TorchQueries(scorer, comparison, in_batch, tables, chunks)

    def filter_mask(self, sides: tuple[KnownSide, KnownSide]) -> FilterMask:
        return SearchedMask(sides, self.device)

    def wave(self, parts: WordParts, tiles: Sequence[TileCells], rate: float) -> WaveLoss:
        return train_wave(parts, tiles, rate)
