"""The command that searches for settings: tune."""

from __future__ import annotations

import shlex
from typing import Any

from distjoint.cli.common import Json, Settings, StorageOptions, interruptible, print_result, progress, say_next
from distjoint.cli.options import options_of
from distjoint.tune.options import TuneOptions


@options_of(TuneOptions)
def tune(
    *,
    dataset: str,
    out: str,
    settings: Settings = None,
    options: dict[str, Any],
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Search for the settings that validate best: Optuna proposes them, Ray Tune runs the trials and ends poor ones.

    The first trial is the base: defaults, or --recipe, with --set. The best settings are the recipe DIR/best.yaml. The
    same command goes on with a search that was broken off.

    \b
    Examples:
      distjoint tune data/wn18rr --space graph --trials 30 --hours 2 --set train.epochs=10 --out tuned/wn18rr
      distjoint tune data/mine --recipe complex --space mine.yaml --out tuned/mine
      distjoint tune data/mine --space joint --set train.validation_sets=sets/ --set train.validate.mrr=1 \\
        --set train.validate.simlex=.5 --out tuned/joint
      distjoint train data/wn18rr --recipe tuned/wn18rr/best.yaml --out runs/best
    """
    import distjoint
    from distjoint.recipes.load import parse_settings

    again = f"the same command goes on with the search in {shlex.quote(out)}"
    with interruptible(again):
        found = distjoint.tune(dataset, out, config=parse_settings(settings or ()), **options, progress=progress())
    print_result(found, as_json)
    say_next(as_json, f"distjoint train {shlex.quote(dataset)} --recipe {shlex.quote(found.recipe)} --out RUN")
