"""How files are packed, told by how they begin, whatever they are called: compressed, an archive, or nothing to read.

A zip archive stands for its members, each a place of its own (`zip://MEMBER::ARCHIVE`), so whatever reads files reads
them.
"""

from __future__ import annotations

import bz2
import lzma
import posixpath
import re
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from distjoint.base.errors import DistjointError
from distjoint.storage import Location, Options, expand, is_marker, locate

_AT_ONCE = 32
MAGIC = 512
"""Bytes that tell what a file is."""
_COMPRESSED = {
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "bz2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "lz4": re.compile(rb"\x04\x22\x4d\x18"),
}
_ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz", ".lz4", ".zip")
"""Of names; they are taken off before what is left says what the file holds."""
_FOREIGN = {
    rb"\x80[\x02-\x05]": "a pickle, which may run code when it is read; write the table as Parquet",
    rb"\x89HDF": "HDF5; write the table as Parquet",
    rb"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    rb"Rar!\x1a\x07": "a RAR archive; unpack it",
    rb"(?s:.{257})ustar": "a tar archive; unpack it",
    rb"\x1f\x9d": "packed by 'compress'; unpack it with 'uncompress'",
    rb"SQLite format 3\x00": "an SQLite database; write the table as CSV",
    rb"\xd0\xcf\x11\xe0": "a workbook of Excel; write its table as CSV",
    rb"%PDF": "a PDF",
    rb"\s*(?i:<!doctype html|<html)": "a web page; download the file itself",
    rb"version https://git-lfs": "a pointer of Git LFS, not the file; fetch it with 'git lfs pull'",
}
"""How files begin whose formats are not read, as patterns, and what to do."""
_BROKEN = (
    *(zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError),
    *(ValueError, LookupError, OverflowError, MemoryError),  # a damaged table of contents
)


def compression_of(file: Location) -> str | None:
    """How a file is compressed; None where it is not."""
    with file.open_input() as raw:
        return _compression(bytes(raw.read(MAGIC)))


def decompressed(raw: Any) -> Any:
    """A stream of what a file holds. raw: the file, which is read from its beginning"""
    kind = _compression(bytes(raw.read(MAGIC)))
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
    reason = next((reason for pattern, reason in _FOREIGN.items() if re.match(pattern, begin)), None)
    if reason is None and _compression(begin):
        reason = "compressed twice; decompress it once"
    if reason:
        raise DistjointError(f"{file}: {reason}")


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
    with file.open_input() as raw:
        if not bytes(raw.read(4)).startswith(b"PK"):
            return None
        names = _names(file, raw)
    if names and all(name.endswith(".npy") for name in names):
        return None
    if any(name.endswith("data.pkl") for name in names):
        return None  # a file of torch
    if "[Content_Types].xml" in names:
        raise DistjointError(f"{file}: a workbook of Excel; write its table as CSV")
    kinds = {posixpath.splitext(inner_name(name))[1] for name in names}
    if len(kinds) != 1:
        held = f"files of several kinds ({', '.join(sorted(names)[:6])})" if names else "no file"
        raise DistjointError(f"{file}: a zip archive with {held}; unpack it and give those that are wanted")
    return [locate(f"zip://{name}::{file.url}", file.options) for name in sorted(names)]


def _names(file: Location, raw: Any) -> list[str]:
    try:
        with zipfile.ZipFile(raw) as archive:
            infos = archive.infolist()
    except _BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DistjointError(f"{file}: a zip archive that is damaged or cut short ({reason})") from error
    names = [info.filename for info in infos if not info.is_dir()]
    if not all(name.isprintable() for name in names):
        raise DistjointError(f"{file}: a zip archive that is damaged: it has names of files with control characters")
    if any(info.flag_bits & 1 for info in infos):
        raise DistjointError(f"{file}: a zip archive with a password; unpack it")
    return [name for name in names if not is_marker(name)]


def _compression(begin: bytes) -> str | None:
    return next((name for name, pattern in _COMPRESSED.items() if pattern.match(begin)), None)
