"""Commands of distjoint as jobs of a Ray cluster, by its Jobs API.

The package of this machine and small files that a command names are uploaded with it: machines of the cluster need
distjoint's dependencies, not distjoint.
"""

from __future__ import annotations

import asyncio
import filecmp
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distjoint.base.errors import DistjointError, UsageError

COMMANDS = ("prepare", "train", "evaluate", "compare", "export", "demo", "doctor")
_NEEDED, _OFFERED = ("--config",), ("--init",)
"""Options whose local file is sent along: one that must be here, and one that may be on the cluster instead."""
_LARGEST = 256 << 20
"""Bytes of a file that is sent along because it may be; Ray takes no more than 512 MiB with a job."""
_PACKAGE = Path(__file__).parents[1]
_NOT_SENT = ["**/__pycache__", "**/*.nbc", "**/*.nbi"]


@dataclass(frozen=True)
class Job:
    """State of a job.

    status    PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED
    command   as the cluster's shell runs it
    message   Ray's, about the status
    code      exit code of the command, when it has ended
    """

    id: str
    status: str
    command: str
    message: str | None
    code: int | None

    @property
    def ended(self) -> bool:
        """Whether its status is final."""
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")


class Jobs:
    """The Jobs API of a Ray cluster.

    address   http://HOST:8265, or None for RAY_API_SERVER_ADDRESS or a cluster on this machine
    raises    DistjointError when nobody answers there
    """

    def __init__(self, address: str | None = None) -> None:
        from ray.job_submission import JobSubmissionClient

        if address is not None:  # which Ray's client would set aside for the environment's
            os.environ["RAY_API_SERVER_ADDRESS"] = address
        try:
            self._client = JobSubmissionClient(address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = address or "the default address"
            raise DistjointError(
                f"no Ray cluster answers at {where}; give --address http://HOST:8265, the dashboard's port ({error})"
            ) from error

    def submit(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
        """Start a command as a job.

        arguments     words after `distjoint`
        environment   variables of the command; the cluster shows them to everybody who may list its jobs
        returns       the job's id
        raises        UsageError for a command that cannot be a job, or a --config that is not on this machine
        """
        if not arguments or arguments[0] not in COMMANDS:
            raise UsageError(f"say what to run after --: one of {', '.join(COMMANDS)}")
        with tempfile.TemporaryDirectory(prefix="distjoint-job-") as folder:
            words = with_files(arguments, Path(folder))
            runtime: dict[str, Any] = {
                "py_modules": [str(_PACKAGE)],
                "excludes": _NOT_SENT,
                "env_vars": dict(environment or {}),
            }
            if any(Path(folder).iterdir()):
                runtime["working_dir"] = folder
            entrypoint = shlex.join(["python", "-m", "distjoint", *words])
            return str(self._ask(lambda: self._client.submit_job(entrypoint=entrypoint, runtime_env=runtime)))

    def follow(self, id: str, write: Callable[[str], None]) -> Job:
        """Pass the job's output to `write` as it comes. returns the job when it has ended"""

        async def tail() -> None:
            async for text in self._client.tail_job_logs(id):
                write(text)

        while not self.find(id).ended:
            with suppress(ConnectionError):  # the line may drop while the job goes on
                asyncio.run(tail())
        return self.find(id)

    def find(self, id: str) -> Job:
        """The job of an id. raises DistjointError when there is none"""
        found = self._ask(lambda: self._client.get_job_info(id))
        code = found.driver_exit_code
        return Job(id, str(found.status.value), found.entrypoint, found.message, None if code is None else int(code))

    def all(self) -> list[Job]:
        """All jobs that were submitted to the cluster, oldest first."""
        found = sorted(self._ask(self._client.list_jobs), key=lambda job: job.start_time or 0)
        return [
            Job(job.submission_id, str(job.status.value), job.entrypoint, job.message, job.driver_exit_code)
            for job in found
            if job.submission_id
        ]

    def stop(self, id: str) -> bool:
        """Stop a job; False where it had ended. raises DistjointError when there is no such job"""
        return bool(self._ask(lambda: self._client.stop_job(id)))

    @staticmethod
    def _ask(request: Callable[[], Any]) -> Any:
        """Result of a request to the cluster. raises DistjointError in one line when it fails"""
        try:
            return request()
        except (ConnectionError, RuntimeError) as error:
            raise DistjointError(f"the Ray cluster refused: {str(error).splitlines()[0]}") from error


def with_files(arguments: Sequence[str], folder: Path) -> list[str]:
    """The arguments with local files copied to `folder`, the job's working folder, and named from there.

    raises   UsageError for a --config that is not there
    """
    words, option = [], ""
    for word in arguments:
        name, equals, value = word.partition("=")
        if equals and name in (*_NEEDED, *_OFFERED):
            word = f"{name}={_sent(name, value, folder)}"
        elif option in (*_NEEDED, *_OFFERED):
            word = _sent(option, word, folder)
        words.append(word)
        option = "" if equals else name
    return words


def _sent(option: str, file: str, folder: Path) -> str:
    """Copy a file to the job's working folder, unless it is for the cluster to find. returns its name there"""
    here = Path(file)
    if "://" in file:
        return file
    if option in _OFFERED and not (here.is_file() and here.stat().st_size <= _LARGEST):
        return file
    if not here.is_file():
        raise UsageError(f"{file}: no such file on this machine to send along")
    name = here.name
    while (folder / name).exists() and not filecmp.cmp(here, folder / name):  # of another option
        name = f"_{name}"
    shutil.copy(here, folder / name)
    return name
