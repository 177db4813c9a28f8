"""Checkpoints of a run: complete or absent. Files of shards first, each by the worker that holds it, then one
manifest by rank 0; resuming takes the newest that has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch.distributed as dist
import xxhash
from safetensors.torch import save
from torch import Tensor

from distjoint.errors import DistjointError
from distjoint.run_folder import DENSE, MANIFEST, Checkpoint, CheckpointFile, CheckpointManifest, RunInfo, shard_file
from distjoint.storage import Location
from distjoint.table.parts import Shard
from distjoint.train.tally import DivergedError

FOLDER = "checkpoints"
ADVICE = "the last checkpoint is kept; start a new run with lower learning rates"


def name_of(epoch: int) -> str:
    """Folder of the checkpoint after `epoch` epochs, relative to the run's."""
    return f"{FOLDER}/epoch-{epoch:05d}"


def write(
    run: Location,
    info: RunInfo,
    epoch: int,
    shards: Iterable[tuple[int, Shard]],
    dense: Shard,
    metrics: Mapping[str, Any],
) -> str:
    """Write this worker's share of a checkpoint; every worker calls it. Returns its name.

    epoch     epochs that are done
    shards    the shards this worker holds
    dense     dense parameters and their states; written by rank 0
    metrics   of the epoch: a run stopped before it could tell takes them from here
    raises    DivergedError when a parameter is not finite; nothing of the checkpoint stays then
    """
    folder = run / name_of(epoch)
    try:
        _write_all(folder, info, epoch, shards, dense, metrics)
    except BaseException:
        with suppress(DistjointError, OSError):
            if _rank() == 0 and not (folder / MANIFEST).exists():
                folder.delete()  # it may be what filled the disk
        raise
    return name_of(epoch)


def _write_all(
    folder: Location,
    info: RunInfo,
    epoch: int,
    shards: Iterable[tuple[int, Shard]],
    dense: Shard,
    metrics: Mapping[str, Any],
) -> None:
    first = _rank() == 0
    if first:
        folder.delete()  # what an interrupted attempt at this epoch left behind
        folder.make_dir()
    _barrier()
    files = [_write(folder, shard_file(shard), arrays) for shard, arrays in shards]
    if first and dense:
        files.append(_write(folder, DENSE, dense))
    every = _gather(files)
    if first:
        CheckpointManifest(
            dataset_checksum=info.dataset_checksum,
            coupling=info.coupling,
            dim=info.config.model.dim,
            groups=info.groups,
            lanes=info.lanes,
            seed=info.config.train.seed,
            epoch=epoch,
            files=tuple(sorted(every, key=lambda file: file.path)),
            metrics=dict(metrics),
        ).write(folder)
    _barrier()


def complete(run: Location) -> list[str]:
    """Names of the run's complete checkpoints, oldest first."""
    return [f"{FOLDER}/{place.name}" for place in (run / FOLDER).list() if (place / MANIFEST).exists()]


def newest(run: Location, info: RunInfo) -> Checkpoint | None:
    """The checkpoint to resume from, or None to start at the beginning.

    raises DistjointError when it is not of this run; both values are named
    """
    names = complete(run)
    if not names:
        return None
    found = Checkpoint.open(run / names[-1])
    for key, theirs, ours in (
        ("dataset checksum", found.manifest.dataset_checksum, info.dataset_checksum),
        ("coupling", found.manifest.coupling, info.coupling),
        ("dim", found.manifest.dim, info.config.model.dim),
        ("groups", found.manifest.groups, info.groups),
        ("lanes", found.manifest.lanes, info.lanes),
        ("seed", found.manifest.seed, info.config.train.seed),
    ):
        if theirs != ours:
            raise DistjointError(f"{found.folder / MANIFEST}: {key} is {theirs}, the run's is {ours}; start a new run")
    return found


def prune(run: Location, keep: int, best: str | None) -> None:
    """Delete all but the last `keep` complete checkpoints and the best."""
    for name in complete(run)[:-keep]:
        if name != best:
            (run / name / MANIFEST).delete()  # first, so that what is left is not taken for a checkpoint
            (run / name).delete()


def _write(folder: Location, path: str, arrays: dict[str, Tensor]) -> CheckpointFile:
    for name, array in arrays.items():
        # The last steps of an epoch can diverge behind the last loss that was looked at.
        if not bool(array.isfinite().all()):
            raise DivergedError(f"{folder / path}: {name} is not finite after this epoch; {ADVICE}")
    content = save({name: array.detach().cpu().contiguous() for name, array in arrays.items()})
    (folder / path).write_bytes(content)
    return CheckpointFile(path=path, bytes=len(content), checksum=f"xxh3:{xxhash.xxh3_64(content).hexdigest()}")


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def _gather(files: list[CheckpointFile]) -> list[CheckpointFile]:
    """Every worker's files, on every worker."""
    if not dist.is_initialized():
        return files
    gathered: list[list[CheckpointFile]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(gathered, files)
    return [file for part in gathered for file in part]
