"""Check of storage: whether a place can be written to, read from and deleted from, how fast, and the store's clock.

By the calls that training uses, with a small file of a random name that is deleted afterwards.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distjoint.doctor.findings import Finding, sentence, size

if TYPE_CHECKING:
    from distjoint.storage import Location

PROBE = 8 << 20
"""Bytes written and read to measure the bandwidth; sent to S3 in two parts."""
SKEW, REFUSED_SKEW = 300.0, 900.0
"""Difference of two clocks in seconds: above the first is a warning, above the second S3 refuses signatures."""
_CONNECT = 5.0
_AMAZON_AND_GOOGLE = ("s3", "gs", "gcs")
_FIXES = {
    "SIGNATURE_DOES_NOT_MATCH": "the secret is not the key's: set AWS_SECRET_ACCESS_KEY or --storage-options secret=",
    "INVALID_ACCESS_KEY": "no such key here: set AWS_ACCESS_KEY_ID, or a profile, or endpoint_url if it is not AWS",
    "EXPIRED": "renew the session's token",
    "REQUEST_TIME": "set this machine's clock, by NTP",
    "NO_SUCH_BUCKET": "create the bucket, or correct its name",
    "ACCESS_DENIED": "allow s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject here, or give credentials",
    "PERMISSION_DENIED": "allow this account to list, read, create and delete objects here",
    "does not answer": "see that this machine may reach the storage, and that it is up",
    "Protocol not known": "give a path, s3://, gs://, az://, or another protocol that fsspec knows",
    "requires": "install the package it names",
    "permission denied": "let this user write here, or choose another place",
    "Read-only file system": "mount it for writing, or choose another place",
    "no space left": "free some, or choose another place",
}


def storage(url: str, options: Mapping[str, Any] | None = None, probe: int = PROBE) -> Iterator[Finding]:
    """Write, read back, compare and delete below a URL; of a URL that is a file, only read.

    probe   bytes to measure the bandwidth with
    """
    from distjoint.storage import locate

    try:
        place = locate(url, options)
    except Exception as error:
        yield _problem(url, error)
        return
    if url.split("://")[0] in _AMAZON_AND_GOOGLE:
        reached = _server(url, place)
        yield reached
        if reached.status == "problem":
            return
        if _kind(place, place.path.split("/")[0]) == "NotFound":  # some servers would make it
            yield Finding(url, "problem", "no such bucket", _FIXES["NO_SUCH_BUCKET"])
            return
    if _kind(place, place.path) == "File":
        yield _readable(url, place)
    else:
        yield from _round_trip(url, _present(place) if place.is_local else place, probe)


def no_storage() -> Iterator[Finding]:
    """The line where no URL was given."""
    yield Finding("storage", "ok", "no URL given to try: distjoint doctor s3://BUCKET/FOLDER")


def _server(url: str, place: Location) -> Finding:
    """Whether the store answers, and how far its clock is from this machine's: by one request without a signature."""
    scheme, host = _endpoint(place)
    connection = (HTTPSConnection if scheme == "https" else HTTPConnection)(host, timeout=_CONNECT)
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
        skew = abs(parsedate_to_datetime(date or "").timestamp() - time.time())
    except (ssl.SSLCertVerificationError, HTTPException, ValueError) as error:  # the real client may know better
        return Finding(url, "warning", f"{host} did not tell the time: {sentence(error)}", "compare the clocks by hand")
    except OSError as error:
        fix = "start it, open the port, or correct endpoint_url"
        return Finding(url, "problem", f"no answer at {scheme}://{host}: {sentence(error)}", fix)
    finally:
        connection.close()
    return _clock(url, skew)


def _endpoint(place: Location) -> tuple[str, str]:
    """Scheme and host of a filesystem's requests; pyarrow shows them only in what it pickles."""
    settings, region = place.fs.__reduce__()[1][0], getattr(place.fs, "region", "")
    default = f"s3.{region}.amazonaws.com" if region else "storage.googleapis.com"
    default += ".cn" if region.startswith("cn-") else ""
    return settings["scheme"] or "https", settings["endpoint_override"] or default


