"""Token ids on local scratch: the corpus, tokenised once, to be passed over again as often as needed.

A spool is one flat file of int32 with -1 between documents. It is read in plain blocks rather than mapped, so
that what it takes of memory is what the reader holds.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distjoint.errors import DistjointError

BLOCK = 1 << 20

Int32s = NDArray[np.int32]


class Spool:
    """A file of token ids, open for writing until closed."""

    def __init__(self, path: Path) -> None:
        self.path, self.length = path, 0
        self._file = Scratch(path)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def write(self, tokens: Int32s) -> None:
        """raises DistjointError when the disk is full"""
        self._file.append(tokens)
        self.length += len(tokens)

    def blocks(self, length: int = BLOCK) -> Iterator[Int32s]:
        """int32[<= length] each, in order. The spool must be closed for writing."""
        with self.path.open("rb") as stream:
            while len(block := np.fromfile(stream, np.int32, length)):
                yield block

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)


class Scratch:
    """A local temporary file that arrays are appended to and read back from by position."""

    def __init__(self, path: Path) -> None:
        self.path, self.bytes = path, 0
        self._file = path.open("wb+", buffering=0)
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
            piece = os.preadv(self._file.fileno(), [content[done:]], start + done)
            if not piece:
                raise DistjointError(f"{self.path}: a temporary file was cut short; run prepare again")
            done += piece
        return out

    def close(self) -> None:
        self._file.close()


def _bytes(array: NDArray[Any]) -> memoryview:
    """The array's memory; what is written there is in the array, as long as it is contiguous."""
    return np.ascontiguousarray(array).view(np.uint8).data
