"""Train with PyTorch-BigGraph for ../peers.py; runs in a Python that has it: tried with 1.0.1.dev0 from its sources.

One partition, `workers` processes that train without locks (Hogwild), dot products, softmax, row-wise AdaGrad. Its
relations are `dynamic`, as in its own configuration for FB15k: a batch mixes relations, and each has a second vector
for predicting heads. `num_batch_negs` triples make a chunk, whose ends serve each other as negatives, and which
shares `num_uniform_negs` more. The clock counts what the workers do with the edges: not that edges are read, nor that
the table is written after each pass and read again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from snapshots import Clock, StopError, Task, Vectors
from torchbiggraph.config import ConfigSchema
from torchbiggraph.train_cpu import TrainingCoordinator

OPERATORS = {"complex": "complex_diagonal", "distmult": "diagonal"}


class Timed(TrainingCoordinator):  # type: ignore[misc]
    """Tells the clock of each pass."""

    clock: Clock

    def _coordinate_train(self, edges: Any, *rest: Any) -> Any:
        self.clock.start()
        stats = super()._coordinate_train(edges, *rest)
        self.clock.stop()
        self.clock.trained(len(edges), self._vectors)
        return stats

    def _vectors(self) -> Vectors:
        entity = self.holder.partitioned_embeddings["all", 0].detach()
        sides = (self.model.lhs_operators[0], self.model.rhs_operators[0])  # to predict tails; to predict heads
        relation = torch.cat([torch.cat(list(side.parameters()), -1).detach() for side in sides])
        return entity.numpy(), relation.numpy()


def write_graph(task: Task, folder: Path) -> None:
    """What its importers make of a file of triples."""
    (folder / "entity_count_all_0.txt").write_text(str(task.entities))
    (folder / "dynamic_rel_count.txt").write_text(str(task.relations))
    with h5py.File(folder / "edges_0_0.h5", "w") as file:
        file.attrs["format_version"] = 1
        for name, column in zip(("lhs", "rel", "rhs"), task.load().T, strict=True):
            file.create_dataset(name, data=np.ascontiguousarray(column))


def config(task: Task, folder: Path) -> ConfigSchema:
    relation = {"name": "all", "lhs": "all", "rhs": "all", "operator": OPERATORS[task.scorer]}
    return ConfigSchema.from_dict(
        {
            "entity_path": str(folder),
            "edge_paths": [str(folder)],
            "checkpoint_path": str(folder / "checkpoints"),
            "entities": {"all": {"num_partitions": 1}},
            "relations": [relation],
            "dynamic_relations": True,
            "dimension": task.dim,
            "global_emb": False,
            "comparator": "dot",
            "loss_fn": "softmax",
            "lr": task.rate,
            "regularizer": "N3",
            "regularization_coef": task.n3 / 2,  # it counts the two ends of a triple once for each direction
            "batch_size": task.batch,
            "num_batch_negs": task.in_batch,
            "num_uniform_negs": task.uniform,
            "num_epochs": 1_000_000,
            "eval_fraction": 0.0,
            "hogwild_delay": 0.0,
            "workers": task.threads,
        }
    )


def main() -> None:
    task = Task.read()
    torch.manual_seed(task.seed)
    folder = Path(task.folder)
    write_graph(task, folder)
    clock = Clock(task)
    coordinator = Timed(config(task, folder))
    coordinator.clock = clock
    try:
        coordinator.train()
    except StopError:
        coordinator.pool.terminate()
        coordinator.pool.join()
    sys.exit(0)


if __name__ == "__main__":
    main()
