"""The errors a user is meant to read. The command line prints each as one line, without a traceback."""

from __future__ import annotations


class DistjointError(Exception):
    """Something outside the program is wrong: a file, a value in it, a full disk. Exit code 1."""

    exit_code = 1


class UsageError(DistjointError):
    """What was asked for cannot be done as asked: an option, a config key. Exit code 2."""

    exit_code = 2


class DivergedError(DistjointError):
    """A loss or a gradient became NaN or infinite: training stops before any row is stepped by it.

    key   configuration key of the step size that may be too large
    """

    def __init__(self, message: str, key: str = "graph.learning_rate") -> None:
        super().__init__(message)
        self.key = key
