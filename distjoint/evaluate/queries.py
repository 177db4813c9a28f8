"""Queries of one direction and how they are counted against a block of candidates, tile by tile.

A matrix product rounds differently from one shape of block to the next, so a candidate counts as tied when its
score is closer to the answer's than float32 could place a copy of the answer (`TIE`): ties are found however the
candidates are cut into blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from distjoint.arrays import Bools, Doubles, Ints
from distjoint.data.dataset import Triples
from distjoint.data.types import Domains
from distjoint.errors import DistjointError
from distjoint.evaluate.candidates import Candidates
from distjoint.evaluate.scoring import Side, TripleModel

TIE = 1e-6
"""Difference below which scores tie, as a share of the size of the terms that make a score: a few float32 roundings."""
QUERY_TILE = 1024
CANDIDATE_TILE = 4096


@dataclass
class Counts:
    """What ranks are made of, by query.

    higher    int64[n]: candidates that score higher than the right answer, other right answers left out
    reached   int64[n]: those that score at least as high
    met       int64[n]: candidates it was ranked against, the right answers among them
    """

    higher: Ints
    reached: Ints
    met: Ints

    @classmethod
    def of(cls, queries: int) -> Counts:
        return cls(*(np.zeros(queries, np.int64) for _ in range(3)))

    def put(self, chosen: Ints, other: Counts) -> None:
        self.higher[chosen], self.reached[chosen], self.met[chosen] = other.higher, other.reached, other.met

    def ties(self) -> Ints:
        return self.reached - self.higher

    def ranks(self) -> Doubles:
        """float64[n]: a tie counts half."""
        return 1 + (self.higher + self.reached) / 2


class Setting:
    """What stays the same from one chunk of triples to the next."""

    def __init__(
        self,
        model: TripleModel,
        candidates: Candidates,
        triples: Triples,
        known: Triples,
        allowed: Domains | None,
        sample: int | None,
        seed: int,
        memory: int,
        progress: Callable[[float], None] | None,
    ) -> None:
        self.model, self.candidates, self.allowed = model, candidates, allowed
        self.sample, self.seed, self.memory, self.progress = sample, seed, memory, progress
        sides: tuple[Side, Side] = ("tail", "head")
        self.known = {side: Known(known, triples, side, model.relation_count) for side in sides}
        self._buffers: tuple[Tensor, Tensor] | None = None

    def triples_at_once(self) -> int:
        """A triple makes two queries, each with its own vector, its answer's and a copy on the way; a relation is at
        least half as wide as they are. What is drawn for a query is held as a row id and on the way as two places.
        """
        width = 2 * self.model.relations.shape[1]
        if self.sample is None:
            return max(QUERY_TILE, self.memory // (8 * 4 * width))
        return max(1, self.memory // (8 * 4 * width + 2 * 32 * min(self.sample, self.candidates.count)))

    def buffers(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Room for the scores of a tile and for what they are compared to: float[QUERY_TILE * CANDIDATE_TILE] each."""
        if self._buffers is None:
            size = QUERY_TILE * CANDIDATE_TILE
            self._buffers = like.new_empty(size), like.new_empty(size)
        return self._buffers


class Known:
    """Right answers by what is asked: (head, relation, ?) or (?, relation, tail)."""

    def __init__(self, known: Triples, asked: Triples, side: Side, relations: int) -> None:
        """known: all right answers; asked: the triples whose ends will be asked for, as few of them may be."""
        (fixed, answer), wanted = (known.head, known.tail), asked.head
        if side == "head":
            (fixed, answer), wanted = (answer, fixed), asked.tail
        self.relations = relations
        chosen = _among(known.relation, asked.relation) & _among(fixed, wanted)
        fixed, answer, relation = fixed[chosen], answer[chosen], known.relation[chosen]
        keys = fixed * relations + relation
        order = np.lexsort((answer, keys))
        keys, answer = keys[order], answer[order]
        first = np.ones(len(keys), np.bool_)
        first[1:] = (keys[1:] != keys[:-1]) | (answer[1:] != answer[:-1])
        self.keys, self.answers = keys[first], answer[first]

    def spans(self, fixed: Ints, relation: Ints) -> tuple[Ints, Ints]:
        """For each query, where its answers start and stop: int64[n] each."""
        keys = fixed * self.relations + relation
        return np.searchsorted(self.keys, keys, "left"), np.searchsorted(self.keys, keys, "right")


def _among(ids: Ints, wanted: Ints) -> Bools:
    """bool[n]: which ids are wanted."""
    flags = np.zeros(1 + max(int(ids.max(initial=-1)), int(wanted.max(initial=-1))), np.bool_)
    flags[wanted] = True
    return np.asarray(flags[ids])


