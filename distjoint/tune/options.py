"""Options of `tune`: the arguments of the Python function and options of the command.

Nothing heavy is imported here: the command line reads this file to print its help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distjoint.base.errors import UsageError
from distjoint.base.options import CallOptions, option, options

if TYPE_CHECKING:
    from distjoint.base.progress import Progress


@options
class TuneOptions(CallOptions):
    """Options of `tune`."""

    dataset: str = option(
        "What 'prepare' made.",
        metavar="DATASET",
        argument=True,
        kw_only=False,
        doc="URL of what `prepare` made; all trials read it.",
    )
    out: str = option("Folder or URL of the search; one that was broken off goes on.", metavar="DIR", kw_only=False)
    space: str = option(
        "What is searched: a preset (graph, text, joint) or a YAML file; docs/tune.md.",
        default="joint",
        metavar="SPACE",
    )
    trials: int = option("Settings that are tried, the base's own first.", default=20, metavar="N", min=1)
    hours: float | None = option(
        "Hours after which no trial goes on, besides the repetitions of the best.", default=None, metavar="H", min=0
    )
    metric: Sequence[str] = option(
        "Component of train.validate to maximise, by default their weighted mean; of two, the Pareto front.",
        default=(),
        metavar="NAME",
    )
    recipe: str | None = option(
        "What the first trial has, and others where the space says nothing: a recipe or its file.",
        default=None,
        metavar="NAME",
    )
    config: Mapping[str, Any] | None = option(
        "The same: `section.key` to value, on top of the recipe or of the defaults.", default=None, command=False
    )
    any_graph: bool = option("Take the recipe though it is for another graph.", default=False)
    cores: int = option("Cores of a trial; as many trials run at once as fit.", default=1, metavar="N", min=1)
    repeats: int = option("Other seeds with which the best three trials are repeated.", default=2, metavar="N", min=0)
    seed: int = option("Decides what is proposed.", default=0, metavar="N", min=0)
    prune: bool = option(
        "End trials early that are behind at the same epoch (ASHA), or never.", default=True, flag="--prune/--no-prune"
    )
    storage_options: Mapping[str, Any] | None = option(
        "Credentials and the like of the URLs.", default=None, command=False, recorded=False
    )
    progress: Progress | None = option(
        "Where to show how far it is; nowhere by default.", default=None, command=False, checked=False, recorded=False
    )

    def check(self) -> None:
        """Raise UsageError for a metric too many, or no time."""
        if len(self.metric) > 2 or len(set(self.metric)) < len(self.metric):
            raise UsageError(f"--metric {' '.join(self.metric)}: name one, or two different ones for a Pareto front")
        if self.hours is not None and not self.hours > 0:
            raise UsageError(f"--hours {self.hours:g}: give more than 0, or leave it out")
