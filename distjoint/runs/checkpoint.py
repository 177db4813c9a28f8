"""Checkpoints of a run: complete or absent. Files of shards first, each by the worker that holds it, then one
manifest by rank 0; resuming takes the newest that has one.

On a local disk a checkpoint is written at once. Elsewhere each worker writes its files to local disk and goes on
training while a thread uploads them.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist
import xxhash
from safetensors.numpy import save
from torch import Tensor

from distjoint.base.errors import DistjointError, DivergedError
from distjoint.runs.folder import (
    DENSE,
    MANIFEST,
    Checkpoint,
    CheckpointFile,
    CheckpointManifest,
    RunInfo,
    describe,
    shard_file,
)
from distjoint.storage import Location
from distjoint.table.parts import Shard

FOLDER = "checkpoints"
ADVICE = "the last checkpoint is kept; start a new run with lower learning rates"
_POLL = 0.2
"""Seconds between two looks for another worker's file."""
_GRACE = 20.0
"""Seconds an upload has left when training was interrupted: a preempted machine is given half a minute or more."""


@dataclass(frozen=True)
class Position:
    """How far a run is.

    epoch   epochs that are done
    round   rounds of the next epoch that are done
    """

    epoch: int
    round: int = 0

    @property
    def name(self) -> str:
        """Folder of the checkpoint taken there, relative to the run's; names sort as positions do."""
        return f"{FOLDER}/epoch-{self.epoch:05d}" + (f"-round-{self.round:05d}" if self.round else "")

    @classmethod
    def of(cls, name: str) -> Position:
        """The position of a checkpoint's name."""
        numbers = [int(part) for part in name.split("-") if part.isdigit()]
        return cls(*numbers)


def complete(run: Location) -> list[str]:
    """Names of the run's complete checkpoints, oldest first."""
    return [f"{FOLDER}/{place.name}" for place in (run / FOLDER).list() if (place / MANIFEST).exists()]


def newest_position(run: Location) -> Position:
    """Where a run's newest checkpoint stands; the beginning where there is none."""
    names = complete(run)[-1:]
    return Position.of(names[0]) if names else Position(0)


def newest(run: Location, info: RunInfo) -> Checkpoint | None:
    """The checkpoint to resume from, or None to start at the beginning; every worker calls it.

    raises DistjointError when it is not of this run; both values are named
    """
    names = complete(run)[-1:] if _rank() == 0 else []
    if dist.is_initialized():
        told = [names]
        dist.broadcast_object_list(told)
        names = told[0]
    if not names:
        return None
    found = Checkpoint.open(run / names[0])
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
    """Delete all but the last `keep` complete checkpoints and the best, and what attempts that failed have left.

    None may be in the making.
    """
    kept = {*complete(run)[-keep:], best}
    for place in (run / FOLDER).list():
        if f"{FOLDER}/{place.name}" not in kept:
            (place / MANIFEST).delete()  # first, so that what is left is not taken for a checkpoint
            place.delete()


def write_beginning(
    folder: Location,
    info: RunInfo,
    shards: Iterable[Mapping[str, Tensor]],
    dense: Mapping[str, Tensor],
    text_learning_rate: float | None = None,
) -> None:
    """Write what a run begins with as a checkpoint of epoch 0: a file for each shard, and their checksums last.

    shards               arrays of each shard, in the order of their numbers
    dense                dense parameters and the state of their steps; empty where they begin as usual
    text_learning_rate   as of `CheckpointManifest`
    """
    folder.make_dir()
    files = []

    def write(name: str, arrays: Mapping[str, Tensor]) -> None:
        (folder / name).write_bytes(save(_arrays(arrays)))
        files.append(describe(folder, name))

    for number, arrays in enumerate(shards):
        write(shard_file(number), arrays)
    if dense:
        write(DENSE, dense)
    CheckpointManifest(
        dataset_checksum=info.dataset_checksum,
        coupling=info.coupling,
        dim=info.config.model.dim,
        groups=info.groups,
        lanes=info.lanes,
        seed=info.config.train.seed,
        epoch=0,
        text_learning_rate=text_learning_rate,
        files=tuple(files),
    ).write(folder)


