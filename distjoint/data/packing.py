"""How files are packed, told by how they begin, whatever they are called: compressed, an archive, or nothing to read.

A zip archive stands for its members, each a place of its own (`zip://MEMBER::ARCHIVE`), so whatever reads files reads
them.
"""

from __future__ import annotations

import bz2
import lzma
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from distjoint.base.errors import DistjointError
from distjoint.data.beginnings import MAGIC, WHATEVER, compression, is_zip, refuse_begun
from distjoint.storage import Location, Options, expand, is_marker, locate

_AT_ONCE = 32
_ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz", ".lz4", ".zip")
"""Of names; they are taken off before what is left says what the file holds."""
_TORCH = (".pt", ".pth")
_TABLES = {
    "pickle": "a pickle, which may run code when it is read; write the table as Parquet",
    "hdf5": "HDF5; write the table as Parquet",
    "sqlite": "an SQLite database; write the table as CSV",
    "excel": "a workbook of Excel; write its table as CSV",
    **WHATEVER,
}
"""Formats that are not read as tables or text, and what to do."""
BROKEN = (
    *(zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException),
    *(NotImplementedError, RuntimeError),  # a method that zipfile does not know, a password
    *(ValueError, struct.error, LookupError, OverflowError, MemoryError),  # a damaged table of contents
)
"""What zipfile and its members raise where they are damaged."""


def compression_of(file: Location) -> str | None:
    """How a file is compressed; None where it is not."""
    with file.open_input() as raw:
        return compression(bytes(raw.read(MAGIC)))


def decompressed(raw: Any) -> Any:
    """A stream of what a file holds. raw: the file, which is read from its beginning"""
    kind = compression(bytes(raw.read(MAGIC)))
    raw.seek(0)
    if kind == "xz":
        return lzma.open(raw)
    if kind == "bz2":  # Arrow's reads the first of several streams alone
        return bz2.open(raw)
    return pa.CompressedInputStream(raw, kind) if kind else raw


def inner_name(path: str) -> str:
    """`kg/Train.CSV.gz` as `kg/train.csv`: what says what a file holds."""
    name = path.lower()
    return next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)


def refuse_foreign(file: Location, begin: bytes) -> None:
    """raises DistjointError for a format that is known and not read. begin: the first bytes, decompressed"""
    of_torch = {"pickle": f"a pickle, which may run code when it is read; {way_out_of_torch(file)}"}
    refuse_begun(file, begin, _TABLES | of_torch if inner_name(file.path).endswith(_TORCH) else _TABLES)


def way_out_of_torch(file: Location) -> str:
    """What to do about a file of torch that is not read."""
    stem = posixpath.splitext(file.name)[0]
    return (
        'where you trust it, write its arrays beside it, which are read instead: python -c "import numpy, torch; '
        f'numpy.savez({stem + ".npz"!r}, **torch.load({file.name!r}, weights_only=False))"'
    )


def files_of(patterns: Iterable[str], storage: Options | None, skipped: list[str] | None = None) -> list[Location]:
    """The files that URLs, globs and folders stand for, each once; those in zip archives in place of these.

    skipped   gets the names of markers that are passed over
    raises    DistjointError where a pattern finds nothing
    """
    named = dict.fromkeys(name for pattern in patterns for name in expand(pattern, storage, skipped))
    files = [locate(name, storage) for name in named]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        inside = list(pool.map(members, files))
    return [place for file, several in zip(files, inside, strict=True) for place in several or [file]]


def members(file: Location) -> list[Location] | None:
    """The files in a zip archive, all of one kind; None where the file is no archive, or one of arrays (`.npz`).

    raises DistjointError for an archive that is damaged, is empty, or holds files of several kinds
    """
    names = archived(file)
    if names is None or is_of_torch(names) or (names and all(name.endswith(".npy") for name in names)):
        return None
    if "[Content_Types].xml" in names:
        raise DistjointError(f"{file}: a workbook of Excel; write its table as CSV")
    kinds = {posixpath.splitext(inner_name(name))[1] for name in names}
    if len(kinds) != 1:
        held = f"files of several kinds ({', '.join(sorted(names)[:6])})" if names else "no file"
        raise DistjointError(f"{file}: a zip archive with {held}; unpack it and give those that are wanted")
    return [locate(f"zip://{name}::{file.url}", file.options) for name in sorted(names)]


def archived(file: Location) -> list[str] | None:
    """Names of the files in a zip archive, in its order, markers only where there are no others; None for other files.

    raises DistjointError for one that is damaged, or has a password
    """
    with file.open_input() as raw:
        if not is_zip(bytes(raw.read(4))):
            return None
        try:
            with zipfile.ZipFile(raw) as archive:
                infos = archive.infolist()
                names = [info.filename for info in infos if not info.is_dir()]  # fails for a name without a letter
        except BROKEN as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DistjointError(f"{file}: a zip archive that is damaged or cut short ({reason})") from error
    if not all(name.isprintable() for name in names):
        raise DistjointError(f"{file}: a zip archive that is damaged: it has names of files with control characters")
    if any(info.flag_bits & 1 for info in infos):
        raise DistjointError(f"{file}: a zip archive with a password; unpack it")
    return [name for name in names if not is_marker(name)] or names


def is_of_torch(names: Iterable[str]) -> bool:
    """Whether a zip archive of files of these names is one that torch has written."""
    return any(name.endswith("data.pkl") for name in names)
