"""Options of URLs, as a command line gives them and as a process keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from distjoint.base.errors import UsageError

Options = Mapping[str, Any]
"""Credentials, endpoints and the like of a URL, by the names that fsspec has for them; see `locate`."""

# The only state that this room keeps. A command is given its --storage-options once, for all URLs it meets: those in a
# configuration or a run's record too. Set by `use_options` alone, from the command line; read by `with_defaults` alone.
# Other processes are handed the options of what they are to read.
_defaults: dict[str, Any] = {}


def use_options(options: Options) -> None:
    """Set the default options of this process, for all URLs that are not local; those it had before are dropped."""
    _defaults.clear()
    _defaults.update(options)


def with_defaults(options: Options | None) -> dict[str, Any]:
    """Options of a URL on top of the process's defaults."""
    return {**_defaults, **(options or {})}


def parse_options(texts: Iterable[str]) -> dict[str, Any]:
    """Options from a command line's words: `key=value`, or a JSON object.

    raises   UsageError, which repeats no value: it may be a secret
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if text.startswith("{"):
            try:
                found |= json.loads(text)
            except ValueError as error:
                raise UsageError("--storage-options: what starts with { must be a JSON object") from error
        elif equals and name:
            found[name] = value
        else:
            raise UsageError("--storage-options: write it as key=value, like endpoint_url=http://127.0.0.1:8333")
    return found
