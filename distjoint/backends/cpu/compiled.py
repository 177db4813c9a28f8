"""How the compiled CPU loops are compiled: one decorator, a cache on disk that is always writable, and a word to
the user when compilation makes them wait. Apart from the kernels because each of them needs the same three things.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from distjoint.base.progress import Progress

# What the compiler may assume of floats. Sums may be reordered, which is what makes them vectors; NaN and infinity
# may not be assumed away (`nnan`, `ninf`), or a diverging run would look healthy.
FASTMATH = {"reassoc", "contract", "arcp", "nsz"}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop: without the GIL, cached on disk, sums in any order, NaN kept.

    Give a kernel one signature: each costs a compilation of seconds. The cache is keyed by the kernel's own source
    file: after a change in what it inlines (`simd`), touch that file too.
    """
    with _cache_folder():
        return numba.njit(nogil=True, cache=True, fastmath=FASTMATH)(function)


def exact(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop as `compiled` does, with sums in the order they are written."""
    with _cache_folder():
        return numba.njit(nogil=True, cache=True)(function)


@contextmanager
def announce(progress: Progress | None, seconds: int = 10) -> Iterator[None]:
    """Say "compiling kernels" as soon as something is compiled inside the block; a warm cache stays silent.

    progress   where to say it, None for nowhere
    seconds    what the user is told to expect
    """
    listener = _Announcer(progress, seconds)
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)


class _Announcer(event.Listener):  # type: ignore[misc]
    def __init__(self, progress: Progress | None, seconds: int) -> None:
        self._progress, self._seconds = progress, seconds

    def on_start(self, event: object) -> None:
        if self._progress:
            self._progress.say(f"compiling kernels (once, about {self._seconds} s)")
        self._progress = None

    def on_end(self, event: object) -> None:
        return None


@contextmanager
def _cache_folder() -> Iterator[None]:
    """Let what is decorated inside keep its machine code where that can be written; numba reads the folder then."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = before or _writable_folder()
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


@cache
def _writable_folder() -> str:
    """Folder for compiled code; empty for numba's own choice, beside the package, where that is writable.

    Else it is in the user's cache folder, else a fresh private one, for this process only: cached code is loaded
    unchecked, so it must not lie where others can write.
    """
    if os.access(Path(__file__).parent, os.W_OK):
        return ""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "distjoint"
    try:
        user.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = os.access(user, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        user = Path(tempfile.mkdtemp(prefix="distjoint-kernels-"))
        atexit.register(shutil.rmtree, user, ignore_errors=True)
    return str(user)
