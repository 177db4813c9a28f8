"""Token ids on local scratch: the corpus, tokenised once, to be read again as often as needed.

A spool is one flat file of int32 with -1 between documents. It is read in plain blocks rather than mapped, so
that what it takes of memory is what the reader holds. Its file has no name once it is open: where the process is
killed, nothing is left of it.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from distjoint.base.arrays import TokenIds
from distjoint.base.errors import DistjointError

BLOCK = 1 << 20


class Tokens(Protocol):
    """A text as token ids, -1 between documents, wherever they are kept."""

    def blocks(self) -> Iterator[TokenIds]:
        """All of them in order, from the start each time."""


class Scratch:
    """A local temporary file that arrays are appended to and read back from by position."""

    def __init__(self, path: Path) -> None:
        self.path, self.bytes = path, 0
        self._file = path.open("wb+", buffering=0)
        path.unlink()
        self._lock = threading.Lock()

    def append(self, array: NDArray[Any]) -> int:
        """Write an array at the end; returns the byte at which it starts. Safe to call from several threads.

        raises DistjointError when the disk is full
        """
        content = _bytes(array)
        with self._lock:
            start, self.bytes = self.bytes, self.bytes + len(content)
        try:
            done = 0
            while done < len(content):
                done += os.pwrite(self._file.fileno(), content[done:], start + done)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DistjointError(
                    f"{self.path.parent}: no space left on the disk for temporary files; "
                    "free some, or set TMPDIR to a larger one"
                ) from error
            raise DistjointError(f"{self.path}: {error.strerror}") from error
        return start

    def read(self, start: int, length: int, dtype: type[Any]) -> NDArray[Any]:
        """`length` items of `dtype` from byte `start` on. Safe to call from several threads."""
        out = np.empty(length, dtype)
        content, done = _bytes(out), 0
        while done < len(content):
            count = os.preadv(self._file.fileno(), [content[done:]], start + done)
            if not count:
                raise DistjointError(f"{self.path}: a temporary file was cut short; run prepare again")
            done += count
        return out

    def close(self) -> None:
        self._file.close()


class Spool(Scratch):
    """A text's token ids. Blocks are read of what is there, so not before all is written."""

    @property
    def length(self) -> int:
        return self.bytes // np.dtype(np.int32).itemsize

    def write(self, tokens: TokenIds) -> None:
        """raises DistjointError when the disk is full"""
        self.append(tokens)

    def blocks(self, length: int = BLOCK) -> Iterator[TokenIds]:
        """int32[<= length] each, in order."""
        for start in range(0, self.length, length):
            yield self.read(start * np.dtype(np.int32).itemsize, min(length, self.length - start), np.int32)


def _bytes(array: NDArray[Any]) -> memoryview:
    """The array's memory; what is written there is in the array, as long as it is contiguous."""
    return np.ascontiguousarray(array).view(np.uint8).data
