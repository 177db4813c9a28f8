"""A real S3 server for the tests: SeaweedFS on this machine, with a bucket and a secret."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

BUCKET = "distjoint"
KEY, SECRET = "test-key", "planted-secret-4711"
_STARTED = 30.0


@dataclass(frozen=True)
class ObjectStore:
    """A running server. `options` is what distjoint takes as storage options."""

    endpoint: str
    master: int
    filer: int

    @property
    def options(self) -> dict[str, str]:
        return {"endpoint_url": self.endpoint, "key": KEY, "secret": SECRET}

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    @property
    def port(self) -> int:
        return int(self.endpoint.rsplit(":", 1)[1])

    def url(self, path: str) -> str:
        return f"s3://{BUCKET}/{path}"

    def behind(self, endpoint: str) -> ObjectStore:
        """The same store, reached by way of a proxy."""
        return replace(self, endpoint=endpoint)

    @contextmanager
    def allowing(self, concurrent: int) -> Iterator[None]:
        """The server answers 503 to every request above so many at a time, of reads and of writes each."""
        self._shell(
            f"s3.circuitBreaker -global -type Count -actions Read,Write -values {concurrent},{concurrent} -apply"
        )
        try:
            yield
        finally:
            self._shell("s3.circuitBreaker -global -delete -apply")

    def _shell(self, command: str) -> None:
        weed = program()
        assert weed is not None
        places = [f"-master=127.0.0.1:{self.master}", f"-filer=127.0.0.1:{self.filer}"]
        subprocess.run([weed, "shell", *places], input=f"{command}\n", text=True, capture_output=True, check=True)


def program() -> str | None:
    """SeaweedFS's program: of this environment, or on the path."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


@contextmanager
def serve(folder: Path) -> Iterator[ObjectStore]:
    """A server with its data in `folder`, stopped at the end."""
    weed = program()
    assert weed is not None
    # Every port has a sister 10,000 above it for gRPC.
    s3, master, volume, filer = _free_ports(4)
    local = "127.0.0.1"
    command = [weed, "-logtostderr=true", "mini", f"-dir={folder}", f"-ip={local}", f"-ip.bind={local}"]
    command += [f"-bucket={BUCKET}", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
    with (folder / "weed.log").open("w") as log:
        server = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={
                "PATH": "/usr/bin:/bin",
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "HOME": str(folder),
            },
        )
    store = ObjectStore(f"http://{local}:{s3}", master, filer)
    try:
        _wait(store, server, folder / "weed.log")
        yield store
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(store: ObjectStore, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until it is healthy, and refuses who has no key: then its users are known to it as well."""
    until = time.monotonic() + _STARTED
    while _status(f"{store.endpoint}/healthz") != 200 or _status(f"{store.endpoint}/{BUCKET}") != 403:
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the S3 server did not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in range(18300, 28000, 7):
        if len(found) == count:
            break
        if all(_is_free(place) for place in (port, port + 10000)):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
