"""All checks of an environment, each in a thread of its own with a time limit.

Neither a check that fails nor a server that never answers keeps the others from being reported. A check is a function
that yields findings; `_checks` lists them. Modules of this room import nothing but the standard library at their top:
what else is missing is for a check to find.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from distjoint.doctor.cluster import ray_cluster
from distjoint.doctor.findings import Diagnosis, Finding, sentence
from distjoint.doctor.machine import cores_and_memory, gpus, open_files, shared_memory, temporary_files
from distjoint.doctor.packages import packages, python
from distjoint.doctor.store import no_storage, storage

LIMIT = 60.0
"""Seconds a check may take."""
_SECRET = re.compile(r"secret|token|passw|credential|account_key|sas|connection_string", re.IGNORECASE)

Check = Callable[[], Iterable[Finding]]


def examine(
    urls: Sequence[str] = (),
    address: str | None = None,
    options: Mapping[str, Any] | None = None,
    limit: float = LIMIT,
    say: Callable[[str], None] = lambda name: None,
) -> Diagnosis:
    """Run every check on this machine.

    urls      places to write to, read from and delete from
    address   of a Ray cluster; by default RAY_API_SERVER_ADDRESS or RAY_ADDRESS
    options   of the URLs, as `distjoint.storage.locate` takes them
    limit     seconds a check may take
    say       is called with the name of each check as it begins
    """
    results: list[Finding] = []
    complete = True
    for name, check in _checks(urls, address, options or {}).items():
        say(name)
        found, ended = bounded(name, check, limit)
        results += found
        complete &= ended
    return Diagnosis([without_secrets(result, options or {}) for result in results], complete)


def _checks(urls: Sequence[str], address: str | None, options: Mapping[str, Any]) -> dict[str, Check]:
    """All checks, by name."""
    places: dict[str, Check] = {url: partial(storage, url, options) for url in urls}
    return {
        "Python": python,
        "packages": packages,
        "GPUs": gpus,
        "machine": cores_and_memory,
        "shared memory": shared_memory,
        "temporary files": temporary_files,
        "open files": open_files,
        "Ray cluster": partial(ray_cluster, address),
        **(places or {"storage": no_storage}),
    }


def bounded(name: str, check: Check, limit: float) -> tuple[list[Finding], bool]:
    """Findings of a check within `limit` seconds, and whether it ended. An error it raises is a finding too."""
    results: list[Finding] = []

    def work() -> None:
        try:
            for result in check():
                results.append(result)  # noqa: PERF402  (one by one: what is known when time is up counts)
        except (Exception, SystemExit) as error:
            results.append(Finding(name, "problem", f"this check failed: {sentence(error)}"))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(limit)
    if not thread.is_alive():
        return results, True
    fix = "see that the network and firewalls let this machine reach it"
    return [*results, Finding(name, "problem", f"no answer within {limit:g} s", fix)], False


def without_secrets(result: Finding, options: Mapping[str, Any]) -> Finding:
    """A finding without passwords of URLs, and without secrets of the options and the environment.

    Errors of other libraries may repeat them.
    """
    given = [str(value) for name, value in {**os.environ, **options}.items() if _SECRET.search(name)]

    def clean(text: str) -> str:
        text = re.sub(r"(?<=://)[^/@\s]+@", "***@", text)
        for value in given:
            text = text.replace(value, "***") if len(value) >= 6 else text
        return text

    return Finding(clean(result.check), result.status, clean(result.found), clean(result.fix))
