"""What made a batch fail: the triple, pair, row or relation behind a number that is not finite, for the message."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from distjoint.data.dataset import Dataset
from distjoint.table.arena import Arena
from distjoint.train.batches import Batch
from distjoint.train.terms import TermTrainer


@torch.no_grad()
def offending_triple(trainer: TermTrainer, batch: Batch, arena: Arena, dataset: Dataset) -> str:
    """The first triple of a batch that cannot be trained: its partition, its names, and what of it is not finite."""
    head, relation, tail = (trainer.backend.tensor(ids) for ids in (batch.head, batch.relation, batch.tail))
    vectors = trainer.view.gather(head), trainer.view.gather(tail)
    relations = trainer.relations(None).values
    bad = {
        "head": ~vectors[0].isfinite().all(1),
        "tail": ~vectors[1].isfinite().all(1),
        "relation": ~relations[relation].isfinite().all(1),
    }
    queries = trainer.scorer.query(vectors[0], relations[relation], trainer.dense)
    scores, _ = trainer.comparison.pairs(trainer.comparison.embed(queries)[0], trainer.comparison.embed(vectors[1])[0])
    bad["score"] = ~scores.isfinite()
    failing = torch.stack(list(bad.values())).any(0)
    place = int(failing.nonzero()[0]) if bool(failing.any()) else int(scores.abs().argmax())
    wrong = [name for name, which in bad.items() if bool(which[place])]
    reason = f"its {wrong[0]} is not finite" if wrong else f"the largest score, {float(scores[place]):.4g}, is its own"
    ends = [int(batch.head[place]), int(batch.tail[place])]
    partition, shown = _place_and_names(ends, ("entity", "entity"), arena, dataset)
    relation_ = relation_name(dataset, int(batch.relation[place]))
    return f"partition {partition}, triple '{shown[0]}' {relation_} '{shown[1]}': {reason}"


def offending_sample(first: Tensor, second: Tensor, gradients: Sequence[Tensor], arena: Arena, dataset: Dataset) -> str:
    """The sample of a batch that cannot be trained, by its largest gradient: its partition and its names.

    first, second   int64[n]: arena rows of either end, an entity and a word
    gradients       float32[n, dim] each
    """
    squares = torch.stack([gradient.square().sum(1) for gradient in gradients]).sum(0)
    place = int(squares.nan_to_num(nan=torch.inf, posinf=torch.inf).argmax())
    ends = [int(rows[place]) for rows in (first, second)]
    partition, shown = _place_and_names(ends, ("entity", "word"), arena, dataset)
    return f"partition {partition}, '{shown[0]}' with '{shown[1]}'"


def _place_and_names(
    ends: Sequence[int], columns: tuple[str, str], arena: Arena, dataset: Dataset
) -> tuple[tuple[int, ...], list[str]]:
    """The partition of a sample, and what its two arena rows are called."""
    names = dataset.rows(list(dict.fromkeys(columns)))
    ids = [arena.row_id(row) for row in ends]
    shown = [str(names.column(column)[id_].as_py()) for column, id_ in zip(columns, ids, strict=True)]
    return tuple(arena.shard_of(row) for row in ends), shown


def relation_name(dataset: Dataset, relation: int) -> str:
    """A relation by its name."""
    return f"'{dataset.relations().column('name')[relation].as_py()}'"
