"""The command line: the app, its global options, and how it ends. Commands lie in the files beside this one.

An error is one line on standard error and an exit code: 2 for a wrong request, 1 for what went wrong, 130 for Ctrl-C,
143 for SIGTERM. What is printed for people goes through rich; `--json` prints one JSON document instead. Nothing heavy
is imported before it is needed.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command

from distjoint.base.errors import DistjointError, DistjointWarning
from distjoint.base.foreign import meant_by
from distjoint.cli.common import Several
from distjoint.cli.config import config_app
from distjoint.cli.demo import demo
from distjoint.cli.describe import describe
from distjoint.cli.doctor import doctor
from distjoint.cli.evaluate import compare, evaluate
from distjoint.cli.jobs import job_app, submit
from distjoint.cli.plan import plan
from distjoint.cli.prepare import prepare
from distjoint.cli.query import explain, export, nearest, predict, score
from distjoint.cli.recipes import recipes
from distjoint.cli.serve import serve
from distjoint.cli.train import train
from distjoint.cli.tune import tune
from distjoint.registry import load_plugins

PLUGINS = "DISTJOINT_PLUGINS"
"""Environment variable: modules to import, separated by commas."""

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say which.")] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE",
            help="Import a module that adds scorers, losses, ...; may be repeated. Or set "
            f"{PLUGINS}, separated by commas.",
        ),
    ] = None,
) -> None:
    """One table of vectors for the entities of a knowledge graph and the words of a text."""
    if version:
        import distjoint

        typer.echo(f"distjoint {distjoint.__version__}")
        return
    if modules := [*(plugin or ()), *filter(None, os.environ.get(PLUGINS, "").split(","))]:
        sys.path.append(str(Path.cwd()))
        load_plugins(modules)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command(cls=Several)(prepare)
app.command()(describe)
app.command()(plan)
app.command()(train)
app.command(cls=Several)(tune)
app.command(cls=Several)(evaluate)
app.command(cls=Several)(compare)
app.command()(nearest)
app.command()(predict)
app.command()(score)
app.command()(explain)
app.command()(export)
app.command()(serve)
app.command()(demo)
app.command()(doctor)
app.command()(recipes)
app.command()(submit)
app.add_typer(config_app, name="config")
app.add_typer(job_app, name="job")


def main() -> NoReturn:
    """Run the command line; any error a user is meant to read is one line and an exit code."""
    # Torch's threads spin while they wait, at the cost of whatever shares the cores: two trainings side by side on
    # 2 cores do 50 k triples/s together, and 70 k when waiting threads sleep; one alone is as fast either way.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        with _warnings_as_lines():
            sys.exit(_command()(standalone_mode=False) or 0)
    except DistjointError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # `distjoint ... | head`
            sys.stderr.close()
            sys.exit(1)
        _fail(str(error), 1)
    except Exception as error:
        message = getattr(error, "format_message", None)  # of the command line's own errors
        if message is None:
            raise
        context = getattr(error, "ctx", None)
        hint = _setting_of(error) or (f"; see '{context.command_path} --help'" if context is not None else "")
        _fail(message().rstrip(".") + hint, 2)


@cache
def _command() -> Callable[..., Any]:
    """What typer makes of the app: in 60 ms, and once for a process that runs several command lines."""
    return get_command(app)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print warnings of distjoint as one line each, without the place in the code."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, DistjointWarning):
            print(f"distjoint: warning: {message}", file=sys.stderr)
        else:
            before(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DistjointWarning)
        setattr(warnings, "showwarning", show)  # noqa: B010 - catch_warnings restores it
        yield


def _setting_of(error: Exception) -> str:
    """Where an option that there is none of is a setting: how to set it."""
    option = getattr(error, "option_name", None)
    keys = [key for key in meant_by(option) if " " not in key] if option else []
    command = getattr(getattr(error, "ctx", None), "info_name", "")
    return f"; it is a setting: --set {keys[0]}=..." if keys and command in ("train", "demo") else ""


def _fail(message: str, code: int) -> NoReturn:
    print(f"distjoint: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
