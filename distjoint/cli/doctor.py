"""The command that checks an environment."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer

from distjoint.cli.common import Json


def doctor(
    urls: Annotated[
        list[str] | None,
        typer.Argument(metavar="URL", help="Folders to write to, read from and delete from.", show_default=False),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="A Ray cluster, http://HOST:8265; by default RAY_API_SERVER_ADDRESS or RAY_ADDRESS."
        ),
    ] = None,
    storage_options: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="For URLs, as for other commands; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check an environment, and say what to fix: versions, GPUs, memory, disk, storage, Ray. Exit code 1 on a problem.

    Run it on the cluster with 'submit', to see what the cluster sees.

    \b
    Example:
      distjoint doctor s3://bucket/folder --address http://127.0.0.1:8265
      distjoint submit --address http://127.0.0.1:8265 -- doctor s3://bucket/folder
    """
    from rich.console import Console

    from distjoint.doctor.examine import examine

    waiting = Console(stderr=True, markup=False, emoji=False)
    try:
        with waiting.status("") as status:
            report = examine(urls or (), address, _options(storage_options), say=lambda name: status.update(name))
    except KeyboardInterrupt:
        _leave(130)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    elif sys.stdout.isatty():
        Console(highlight=False, markup=False, emoji=False).print(report.table())
    else:
        typer.echo(str(report))
    code = 1 if report.count("problem") else 0
    if not report.complete:
        _leave(code)
    raise typer.Exit(code)


def _options(given: list[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with suppress(ImportError):  # a package that is missing is reported with the others
        from distjoint.storage import parse_options

        found = parse_options(given or ())
    return found


def _leave(code: int) -> None:
    """Exit at once: else the process waits for requests on their way, and those to a dead server take a minute."""
    sys.stdout.flush()
    os._exit(code)
