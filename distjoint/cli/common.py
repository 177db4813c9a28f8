"""Common parts of commands: options, printing, and how they end when they are interrupted."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from distjoint.base.errors import DistjointError

if TYPE_CHECKING:
    from rich.console import Console

    from distjoint.base.progress import Progress

WIDTH = 160
"""Columns of a table that does not go to a terminal."""


def _use_storage(given: list[str] | None) -> None:
    from distjoint.storage import parse_options, use_options

    use_options(parse_options(given or ()))


StorageOptions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        callback=_use_storage,
        expose_value=False,
        help="For URLs: endpoint_url, profile, key ..., or a JSON object; may be repeated. Or set the AWS environment.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for machines.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")]
Workers = Annotated[int, typer.Option(metavar="N", min=1, help="1 runs in this process; more run on Ray.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A key of the configuration, like model.dim=100; may be repeated."),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Folder or URL of a run.", show_default=False)]
Dataset = Annotated[
    str | None, typer.Option(metavar="DATASET", help="Where the run's dataset lies now, if it was moved.")
]
Count = Annotated[int, typer.Option("-k", "--top", metavar="N", min=1, help="How many.")]


class Several(TyperCommand):
    """Command whose repeatable options also take several words, as a shell makes of `--similarity sets/*.txt`.

    Words after such an option belong to it, once the command's own arguments have begun.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {name: param for param in self.params for name in (*param.opts, *param.secondary_opts)}
        arguments = [param for param in self.params if param.param_type_name == "argument"]
        expanded: list[str] = []
        option, taken, begun = "", 0, not arguments
        for word in args:
            param = options.get(option)
            if word.startswith("-") and len(word) > 1:
                option, taken = word.partition("=")[0], "=" in word
            elif param is not None and not getattr(param, "is_flag", False) and (begun or not taken):
                if taken and getattr(param, "multiple", False):
                    expanded.append(option)
                taken += 1
            else:
                option, begun = "", True
            expanded.append(word)
        return super().parse_args(ctx, expanded)


class _InterruptedError(DistjointError):
    def __init__(self, message: str, by: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + by


@contextmanager
def interruptible(hint: str) -> Iterator[None]:
    """Make Ctrl-C, and the signal of a machine or a job that is to end, one line that says how to go on."""

    def end(number: int, _: object) -> NoReturn:
        raise KeyboardInterrupt(number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt as error:
        by = int(error.args[0]) if error.args else signal.SIGINT
        raise _InterruptedError(f"{'interrupted' if by == signal.SIGINT else 'stopped'}; {hint}", by) from error
    finally:
        signal.signal(signal.SIGTERM, before)


def progress() -> Progress:
    """Progress of a command, on standard error."""
    from distjoint.base.progress import for_terminal

    return for_terminal()


def print_result(result: Any, as_json: bool) -> None:
    """Print the result of a command: as a table for people, as its `to_dict()` for machines."""
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        console().print(result)


def print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    """Print neighbours or predictions: a line each, only the columns that say something.

    Entities go by their labels, and several of one label by their ids besides.
    """
    from rich.table import Table

    rows = _readable(rows)
    columns = [column for column in (rows[0] if rows else ()) if any(row[column] not in (None, False) for row in rows)]
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(
            *(f"{value:.3f}" if isinstance(value := row[column], float) else str(value) for column in columns)
        )
    console().print(table)


def _readable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows whose names are labels, where there are any."""
    labels = [row["label"] for row in rows]
    names = [
        row["name"] if label is None else label if labels.count(label) == 1 else f"{label} ({row['name']})"
        for row, label in zip(rows, labels, strict=True)
    ]
    return [{**row, "name": name, "label": None} for row, name in zip(rows, names, strict=True)]


def console() -> Console:
    """Standard output; wide where it is a file or a pipe, so that no table is cut. Brackets in names are no markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH)


def say_next(as_json: bool, *commands: str) -> None:
    """Print the commands that may come next, for people."""
    if not as_json:
        typer.echo("Next:\n" + "\n".join(f"  {command}" for command in commands))
