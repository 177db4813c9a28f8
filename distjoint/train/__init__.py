"""Training: schedule, sources of samples, the lane loop, the exchange of shards, checkpoints, the Ray driver.

The public function is here, and imports what does the work when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distjoint.base.options import keywords
from distjoint.train.options import TrainOptions

if TYPE_CHECKING:
    from distjoint.train.run import Result


@keywords(TrainOptions)
def train(options: TrainOptions) -> Result:
    """Train vectors on a prepared dataset.

    {parameters}

    raises UsageError when the request does not fit the data; DivergedError when a loss is not finite
    """
    from distjoint.train.run import run_training

    return run_training(options)
