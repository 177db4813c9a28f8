"""Train with LibKGE for ../peers.py; runs in a Python that has what LibKGE imports: see `source` below.

LibKGE's sources are read from a folder, and not installed: its packages for searching hyperparameters (ax, hpbandster,
ConfigSpace) need not be there, so empty modules stand in for them. Training is negative sampling with KL divergence,
relations are reciprocal, and a batch shares its negatives (`shared`, `batch`), which is the fastest that LibKGE has.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import yaml
from snapshots import Clock, StopError, Task, Vectors

ABSENT = ("ax", "hpbandster", "ConfigSpace", "igraph", "torchviz")


class Anything(ModuleType):
    """A module that has every name; but for the language's own, which imports look for."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Absent(MetaPathFinder, Loader):
    """Modules that LibKGE imports and training does not use."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in ABSENT else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Anything(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        return None


def write_graph(task: Task, folder: Path) -> None:
    """What its preprocessing makes of files of triples; the splits it does not train on hold one triple each."""
    folder.mkdir()
    triples = task.load()
    for split, part in (("train", triples), ("valid", triples[:1]), ("test", triples[:1])):
        np.savetxt(folder / f"{split}.del", part, "%d", "\t")
    for name, count in (("entity", task.entities), ("relation", task.relations)):
        (folder / f"{name}_ids.del").write_text("".join(f"{i}\t{i}\n" for i in range(count)))
    files = {split: {"filename": f"{split}.del", "type": "triples"} for split in ("train", "valid", "test")}
    ids = {f"{name}_ids": {"filename": f"{name}_ids.del", "type": "map"} for name in ("entity", "relation")}
    about = {"name": "graph", "num_entities": task.entities, "num_relations": task.relations, "files": files | ids}
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"dataset": about}))


def settings(task: Task) -> dict[str, Any]:
    base = "reciprocal_relations_model.base_model"
    return {
        "job.type": "train",
        "job.device": "cpu",
        "console.quiet": True,
        "dataset.name": "graph",
        "model": "reciprocal_relations_model",
        f"{base}.type": task.scorer,
        "lookup_embedder.dim": task.dim,
        "lookup_embedder.sparse": True,
        "lookup_embedder.initialize": "normal_",
        "lookup_embedder.initialize_args.std": 0.1,  # with 1, its own, it learns far less in the same time
        "lookup_embedder.space": "complex" if task.scorer == "complex" else "euclidean",
        "lookup_embedder.regularize": "n3" if task.scorer == "complex" else "lp",
        "lookup_embedder.regularize_args.p": 3,
        "lookup_embedder.regularize_weight": 3 * task.n3,  # it divides by 3
        "lookup_embedder.regularize_args.weighted": True,
        "train.type": "negative_sampling",
        "train.loss": "kl",
        "train.batch_size": task.batch,
        "train.max_epochs": 1_000_000,
        "train.optimizer.default.type": "Adagrad",
        "train.optimizer.default.args.lr": task.rate,
        "negative_sampling.num_samples.s": task.negatives,
        "negative_sampling.num_samples.o": task.negatives,
        "negative_sampling.shared": True,
        "negative_sampling.shared_type": "naive",
        "negative_sampling.implementation": "batch",
        "random_seed.default": task.seed,
        "valid.every": 0,
    }


def main() -> None:
    task = Task.read()
    assert task.source is not None
    sys.meta_path.append(Absent())
    sys.path.insert(0, task.source)
    torch.set_num_threads(task.threads)
    from kge import Config, Dataset
    from kge.job import TrainingJob
    from kge.util.seed import seed_from_config

    folder = Path(task.folder)
    write_graph(task, folder / "graph")
    config = Config(folder=str(folder / "run"))
    config._import(task.scorer)
    config._import("reciprocal_relations_model")
    for key, value in settings(task).items():
        config.set(key, value, create=True)
    config.init_folder()
    seed_from_config(config)
    dataset = Dataset.create(config, folder=str(folder / "graph"))
    job = TrainingJob.create(config, dataset)
    job.save = lambda filename: None  # no checkpoints
    clock = Clock(task)

    def vectors() -> Vectors:
        entity, relation = (
            part.embed_all().detach().numpy() for part in (job.model.get_s_embedder(), job.model.get_p_embedder())
        )
        return entity, relation

    job.pre_epoch_hooks.append(lambda job: clock.start())
    job.post_batch_hooks.append(lambda job: clock.trained(job.current_trace["batch"]["size"], vectors))
    try:
        job.run()
    except StopError:
        return


if __name__ == "__main__":
    main()
