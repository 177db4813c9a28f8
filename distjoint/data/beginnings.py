"""How files begin: compressed, an archive, or of a format that is not read, told by their first bytes alone.

One table serves all who read files; what to do about a format that is not read depends on what the file was to hold, so
that is the reader's to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from distjoint.base.errors import DistjointError
from distjoint.storage import Location

MAGIC = 512
"""Bytes that tell what a file is."""
_COMPRESSED = {
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "bz2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "lz4": re.compile(rb"\x04\x22\x4d\x18"),
}
"""Streams of one file."""
_ZIP = re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)")
"""A member, the end of an archive without any, a part of several; names and words that begin with PK are none."""
_FOREIGN = {
    "pickle": rb"\x80[\x02-\x05]",
    "fasttext": rb"\xba\x16\x4f\x2f",
    "hdf5": rb"\x89HDF",
    "arrow": rb"ARROW1\x00\x00",
    "7z": rb"7z\xbc\xaf\x27\x1c",
    "rar": rb"Rar!\x1a\x07",
    "tar": rb"(?s:.{257})ustar",
    "compress": rb"\x1f\x9d",
    "sqlite": rb"SQLite format 3\x00",
    "excel": rb"\xd0\xcf\x11\xe0",
    "pdf": rb"%PDF-",
    "page": rb"\s*(?i:<!doctype html|<html)",
    "lfs": rb"version https://git-lfs",
    "utf-16": rb"\xff\xfe|\xfe\xff",
    "json": rb'(?:\xef\xbb\xbf)?\s*(?:\[\s*)?(?:\{\s*"[^"\n]*"\s*:|\[\s*"[^"\n]*"\s*,)',
    "gguf": rb"GGUF[\x00-\x08]",
}
"""Formats -> how their files begin, as patterns."""
WHATEVER = {
    "7z": "a 7z archive; unpack it",
    "rar": "a RAR archive; unpack it",
    "tar": "a tar archive; unpack it",
    "compress": "packed by 'compress'; unpack it with 'uncompress'",
    "pdf": "a PDF",
    "page": "a web page; download the file itself",
    "lfs": "a pointer of Git LFS, not the file; fetch it with 'git lfs pull'",
}
"""Formats that nobody reads -> what to do, whatever the file was to hold."""


def compression(begin: bytes) -> str | None:
    """How a file that begins so is compressed; None where it is not. An archive is no compression."""
    return next((name for name, pattern in _COMPRESSED.items() if pattern.match(begin)), None)


def is_zip(begin: bytes) -> bool:
    """Whether a file that begins so is a zip archive."""
    return _ZIP.match(begin) is not None


def refuse_begun(file: Location, begin: bytes, advice: Mapping[str, str]) -> None:
    """raises DistjointError for a file that is of a format which is known and not read, or compressed twice

    begin    its first bytes, decompressed
    advice   formats that are not read -> what the file is, and what to do
    """
    reason = next((said for name, said in advice.items() if re.match(_FOREIGN[name], begin)), None)
    if reason is None and compression(begin):
        reason = "compressed twice; decompress it once"
    if reason:
        raise DistjointError(f"{file}: {reason}")
