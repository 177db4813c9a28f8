"""The command that shows distjoint on WordNet: demo."""

from __future__ import annotations

from typing import Annotated

import typer

from distjoint.cli.common import Settings, StorageOptions, Workers, console, interruptible, progress


def demo(
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder or URL for the demo's data and runs.")] = "demo",
    workers: Workers = 1,
    settings: Settings = None,
    storage_options: StorageOptions = None,
) -> None:
    """Train on WordNet apart and jointly, compare, and ask. About three minutes.

    Its synsets, 2 % of them withheld from training, are entities that are described by their glosses.

    \b
    Examples:
      distjoint demo --out demo
      distjoint submit -- demo --out s3://bucket/demo --workers 2
    """
    from distjoint.demo.run import run

    with interruptible(f"run it again with: distjoint demo --out {out}"):
        run(out, console(), progress(), workers, settings or ())