class Queries:
    """Queries of one direction and their counts so far."""

    def __init__(
        self,
        setting: Setting,
        side: Side,
        query: Tensor,
        answer: Tensor,
        fixed: Ints,
        relation: Ints,
        right: Ints,
        numbers: Ints,
    ) -> None:
        self.setting, self.side, self.known = setting, side, setting.known[side]
        self.relation, self.right, self.numbers = relation, right, numbers
        self.query = setting.model.prepare(query)
        answer = setting.model.prepare(answer)
        target = setting.model.order_pairs(self.query, answer)
        slack = TIE * setting.model.rounding(self.query, answer)
        if not bool(torch.isfinite(target).all()):
            raise DistjointError("relations, or vectors they are asked about, hold NaN or infinity; nothing to rank")
        self.above, self.below = (target + slack)[:, None], (target - slack)[:, None]
        self.start, self.stop = self.known.spans(fixed, relation)
        self.counts = Counts.of(len(query))
        self._prepare()

    def _prepare(self) -> None:
        """What is needed from one block to the next."""
        filters = len(self.query) + int((self.stop - self.start).sum())
        self.kept = list(self._tiles()) if 16 * filters <= self.setting.memory else None

    def _tiles(self) -> Iterator[tuple[slice, Ints, Ints]]:
        """Query tiles, each with the pairs (query in the tile, row) that its counts must not hold.

        A tile ends early where it gathers so many known answers that they would outgrow the memory allowed.
        """
        limit = max(1 << 16, self.setting.memory // 64)
        filled = np.cumsum(self.stop - self.start + 1) // limit
        ends = np.flatnonzero(np.diff(filled, append=filled[-1:] + 1)) + 1
        start = 0
        for end in ends:
            while start < end:
                stop = min(start + QUERY_TILE, int(end))
                yield slice(start, stop), *self._pairs(start, stop)
                start = stop

    def _pairs(self, start: int, stop: int) -> tuple[Ints, Ints]:
        """The known answers of queries [start, stop), the right one among them."""
        first, lengths = self.start[start:stop], (self.stop - self.start)[start:stop]
        query = np.repeat(np.arange(stop - start), lengths)
        within = np.arange(len(query)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows = self.known.answers[np.repeat(first, lengths) + within]
        other = rows != self.right[start:stop][query]
        return (
            np.concatenate([query[other], np.arange(stop - start)]),
            np.concatenate([rows[other], self.right[start:stop]]),
        )

    def count(self, index: int, vectors: Tensor) -> None:
        """Add a block of candidates (prepared vectors) to the counts."""
        candidates = self.setting.candidates
        rows_of_block = candidates.rows[index][candidates.picked[index]]
        for tile, query, rows in self.kept or self._tiles():
            here = candidates.block_of[rows] == index
            query, place = query[here], candidates.place[rows[here]]
            query, place = query[place >= 0], place[place >= 0]
            self._count_tile(tile, vectors, rows_of_block, query, place)
            if self.setting.progress is not None:
                # Each triple is met by two queries, and by each block in turn.
                self.setting.progress((tile.stop - tile.start) / 2 * len(vectors) / candidates.count)

    def _count_tile(self, tile: slice, vectors: Tensor, rows: Ints, query: Ints, place: Ints) -> None:
        order = np.argsort(place, kind="stable")
        query, place = query[order], place[order]
        above, below = self.above[tile], self.below[tile]
        counts, types = self.counts, self._types(tile)
        # One pair of buffers for all tiles: fresh memory for each would cost more in page faults than the product.
        scored, flagged = self.setting.buffers(vectors)
        for start in range(0, len(vectors), CANDIDATE_TILE):
            part = vectors[start : start + CANDIDATE_TILE]
            shape = (len(above), len(part))
            scores = self.setting.model.order(self.query[tile], part, scored[: shape[0] * shape[1]].view(shape))
            if types is None:
                counts.met[tile] += len(part)
            else:
                # What scores minus infinity is neither counted nor, below, taken away again.
                allowed, of_query = types.of(rows[start : start + CANDIDATE_TILE])
                counts.met[tile] += allowed.sum(1)[of_query]
                barred = torch.from_numpy(~allowed).to(scores.device)
                scores.masked_fill_(barred[torch.from_numpy(of_query).to(scores.device)], -torch.inf)
            flags = flagged[: scores.numel()].view(shape)
            # A comparison written as floats and summed is ten times faster than torch.count_nonzero; exact to 2^24.
            higher = torch.gt(scores, above, out=flags).sum(1).long().numpy(force=True)
            reached = torch.ge(scores, below, out=flags).sum(1).long().numpy(force=True)
            low, high = np.searchsorted(place, (start, start + scores.shape[1]))
            asked = torch.from_numpy(query[low:high]).to(scores.device)
            taken = scores[asked, torch.from_numpy(place[low:high].astype(np.int64) - start).to(scores.device)]
            counts.higher[tile] += higher - self._held(query[low:high], taken > above[asked, 0], len(above))
            counts.reached[tile] += reached - self._held(query[low:high], taken >= below[asked, 0], len(above))

    @staticmethod
    def _held(query: Ints, flags: Tensor, queries: int) -> Ints:
        """int64[queries]: how many known answers of each are among what was counted."""
        return np.bincount(query[flags.numpy(force=True)], minlength=queries)

    def _types(self, tile: slice) -> _Types | None:
        return None if self.setting.allowed is None else _Types(self.setting.allowed, self.side, self.relation[tile])


class _Types:
    """Which candidates the relations of a tile of queries allow."""

    def __init__(self, domains: Domains, side: Side, relation: Ints) -> None:
        self.domains, self.side = domains, side
        self.relations, self.of_query = np.unique(relation, return_inverse=True)

    def of(self, rows: Ints) -> tuple[Bools, Ints]:
        """bool[relations, len(rows)], and the place of each query's relation in it: int64[queries]."""
        few = replace(self.domains, type_of=self.domains.type_of[rows])
        return np.stack([few.allowed(relation, self.side) for relation in self.relations.tolist()]), self.of_query
