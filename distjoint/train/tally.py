"""What a lane counts while it trains: losses, samples, seconds, and how the two losses agree on shared rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass
class Tally:
    """Sums over an epoch; each field is a plain sum, so that workers' tallies add.

    text_*    GloVe: loss 0.5 * weight * difference^2, in cells
    graph_*   the graph's loss on entities, over both directions, in triples
    word_*    the graph's second loss, on words (`dual`)
    cosine, ratio, measured   of the two losses' updates of shared rows; see Agreement
    seconds   of the epoch, of each worker
    """

    text_loss: float = 0.0
    cells: float = 0.0
    text_seconds: float = 0.0
    graph_loss: float = 0.0
    triples: float = 0.0
    graph_seconds: float = 0.0
    word_loss: float = 0.0
    word_triples: float = 0.0
    cosine: float = 0.0
    ratio: float = 0.0
    measured: float = 0.0
    seconds: float = 0.0

    def over_workers(self, device: torch.device) -> Tally:
        """The sum of all workers' tallies."""
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return self
        sums = torch.tensor(list(asdict(self).values()), dtype=torch.float64, device=device)
        dist.all_reduce(sums)
        return Tally(*sums.tolist())

    def metrics(self, workers: int) -> dict[str, float]:
        """Means and rates by the names they have in metrics.jsonl.

        workers   that trained at the same time: seconds are summed over them
        """
        found: dict[str, float] = {}
        for name, loss, count, seconds, unit in (
            ("text", self.text_loss, self.cells, self.text_seconds, "cells"),
            ("graph", self.graph_loss, self.triples, self.graph_seconds, "triples"),
        ):
            if count:
                found[f"{name}_loss"], found[unit] = loss / count, count
                found[f"{unit}_per_second"] = count * workers / max(seconds, 1e-9)
        if self.word_triples:
            found["word_graph_loss"] = self.word_loss / self.word_triples
        if self.measured:
            found["update_cosine"], found["update_norm_ratio"] = self.cosine / self.measured, self.ratio / self.measured
        return found


@dataclass
class Agreement:
    """Compares what the two losses do to some shared rows: mark before, between and after their turns.

    places   int64[n]: rows of W and C that are aligned, a sample
    """

    W: Tensor
    C: Tensor
    places: Tensor
    _marks: list[Tensor] = field(default_factory=list)

    def mark(self) -> None:
        self._marks.append(self.W.index_select(0, self.places) + self.C.index_select(0, self.places))

    def add_to(self, tally: Tally) -> None:
        """Cosine and norm ratio (graph / text) of the two updates of all sampled rows, taken as one vector each."""
        before, between, after = self._marks
        self._marks = []
        text, graph = (between - before).flatten(), (after - between).flatten()
        norms = float(text.norm()), float(graph.norm())
        if min(norms) > 0:
            tally.cosine += float(text @ graph) / (norms[0] * norms[1])
            tally.ratio += norms[1] / norms[0]
            tally.measured += 1
