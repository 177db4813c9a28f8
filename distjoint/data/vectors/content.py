"""The bytes of a file, decompressed, whatever the file is called; and files of formats that are not read, by name."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from distjoint.base.errors import DistjointError
from distjoint.data.beginnings import MAGIC, WHATEVER, compression, is_zip, refuse_begun
from distjoint.data.lines import open_text
from distjoint.data.packing import BROKEN, archived, is_of_torch
from distjoint.storage import Location

HEAD = 1 << 18
"""Bytes by which a format is known: some hundred lines of text."""
_GENSIM = (
    "a pickle, as gensim's save() writes it, which may run code and is never read; write it anew, in Python: "
    "KeyedVectors.load(FILE).save_word2vec_format('vectors.bin', binary=True)"
)
_VECTORS = {
    "pickle": _GENSIM,
    "fasttext": "a model of fastText; give the .vec file that was written beside it",
    "hdf5": "HDF5; write the vectors as text or with 'np.save'",
    "arrow": "an Arrow file; write the table as Parquet",
    "sqlite": "an SQLite database; write the vectors as text",
    "excel": "a workbook of Excel; write the vectors as text",
    "utf-16": "not UTF-8 but, it seems, UTF-16; convert it with 'iconv -f UTF-16 -t UTF-8'",
    "json": "JSON; write a line of text for each vector, its name and its numbers",
    "gguf": "a model in GGUF, not vectors of names",
    **WHATEVER,
    "page": "a web page, not vectors; download the file itself",
}
"""Formats that are not read as vectors, and what to do."""


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
    names = archived(file)
    if names is None:
        with open_text(file) as (whole, _):
            yield _once(file, ByteStream(whole))
    else:
        with _unzipped(file, _only(file, names)) as member:
            yield _once(file, ByteStream(member))


def refuse_foreign(file: Location, head: bytes) -> None:
    """raises DistjointError for a format that is known and not read, with what to do"""
    refuse_begun(file, head, _VECTORS)


def is_packed(head: bytes) -> bool:
    """Whether a file that begins so is compressed, or an archive."""
    return is_zip(head) or compression(head) is not None


def _once(file: Location, stream: ByteStream) -> ByteStream:
    if is_packed(stream.peek(MAGIC)):
        raise DistjointError(f"{file}: compressed twice; decompress it once")
    return stream


def _only(file: Location, names: Sequence[str]) -> str:
    """The one file of a zip archive."""
    if is_of_torch(names):
        raise DistjointError(f"{file}: a file of torch, a pickle, which may run code and is never read; write text")
    if any(name.endswith(".npy") for name in names):
        raise DistjointError(f"{file}: an .npz archive; write the matrix with 'np.save', its names a line each")
    if len(names) != 1:
        held = f"{len(names)} files ({', '.join(sorted(names)[:6])})" if names else "no file"
        raise DistjointError(f"{file}: a zip archive with {held}; unpack it and give the one that is wanted")
    return names[0]


@contextmanager
def _unzipped(file: Location, name: str) -> Iterator[Any]:
    with _named(file), file.open_input() as raw, zipfile.ZipFile(raw) as archive, archive.open(name) as member:
        yield member


@contextmanager
def _named(file: Location) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        if isinstance(error, EOFError) or "truncated" in str(error).lower():
            raise DistjointError(f"{file}: the file is cut short") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DistjointError(f"{file}: cannot be read ({reason})") from error
