"""An access token of a process's own Ray, whose ports are open on every address of the machine: who has no token is
refused by them. Apart from the session, because Ray reads its environment when it is imported.
"""

from __future__ import annotations

import os
import secrets
import sys

_MODE, _TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"


def guard_ray() -> None:
    """Give the Ray that this process will start a token that only its own processes know.

    Does nothing where Ray is imported already, or where the environment says how it is guarded.
    """
    if _MODE not in os.environ and "ray" not in sys.modules:
        os.environ[_MODE], os.environ[_TOKEN] = "token", secrets.token_hex(32)
