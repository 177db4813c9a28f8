"""URLs to places. Every path of distjoint is a URL that fsspec knows; a plain path is local.

The filesystem of a URL is pyarrow's own where there is one (local files, S3, GCS), because those are faster on Parquet;
otherwise fsspec's, wrapped.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import replace

import fsspec
import pyarrow.fs as pafs
from fsspec.registry import known_implementations
from fsspec.utils import glob_translate

from distjoint.base.errors import DistjointError
from distjoint.storage.filesystems import gcs, s3
from distjoint.storage.location import Location
from distjoint.storage.options import Options, with_defaults
from distjoint.storage.remote import first_line

_PACKAGES = {"abfss": "adlfs"}
"""Packages of protocols that fsspec does not know."""


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
    wrapped, path = _by_fsspec(text, options)
    return Location(pafs.PyFileSystem(pafs.FSSpecHandler(wrapped)), path, clean, options)


def expand(pattern: str, options: Options | None = None) -> list[str]:
    """URLs of the files that a URL, a glob or a folder stands for, sorted.

    A folder stands for all files in it and below, except those whose name begins with a dot.

    raises DistjointError when there are none
    """
    place = locate(pattern, options)
    fixed = re.split(r"[*?[]", place.path)[0]
    if fixed != place.path:
        folder, matches = posixpath.dirname(fixed), re.compile(glob_translate(place.path)).fullmatch
        deep = "/" in place.path[len(folder) + 1 :] or "**" in place.path
        found = [info for info in replace(place, path=folder).entries(deep) if matches(info.path)]
    elif place.is_dir():
        found = [info for info in place.entries(recursive=True) if not posixpath.basename(info.path).startswith(".")]
    else:
        found = [place.info()]
    prefix = "" if place.is_local else _protocol(pattern) + "://"
    names = [prefix + info.path for info in found if info.type == pafs.FileType.File]
    if not names:
        raise DistjointError(f"{pattern}: no such file")
    return names


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
