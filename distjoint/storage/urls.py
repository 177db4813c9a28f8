"""URLs to places. Every path of distjoint is a URL that fsspec knows; a plain path is local.

The filesystem of a URL is pyarrow's own where there is one (local files, S3, GCS), because those are faster on Parquet;
otherwise fsspec's, wrapped.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import replace
from difflib import get_close_matches

import fsspec
import pyarrow.fs as pafs
from fsspec.implementations.zip import ZipFileSystem
from fsspec.registry import known_implementations
from fsspec.utils import glob_translate

from distjoint.base.errors import DistjointError
from distjoint.storage.filesystems import gcs, s3
from distjoint.storage.location import Location
from distjoint.storage.options import Options, with_defaults
from distjoint.storage.remote import first_line

_PACKAGES = {"abfss": "adlfs"}
"""Packages of protocols that fsspec does not know."""
_MAGIC = re.compile(r"[*?[]")
_SHOWN = 8


def locate(url: str | os.PathLike[str] | Location, options: Options | None = None) -> Location:
    """The place that a URL means, there or not.

    options   what fsspec takes for the URL's protocol; for s3: `key`, `secret`, `token`, `profile`, `endpoint_url`,
              `anon`, and `region_name` in `client_kwargs`; for gs: `project`, `endpoint_url`, `anon`
    raises    DistjointError when the protocol is unknown or its package is not installed
    """
    if isinstance(url, Location):
        return url
    text, options = os.fspath(url), with_defaults(options)
    protocol = _protocol(text)
    if protocol == "file":
        path = os.path.abspath(os.path.expanduser(text.removeprefix("file://").removeprefix("local://")))
        return Location(pafs.LocalFileSystem(), path, text.rstrip("/") or "/", options)
    clean = text.rstrip("/")
    if protocol == "s3":
        fs, quick = s3(options)
        return Location(fs, clean.removeprefix("s3://"), clean, options, quick)
    if protocol in ("gs", "gcs"):
        return Location(gcs(options), clean.removeprefix(f"{protocol}://"), clean, options)
    if protocol == "zip":
        return _in_zip(text, options)
    wrapped, path = _by_fsspec(text, options)
    return Location(pafs.PyFileSystem(pafs.FSSpecHandler(wrapped)), path, clean, options)


def expand(pattern: str, options: Options | None = None, skipped: list[str] | None = None) -> list[str]:
    """URLs of the files that a URL, a glob or a folder stands for, sorted.

    A file or folder whose name is the pattern itself goes before others that it matches. A folder stands for all files
    in it and below, except markers (see `is_marker`); so does a glob, but for markers that it names.

    skipped   gets the names of the markers
    raises    DistjointError when there are none, or the folder is a table whose log says which files are current
    """
    place = locate(pattern, options)
    info = place.info()
    if info.type == pafs.FileType.Directory:
        found, root = place.entries(recursive=True), place.path
        _refuse_logged(place, [info.path[len(root) + 1 :] for info in found])
    elif info.type == pafs.FileType.NotFound and _MAGIC.search(place.path):
        found, root = _matching(place)
    else:
        found, root = [info], posixpath.dirname(place.path)
    files = [info for info in found if info.type == pafs.FileType.File]
    named = is_marker(posixpath.basename(place.path)) and info.type != pafs.FileType.Directory
    kept = [info for info in files if named or not is_marker(info.path[len(root) :].lstrip("/"))]
    if not kept:
        raise DistjointError(f"{pattern}: {_what_is_there(place, files)}")
    if skipped is not None:
        skipped += [posixpath.basename(info.path) for info in files if info not in kept]
    prefix = "" if place.is_local else pattern.partition("://")[0] + "://"
    suffix = "::" + pattern.rpartition("::")[2] if _protocol(pattern) == "zip" else ""
    return [prefix + info.path + suffix for info in kept]


def is_marker(path: str) -> bool:
    """Whether a file is not data but said of it: `_SUCCESS`, `_metadata`, `.crc`, dot files, what lies in such folders.

    path   relative to the folder that is read
    """
    parts = path.split("/")
    hidden = any(part.startswith((".", "_")) and "=" not in part and part not in (".", "..") for part in parts)
    return hidden or path.endswith(".crc") or "__MACOSX" in parts


def _matching(place: Location) -> tuple[list[pafs.FileInfo], str]:
    """What a glob matches, and the folder above all of it. Parts of the path that are there as they stand are names."""
    root, parts = "", place.path.split("/")
    while len(parts) > 1:
        deeper = posixpath.join(root, parts[0]) if root else parts[0] or "/"
        if _MAGIC.search(parts[0]) and not replace(place, path=deeper).is_dir():
            break
        root, parts = deeper, parts[1:]
    rest = "/".join(parts)
    matches = re.compile(glob_translate(rest)).fullmatch
    entries = replace(place, path=root).entries(recursive=len(parts) > 1 or "**" in rest)
    return [info for info in entries if matches(info.path[len(root) :].lstrip("/"))], root


def _refuse_logged(place: Location, paths: list[str]) -> None:
    """Tell a table of Delta Lake or Iceberg from a folder of files: old files lie there beside those that count."""
    delta = any(path.startswith("_delta_log/") for path in paths)
    if delta or any(re.fullmatch(r"metadata/[^/]*\.metadata\.json", path) for path in paths):
        kind, how = ("Delta Lake", "deltalake") if delta else ("Iceberg", "pyiceberg")
        raise DistjointError(
            f"{place}: a table of {kind}, where files that no longer count lie beside the others; read it with "
            f"{how} and give the table from Python, or write it as Parquet"
        )


def _what_is_there(place: Location, markers: list[pafs.FileInfo]) -> str:
    """Why nothing was found: what was looked for, and what lies there instead."""
    if markers:
        return f"no such file but {', '.join(sorted({posixpath.basename(info.path) for info in markers})[:4])}"
    if place.is_dir():
        return "no such file: the folder is empty"
    folder = replace(place, path=posixpath.dirname(place.path))
    while folder.path not in ("", "/") and not folder.is_dir():
        folder = replace(folder, path=posixpath.dirname(folder.path))
    names = [posixpath.basename(info.path) for info in folder.entries()]
    looked = place.path[len(folder.path) :].lstrip("/")
    if not _MAGIC.search(looked):
        near = get_close_matches(looked, names, n=1)
        return "no such file" + (f"; did you mean {near[0]}?" if near else "")
    holds = ", ".join(names[:_SHOWN]) + f" and {len(names) - _SHOWN:,} more" * (len(names) > _SHOWN)
    return f"no such file: looked for names like {looked!r} in {folder.path}, which holds {holds or 'nothing'}"


def _in_zip(url: str, options: Options) -> Location:
    """A file in a zip archive: `zip://MEMBER::ARCHIVE`."""
    member, _, archive = url.removeprefix("zip://").rpartition("::")
    if not member:
        raise DistjointError(f"{url}: names no archive; it is 'zip://MEMBER::ARCHIVE'")
    try:
        wrapped = ZipFileSystem(fo=locate(archive, options).open_input())
    except DistjointError:
        raise
    except Exception as error:  # of zipfile, which may be any where the archive is damaged
        raise DistjointError(f"{archive}: a zip archive that cannot be read ({first_line(error)})") from error
    return Location(pafs.PyFileSystem(pafs.FSSpecHandler(wrapped)), member, url, options)


def _by_fsspec(url: str, options: Options) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem and path of a URL by fsspec. raises DistjointError that names the package to install"""
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **options)
    except Exception as error:  # of a plug-in, which may be any
        protocol = _protocol(url)
        known = str((known_implementations.get(protocol) or {}).get("class", ""))
        package = _PACKAGES.get(protocol, known.split(".")[0])
        missing = isinstance(error, ImportError) or "Protocol not known" in str(error)
        if missing and package not in ("", "fsspec"):
            raise DistjointError(f"{url}: needs the package {package}; pip install {package}") from error
        raise DistjointError(f"{url}: {first_line(error)}") from error
    return filesystem, path


def _protocol(url: str) -> str:
    """Protocol of a URL; `file` for a plain path."""
    protocol = url.split("://", 1)[0] if "://" in url else "file"
    return "file" if protocol == "local" else protocol
