"""Train with PyKEEN for ../peers.py; runs in a Python that has PyKEEN: `pip install pykeen`. Tried with 1.11.1.

The training loop is sLCWA with its basic sampler and cross-entropy. PyKEEN draws negatives for each triple alone, and
corrupts the heads of one half of a batch and the tails of the other, so a triple has as many negatives at one end as
others have at both; the number of scores is the same. Its regulariser takes the mean over all rows that are looked
up, negatives among them, once for the right triples and once for the wrong ones.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from pykeen.losses import CrossEntropyLoss
from pykeen.models import ComplEx, DistMult
from pykeen.regularizers import PowerSumRegularizer
from pykeen.training import SLCWATrainingLoop
from pykeen.training.callbacks import TrainingCallback
from pykeen.triples import CoreTriplesFactory
from snapshots import Clock, StopError, Task, Vectors


class Timed(TrainingCallback):  # type: ignore[misc]
    """Tells the clock of each batch."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def post_batch(self, epoch: int, batch: Any, **kwargs: Any) -> None:
        self.clock.trained(len(batch["positives"]), lambda: vectors(self.model))


def vectors(model: torch.nn.Module) -> Vectors:
    entity, relation = (part[0]().detach() for part in (model.entity_representations, model.relation_representations))
    if entity.is_complex():
        entity, relation = (torch.cat([part.real, part.imag], -1) for part in (entity, relation))
    return entity.numpy(), relation.numpy()


def main() -> None:
    logging.disable(logging.WARNING)
    task = Task.read()
    torch.manual_seed(task.seed)
    torch.set_num_threads(task.threads)
    triples = CoreTriplesFactory(torch.from_numpy(task.load()), task.entities, task.relations)
    common: dict[str, Any] = {"triples_factory": triples, "loss": CrossEntropyLoss(), "random_seed": task.seed}
    common["regularizer"] = PowerSumRegularizer if task.n3 else None
    # Of each triple one direction is asked, and its vectors are counted twice.
    common["regularizer_kwargs"] = {"weight": task.n3 / 4, "p": 3.0} if task.n3 else None
    if task.scorer == "complex":  # its dimensions are complex numbers
        model = ComplEx(embedding_dim=task.dim // 2, **common)
    else:
        model = DistMult(embedding_dim=task.dim, entity_constrainer=None, **common)
    loop = SLCWATrainingLoop(
        model=model,
        triples_factory=triples,
        optimizer=torch.optim.Adagrad(model.parameters(), lr=task.rate),
        negative_sampler_kwargs={"num_negs_per_pos": 2 * task.negatives},
    )
    clock = Clock(task)
    clock.start()
    try:
        loop.train(
            triples,
            num_epochs=np.iinfo(np.int32).max,
            batch_size=task.batch,
            use_tqdm=False,
            pin_memory=False,
            callbacks=Timed(clock),
        )
    except StopError:
        return


if __name__ == "__main__":
    main()
