"""The Ray driver: N workers of a run on Ray Train, one per GPU where there are GPUs. The only place of train/ that
knows Ray; the workers themselves know only torch's process group.
"""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from distjoint.data.dataset import Dataset
from distjoint.errors import DistjointError, UsageError
from distjoint.progress import Progress, Silent
from distjoint.ray_session import ray_session
from distjoint.run_folder import RunInfo
from distjoint.storage import Location, Options, locate
from distjoint.train import journal
from distjoint.train.worker import Worker, describe, group_place

_TIMEOUT = 600
"""Seconds a collective may wait; the longest wait is a validation on rank 0."""
_POLL = 0.5
_SCRATCH = "ray"


def run(folder: Location, info: RunInfo, workers: int, options: Options | None, progress: Progress) -> None:
    """Train a run with Ray workers, on the cluster this process is connected to, or on one started for it here.

    raises UsageError when the cluster is too small; what a worker raises, as it raised it
    """
    with ray_session(progress):
        gpus, cpus = ray.cluster_resources().get("GPU", 0), int(ray.cluster_resources().get("CPU", 0))
        if workers > (gpus or cpus):
            raise UsageError(
                f"--workers {workers}: the Ray cluster has {int(gpus or cpus)} {'GPUs' if gpus else 'CPUs'}"
            )
        trainer = TorchTrainer(
            _worker,
            train_loop_config={
                "folder": folder.absolute,
                "dataset": locate(info.dataset, options).absolute,
                "info": info.model_dump(mode="json"),
                "options": dict(options or {}),
            },
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=gpus > 0,
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
                failure_config=FailureConfig(max_failures=0),
            ),
        )
        try:
            with _follow(folder, info, progress), _interruptible():
                trainer.fit()
        except Exception as error:
            raise _cause(error) or error from error
        finally:
            (folder / _SCRATCH).delete()


def _worker(config: dict[str, Any]) -> None:
    info = RunInfo.model_validate(config["info"])
    place, data = group_place(info.config.train.threads), Dataset.open(config["dataset"], config["options"])
    worker = Worker(locate(config["folder"], config["options"]), info, data, place, Silent())
    try:
        worker.train()
    finally:
        worker.close()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make Ctrl-C a KeyboardInterrupt again: Ray Train takes the signal, aborts, and leaves by SystemExit."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def _follow(folder: Location, info: RunInfo, progress: Progress) -> Iterator[None]:
    """Say each epoch's line as rank 0 writes it to the run's metrics."""
    done = threading.Event()
    seen = len(journal.read(folder))

    def follow() -> None:
        nonlocal seen
        with progress.task("training", total=info.config.train.epochs) as bar:
            bar.advance(seen)
            finished = False
            while not finished:
                finished = done.wait(_POLL)
                for line in journal.read(folder)[seen:]:
                    progress.say(describe(line, info.config.train.epochs))
                    bar.advance()
                    seen += 1

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _cause(error: BaseException) -> DistjointError | None:
    """The error a worker raised for the user to read, out of what Ray wrapped around it."""
    failures = [error, *getattr(error, "worker_failures", {}).values(), error.__cause__]
    for failure in failures:
        for found in (failure, getattr(failure, "cause", None), getattr(failure, "__cause__", None)):
            if isinstance(found, DistjointError):
                return found
    return None
