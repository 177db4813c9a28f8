"""What made a batch fail: the triple, row or relation behind a number that is not finite, for the message."""

from __future__ import annotations

import torch

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
    partition = tuple(arena.shard_of(row) for row in ends)
    names = dataset.rows(["entity"]).column("entity")
    shown = [str(names[arena.row_id(row)].as_py()) for row in ends]
    relation_ = relation_name(dataset, int(batch.relation[place]))
    return f"partition {partition}, triple '{shown[0]}' {relation_} '{shown[1]}': {reason}"


def relation_name(dataset: Dataset, relation: int) -> str:
    """A relation by its name."""
    return f"'{dataset.relations().column('name')[relation].as_py()}'"
