"""A checkpoint's vectors and triple model, from its files: the one place that makes vectors of trained parts.

Ranking, validation during training, word tests and embeddings in use all read a checkpoint through it.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from distjoint.base.arrays import Bools
from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress
from distjoint.couplings import Coupling, coupling_of
from distjoint.couplings.base import word_block
from distjoint.evaluate.stored import RowReader
from distjoint.runs.folder import Checkpoint, RunFolder

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from distjoint.data.dataset import Triples
    from distjoint.evaluate.candidates import Candidates
    from distjoint.evaluate.scoring import TripleModel


class TrainedVectors:
    """Vectors of words and entities of a checkpoint, shard by shard, and the model that scores triples of them.

    run          the run, whose configuration says how vectors are made
    checkpoint   one of its checkpoints
    device       where vectors are put
    memory       bytes that entity vectors may take to be kept once read; where they take more, each use reads again
    """

    def __init__(
        self, run: RunFolder, checkpoint: Checkpoint, device: torch.device | str = "cpu", memory: int = 0
    ) -> None:
        self.run, self.checkpoint, self.layout = run, checkpoint, run.layout
        self._device = device
        size = 4 * (self.layout.aligned + self.layout.entities) * checkpoint.manifest.dim * self.coupling.parts
        self._said: dict[int, Bools] = {}
        self._kept: dict[int, Tensor] | None = {} if size <= memory else None

    def reader(self, progress: Progress | None = None) -> RowReader:
        """The same rows without torch, one by one or by blocks.

        progress   shown while files are fetched from a store
        """
        return RowReader(self.run, self.checkpoint, self.coupling, progress)

    @cached_property
    def dense(self) -> dict[str, Tensor]:
        """Parameters that belong to no row, by name: relations and maps."""
        return {name: tensor.to(self._device) for name, tensor in self.checkpoint.dense().items()}

    @cached_property
    def coupling(self) -> Coupling:
        """The coupling in force."""
        return coupling_of(self.run.info.coupling, self.run.info.config.model)

    @cached_property
    def model(self) -> TripleModel:
        """The scorer with its trained relations; only where a graph was trained."""
        from distjoint.evaluate.scoring import TripleModel

        return TripleModel.of(self.run.info.config.model, self.dense, self.coupling.parts)

    def candidates(self, *splits: Triples) -> Candidates:
        """The entities that occur in some splits, to rank answers among."""
        from distjoint.evaluate.candidates import Candidates, entity_rows, listed_rows

        return Candidates(entity_rows(self.layout), self.entities, listed_rows(self.layout.rows, *splits))

    def entities(self, shard: int) -> Tensor:
        """float32[entities of the shard, dim], as the graph scores them. raises DistjointError for NaN or infinity"""
        from distjoint.evaluate.candidates import all_finite

        if self._kept is not None and shard in self._kept:
            return self._kept[shard]
        vectors = self._entities(self._parts(shard), shard)
        if not all_finite(vectors):
            raise DistjointError(f"{self.checkpoint.folder}, shard {shard}: entity vectors hold NaN or infinity")
        if self._kept is not None:
            self._kept[shard] = vectors
        return vectors

    def said(self, shard: int) -> Bools:
        """bool[entities of the shard], `Coupling.says_something`; read with the vectors, and kept."""
        if shard not in self._said:
            self.entities(shard)
        return self._said[shard]

    def words_and_entities(self, shard: int) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Both kinds by one reading of the shard: float32[n, dim] each, None where that kind was not trained; and of
        entities bool[n], `Coupling.says_something`.
        """
        import torch

        parts, sources = self._parts(shard), self.run.info.sources
        words = word_block(parts) if "text" in sources else None
        if "graph" not in sources:
            return words, None, None
        return words, self._entities(parts, shard), torch.from_numpy(self._said[shard])

    def read_words(self, shard: int) -> Tensor:
        """float32[words of the shard, dim]: words, and n-grams, as entities read them."""
        import torch

        parts = self._parts(shard)
        return torch.stack([parts[name] for name in self.coupling.read_parts]).sum(0)

    def entity_parts(self, shard: int) -> dict[str, Tensor]:
        """What makes the vectors of `entities`, as the coupling says: float32[entities of the shard, dim] by name."""
        return self.coupling.entity_parts(self._parts(shard), self.layout, shard, self.dense)

    def _parts(self, shard: int) -> dict[str, Tensor]:
        parts = self.checkpoint.shard(shard)
        vectors = {
            "W",
            "C",
            *self.coupling.read_parts,
            *self.coupling.own_parts,
        }  # the others are states of the optimizer
        return {name: tensor.to(self._device) for name, tensor in parts.items() if name in vectors}

    def _entities(self, parts: dict[str, Tensor], shard: int) -> Tensor:
        self._said[shard] = self.coupling.says_something(parts, self.layout, shard).numpy(force=True)
        return self.coupling.entity_block(parts, self.layout, shard, self.dense)
