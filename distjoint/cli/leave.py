"""The end of the program: everything that Python ends, and nothing that only its memory would be freed for.

An interpreter that ends tears itself down while threads of Arrow, of S3's client or of Ray may still hold objects of
Python; one that wants to free such an object just then aborts the process, after all output and with code 134
(apache/arrow#34314; one call in 250 on a busy machine). So the program ends as multiprocessing ends its children:
threads are joined, exit handlers run (temporary files, Ray's session, a coverage report), output is flushed, and the
process is gone.
"""

from __future__ import annotations

import atexit
import os
import runpy
import sys
import threading
from inspect import currentframe
from pathlib import Path
from typing import NoReturn

from distjoint.cli.app import main

_PROGRAMS = ("distjoint", "__main__.py")
"""Files whose only work is to call `program`."""


def program() -> NoReturn:
    """The entry point of `distjoint` and of `python -m distjoint`."""
    try:
        main()
    except SystemExit as end:
        if not _is_whole_program():
            raise
        code = end.code
    if not (code is None or isinstance(code, int)):
        print(code, file=sys.stderr)
        code = 1
    leave(code or 0)


def leave(code: int) -> NoReturn:
    """End this process: by its exit handlers, but without taking the interpreter apart.

    code   exit code; 1 where the last output cannot be written, unless it says of something worse
    """
    try:
        # What Python itself does first when it ends; neither has a public name.
        getattr(threading, "_shutdown")()  # noqa: B009
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BrokenPipeError:  # `distjoint ... | head`
        code = code or 1
    except OSError as error:
        code = code or 1
        print(f"distjoint: standard output: {error.strerror or error}", file=sys.stderr)
    finally:
        try:
            sys.stderr.flush()
        finally:
            os._exit(code)


def _is_whole_program() -> bool:
    """Whether this process is `distjoint` or `python -m distjoint`, and nobody waits for it to return.

    A profiler does, or a debugger, or a program that calls `main`: they have more to do.
    """
    frame = currentframe()
    frame = frame.f_back.f_back if frame and frame.f_back else None  # who called `program`
    while frame is not None:
        code = frame.f_code
        is_ours = code.co_name == "<module>" and Path(code.co_filename).name in _PROGRAMS
        if not is_ours and code.co_filename != runpy.run_module.__code__.co_filename:
            return False
        frame = frame.f_back
    return True
