"""Train with PyKEEN for ../peers.py; runs in a Python that has PyKEEN: `pip install pykeen`. Tried with 1.11.1.

Its loop sLCWA with the basic sampler and cross-entropy. PyKEEN draws negatives for each triple alone, and corrupts the
heads of one half of a batch and the tails of the other, so a triple has as many negatives at one end as others have at
both; the number of scores is the same. Its regulariser takes the mean over all rows that are looked up, negatives among
them, once for the right triples and once for the wrong ones.

With `all_entities` its loop LCWA: all entities are candidates, triples that ask the same are one question, and the
inverse of each relation is a relation of its own, which predicts heads.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import numpy as np
import torch
from pykeen.losses import CrossEntropyLoss
from pykeen.models import ComplEx, DistMult
from pykeen.regularizers import PowerSumRegularizer
from pykeen.training import LCWATrainingLoop, SLCWATrainingLoop
from pykeen.training.callbacks import TrainingCallback
from pykeen.triples import CoreTriplesFactory
from snapshots import Clock, StopError, Task, Vectors
from torch.nn.init import normal_


class Timed(TrainingCallback):  # type: ignore[misc]
    """Tells the clock of each batch."""

    def __init__(self, task: Task, clock: Clock) -> None:
        super().__init__()
        self.task, self.clock = task, clock
        triples = task.load()
        questions = sum(len(np.unique(triples[:, ends], axis=0)) for ends in ([0, 1], [1, 2]))
        self.triples_per_question = len(triples) / questions

    def pre_batch(self, **kwargs: Any) -> None:
        self.clock.start()

    def post_batch(self, epoch: int, batch: Any, **kwargs: Any) -> None:
        full = self.task.all_entities
        trained = len(batch["pairs"]) * self.triples_per_question if full else len(batch["positives"])
        self.clock.trained(trained, lambda: vectors(self.model, self.task))


@torch.no_grad()  # or the regulariser would count it
def vectors(model: torch.nn.Module, task: Task) -> Vectors:
    entity, relation = (part[0]() for part in (model.entity_representations, model.relation_representations))
    if entity.is_complex():
        entity, relation = (torch.cat([part.real, part.imag], -1) for part in (entity, relation))
    if task.all_entities:  # relations and their inverses alternate
        relation = torch.cat([relation[0::2], relation[1::2]])
    return entity.numpy(), relation.numpy()


def model_of(task: Task, triples: CoreTriplesFactory) -> torch.nn.Module:
    start = partial(normal_, std=0.1)  # PyKEEN's own is 1, with which it learns far less in the same time
    # One direction is asked at a time; sLCWA counts the vectors of a triple twice.
    weight = task.n3 / (2 if task.all_entities else 4)
    common: dict[str, Any] = {
        "triples_factory": triples,
        "loss": CrossEntropyLoss(),
        "random_seed": task.seed,
        "regularizer": PowerSumRegularizer if task.n3 else None,
        "regularizer_kwargs": {"weight": weight, "p": 3.0} if task.n3 else None,
        "entity_initializer": start,
        "relation_initializer": start,
    }
    if task.scorer == "complex":  # its dimensions are complex numbers
        return ComplEx(embedding_dim=task.dim // 2, **common)
    return DistMult(embedding_dim=task.dim, entity_constrainer=None, **common)


def main() -> None:
    logging.disable(logging.WARNING)
    task = Task.read()
    torch.manual_seed(task.seed)
    torch.set_num_threads(task.threads)
    triples = CoreTriplesFactory(
        torch.from_numpy(task.load()), task.entities, task.relations, create_inverse_triples=task.all_entities
    )
    model = model_of(task, triples)
    loop = LCWATrainingLoop if task.all_entities else partial(SLCWATrainingLoop, negative_sampler_kwargs=sampler(task))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=task.rate)
    callback = Timed(task, Clock(task))
    try:
        loop(model=model, triples_factory=triples, optimizer=optimizer).train(
            triples,
            num_epochs=1_000_000,
            batch_size=task.batch,
            use_tqdm=False,
            use_tqdm_batch=False,
            pin_memory=False,
            callbacks=callback,
        )
    except StopError:
        return


def sampler(task: Task) -> dict[str, int]:
    return {"num_negs_per_pos": 2 * task.negatives}


if __name__ == "__main__":
    main()
