"""Errors for users. The command line prints them as one line, without a traceback."""

from __future__ import annotations


class DistjointError(Exception):
    """Error outside the program: in a file, in a value of it, a full disk. Exit code 1."""

    exit_code = 1


class UsageError(DistjointError):
    """Error in what the user wrote: an option, a key of the configuration. Exit code 2."""

    exit_code = 2


class UnknownNameError(DistjointError):
    """Name that nothing goes by, or several things do."""


class DistjointWarning(UserWarning):
    """An answer that means little, and why. The command line prints it as one line."""


class DivergedError(DistjointError):
    """NaN or infinity in a loss or a gradient. Training stops before any row is stepped by it.

    key   configuration key of the step size that may be too large
    """

    def __init__(self, message: str, key: str = "graph.learning_rate") -> None:
        super().__init__(message)
        self.key = key
