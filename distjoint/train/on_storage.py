"""Bytes on storage: of a checkpoint, as its files are written."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch

from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.model.scorers import scorer
from distjoint.runs.folder import RunInfo
from distjoint.train.build import scheme_of

_LENGTH, _ALIGNED = 8, 8
"""Bytes of safetensors' length of its header, and the multiple that this is filled up to."""


def tensors_bytes(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Bytes of a safetensors file of float32 tensors."""
    header: dict[str, object] = {}
    end = 0
    for name in sorted(shapes):
        start = end
        end += 4 * torch.Size(shapes[name]).numel()
        header[name] = {"dtype": "F32", "shape": list(shapes[name]), "data_offsets": [start, end]}
    length = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return _LENGTH + -(-length // _ALIGNED) * _ALIGNED + end


def dense_shapes(scheme: Scheme, relations: int) -> dict[str, tuple[int, ...]]:
    """Dense parameters and the state of their steps by name; none where no graph trains."""
    if not scheme.graph:
        return {}
    config, generator = scheme.config, torch.Generator()
    rows = relations * (2 if config.model.reciprocal else 1)
    found: dict[str, tuple[int, ...]] = {}
    for name, one in scheme.coupling.dense(config, scorer(config.model.scorer), rows, generator).items():
        shape = tuple(one.value.shape)
        found[name] = shape
        width = shape[-1] if one.by_row else 1
        for kind, floats in scheme.optimizer.state(width).items():
            by_row = (shape[0], floats) if floats else (shape[0],)
            found[f"{name}.{kind}"] = by_row if one.by_row else shape
    return found


def checkpoint_bytes(info: RunInfo, data: Dataset) -> int:
    """Bytes of the files of tensors of a checkpoint; its manifest, some kilobytes, comes besides."""
    scheme, layout = scheme_of(info), data.layout
    total = 0
    for shard in range(layout.shards):
        shapes = {part.name: (part.rows(layout, shard), *([part.width] if part.width else [])) for part in scheme.parts}
        total += tensors_bytes(shapes)
    dense = dense_shapes(scheme, data.manifest.counts.get("relations", 0))
    return total + (tensors_bytes(dense) if dense else 0)
