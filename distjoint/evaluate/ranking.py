"""Filtered link prediction: exact ranks by counting over blocks of candidates, or ranks among drawn candidates.

For each query it counts, block by block, the candidates that score higher than the right answer and those
that tie with it, and takes away the other answers that are known to be right. Nothing larger than a tile of
scores is ever in memory, and blocks may come from anywhere: a resident shard, a checkpoint, another machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from distjoint.base.arrays import Ints
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Triples
from distjoint.data.types import Domains
from distjoint.evaluate.candidates import Candidates
from distjoint.evaluate.queries import Counts, RankingProblem, RankingQueries
from distjoint.evaluate.ranks import LinkPrediction
from distjoint.evaluate.sampling import SampledQueries
from distjoint.evaluate.scoring import Side, TripleModel

MEMORY = 256 << 20


@torch.inference_mode()
def link_prediction(
    model: TripleModel,
    candidates: Candidates,
    triples: Triples,
    known: Triples,
    unseen_ends: Ints | None = None,
    *,
    allowed: Domains | None = None,
    sample: int | None = None,
    seed: int = 0,
    memory: int = MEMORY,
    progress: Callable[[float], None] | None = None,
) -> LinkPrediction:
    """Rank the right head and the right tail of each triple among the candidates, filtered.

    triples       by row id; their ends must have a vector in some block
    known         every triple known to be right, of all splits, by row id: other right answers are not counted
    unseen_ends   int64[len(triples)]: ends that have no training triple; reported apart
    allowed       leave out candidates that the relation's types do not allow at this end; never the right answer
    sample        rank among so many candidates besides the right answer, drawn evenly for each query, not among all
    seed          decides what is drawn; the same draw for the same triples in the same order
    memory        bytes that vectors of queries, scores and filters may take, besides one block
    progress      told how many triples have been ranked since it was last told
    raises        DistjointError when a vector is not finite, or the end of a triple has none
    """
    if not len(triples):
        raise DistjointError("link prediction: the split holds no triples; prepare with --valid or --test")
    problem = RankingProblem(model, candidates, triples, known, allowed, sample, seed, memory, progress)
    found = {side: Counts.zeros(len(triples)) for side in ("tail", "head")}
    # Queries of a relation side by side share its mask of types.
    order = np.arange(len(triples)) if allowed is None else np.argsort(triples.relation, kind="stable")
    most = problem.triples_at_once()
    for start in range(0, len(triples), most):
        chosen = order[start : start + most]
        chunk = triples.select(chosen)
        for side, counts in _rank(problem, chunk, chosen).items():
            found[side].put(chosen, counts)
    head, tail = found["head"], found["tail"]
    unseen = np.zeros(len(triples), np.int64) if unseen_ends is None else unseen_ends
    ties, own = (head.ties(), tail.ties()), (head.own(), tail.own())
    result = LinkPrediction(head.ranks(), tail.ranks(), unseen, candidates.count, *ties, *own)
    if sample is None and allowed is None:
        return result
    mean = float(np.mean([head.ranked, tail.ranked]))
    count = candidates.count if sample is None else min(sample, candidates.count - 1)
    return replace(
        result, candidates=count, sampled=sample is not None, typed=allowed is not None, mean_candidates=mean
    )


def _rank(problem: RankingProblem, triples: Triples, numbers: Ints) -> dict[Side, Counts]:
    """Counts of both directions for a chunk of triples.

    numbers   int64[n]: their places among all that are ranked
    """
    candidates, model = problem.candidates, problem.model
    ends = candidates.gather(np.concatenate([triples.head, triples.tail]))
    head, tail = ends[: len(triples)], ends[len(triples) :]
    relation = torch.from_numpy(triples.relation).to(head.device)
    kind = RankingQueries if problem.sample is None else SampledQueries
    sides: tuple[tuple[Side, Tensor, Tensor, Ints, Ints], ...] = (
        ("tail", head, tail, triples.head, triples.tail),
        ("head", tail, head, triples.tail, triples.head),
    )
    parts = {
        side: kind(problem, side, model.queries(end, relation, side), answer, given, triples.relation, right, numbers)
        for side, end, answer, given, right in sides
    }
    for index, picked in enumerate(candidates.picked):
        if len(picked):
            vectors = model.prepare(candidates.vectors(index))
            for part in parts.values():
                part.count(index, vectors)
            del vectors  # before the next block is fetched
    return {side: part.counts for side, part in parts.items()}
