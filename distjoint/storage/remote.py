"""Retries, whole reads, and errors in one sentence, for a store that does not always answer.

Apart from `location.py` because nothing here knows of options or protocols. `patiently` and `Reader` do what pyarrow's
S3 client does not: its retries are too few or last too long, and where a response holds fewer bytes than were
requested, it returns the full number with whatever lay in memory before.
"""

from __future__ import annotations

import errno
import io
import itertools
import logging
import math
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import pyarrow as pa

from distjoint.base.errors import DistjointError

PATIENCE = 30.0
"""Retry deadline: seconds from the first failure of a request to the last attempt. A worker that retries keeps others
waiting in a collective, so this and one request's timeout stay below the process group's timeout."""
TOLD_AFTER = 5.0
"""Seconds of failures after which a warning is logged."""
READ_AHEAD = 8 << 20
"""Bytes per request when a file is read from beginning to end."""
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 3.0
"""Seconds: upper bounds of the random wait after the first failure and after many."""
_PASSING = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|THROTTLING|REQUEST_TIMEOUT"
    r"|NO_SUCH_UPLOAD)|HTTP status (-1|429|5\d\d)"
)
_REFUSED = re.compile(r"AWS Error (ACCESS_DENIED|SIGNATURE_DOES_NOT_MATCH|INVALID_ACCESS_KEY_ID|EXPIRED_TOKEN)")
_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class ShortReadError(OSError):
    """A response held fewer bytes than were requested."""


def patiently(name: str, act: Callable[[], _Result], patience: int = 1) -> _Result:
    """Result of `act`, retried while a store does not answer. `act` must be idempotent.

    name       of the file, for the warning that it takes long
    patience   multiplier on the retry deadline, PATIENCE
    raises     the last error after the deadline; at once an error that retries do not help
    """
    failing_since, told = math.inf, False
    for attempt in itertools.count():
        try:
            return act()
        except OSError as error:
            failing_since = min(failing_since, time.monotonic())
            waited = time.monotonic() - failing_since
            if not passes(error) or waited > patience * PATIENCE:
                raise
            if waited > TOLD_AFTER and not told:
                _log.warning("%s: no answer for %.0f s (%s); trying again", name, waited, first_line(error))
                told = True
        # Random, so that workers whose requests failed together do not retry together.
        time.sleep(random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt)))
    raise AssertionError("unreachable")


def passes(error: OSError) -> bool:
    """Whether an error may pass: no answer, too many requests, a response cut short."""
    return isinstance(error, ConnectionError | TimeoutError | ShortReadError) or bool(_PASSING.search(str(error)))


class Reader(io.RawIOBase):
    """A file of a store, read by ranges, each retried until it is whole.

    name         of the file, for messages
    open_file    opens the file for random access reading; called once
    named        context that turns an error into a sentence; a reader above would take it for damage to the file
    """

    def __init__(
        self, name: str, open_file: Callable[[], pa.NativeFile], named: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._name, self._named, self._at = name, named, 0
        with named():
            self._file = patiently(name, open_file)
            self._size = int(self._file.size())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        view = view[: max(0, self._size - self._at)]
        if len(view):
            with self._named():
                patiently(self._name, lambda: self._fill(view))
        self._at += len(view)
        return len(view)

    def readall(self) -> bytes:
        content = bytearray(max(0, self._size - self._at))
        self.readinto(content)
        return bytes(content)

    def read_buffer(self, size: int) -> pa.Buffer:
        """Like `read`, without a copy; pyarrow calls it where it exists."""
        buffer = pa.allocate_buffer(max(0, min(size, self._size - self._at)))
        if buffer.size:
            self.readinto(buffer)
        return buffer

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _fill(self, view: memoryview) -> None:
        """Read from here until `view` is full. raises ShortReadError where the response is shorter

        A short response leaves the memory at its end as it was, so the last byte tells: it is set beforehand, and
        where it comes out the same, set to another value and all is read again.
        """
        mark = random.randrange(256)
        for before in (mark, mark ^ 0xFF):
            view[-1] = before
            self._file.seek(self._at)
            read = self._file.readinto(view)
            if read == len(view) and view[-1] != before:
                return
        raise ShortReadError(f"fewer than {len(view)} bytes came from byte {self._at} on")


def first_line(error: Exception) -> str:
    """First line of an error's message, without Google's repetition of it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(" error_info=")[0]


@contextmanager
def named(url: str) -> Iterator[None]:
    """Turn errors of a filesystem into one sentence that names the file and the fix."""
    try:
        yield
    except FileNotFoundError as error:
        raise DistjointError(f"{url}: no such file") from error
    except PermissionError as error:
        raise DistjointError(f"{url}: permission denied") from error
    except OSError as error:
        reason = first_line(error)
        if error.errno == errno.ENOSPC or "No space left" in reason:
            raise DistjointError(f"{url}: no space left on the disk; free some, or write elsewhere") from error
        if error.errno == errno.ENOTDIR:
            raise DistjointError(f"{url}: a part of this path is a file, not a folder") from error
        if refused := _REFUSED.search(reason):
            raise DistjointError(
                f"{url}: access denied ({refused[1]}); check the bucket's name, and the credentials that the "
                "environment, a profile or --storage-options give"
            ) from error
        if passes(error):
            raise DistjointError(
                f"{url}: the storage does not answer, asked for {PATIENCE:.0f} s ({reason})"
            ) from error
        raise DistjointError(f"{url}: {reason}") from error
