"""Search for settings on validation data: Ray Tune runs the trials, Optuna proposes their settings.

The public function is here, and imports what does the work when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distjoint.base.options import keywords
from distjoint.tune.options import TuneOptions

if TYPE_CHECKING:
    from distjoint.tune.outcome import Outcome


@keywords(TuneOptions)
def tune(options: TuneOptions) -> Outcome:
    """Search for the settings that validate best on a dataset; the best are a recipe file, `best.yaml`.

    {parameters}

    raises UsageError for a space, a metric or a size that cannot be; DistjointError where no trial came to a result
    """
    from distjoint.tune.run import run_tuning

    return run_tuning(options)
