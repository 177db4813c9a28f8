"""Connection to a Ray cluster: the one of RAY_ADDRESS, or one that is started on this machine while it is needed."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from distjoint.base.errors import DistjointError
from distjoint.base.progress import Progress


@contextmanager
def ray_session(progress: Progress, dashboard: bool = True) -> Iterator[None]:
    """Connect to Ray for the length of a `with` block; does nothing where this process is connected already.

    dashboard   whether a Ray that is started here has one
    raises      DistjointError where none can be started here
    """
    if ray.is_initialized():
        yield
        return
    own = not os.environ.get("RAY_ADDRESS")
    progress.say("starting Ray on this machine" if own else f"connecting to Ray at {os.environ['RAY_ADDRESS']}")
    if own:  # otherwise Ray writes an access token into the home folder and demands it of every later process
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
    shown = {"include_dashboard": False} if own and not dashboard else {}
    try:
        ray.init(log_to_driver=False, logging_level="error", configure_logging=True, **shown)
    except Exception as error:
        if not own:
            raise
        raise DistjointError(f"Ray did not start on this machine: {error}") from error
    try:
        yield
    finally:
        # A handle that outlives its cluster, in a traceback say, would cancel the actor of the same number in the
        # next cluster of this process when it is collected.
        gc.collect()
        ray.shutdown()
