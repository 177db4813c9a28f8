"""The command that trains: train."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from distjoint.base.errors import UsageError
from distjoint.cli.common import Json, Settings, StorageOptions, interruptible, print_result, progress, say_next
from distjoint.cli.options import options_of
from distjoint.train.options import TrainOptions

_RESUME_TAKES = (
    "--resume RUN continues with the run's own dataset and configuration; it takes no DATASET, --out, --config, "
    "--recipe, --from, --any-graph, --init, --continue or --overwrite, only --set for what may change, and --dataset "
    "for where the dataset lies now"
)


@options_of(TrainOptions)
def train(
    *,
    dataset: str | None,
    out: str | None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="YAML file; see 'distjoint config show'.")] = None,
    recipe: str | None,
    parent: str | None,
    any_graph: bool,
    settings: Settings = None,
    init: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VECTORS",
            help="Begin with these, by name: files of GloVe, word2vec, fastText or 'export'; may be repeated.",
        ),
    ] = None,
    workers: int,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Continue this run; --set changes what may change in it.")
    ] = None,
    moved: Annotated[
        str | None,
        typer.Option("--dataset", metavar="DATASET", help="With --resume: where the run's dataset lies now, if moved."),
    ] = None,
    options: dict[str, Any],
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
      distjoint train data/grown --from runs/joint --out runs/grown --set train.epochs=2
      distjoint train --resume runs/joint
      distjoint train --resume runs/joint --set train.epochs=30
      distjoint train --resume runs/joint --dataset moved/mine
    """
    import distjoint
    from distjoint.recipes.load import parse_settings

    changes = parse_settings(settings or ())
    if resume is not None:
        if dataset or out or config or recipe or parent or any_graph or init or any(options.values()):
            raise UsageError(_RESUME_TAKES)
        run, configuration, dataset = resume, None, moved
    elif moved is not None:
        raise UsageError(f"--dataset {moved} goes with --resume RUN; a new run takes it as DATASET: train {moved} ...")
    elif dataset is None or out is None:
        raise UsageError("say what to train and where: distjoint train DATASET --out RUN, or --resume RUN")
    else:
        changes |= _begun(init)
        run, configuration = out, changes if parent and not config else _configuration(config, recipe, changes)
    with interruptible(f"continue with: distjoint train --resume {shlex.quote(str(run))}"):
        result = distjoint.train(
            dataset,
            run,
            configuration,
            recipe=recipe,
            parent=parent,
            any_graph=any_graph,
            workers=workers,
            resume=resume is not None,
            settings=changes if resume else None,
            **options,
            progress=progress(),
        )
    print_result(result, as_json)
    say_next(as_json, *_questions(run, result.metrics))


def _questions(run: str, metrics: Mapping[str, Any]) -> list[str]:
    """Commands that fit what a run has trained."""
    of_graph = [f"distjoint evaluate {shlex.quote(str(run))} --link-prediction test"] if "graph_loss" in metrics else []
    return [*of_graph, f"distjoint nearest {shlex.quote(str(run))} NAME"]


def _begun(init: list[str] | None) -> dict[str, Any]:
    """The key of `--init`: one file as it is, several as a list."""
    return {"train.init": init[0] if len(init) == 1 else init} if init else {}


def _configuration(config: str | None, recipe: str | None, changes: Mapping[str, Any]) -> Any:
    """The configuration of a new run, checked; as changes to the recipe where there is one."""
    from distjoint.recipes.load import load_config

    checked = load_config(config, changes, recipe=recipe)
    return changes if recipe else checked
