"""Commands of distjoint as jobs of a Ray cluster: sent to its Jobs API with the package and the files they name.

The cluster's machines need distjoint's dependencies, not distjoint: the package of this machine travels along.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distjoint
from distjoint.errors import DistjointError, UsageError

COMMANDS = ("prepare", "train", "evaluate", "compare", "export", "demo", "doctor")
_FILES = ("--config",)
"""Options whose local file is sent along."""
_NOT_SENT = ["**/__pycache__", "**/*.nbc", "**/*.nbi"]


@dataclass(frozen=True)
class Job:
    """A job as the cluster knows it.

    status   PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED
    code     exit code of the command, when it has ended
    """

    id: str
    status: str
    command: str
    message: str | None
    code: int | None

    @property
    def ended(self) -> bool:
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
        """Send a command, as words after `distjoint`; returns the job's id.

        environment   variables of the command. They are shown to whoever may ask the cluster for its jobs
        raises        UsageError for a command that cannot be sent, or a --config that is not there
        """
        if not arguments or arguments[0] not in COMMANDS:
            raise UsageError(f"say what to run after --: one of {', '.join(COMMANDS)}")
        with tempfile.TemporaryDirectory(prefix="distjoint-job-") as folder:
            words = _with_files(arguments, Path(folder))
            runtime: dict[str, Any] = {
                "py_modules": [str(Path(distjoint.__file__).parent)],
                "excludes": _NOT_SENT,
                "env_vars": dict(environment or {}),
            }
            if any(Path(folder).iterdir()):
                runtime["working_dir"] = folder
            entrypoint = shlex.join(["python", "-m", "distjoint", *words])
            return str(self._ask(lambda: self._client.submit_job(entrypoint=entrypoint, runtime_env=runtime)))

    def follow(self, id: str, write: Callable[[str], None]) -> Job:
        """Hand on the job's output as it comes, until it ends."""

        async def tail() -> None:
            async for text in self._client.tail_job_logs(id):
                write(text)

        while not self.find(id).ended:
            with suppress(ConnectionError):  # the line may drop while the job goes on
                asyncio.run(tail())
        return self.find(id)

    def find(self, id: str) -> Job:
        """raises DistjointError when the cluster knows no such job"""
        found = self._ask(lambda: self._client.get_job_info(id))
        code = found.driver_exit_code
        return Job(id, str(found.status.value), found.entrypoint, found.message, None if code is None else int(code))

    def all(self) -> list[Job]:
        """Every job the cluster remembers that was submitted to it, oldest first."""
        found = sorted(self._ask(self._client.list_jobs), key=lambda job: job.start_time or 0)
        return [
            Job(job.submission_id, str(job.status.value), job.entrypoint, job.message, job.driver_exit_code)
            for job in found
            if job.submission_id
        ]

    def stop(self, id: str) -> bool:
        """Ask a job to stop; False where it had ended. raises DistjointError when there is no such job"""
        return bool(self._ask(lambda: self._client.stop_job(id)))

    @staticmethod
    def _ask(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except (ConnectionError, RuntimeError) as error:
            raise DistjointError(f"the Ray cluster refused: {str(error).splitlines()[0]}") from error


def _with_files(arguments: Sequence[str], folder: Path) -> list[str]:
    """The arguments with local files of some options copied to `folder` and named from there."""
    words, option = [], ""
    for word in arguments:
        name, equals, value = word.partition("=")
        if name in _FILES and equals:
            word = f"{name}={_sent(value, folder)}"
        elif option in _FILES:
            word = _sent(word, folder)
        words.append(word)
        option = "" if equals else name
    return words


def _sent(file: str, folder: Path) -> str:
    if "://" in file:
        return file
    if not Path(file).is_file():
        raise UsageError(f"{file}: no such file on this machine to send along")
    shutil.copy(file, folder / Path(file).name)
    return Path(file).name
