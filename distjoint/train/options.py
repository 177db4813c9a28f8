"""Options of `train`: the arguments of the Python function and options of the command.

Nothing heavy is imported here: the command line reads this file to print its help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distjoint.base.options import CallOptions, option, options

if TYPE_CHECKING:
    from distjoint.base.progress import Progress
    from distjoint.config import Config
    from distjoint.train.callbacks.base import Callback


@options
class TrainOptions(CallOptions):
    """Options of `train`.

    The command has those by itself that it spells otherwise: `config` is a file, `resume` a run, `settings` are words.
    """

    dataset: str | None = option(
        "What 'prepare' made.",
        default=None,
        metavar="DATASET",
        argument=True,
        kw_only=False,
        doc="URL of what `prepare` made; None when resuming.",
    )
    out: str | None = option("Folder or URL of the run.", default=None, metavar="RUN", kw_only=False)
    config: Config | Mapping[str, Any] | None = option(
        "A Config, or a mapping of `section.key` to value on top of the recipe, or of the defaults.",
        default=None,
        kw_only=False,
        command=False,
        checked=False,
    )
    recipe: str | None = option(
        "One of 'distjoint recipes', or the file of one that 'tune' wrote.", default=None, metavar="NAME"
    )
    parent: str | None = option(
        "Go on from this run, whose dataset DATASET grew from: its rows, relations and configuration, but for --set.",
        default=None,
        metavar="RUN",
        flag="--from",
        doc="Run to go on from (`--from` of the command), whose dataset `dataset` grew from: its rows and relations "
        "with the state of their steps, and its configuration, unless a whole one is given.",
    )
    any_graph: bool = option("Take the recipe though it is for another graph.", default=False)
    any_memory: bool = option(
        "Train though the run is foreseen to take more memory than there is.",
        default=False,
        doc="Train though the run is foreseen to take more memory than there is, for which it is refused otherwise.",
    )
    workers: int = option("1 runs in this process; more run on Ray.", default=1, metavar="N", min=1)
    resume: bool | str = option(
        "Continue a run, by its URL, after its newest checkpoint; True for the one at `out`.",
        default=False,
        command=False,
    )
    settings: Mapping[str, Any] | None = option(
        "What is to change in a run that goes on, `section.key` to value: epochs, step sizes, alpha, ...",
        default=None,
        command=False,
    )
    go_on: bool = option(
        "Continue the run at --out if there is one: for jobs that are retried.",
        default=False,
        flag="--continue",
        doc="Continue where there is a run at `out`, with this dataset and configuration; else begin it.",
    )
    overwrite: bool = option("Replace what is at --out.", default=False, doc="Replace the run at `out`.")
    callbacks: Sequence[Callback] = option(
        "Objects that are told how the run goes, besides those of train.callbacks; docs/callbacks.md.",
        default=(),
        command=False,
        checked=False,
        recorded=False,
    )
    storage_options: Mapping[str, Any] | None = option(
        "Credentials and the like of the URLs.", default=None, command=False, recorded=False
    )
    progress: Progress | None = option(
        "Where to show how far it is; nowhere by default.", default=None, command=False, checked=False, recorded=False
    )