class Writer:
    """Writes a worker's share of the run's checkpoints, one at a time; every worker has one.

    complete   called on rank 0 with the name of each checkpoint when it is complete, in the thread that made it so
    """

    def __init__(self, run: Location, info: RunInfo, complete: Callable[[str], None]) -> None:
        self._run, self._info, self._complete = run, info, complete
        self._upload: _Upload | None = None

    def write(
        self,
        position: Position,
        shards: Iterable[tuple[int, Shard]],
        dense: Shard,
        metrics: Mapping[str, Any],
        tally: Mapping[str, float],
    ) -> None:
        """Take a checkpoint; every worker calls it. Elsewhere than on a local disk it is complete only after `wait`.

        shards    the shards this worker holds; they may change once this returns
        dense     dense parameters and their states; written by rank 0
        metrics   of the epoch: a run stopped before it could tell takes them from here
        tally     the sums over workers of an epoch that is not done
        raises    DivergedError when a parameter is not finite; nothing of the checkpoint stays then
        """
        self.wait()
        folder = self._run / position.name
        manifest = CheckpointManifest(
            dataset_checksum=self._info.dataset_checksum,
            coupling=self._info.coupling,
            dim=self._info.config.model.dim,
            groups=self._info.groups,
            lanes=self._info.lanes,
            seed=self._info.config.train.seed,
            epoch=position.epoch,
            round=position.round,
            files=(),
            metrics=dict(metrics),
            tally=dict(tally),
            text_learning_rate=self._info.config.text.learning_rate if "text" in self._info.sources else None,
        )
        staging = None if folder.is_local else Path(tempfile.mkdtemp(prefix="distjoint-checkpoint-"))
        try:
            if _rank() == 0:
                folder.delete()  # what an interrupted attempt has left behind
                folder.make_dir()
            _barrier()
            files = [_stage(folder, staging, shard_file(shard), arrays) for shard, arrays in shards]
            if dense and _rank() == 0:
                files.append(_stage(folder, staging, DENSE, dense))
            every = sorted(_gather(files), key=lambda file: file.path)
        except BaseException:
            _clean(folder, staging)
            raise
        manifest = manifest.model_copy(update={"files": tuple(every)})
        done = partial(self._complete, position.name) if _rank() == 0 else None
        self._upload = _Upload(folder, staging, files, manifest, done)
        if staging is None:
            self._upload.run()
            self.wait()
        else:
            self._upload.start()

    def wait(self) -> None:
        """Until this worker's part of the checkpoint in the making is done. Raises what went wrong with it."""
        upload, self._upload = self._upload, None
        if upload:
            upload.result()

    def close(self) -> None:
        """Give a checkpoint in the making a moment to be completed. Raises nothing."""
        upload, self._upload = self._upload, None
        if upload:
            upload.abandon(_GRACE)


class _Upload:
    """Brings staged files to their place; on rank 0 then writes the manifest, when every worker's files are there."""

    def __init__(
        self,
        folder: Location,
        staging: Path | None,
        files: list[CheckpointFile],
        manifest: CheckpointManifest,
        done: Callable[[], None] | None,
    ) -> None:
        self._folder, self._staging, self._files, self._manifest, self._done = folder, staging, files, manifest, done
        self._error: BaseException | None = None
        self._given_up = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        # A daemon: an interpreter that leaves waits for no upload.
        self._thread = threading.Thread(target=self.run, name="upload", daemon=True)
        self._thread.start()

    def run(self) -> None:
        try:
            if self._staging:
                for file in self._files:
                    (self._folder / file.path).write_bytes((self._staging / file.path).read_bytes())
                    (self._staging / file.path).unlink()
            if self._done:
                self._await_others()
                self._manifest.write(self._folder)
                if not self._given_up:
                    self._done()
        except BaseException as error:
            self._error = error
        finally:
            if self._staging:
                shutil.rmtree(self._staging, ignore_errors=True)

    def result(self) -> None:
        if self._thread:
            self._thread.join()
        if self._error:
            _clean(self._folder, self._staging)
            raise self._error

    def abandon(self, grace: float) -> None:
        if self._thread:
            self._thread.join(grace)
        self._given_up = True

    def _await_others(self) -> None:
        """A stored file is whole as soon as it is there, so to see it with its size is enough."""
        for file in self._manifest.files if self._staging else ():
            place = self._folder / file.path
            while not (place.exists() and place.size() == file.bytes):
                if self._given_up:
                    raise DistjointError(f"{place}: its worker did not upload it before the run was stopped")
                time.sleep(_POLL)


def _stage(folder: Location, staging: Path | None, path: str, arrays: dict[str, Tensor]) -> CheckpointFile:
    """Write a file of tensors: to its place, or where a thread uploads it from."""
    for name, array in arrays.items():
        # The last steps of an epoch can diverge behind the last loss that was looked at.
        if not bool(array.isfinite().all()):
            raise DivergedError(f"{folder / path}: {name} is not finite; {ADVICE}")
    content = save(_arrays(arrays))
    if staging is None:
        (folder / path).write_bytes(content)
    else:
        try:
            (staging / path).write_bytes(content)
        except OSError as error:
            raise DistjointError(
                f"{staging / path}: no checkpoint can be written here ({error}); free some disk, or set TMPDIR to "
                "another one"
            ) from error
    return CheckpointFile(path=path, bytes=len(content), checksum=f"xxh3:{xxhash.xxh3_64(content).hexdigest()}")


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tensors as arrays on the host: of many small ones, safetensors writes these in a fifth of the time."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def _clean(folder: Location, staging: Path | None) -> None:
    """Leave nothing of a checkpoint that failed: it may be what filled the disk."""
    if staging:
        shutil.rmtree(staging, ignore_errors=True)
    with suppress(DistjointError, OSError):
        if _rank() == 0 and not (folder / MANIFEST).exists():
            folder.delete()


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
