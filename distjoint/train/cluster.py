"""The Ray driver: N workers of a run on Ray Train, one per GPU where there are GPUs. The only place of train/ that
knows Ray; the workers themselves know only torch's process group.
"""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.progress import Progress, Silent
from distjoint.base.ray_session import ray_session
from distjoint.data.dataset import Dataset
from distjoint.registry import load_plugins, plugin_modules
from distjoint.runs.checkpoint import complete, newest_position
from distjoint.runs.folder import RunInfo
from distjoint.storage import Location, Options, locate
from distjoint.train.build import group_place
from distjoint.train.callbacks.telling import Tell
from distjoint.train.mailbox import Ask, answered
from distjoint.train.worker import Worker

_TIMEOUT = 3600
"""Seconds a collective may wait; the longest wait is a validation on rank 0. Who is dead is noticed long before."""
_SCALING = 900.0
"""Seconds to wait for a cluster that is not this machine's own to grow."""
_GROWING = 15.0
_SCRATCH = "ray"


def run(
    folder: Location,
    info: RunInfo,
    data: Dataset,
    workers: int,
    options: Options | None,
    progress: Progress,
    tell: Tell,
) -> None:
    """Train a run with Ray workers, on the cluster this process is connected to, or on one started for it here.

    Callbacks are told in this process, by `tell`.

    When workers, a node or Ray's own controller die, training goes on from the newest checkpoint with as many workers
    as there is room for, up to `train.max_failures` times in a row without a new checkpoint between.

    raises UsageError when the cluster is too small; what a worker raises, as it raised it
    """
    fixed = ray.is_initialized() or not os.environ.get("RAY_ADDRESS")
    with ray_session(progress):
        _await_room(workers, 0.0 if fixed else _SCALING, progress)
        reached, failures = complete(folder)[-1:], 0
        while True:
            before_it = _reservations()
            try:
                done = newest_position(folder).epoch
                with answered(tell, info.config.train.epochs, done, progress) as mailbox, _interruptible():
                    _trainer(folder, info, data.folder, workers, options, mailbox).fit()
                return
            except Exception as error:
                if _is_final(error):
                    raise _cause(error) or error from error
                _release(_reservations() - before_it)
                before, reached = reached, complete(folder)[-1:]
                failures = 1 if reached != before else failures + 1
                if failures > info.config.train.max_failures:
                    raise DistjointError(
                        f"{_happened(error)}; {failures} times in a row without a new checkpoint between. "
                        f"Continue with: distjoint train --resume {shlex.quote(str(folder))}"
                    ) from error
                workers = max(1, min(workers, _room()))
                start = reached[0] if reached else "the beginning"
                progress.say(f"{_happened(error)}; going on from {start} with {workers} workers")
            finally:
                (folder / _SCRATCH).delete()


def _trainer(
    folder: Location, info: RunInfo, dataset: Location, workers: int, options: Options | None, mailbox: Any
) -> TorchTrainer:
    gpus = "GPU" in ray.cluster_resources()
    return TorchTrainer(
        _worker,
        train_loop_config={
            "folder": folder.absolute,
            "dataset": dataset.absolute,
            "info": info.model_dump(mode="json"),
            "options": dict(options or {}),
            "plugins": plugin_modules(),
            "mailbox": mailbox,
        },
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=gpus,
            resources_per_worker={"CPU": 1} | ({"GPU": 1} if gpus else {}),
            # A worker on CPUs takes all the cores it finds: packed, workers would share one machine's, and
            # the others would idle. GPUs of one machine are nearer to each other.
            placement_strategy="PACK" if gpus else "SPREAD",
        ),
        torch_config=TorchConfig(timeout_s=_TIMEOUT),
        run_config=RunConfig(
            name=uuid.uuid4().hex,  # Ray resumes a name it knows; distjoint resumes by its own checkpoints
            storage_path=(folder / _SCRATCH).path,
            storage_filesystem=folder.fs,
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0),
        ),
    )


def _reservations() -> set[str]:
    """Ids of the placement groups that this job holds; they end in the job's own."""
    job = ray.get_runtime_context().get_job_id()
    return {key for key, group in placement_group_table().items() if key.endswith(job) and group["state"] != "REMOVED"}


def _release(reservations: set[str]) -> None:
    """Free what an attempt has left: the workers of a controller that died keep their places, so that none is free.

    Ray's own cleaner asks the dashboard whether the controller lives, and waits for ever where there is none.
    """
    for key in reservations:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(key))))


def _room() -> int:
    """Workers the cluster has room for."""
    found = ray.cluster_resources()
    return int(found.get("GPU", 0) or found.get("CPU", 0))


def _await_room(workers: int, limit: float, progress: Progress) -> None:
    """Ask the cluster's autoscaler for what is missing, and wait for it.

    limit    seconds
    raises   UsageError when there is no room by then
    """
    began = time.monotonic()
    kind = "GPU" if ray.cluster_resources().get("GPU") else "CPU"
    while (room := _room()) < workers:
        if time.monotonic() - began >= limit:
            raise UsageError(f"--workers {workers}: the Ray cluster has {room} {kind}s")
        request_resources(bundles=[{kind: 1}] * workers)
        progress.say(f"waiting for {workers} {kind}s: the Ray cluster has {room}, and may be growing")
        time.sleep(min(_GROWING, limit))


def _worker(config: dict[str, Any]) -> None:
    load_plugins(config["plugins"])  # before the configuration is read, which may name what they add
    info = RunInfo.model_validate(config["info"])
    place, data = group_place(info.config.train.threads), Dataset.open(config["dataset"], config["options"])
    worker = Worker(locate(config["folder"], config["options"]), info, data, place, Silent(), Ask(config["mailbox"]))
    try:
        worker.train()
    finally:
        worker.close()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make Ctrl-C and SIGTERM a KeyboardInterrupt again: Ray takes the signals, aborts, and leaves by SystemExit."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt(*[signal.SIGTERM] * (error.code == signal.SIGTERM)) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _failures(error: BaseException) -> list[BaseException]:
    """What went wrong, as Ray's workers and its controller tell it."""
    found = [*getattr(error, "worker_failures", {}).values()] or [getattr(error, "controller_failure", error)]
    return [getattr(failure, "cause", None) or failure for failure in found]


def _cause(error: BaseException) -> DistjointError | None:
    """The error a worker raised for the user to read, out of what Ray wrapped around it."""
    failures = [error, *_failures(error), error.__cause__]
    for failure in failures:
        for found in (failure, getattr(failure, "__cause__", None)):
            if isinstance(found, DistjointError):
                return found
    return None


def _is_final(error: Exception) -> bool:
    """Whether it would happen again: something raised by training itself, and no loss of a process or a connection."""
    return _cause(error) is not None or not all(_is_loss(failure) for failure in _failures(error))


def _is_loss(failure: BaseException) -> bool:
    """Ray's errors are; so is a RuntimeError, which who waits for a peer that died gets from the process group."""
    return type(failure).__module__.startswith("ray.") or isinstance(failure, (RuntimeError, ConnectionError))


def _happened(error: BaseException) -> str:
    """What Ray says of the failure, in one line."""
    failures = _failures(error)
    first = next((failure for failure in failures if type(failure).__module__.startswith("ray.")), failures[0])
    lines = [line.strip() for line in str(first).splitlines() if line.strip()]
    return f"training was broken off: {type(first).__name__}: {lines[0] if lines else ''}".rstrip(": .")
