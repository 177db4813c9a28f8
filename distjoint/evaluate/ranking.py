"""Exact filtered link prediction, by counting, over blocks of candidates.

For each query it counts, block by block, the candidates that score higher than the right answer and those
that tie with it, and takes away the other answers that are known to be right. Nothing larger than a tile of
scores is ever in memory, and blocks may come from anywhere: a resident shard, a checkpoint, another machine.

Ties get their mean rank, 1 + higher + tied / 2. A matrix product rounds differently from one shape of block
to the next, so a candidate counts as tied when its score is closer to the answer's than float32 could place a
copy of the answer (`TIE`): ties are found however the candidates are cut into blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distjoint.data.dataset import Triples
from distjoint.data.layout import Layout
from distjoint.errors import DistjointError
from distjoint.evaluate.scoring import Side, TripleModel

TIE = 1e-6
"""Difference below which scores tie, as a share of the size of the terms that make a score: a few float32 roundings."""
QUERY_TILE = 1024
CANDIDATE_TILE = 4096
MEMORY = 256 << 20
HITS = (1, 3, 10)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """The entities that answers are ranked among, in blocks that are fetched one at a time.

    rows      for each block, int64[n]: the row ids of its vectors
    block     fetches block i: float[n, dim], the vectors as the graph scores them
    listed    bool[all rows], by row id: which of them are candidates; None for all
    """

    rows: Sequence[Ints]
    block: Callable[[int], Tensor]
    listed: Bools | None = None


@dataclass(frozen=True)
class LinkPrediction:
    """Ranks of the right answers, by triple, kept for paired comparisons.

    head, tail   float64[n]: rank of the right head and of the right tail, from 1
    unseen       bool[n]: an end of the triple is in no training triple
    candidates   entities ranked against
    """

    head: Floats
    tail: Floats
    unseen: Bools
    candidates: int

    def metrics(self) -> dict[str, Any]:
        """`mrr`, `hits@1`, `hits@3`, `hits@10`, `mean_rank`, `triples` over both directions; the same under `head`
        and `tail` for one direction, and under `unseen` for the triples with an unseen end, where there are any.
        """
        result: dict[str, Any] = {**summary(self.head, self.tail), "candidates": self.candidates}
        result["head"], result["tail"] = summary(self.head), summary(self.tail)
        if self.unseen.any():
            result["unseen"] = summary(self.head[self.unseen], self.tail[self.unseen])
        return result

    @property
    def mrr(self) -> float:
        """Filtered mean reciprocal rank over both directions."""
        return float(np.mean([1 / self.head, 1 / self.tail]))


def summary(*ranks: Floats) -> dict[str, float]:
    """The usual figures of some ranks: float64[n] for each direction."""
    every = np.concatenate(ranks)
    hits = {f"hits@{k}": float(np.mean(every <= k)) for k in HITS}
    return {"mrr": float(np.mean(1 / every)), **hits, "mean_rank": float(np.mean(every)), "triples": len(ranks[0])}


def entity_rows(layout: Layout) -> list[Ints]:
    """For each shard, the row ids of its entities in order of offset: the rows of part X."""
    return [layout.rows_of(shard)[layout.has_entity(shard)] for shard in range(layout.shards)]


def listed_rows(rows: int, *splits: Triples) -> Bools:
    """bool[rows]: the rows that occur in some split, which is what a result is ranked against."""
    listed = np.zeros(rows, np.bool_)
    for triples in splits:
        listed[triples.head] = listed[triples.tail] = True
    return listed


@torch.inference_mode()
def link_prediction(
    model: TripleModel,
    candidates: Candidates,
    triples: Triples,
    known: Triples,
    unseen: Bools | None = None,
    *,
    memory: int = MEMORY,
    progress: Callable[[float], None] | None = None,
) -> LinkPrediction:
    """Rank the right head and the right tail of each triple among the candidates, filtered.

    triples    by row id; their ends must have a vector in some block
    known      every triple known to be right, of all splits, by row id: other right answers are not counted
    unseen     bool[len(triples)]: an end has no training triple; reported apart
    memory     bytes that vectors of queries, scores and filters may take, besides one block
    progress   told how many triples have been ranked since it was last told
    raises     DistjointError when a vector is not finite, or the end of a triple has none
    """
    if not len(triples):
        raise DistjointError("link prediction: the split holds no triples; prepare with --valid or --test")
    ranker = _Ranker(model, candidates, known, memory, progress)
    ranks = {side: np.empty(len(triples)) for side in ("head", "tail")}
    # A triple makes two queries, each with its own vector, its answer's and a copy on the way; a relation is at
    # least half as wide as they are.
    width = 2 * model.relations.shape[1]
    most = max(QUERY_TILE, memory // (8 * 4 * width))
    for start in range(0, len(triples), most):
        part = slice(start, start + most)
        chunk = Triples(triples.head[part], triples.relation[part], triples.tail[part])
        ranks["tail"][part], ranks["head"][part] = ranker.rank(chunk)
    missing = np.zeros(len(triples), np.bool_) if unseen is None else unseen
    return LinkPrediction(ranks["head"], ranks["tail"], missing, ranker.count)


class _Ranker:
    """What stays the same from one chunk of triples to the next."""

    def __init__(
        self,
        model: TripleModel,
        candidates: Candidates,
        known: Triples,
        memory: int,
        progress: Callable[[float], None] | None,
    ) -> None:
        self.progress = progress
        self._buffers: tuple[Tensor, Tensor] | None = None
        self.model, self.candidates, self.memory = model, candidates, memory
        self.relations = model.relation_count
        self.known = {side: _Known(known, side, self.relations) for side in ("tail", "head")}
        size = 1 + max((int(rows.max()) for rows in candidates.rows if len(rows)), default=-1)
        self.block_of = np.full(size, -1, np.int32)
        self.place_in = np.zeros(size, np.int32)
        for index, rows in enumerate(candidates.rows):
            self.block_of[rows], self.place_in[rows] = index, np.arange(len(rows))
        self.picked = [self._picked(rows) for rows in candidates.rows]
        self.count = sum(len(picked) for picked in self.picked)
        if candidates.listed is not None:
            # From here on a place is that among the block's candidates, and -1 for a row that is none.
            self.candidate_place = np.full(size, -1, np.int32)
            for rows, picked in zip(candidates.rows, self.picked, strict=True):
                self.candidate_place[rows[picked]] = np.arange(len(picked))
        else:
            self.candidate_place = self.place_in

    def buffers(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Room for the scores of a tile and for what they are compared to: float[QUERY_TILE * CANDIDATE_TILE] each."""
        if self._buffers is None:
            size = QUERY_TILE * CANDIDATE_TILE
            self._buffers = like.new_empty(size), like.new_empty(size)
        return self._buffers

    def _picked(self, rows: Ints) -> Ints:
        """Places in the block of its candidates."""
        listed = self.candidates.listed
        return np.arange(len(rows)) if listed is None else np.flatnonzero(listed[rows])

    def rank(self, triples: Triples) -> tuple[Floats, Floats]:
        """Ranks of the tails, and of the heads: float64[n] each."""
        ends = self._gather(np.concatenate([triples.head, triples.tail]))
        head, tail = ends[: len(triples)], ends[len(triples) :]
        relation = torch.from_numpy(triples.relation).to(head.device)
        sides: tuple[tuple[Side, Tensor, Tensor, Ints, Ints], ...] = (
            ("tail", head, tail, triples.head, triples.tail),
            ("head", tail, head, triples.tail, triples.head),
        )
        parts = [
            _Queries(self, side, self.model.queries(given, relation, side), answer, fixed, triples.relation, right)
            for side, given, answer, fixed, right in sides
        ]
        for index, rows in enumerate(self.picked):
            if len(rows):
                vectors = self.candidates.block(index)
                if len(rows) < len(vectors):
                    vectors = vectors[torch.from_numpy(rows).to(vectors.device)]
                if not bool(torch.isfinite(vectors).all()):
                    raise DistjointError(f"entity vectors of shard {index} hold NaN or infinity; they cannot be ranked")
                vectors = self.model.prepare(vectors)
                for part in parts:
                    part.count(index, vectors)
        tails, heads = (part.ranks() for part in parts)
        return tails, heads

    def _gather(self, rows: Ints) -> Tensor:
        """float[n, dim]: the vectors of some rows, from whichever blocks hold them."""
        known = rows < len(self.block_of)
        if not known.all() or (self.block_of[rows] < 0).any():
            raise DistjointError("link prediction: a triple names a row without an entity vector")
        wanted, back = np.unique(rows, return_inverse=True)
        blocks, found = self.block_of[wanted], None
        for index in np.unique(blocks):
            vectors = self.candidates.block(int(index))
            if found is None:
                found = vectors.new_empty((len(wanted), vectors.shape[1]))
            here = np.flatnonzero(blocks == index)
            places = torch.from_numpy(self.place_in[wanted[here]].astype(np.int64)).to(vectors.device)
            found[torch.from_numpy(here).to(vectors.device)] = vectors[places]
        assert found is not None
        return found[torch.from_numpy(back).to(found.device)]


