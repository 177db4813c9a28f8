"""Paths of files that `prepare` writes for itself and reads like others, and what they stand for."""

from __future__ import annotations

from typing import Any


class Handed(str):
    """Path of a file that a table was written to. what: what the table was, which stands for the path in manifests"""

    what: str = ""

    @classmethod
    def recorded(cls, value: Any) -> Any:
        """What a manifest has of an option's value."""
        return value.what if isinstance(value, cls) else value


def is_given(value: object) -> bool:
    """Whether an option says something; tables do not say whether they are true."""
    return value is not None and (not isinstance(value, str | float | int | tuple) or bool(value))
