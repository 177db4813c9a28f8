"""Options of what asks a run, each declared once: how the run is opened, and how a file of questions is answered.

Nothing heavy is imported here: the command line reads this file to print its help.
"""

from __future__ import annotations

from distjoint.base.options import CallOptions, option, options

MEMORY = "2GB"
"""Vectors that take more stay in their files."""


@options
class LoadOptions(CallOptions):
    """How a run is opened."""

    memory: str | int = option(
        "Vectors that take more stay in their files, and are read block by block.", default=MEMORY, metavar="SIZE"
    )
    dataset: str | None = option("Where the run's dataset lies now, if it was moved.", default=None, metavar="DATASET")


@options
class FileOptions(LoadOptions):
    """How a file of questions is answered."""

    skip_unknown: bool = option("Leave out questions of a file with unknown names, or refuse them.", default=False)
    workers: int = option(
        "Blocks of a file's questions that are answered side by side, by threads that share the table: for cores that "
        "1 leaves idle. Each takes memory of its own; answers and their order stay the same.",
        default=1,
        metavar="N",
        min=1,
    )
