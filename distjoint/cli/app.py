"""The command line: parses, calls the public functions, prints. No logic, and no heavy import before it is needed.

An error is one line on standard error and an exit code: 2 for what was asked wrongly, 1 for what went wrong, 130
for Ctrl-C, 143 for SIGTERM. What is printed for people goes through rich; `--json` prints one JSON document instead.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from distjoint.cli.common import (
    Json,
    Overwrite,
    Settings,
    Several,
    StorageOptions,
    Workers,
    console,
    interruptible,
    print_result,
    progress,
    say_next,
)
from distjoint.cli.config import config_app
from distjoint.cli.doctor import doctor
from distjoint.cli.evaluate import compare, evaluate
from distjoint.cli.jobs import job_app, submit
from distjoint.cli.prepare import prepare
from distjoint.cli.query import export, nearest, predict
from distjoint.cli.recipes import recipes
from distjoint.errors import DistjointError, UsageError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.add_typer(config_app, name="config")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Say which.")] = False
) -> None:
    """One table of vectors for the entities of a knowledge graph and the words of a text."""
    if version:
        import distjoint

        typer.echo(f"distjoint {distjoint.__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command(cls=Several)(prepare)


@app.command()
def train(
    dataset: Annotated[
        str | None, typer.Argument(metavar="DATASET", help="What 'prepare' made.", show_default=False)
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="RUN", help="Folder or URL of the run.")] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="YAML file; see 'distjoint config show'.")] = None,
    recipe: Annotated[str | None, typer.Option(metavar="NAME", help="One of 'distjoint recipes'.")] = None,
    any_graph: Annotated[
        bool, typer.Option("--any-graph", help="Take the recipe though it is for another graph.")
    ] = False,
    settings: Settings = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="VECTORS", help="Begin with these, by name: GloVe's text, word2vec's, or exported safetensors."
        ),
    ] = None,
    workers: Workers = 1,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Continue this run; takes nothing else.")] = None,
    go_on: Annotated[
        bool,
        typer.Option("--continue", help="Continue the run at --out if there is one: for jobs that are retried."),
    ] = False,
    overwrite: Overwrite = False,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Train vectors: words, entities or both together.

    \b
    Examples:
      distjoint train data/mine --out runs/joint --set model.dim=100 --set loss.alpha=0.5
      distjoint train data/mine --out runs/glove --set loss.alpha=0
      distjoint train data/wn18rr --out runs/wn18rr --recipe wn18rr-complex --set model.dim=400
      distjoint train data/mine --out runs/more --init glove.6B.100d.txt --set train.freeze=words,contexts
      distjoint train --resume runs/joint
    """
    import distjoint
    from distjoint.recipes.load import parse_settings

    if resume is not None:
        if dataset or out or config or recipe or any_graph or settings or init or overwrite or go_on:
            raise UsageError("--resume RUN continues with the run's own dataset and configuration; give nothing else")
        run = resume
        arguments: tuple[Any, ...] = (None, run, None)
    elif dataset is None or out is None:
        raise UsageError("say what to train and where: distjoint train DATASET --out RUN, or --resume RUN")
    else:
        run = out
        overrides = parse_settings(settings or ()) | ({"train.init": init} if init else {})
        checked = distjoint.load_config(config, overrides, recipe=recipe)
        arguments = (dataset, run, overrides if recipe else checked)
    with interruptible(f"continue with: distjoint train --resume {run}"):
        result = distjoint.train(
            *arguments,
            recipe=recipe,
            any_graph=any_graph,
            workers=workers,
            resume=resume is not None,
            go_on=go_on,
            overwrite=overwrite,
            progress=progress(),
        )
    print_result(result, as_json)
    say_next(as_json, f"distjoint evaluate {run} --link-prediction test", f"distjoint nearest {run} NAME")


app.command(cls=Several)(evaluate)
app.command(cls=Several)(compare)
app.command()(nearest)
app.command()(predict)
app.command()(export)


@app.command()
def demo(
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder or URL for the demo's data and runs.")] = "demo",
    workers: Workers = 1,
    settings: Settings = None,
    storage_options: StorageOptions = None,
) -> None:
    """Train on WordNet and compare. About three minutes.

    GloVe alone, the graph alone, and both together.

    \b
    Examples:
      distjoint demo --out demo
      distjoint submit -- demo --out s3://bucket/demo --workers 2
    """
    from distjoint.demo.run import run

    with interruptible(f"run it again with: distjoint demo --out {out}"):
        run(out, console(), progress(), workers, settings or ())


app.command()(doctor)
app.command()(recipes)
app.command()(submit)
app.add_typer(job_app, name="job")


def main() -> NoReturn:
    """The entry point: any error a user is meant to read is one line and an exit code."""
    # Torch's threads spin while they wait, at the cost of whatever shares the cores: two trainings side by side on
    # 2 cores do 50 k triples/s together, and 70 k when waiting threads sleep; one alone is as fast either way.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        sys.exit(app(standalone_mode=False) or 0)
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
        hint = f"; see '{context.command_path} --help'" if context is not None else ""
        _fail(message().rstrip(".") + hint, 2)


def _fail(message: str, code: int) -> NoReturn:
    print(f"distjoint: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
