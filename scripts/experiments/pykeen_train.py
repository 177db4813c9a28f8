"""Train a small model with PyKEEN, and save its vectors, its triples and its own filtered ranks; see pykeen_parity.py.

This runs in a Python that has PyKEEN, and needs nothing of distjoint.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from pykeen.pipeline import pipeline
from pykeen.triples import TriplesFactory

KWARGS = {"TransE": {"scoring_fct_norm": 2}, "DistMult": {}, "ComplEx": {}}


def main(folder: Path, model: str, epochs: int, dim: int, out: Path) -> None:
    train = TriplesFactory.from_path(folder / "train.txt")
    ids = {"entity_to_id": train.entity_to_id, "relation_to_id": train.relation_to_id}
    held_out = [TriplesFactory.from_path(folder / f"{split}.txt", **ids) for split in ("valid", "test")]
    result = pipeline(
        training=train,
        validation=held_out[0],
        testing=held_out[1],
        model=model,
        model_kwargs={"embedding_dim": dim, **KWARGS[model]},
        training_kwargs={"num_epochs": epochs, "use_tqdm": False},
        evaluation_kwargs={"use_tqdm": False},
        random_seed=0,
        device="cpu",
    )
    splits = dict(zip(("train", "valid", "test"), (train, *held_out), strict=True))
    saved = {name: factory.mapped_triples.numpy() for name, factory in splits.items()}
    for name, parts in (("entity", "entity_representations"), ("relation", "relation_representations")):
        vectors = getattr(result.model, parts)[0]().detach()
        if vectors.is_complex():
            vectors = torch.cat([vectors.real, vectors.imag], -1)
        saved[name] = vectors.numpy()
    for ties in ("realistic", "optimistic", "pessimistic"):
        saved[ties] = np.array(result.get_metric(f"both.{ties}.inverse_harmonic_mean_rank"))
    np.savez(out, **saved)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
