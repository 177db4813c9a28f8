"""The bytes of a file, decompressed, whatever the file is called; and files of formats that are not read, by name."""

from __future__ import annotations

import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from distjoint.base.errors import DistjointError
from distjoint.data.lines import open_text
from distjoint.storage import Location

HEAD = 1 << 18
"""Bytes by which a format is known: some hundred lines of text."""
_COMPRESSED = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "bz2": re.compile(rb"BZh[1-9]1AY&SY"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "zip": re.compile(rb"PK\x03\x04"),
}
"""How files begin that are compressed so."""
_GENSIM = (
    "a pickle, as gensim's save() writes it, which may run code and is never read; write it anew, in Python: "
    "KeyedVectors.load(FILE).save_word2vec_format('vectors.bin', binary=True)"
)
_UTF_16 = "not UTF-8 but, it seems, UTF-16; convert it with 'iconv -f UTF-16 -t UTF-8'"
_FOREIGN = {
    rb"\x80[\x02-\x05]": _GENSIM,
    rb"\xba\x16\x4f\x2f": "a model of fastText; give the .vec file that was written beside it",
    rb"\x89HDF": "HDF5; write the vectors as text or with 'np.save'",
    rb"ARROW1": "an Arrow file; write the table as Parquet",
    rb"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    rb"(?s:.{257})ustar": "a tar archive; unpack it",
    rb"\xff\xfe|\xfe\xff": _UTF_16,
    rb"(?i:<!doctype|<html)": "a web page, not vectors; download the file itself",
    rb"version https://git-lfs": "a pointer of Git LFS, not the file; fetch it with 'git lfs pull'",
}
"""How files begin whose formats are not read, as patterns."""
_BROKEN = (
    *(EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException),
    *(NotImplementedError, RuntimeError),  # zipfile: a method that it does not know, a password
    *(ValueError, struct.error, LookupError, OverflowError, MemoryError),  # zipfile: a damaged table of contents
)


class ByteStream:
    """Bytes that can be looked ahead in."""

    def __init__(self, raw: Any) -> None:
        self._raw, self._held, self._at, self._ended = raw, b"", 0, False

    def peek(self, count: int = HEAD) -> bytes:
        """The next bytes, which stay to be read; fewer where the file ends."""
        if len(self._held) - self._at < count and not self._ended:
            blocks, size = [self._held[self._at :]], len(self._held) - self._at
            while size < count and not self._ended:
                blocks.append(bytes(self._raw.read(max(count - size, HEAD))))
                size, self._ended = size + len(blocks[-1]), not blocks[-1]
            self._held, self._at = b"".join(blocks), 0
        return self._held[self._at : self._at + count]

    def read(self, count: int) -> bytes:
        """The next bytes; fewer only where the file ends."""
        found = self.peek(count)
        self._at += len(found)
        return found

    def read_all(self) -> bytes:
        """All that is left."""
        return b"".join(iter(lambda: self.read(1 << 24), b""))


@contextmanager
def opened(file: Location) -> Iterator[ByteStream]:
    """A file's bytes, decompressed by what they begin with.

    raises DistjointError naming the file that is not there, is cut short, or holds several files
    """
    if not file.exists() or file.is_dir():
        raise DistjointError(f"{file}: no such file of vectors")
    with file.open_input() as raw:
        method = compression_of(bytes(raw.read(16)))
    if method == "zip":
        with _unzipped(file) as member:
            yield _once(file, ByteStream(member))
    else:
        with open_text(file) as (whole, _):
            yield _once(file, ByteStream(whole))


def refuse_foreign(file: Location, head: bytes) -> None:
    """raises DistjointError for a format that is known and not read, with what to do"""
    reason = next((reason for begin, reason in _FOREIGN.items() if re.match(begin, head)), None)
    if reason:
        raise DistjointError(f"{file}: {reason}")


def compression_of(head: bytes) -> str | None:
    """How a file that begins so is compressed."""
    return next((name for name, begin in _COMPRESSED.items() if begin.match(head)), None)


def _once(file: Location, stream: ByteStream) -> ByteStream:
    if compression_of(stream.peek(16)):
        raise DistjointError(f"{file}: compressed twice; decompress it once")
    return stream


@contextmanager
def _unzipped(file: Location) -> Iterator[Any]:
    """The one file of a zip archive."""
    with _named(file), file.open_input() as raw, zipfile.ZipFile(raw) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if any(name.endswith("data.pkl") for name in names):
            raise DistjointError(f"{file}: a file of torch, a pickle, which may run code and is never read; write text")
        if any(name.endswith(".npy") for name in names):
            raise DistjointError(f"{file}: an .npz archive; write the matrix with 'np.save', its names a line each")
        if len(names) != 1:
            held = f"{len(names)} files ({', '.join(sorted(names)[:6])})" if names else "no file"
            raise DistjointError(f"{file}: a zip archive with {held}; unpack it and give the one that is wanted")
        with archive.open(names[0]) as member:
            yield member


@contextmanager
def _named(file: Location) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        if isinstance(error, EOFError) or "truncated" in str(error).lower():
            raise DistjointError(f"{file}: the file is cut short") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DistjointError(f"{file}: cannot be read ({reason})") from error