class _Known:
    """Right answers by what is asked: (head, relation, ?) or (?, relation, tail)."""

    def __init__(self, known: Triples, side: Side, relations: int) -> None:
        fixed, answer = (known.head, known.tail) if side == "tail" else (known.tail, known.head)
        self.relations = relations
        keys = fixed * relations + known.relation
        order = np.lexsort((answer, keys))
        keys, answer = keys[order], answer[order]
        first = np.ones(len(keys), np.bool_)
        first[1:] = (keys[1:] != keys[:-1]) | (answer[1:] != answer[:-1])
        self.keys, self.answers = keys[first], answer[first]

    def spans(self, fixed: Ints, relation: Ints) -> tuple[Ints, Ints]:
        """For each query, where its answers start and stop: int64[n] each."""
        keys = fixed * self.relations + relation
        return np.searchsorted(self.keys, keys, "left"), np.searchsorted(self.keys, keys, "right")


class _Queries:
    """Queries of one direction and their counts so far."""

    def __init__(
        self, ranker: _Ranker, side: Side, query: Tensor, answer: Tensor, fixed: Ints, relation: Ints, right: Ints
    ) -> None:
        self.ranker, self.known, self.right = ranker, ranker.known[side], right
        self.query = ranker.model.prepare(query)
        answer = ranker.model.prepare(answer)
        target = ranker.model.order_pairs(self.query, answer)
        slack = TIE * ranker.model.rounding(self.query, answer)
        if not bool(torch.isfinite(target).all()):
            raise DistjointError("relations, or vectors they are asked about, hold NaN or infinity; nothing to rank")
        self.above, self.below = (target + slack)[:, None], (target - slack)[:, None]
        self.start, self.stop = self.known.spans(fixed, relation)
        # Candidates that score higher, plus those that score at least as high: a tie counts half of the others.
        self.counts = np.zeros(len(query), np.int64)
        filters = len(query) + int((self.stop - self.start).sum())
        self.kept = list(self._tiles()) if 16 * filters <= ranker.memory else None

    def _tiles(self) -> Iterator[tuple[slice, Ints, Ints]]:
        """Query tiles, each with the pairs (query in the tile, row) that its counts must not hold.

        A tile ends early where it gathers so many known answers that they would outgrow the memory allowed.
        """
        limit = max(1 << 16, self.ranker.memory // 64)
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
        for tile, query, rows in self.kept or self._tiles():
            here = self.ranker.block_of[rows] == index
            query, place = query[here], self.ranker.candidate_place[rows[here]]
            query, place = query[place >= 0], place[place >= 0]
            self._count_tile(tile, vectors, query, place)
            if self.ranker.progress is not None:
                # Each triple is met by two queries, and by each block in turn.
                self.ranker.progress((tile.stop - tile.start) / 2 * len(vectors) / self.ranker.count)

    def _count_tile(self, tile: slice, vectors: Tensor, query: Ints, place: Ints) -> None:
        order = np.argsort(place, kind="stable")
        query, place = query[order], place[order]
        above, below = self.above[tile], self.below[tile]
        # One pair of buffers for all tiles: fresh memory for each would cost more in page faults than the product.
        scored, flagged = self.ranker.buffers(vectors)
        for start in range(0, len(vectors), CANDIDATE_TILE):
            part = vectors[start : start + CANDIDATE_TILE]
            shape = (len(above), len(part))
            scores = self.ranker.model.order(self.query[tile], part, scored[: shape[0] * shape[1]].view(shape))
            flags = flagged[: scores.numel()].view(shape)
            # A comparison written as floats and summed is ten times faster than torch.count_nonzero; exact to 2^24.
            higher = torch.gt(scores, above, out=flags).sum(1)
            reached = torch.ge(scores, below, out=flags).sum(1)
            self.counts[tile] += (higher + reached).long().numpy(force=True)
            low, high = np.searchsorted(place, (start, start + scores.shape[1]))
            asked = torch.from_numpy(query[low:high]).to(scores.device)
            taken = scores[asked, torch.from_numpy(place[low:high].astype(np.int64) - start).to(scores.device)]
            known = (taken > above[asked, 0]).int() + (taken >= below[asked, 0]).int()
            held = np.bincount(query[low:high], known.numpy(force=True), minlength=tile.stop - tile.start)
            self.counts[tile] -= held.astype(np.int64)

    def ranks(self) -> Floats:
        return 1 + self.counts / 2
