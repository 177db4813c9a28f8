"""The commands about jobs on a Ray cluster: submit, and job list, status, logs, stop."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from distjoint.base.errors import DistjointError, UsageError
from distjoint.cli.common import Json

if TYPE_CHECKING:
    from distjoint.jobs.submit import Job, Jobs

job_app = typer.Typer()

Address = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The cluster's dashboard, http://HOST:8265; by default RAY_API_SERVER_ADDRESS or this machine's.",
    ),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="What 'submit' printed.", show_default=False)]


def submit(
    words: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND ...", help="A command of distjoint.", show_default=False)
    ],
    address: Address = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=VALUE]", help="Variable for the job, from here without a value; the cluster shows it to all."
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait; print the job's id.")] = False,
    as_json: Json = False,
) -> None:
    """Run a command of distjoint on a Ray cluster, follow its output, and return its exit code.

    The package of this machine and the files of --config and --init are sent along. URLs must be of storage that the
    cluster sees.

    \b
    Example:
      distjoint submit --address http://127.0.0.1:8265 -- train s3://bucket/data --out s3://bucket/run --workers 4
    """
    jobs = _jobs(address)
    job = jobs.submit(words, dict(_variable(text) for text in env or ()))
    if detach:
        typer.echo(json.dumps({"id": job}) if as_json else job)
        return
    typer.echo(f"job {job}", err=True)
    try:
        found = jobs.follow(job, lambda text: typer.echo(text, nl=False, err=as_json))
    except KeyboardInterrupt as error:
        raise _LeftError(
            f"job {job} goes on; 'distjoint job logs {job}' follows it, 'job stop {job}' ends it"
        ) from error
    _end(found, as_json)


@job_app.callback(invoke_without_command=True)
def _job(context: typer.Context) -> None:
    """Jobs on a Ray cluster: list, status, logs, stop."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@job_app.command("list")
def list_(address: Address = None, as_json: Json = False) -> None:
    """The jobs the cluster knows, oldest first.

    \b
    Example:
      distjoint job list --address http://127.0.0.1:8265
    """
    found = _jobs(address).all()
    if as_json:
        typer.echo(json.dumps([asdict(job) for job in found], indent=2))
    for job in () if as_json else found:
        typer.echo(f"{job.id}  {job.status:9}  {job.command}")


@job_app.command()
def status(id: Id, address: Address = None, as_json: Json = False) -> None:
    """Where a job stands.

    \b
    Example:
      distjoint job status raysubmit_9Xy --address http://127.0.0.1:8265
    """
    job = _jobs(address).find(id)
    typer.echo(
        json.dumps(asdict(job), indent=2) if as_json else f"{job.status}  {job.command}\n{job.message or ''}".strip()
    )


@job_app.command()
def logs(id: Id, address: Address = None) -> None:
    """Follow a job's output to its end, and return its exit code.

    \b
    Example:
      distjoint job logs raysubmit_9Xy --address http://127.0.0.1:8265
    """
    try:
        found = _jobs(address).follow(id, lambda text: typer.echo(text, nl=False))
    except KeyboardInterrupt as error:
        raise _LeftError(f"job {id} goes on; 'distjoint job stop {id}' ends it") from error
    _end(found, as_json=False)


@job_app.command()
def stop(id: Id, address: Address = None) -> None:
    """Stop a job. A training keeps its checkpoints and can be resumed.

    \b
    Example:
      distjoint job stop raysubmit_9Xy --address http://127.0.0.1:8265
    """
    typer.echo(f"{id}: " + ("stopping" if _jobs(address).stop(id) else "had ended"))


class _LeftError(DistjointError):
    exit_code = 130


def _jobs(address: str | None) -> Jobs:
    from distjoint.jobs.submit import Jobs

    return Jobs(address)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if equals:
        return name, value
    if name not in os.environ:
        raise UsageError(f"--env {name}: not set here; give --env {name}=VALUE")
    return name, os.environ[name]


def _end(job: Job, as_json: bool) -> None:
    """Print how a job ended, and exit with its code."""
    if as_json:
        typer.echo(json.dumps(asdict(job), indent=2))
    if job.status != "SUCCEEDED":
        print(f"distjoint: job {job.id} {job.status.lower()}: {job.message or ''}".rstrip(": "), file=sys.stderr)
        raise typer.Exit(job.code or 1)
