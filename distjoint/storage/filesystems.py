"""Filesystems of S3 and Google Cloud Storage by pyarrow's clients: timeouts, retries, and names of credentials.

Options are those of `locate`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pyarrow.fs as pafs

from distjoint.base.errors import DistjointError, UsageError
from distjoint.storage.remote import PATIENCE

CONNECT_TIMEOUT = 5.0
REQUEST_TIMEOUT = 10.0
"""Seconds without a byte. Together with the retry deadline, a read fails after 40 s."""
MAX_ATTEMPTS = 10
"""Attempts of a request by the client that sends large files in parts: a minute where nothing answers at all."""


def s3(options: Mapping[str, Any]) -> tuple[pafs.S3FileSystem, pafs.S3FileSystem]:
    """Two filesystems of S3: with retries of its own, and without, for callers that retry themselves.

    raises   DistjointError for a profile that does not exist or holds no credentials
    """
    settings = s3_settings(options)
    return _client(MAX_ATTEMPTS, **settings), _client(1, **settings)


def gcs(options: Mapping[str, Any]) -> pafs.GcsFileSystem:
    """Filesystem of Google Cloud Storage; credentials are the environment's or the machine's role."""
    unknown = set(options) - {"project", "endpoint_url", "anon"}
    if unknown:
        raise UsageError(
            f"--storage-options {min(unknown)}: gs:// takes project, endpoint_url and anon; credentials come from "
            "the environment (GOOGLE_APPLICATION_CREDENTIALS) or the machine's role"
        )
    scheme, _, host = str(options.get("endpoint_url") or "").rpartition("://")
    return pafs.GcsFileSystem(
        anonymous=_is_true(options.get("anon")),
        scheme=scheme or "https",
        endpoint_override=host or None,
        project_id=options.get("project"),
        retry_time_limit=timedelta(seconds=PATIENCE),
    )


@functools.lru_cache(maxsize=32)
def _client(attempts: int, **settings: Any) -> pafs.S3FileSystem:
    """S3 client, cached: it keeps its connections, and pyarrow makes no new one while other threads use S3."""
    strategy = pafs.AwsStandardS3RetryStrategy(max_attempts=attempts)
    # With an open delayed, a small file is one request instead of three.
    return pafs.S3FileSystem(**settings, retry_strategy=strategy, allow_delayed_open=True)


def s3_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of pyarrow's client: from the options, else the profile they name, else the environment."""
    client, profile = dict(options.get("client_kwargs") or {}), _profile(options.get("profile"))
    endpoint = (
        options.get("endpoint_url")
        or client.get("endpoint_url")
        or profile.get("endpoint_url")
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
    )
    scheme, _, host = (endpoint or "").rpartition("://")
    return {
        "access_key": options.get("key", profile.get("key")),
        "secret_key": options.get("secret", profile.get("secret")),
        "session_token": options.get("token", profile.get("token")),
        "anonymous": _is_true(options.get("anon")),
        "region": client.get("region_name") or profile.get("region") or os.environ.get("AWS_REGION") or None,
        "endpoint_override": host or None,
        "scheme": scheme or "https",
        "connect_timeout": CONNECT_TIMEOUT,
        "request_timeout": REQUEST_TIMEOUT,
    }


def _is_true(value: Any) -> bool:
    return str(value).lower() == "true"


def _profile(name: str | None) -> dict[str, Any]:
    """Credentials, region and endpoint of a profile in the AWS configuration files; a session token is not renewed.

    raises   DistjointError when there is no such profile, or it holds no credentials
    """
    if name is None:
        return {}
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session = Session(profile=name)
    try:
        credentials, settings = session.get_credentials(), session.get_scoped_config()
    except BotoCoreError as error:
        raise DistjointError(f"profile={name}: {error}") from error
    if credentials is None:
        raise DistjointError(f"profile={name}: holds no credentials")
    now = credentials.get_frozen_credentials()
    found = {"key": now.access_key, "secret": now.secret_key, "token": now.token}
    return found | {"region": settings.get("region"), "endpoint_url": settings.get("endpoint_url")}
