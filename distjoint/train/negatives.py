"""Negative samplers: which entities serve as negatives. All alike, by degree, or those whose types fit the relation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from distjoint.backends import Backend
from distjoint.backends.base import Random
from distjoint.base.arrays import Doubles, Ints
from distjoint.data.types import Domains
from distjoint.train.known import KnownPositives

_MARKS = 1 << 19
"""Places of a filter mask in a slice of work on a CPU: below that, Python's overhead outweighs a second thread."""


class Sampler(Protocol):
    """Draws negatives."""

    limits: bool
    """Whether it would never draw some entities for some relations: then `mark` finds these among other candidates."""

    def draw(self, random: Random, relation: Tensor, count: int) -> Tensor:
        """Negatives for the tails and for the heads of chunks, with replacement: int64[2, chunks, count], arena rows.

        relation   int64[chunks, triples]
        """

    def mark(self, side: int, relation: Tensor, candidates: Tensor, mask: Tensor) -> None:
        """Mark candidates that it would not draw: other triples' targets, say.

        side         0 where tails are queried, 1 where heads are
        candidates   int64[chunks, width]: arena rows
        mask         bool[chunks, triples, width], set True in place
        """


class Uniform:
    """Every entity alike. rows: int64[m], arena rows"""

    limits = False

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows

    def draw(self, random: Random, relation: Tensor, count: int) -> Tensor:
        return self._rows[random.integers(len(self._rows), (2, len(relation), count))]

    def mark(self, side: int, relation: Tensor, candidates: Tensor, mask: Tensor) -> None:
        return None


class Weighted(Uniform):
    """Each entity as often as its weight says, a power of its degree. cumulative: float64[m], sums of weights"""

    def __init__(self, rows: Tensor, cumulative: Tensor) -> None:
        super().__init__(rows)
        self._cumulative = cumulative

    def draw(self, random: Random, relation: Tensor, count: int) -> Tensor:
        value = random.uniform((2, len(relation), count)) * self._cumulative[-1]
        return self._rows[torch.searchsorted(self._cumulative, value, right=True).clamp_max(len(self._rows) - 1)]


class Typed:
    """Entities that the types of a relation allow at its ends (`Domains`): drawn so, and checked for.

    rows      int64[m]: arena rows
    weight    float64[m]: how often each is drawn
    type_of   int64[arena rows]: each one's set of types
    """

    limits = True

    def __init__(self, domains: Domains, rows: Ints, weight: Doubles, type_of: Ints, backend: Backend) -> None:
        allowed, order = np.stack([domains.tail, domains.head]), np.argsort(type_of[rows], kind="stable")
        rows, sums = rows[order], np.concatenate([[0.0], np.cumsum(weight[order])])
        self._sets = allowed.shape[2]
        bounds = np.searchsorted(type_of[rows], np.arange(self._sets + 1))
        mass = sums[bounds[1:]] - sums[bounds[:-1]]
        # Running sums over sets, relation after relation: one search finds the set, another the entity in it.
        running = np.cumsum(np.where(allowed, mass, 0.0).reshape(2, -1), axis=1)
        self._type_of, self._allowed = backend.tensor(type_of), backend.tensor(allowed)
        self._rows, self._sums, self._running = (backend.tensor(array) for array in (rows, sums, running))
        self._first, self._last = backend.tensor(bounds[:-1].copy()), backend.tensor(bounds[1:] - 1)

    def draw(self, random: Random, relation: Tensor, count: int) -> Tensor:
        """As `Sampler.draw`; each is allowed by some triple of its chunk."""
        chunks, triples = relation.shape
        drawn = torch.empty(2, chunks, count, dtype=torch.int64, device=relation.device)
        for side, running in enumerate(self._running):
            chosen = relation.gather(1, random.integers(triples, (chunks, count)))
            low = torch.where(chosen > 0, running[(chosen * self._sets - 1).clamp_min(0)], 0.0)
            high = running[(chosen + 1) * self._sets - 1]
            below = torch.nextafter(high, torch.zeros_like(high))
            value = torch.minimum(low + random.uniform((chunks, count)) * (high - low), below)
            place = torch.searchsorted(running, value, right=True)
            kind = place % self._sets
            rest = value - torch.where(place > 0, running[(place - 1).clamp_min(0)], 0.0)
            entity = torch.searchsorted(self._sums, self._sums[self._first[kind]] + rest, right=True) - 1
            drawn[side] = self._rows[entity.clamp(self._first[kind], self._last[kind])]
        return drawn

    def mark(self, side: int, relation: Tensor, candidates: Tensor, mask: Tensor) -> None:
        fits, kind = self._allowed[side][relation], self._type_of[candidates]
        mask |= ~fits.gather(2, kind[:, None, :].expand(mask.shape))


@dataclass(frozen=True)
class Pool:
    """Entities that may serve as negatives, or as candidates where all do: those with a training triple.

    rows      int64[m]: arena rows, distinct; on the host
    sampler   draws among them
    known     known positives, which are no negatives; None where they are not looked for
    """

    rows: Ints
    sampler: Sampler
    known: KnownPositives | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def filter_mask(
        self, head: Tensor, relation: Tensor, tail: Tensor, candidates: Tensor, in_batch: bool, backend: Backend
    ) -> Tensor | None:
        """Filter mask: True where a candidate is no negative of a triple; never at the triple's own target.

        head, relation, tail   int64[chunks, triples]
        candidates   int64[2, chunks, width]: arena rows, for tails and for heads
        in_batch     whether candidate k of a chunk is the target of its triple k
        returns      bool[2, chunks, triples, width], None where all are negatives
        """
        if self.known is None and not self.sampler.limits:
            return None
        _, chunks, width = candidates.shape
        mask = torch.zeros(2, chunks, relation.shape[1], width, dtype=torch.bool, device=candidates.device)

        sides = tuple(zip(candidates, mask, strict=True))

        def mark(part: slice) -> None:
            triples = head[part], relation[part], tail[part]
            for side, (every, marks) in enumerate(sides):
                here, into = every[part], marks[part]
                self.sampler.mark(side, triples[1], here, into)
                if self.known is not None:
                    self.known.mask.mark(side, *triples, here, into)

        size = _MARKS // max(1, relation.shape[1] * width)
        for _ in backend.map(mark, backend.slices(chunks, max(1, size))):
            pass
        if in_batch:
            mask.diagonal(dim1=-2, dim2=-1).fill_(False)
        return mask


def sampler_of(rows: Ints, weight: Doubles | None, domains: Domains | None, type_of: Ints, backend: Backend) -> Sampler:
    """The sampler of some rows.

    weight    float64[rows]: how often each is drawn; None for all alike
    domains   where entities may stand, where negatives are limited to that
    type_of   int64[arena rows]: each one's set of types
    """
    if domains is not None:
        return Typed(domains, rows, np.ones(len(rows)) if weight is None else weight, type_of, backend)
    if weight is None:
        return Uniform(backend.tensor(rows))
    return Weighted(backend.tensor(rows), backend.tensor(np.cumsum(weight)))
