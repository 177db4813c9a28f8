"""Validation between epochs: filtered MRR of a checkpoint just written, which epoch was best, when to stop.

It ranks from the checkpoint's files, shard by shard, so it sees what a user will load, and needs no collective.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from distjoint.data.dataset import Dataset, Triples
from distjoint.data.streams import SPLITS
from distjoint.evaluate.ranking import link_prediction
from distjoint.evaluate.trained import TrainedVectors
from distjoint.runs.checkpoint import Position
from distjoint.runs.folder import Checkpoint, RunFolder, RunInfo
from distjoint.storage import Location


class Validation:
    """Measures checkpoints, on rank 0, and tells every worker when to stop.

    lines   the metrics of the epochs before this start, from which best and patience are taken up again
    """

    def __init__(self, run: Location, info: RunInfo, dataset: Dataset, lines: list[dict[str, Any]]) -> None:
        self._run, self._info, self._dataset = run, info, dataset
        self._settings = info.config.train
        self._measured = [(line["valid_mrr"], line["epoch"]) for line in lines if "valid_mrr" in line]
        self._stop = self._gainless() >= self._settings.patience > 0

    @property
    def best(self) -> str | None:
        """Name of the best checkpoint, None where none was measured."""
        return Position(max(self._measured, key=lambda m: (m[0], -m[1]))[1]).name if self._measured else None

    def exhausted(self) -> bool:
        """Whether patience has run out; the same on every worker after `share`."""
        return self._stop

    def due(self, epoch: int) -> bool:
        every = self._settings.validate_every
        return bool(every) and "graph" in self._info.sources and epoch % every == 0

    def after(self, epoch: int) -> dict[str, Any]:
        """Measure the checkpoint of an epoch; rank 0 only."""
        mrr = self.measure(Checkpoint.open(self._run / Position(epoch).name))
        self._measured.append((mrr, epoch))
        self._stop = self._gainless() >= self._settings.patience > 0
        return {"valid_mrr": mrr, **({"typed": True} if self._info.config.graph.typed else {})}

    def share(self) -> None:
        """Tell the workers what rank 0 decided; every worker calls it after every epoch."""
        if dist.is_initialized():
            device = "cuda" if dist.get_backend() == "nccl" else "cpu"
            stop = torch.tensor([float(self._stop)], device=device)
            dist.broadcast(stop, 0)
            self._stop = bool(stop.item())

    def _gainless(self) -> int:
        """Validations since the best one."""
        scores = [mrr for mrr, _ in self._measured]
        return len(scores) - 1 - int(np.argmax(scores)) if scores else 0

    def measure(self, checkpoint: Checkpoint) -> float:
        """Filtered MRR of a checkpoint on the valid split, or on some triples of it."""
        trained = TrainedVectors(RunFolder(self._run, self._info), checkpoint)
        splits = {split: self._dataset.split(split) for split in SPLITS}
        known = Triples.together(*splits.values())
        ranked = splits["valid"].drawn(self._settings.validation_triples, seed=0)
        allowed = self._dataset.domains() if self._info.config.graph.typed else None
        return link_prediction(trained.model, trained.candidates(*splits.values()), ranked, known, allowed=allowed).mrr