def _clock(url: str, skew: float) -> Finding:
    """Finding about a difference of clocks, in seconds."""
    found = f"reached; clocks {skew:.0f} s apart"
    if skew <= SKEW:
        return Finding(url, "ok", found)
    return Finding(url, "problem" if skew > REFUSED_SKEW else "warning", found, _FIXES["REQUEST_TIME"])


def _kind(place: Location, path: str) -> str:
    """`NotFound`, `File` or `Directory`; empty where listing is not allowed: writing will tell."""
    try:
        return str((place.quick or place.fs).get_file_info(path).type.name)
    except Exception:
        return ""


def _readable(url: str, place: Location) -> Finding:
    """Whether a file can be read."""
    started = time.perf_counter()
    try:
        with place.open_input() as stream:
            stream.read(1 << 16)
    except Exception as error:
        return _problem(url, error)
    took = 1e3 * (time.perf_counter() - started)
    return Finding(url, "ok", f"a file of {size(place.size())}, its beginning read in {took:.0f} ms")


def _present(place: Location) -> Location:
    """The folder, or the nearest one above it that exists, so that no folder is left behind."""
    from distjoint.storage import locate

    path = Path(place.path)
    return locate(str(next(above for above in (path, *path.parents) if above.exists())))


def _round_trip(url: str, folder: Location, probe: int) -> Iterator[Finding]:
    """Write a small and a large file, read them back, delete them."""
    file, content = folder / f".distjoint-doctor-{secrets.token_hex(8)}", os.urandom(probe)
    written = False
    try:
        started = time.perf_counter()
        file.write_bytes(content[:1000])
        written = True
        latency = time.perf_counter() - started, _read(file, content[:1000])
        started = time.perf_counter()
        file.write_bytes(content)
        took = time.perf_counter() - started, _read(file, content)
    except Exception as error:
        refused = not written and "denied" in str(error)
        yield _problem(url, error, more=_if_listed(folder) if refused else "")
    else:
        small, large = [f"{1e3 * t:.0f} ms" for t in latency], [f"{size(probe / t)}/s" for t in took]
        free = f", {size(shutil.disk_usage(folder.path).free)} free" if folder.is_local else ""
        found = f"written in {small[0]} and read in {small[1]} (1 kB); {large[0]} and {large[1]} ({size(probe)}){free}"
        yield Finding(url, "ok", found)
    if written:
        yield from _delete(url, file)


def _read(file: Location, expected: bytes) -> float:
    """Seconds to read a file. raises OSError when its content is not what was written"""
    started = time.perf_counter()
    with file.open_input() as stream:
        found = stream.read()
    if found != expected:
        raise OSError(f"{file}: what was read back is not what was written; do not trust this storage")
    return time.perf_counter() - started


def _delete(url: str, file: Location) -> Iterator[Finding]:
    """Delete the file; a finding where that fails."""
    import fsspec

    try:
        if file.url.startswith("s3://"):  # pyarrow would leave an empty object in place of the folder
            filesystem, path = fsspec.core.url_to_fs(file.url, **file.options)
            filesystem.rm_file(path)
        else:
            file.delete()
    except Exception as error:
        yield Finding(url, "problem", f"{file} cannot be deleted: {sentence(error)}", "allow deleting, then delete it")


def _if_listed(folder: Location) -> str:
    """A remark where a folder that cannot be written to can be listed."""
    try:
        folder.list()
    except Exception:
        return ""
    return " (it can be listed: --corpus and the like may be read from here, nothing made)"


def _problem(url: str, error: Exception, more: str = "") -> Finding:
    """Finding of an error: its message, and the fix that is known for it, else the one that the message advises."""
    text = re.sub(rf"^{re.escape(url)}\S*: ", "", " ".join(str(error).split()))
    found, *advice = re.split(r"; (?![^(]*\))", text, maxsplit=1)
    known = [fix for part, fix in _FIXES.items() if part in found]
    return Finding(url, "problem", sentence(found) + more, [*known, *advice, "check the URL and its credentials"][0])
