"""The command that describes what is there: describe."""

from __future__ import annotations

from typing import Any

import typer

from distjoint.cli.common import Json, StorageOptions, interruptible, print_result, progress
from distjoint.cli.options import options_of
from distjoint.describe.options import DescribeOptions


@options_of(DescribeOptions)
def describe(url: str, options: dict[str, Any], storage_options: StorageOptions = None, as_json: Json = False) -> None:
    """Describe a dataset before it is trained on, or a run: what is in it, whether it leaks, how it went.

    Of a dataset: sizes, degrees, relations by kind, leakage between splits and what copying it would score, unseen
    entities, what is said of entities, the alignment, hints on settings. Of a run: settings that differ from the
    defaults, the course of training, lengths of vectors, cost.

    \b
    Examples:
      distjoint describe data/mine
      distjoint describe data/mine --alignment pairs.parquet --html mine.html
      distjoint describe runs/joint --json
    """
    import distjoint

    with interruptible("nothing was changed; run the command again"):
        found = distjoint.describe(url, **options, progress=progress())
    print_result(found, as_json)
    for out in filter(None, (options["alignment"], options["html"])):
        typer.echo(f"{out}: written", err=True)
