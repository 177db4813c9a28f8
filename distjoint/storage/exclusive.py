"""Files that only one process can create: what each filesystem has for that.

Apart from `location.py` because pyarrow's clients have nothing of the kind: a local file is made by the system's own
call, one on S3 by a conditional request of botocore, one of fsspec's by its mode `create`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pyarrow.fs as pafs

from distjoint.storage.filesystems import CONNECT_TIMEOUT, REQUEST_TIMEOUT, s3_settings

_EXISTS = (409, 412)
"""Answers of S3: another request for the same file is under way; there is a file."""


def create(fs: pafs.FileSystem, path: str, content: bytes, options: Mapping[str, Any]) -> bool | None:
    """Write a file unless there is one, in one step.

    options   of the filesystem's URL, see `locate`
    returns   whether it was written; None where the filesystem cannot do this, or did not answer
    raises    OSError where a local file cannot be written
    """
    if isinstance(fs, pafs.LocalFileSystem):
        return _on_disk(path, content)
    if isinstance(fs, pafs.S3FileSystem):
        return _on_s3(path, content, options)
    if isinstance(fs, pafs.PyFileSystem):
        return _by_fsspec(fs.handler.fs, path, content)
    return None


def _on_disk(path: str, content: bytes) -> bool:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
    except OSError:
        os.unlink(path)
        raise
    return True


def _on_s3(path: str, content: bytes, options: Mapping[str, Any]) -> bool | None:
    """PutObject with If-None-Match. Stores that do not know it overwrite, or refuse with another number."""
    try:
        from botocore import UNSIGNED
        from botocore.config import Config as ClientConfig
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.session import Session
    except ImportError:
        return None
    settings, (bucket, _, key) = s3_settings(options), path.partition("/")
    endpoint = settings["endpoint_override"]
    try:
        client = Session().create_client(
            "s3",
            region_name=settings["region"] or ("us-east-1" if endpoint else None),
            endpoint_url=f"{settings['scheme']}://{endpoint}" if endpoint else None,
            aws_access_key_id=settings["access_key"],
            aws_secret_access_key=settings["secret_key"],
            aws_session_token=settings["session_token"],
            config=ClientConfig(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=REQUEST_TIMEOUT,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path" if endpoint else "auto"},
                **({"signature_version": UNSIGNED} if settings["anonymous"] else {}),
            ),
        )
        client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
    except ClientError as error:
        return False if error.response["ResponseMetadata"]["HTTPStatusCode"] in _EXISTS else None
    except (BotoCoreError, ValueError):  # ValueError: an endpoint that is no URL, which the other client names
        return None
    return True


def _by_fsspec(fs: Any, path: str, content: bytes) -> bool | None:
    try:
        fs.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    except Exception:  # of a plug-in, which may be any; the ordinary way to write names it
        return None
    return True
